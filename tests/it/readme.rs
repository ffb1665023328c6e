//! README's walkthroughs, played as a reader would.

use std::process::Command;

use domain::bot::{Bot, BotCommand};
use projections::{bots, versions, worker::catch_up};
use store::{Cause, Login};
use tests::Database;

use crate::facts::{at, client_with_bot};

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap()
}

/// The shell block that stands under a heading.
fn block(heading: &str) -> String {
    let readme = readme();
    let (_, section) = readme.split_once(heading).unwrap_or_else(|| panic!("README has no {heading}"));
    let (_, block) = section.split_once("```sh\n").expect("a shell block follows");
    block.split_once("```").expect("it ends").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fill_goes_the_way_that_the_readme_tells() {
    let database = Database::new().await;
    let folder = tempfile::tempdir().unwrap();
    let given = database.command(&[]);
    let binary = std::path::Path::new(given.get_program());
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &block("## One fill")]).current_dir(folder.path()).env("PATH", path);
    for (name, value) in given.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // What the block promises in its comments is what came.
    for promise in block("## One fill").lines().filter_map(|line| line.strip_prefix("# -> ")) {
        assert!(said.contains(promise), "{promise} is promised; it said\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_goes_the_way_that_the_readme_tells() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let deploy = BotCommand::Deploy { at: at(1) };
    let key = Some("click-1".to_owned());
    let receipt =
        streams.execute::<Bot>(client, &bot.to_string(), deploy, key, &Cause::system("test")).await.unwrap().unwrap();
    let recorded = streams.numbered(client, &[receipt.first]).await.unwrap();
    assert_eq!(recorded[0].event.event_type(), "BotDeployRequested");
    let db = database.pool(Login::Projector);
    for model in &mut projections::all(&db) {
        catch_up(&mut **model, |_| {}).await.unwrap();
    }
    let mut tx = database.pool(Login::Query).begin().await.unwrap();
    store::read::for_client(&mut tx, client).await.unwrap();
    versions::use_live(&mut tx).await.unwrap();
    let bots = bots::of_client(&mut tx, client).await.unwrap();
    assert_eq!((bots[0].desired, bots[0].answer, bots[0].reported), (bots::Desired::Running, None, None));
}

#[test]
fn the_readme_starts_with_the_two_commands_and_names_only_files_that_are_there() {
    let readme = readme();
    let first = readme.split("```sh\n").nth(1).expect("it has a shell block");
    assert!(first.starts_with("make demo") && first.contains("make test"), "{first:.80}");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let named = readme.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs") || word.ends_with(".sql"));
    for file in named {
        assert!(root.join(file).exists(), "README speaks of {file}");
    }
}
