//! README's walkthroughs, played as a reader would.

use std::process::Command;

use tests::{Database, free_port};

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
async fn both_walks_go_the_way_that_the_readme_tells() {
    let database = Database::new().await;
    let folder = tempfile::tempdir().unwrap();
    let given = database.command(&[]);
    let binary = std::path::Path::new(given.get_program());
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let walks = [block("## One fill"), block("## One market maker")].join("\n");
    // What a walk leaves running where it fails half-way.
    let script = format!("trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{walks}");
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).env("PATH", path);
    shell.env("PORT", free_port().to_string());
    for (name, value) in given.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // What the blocks promise in their comments is what came, in that order.
    let mut rest = said.as_str();
    for promise in walks.lines().filter_map(|line| line.strip_prefix("# -> ")) {
        let at = rest
            .find(promise)
            .unwrap_or_else(|| panic!("{promise} is promised; after what came before it said\n{rest}"));
        rest = &rest[at + promise.len()..];
    }
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
