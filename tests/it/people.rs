//! Clients and users from the command line: once each, and no personal data or password anywhere but in its own table.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use tests::Database;

/// Obviously not a real one.
const PASSWORD: &str = "not-a-real-password-1";

fn add_user(database: &Database, email: &str, more: &[&str], password: &str) -> Output {
    let mut command = database.command(&[&["user", "add", "--email", email], more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_added_once_and_keeps_its_id() {
    let database = Database::new().await;
    let first = database.succeed(&["client", "add", "--slug", "acme", "--name", "Acme Labs"]);
    assert_eq!(database.succeed(&["client", "add", "--slug", "acme"]), first);
    for bad in ["", "a b", "-x", "ümlaut", &"x".repeat(65)] {
        let output = database.run(&["client", "add", "--slug", bad]);
        assert!(!output.status.success() && said(&output).contains("slug"), "{bad}: {}", said(&output));
    }
    let missing = database.run(&["audit", "export", "--client", "nobody"]);
    assert!(said(&missing).contains("there is no client nobody"), "{}", said(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_added_once_and_the_desks_stream_does_not_say_who_it_is() {
    let database = Database::new().await;
    let (email, admin) = ("someone@example.com", &["--role", "admin"][..]);
    let added = add_user(&database, email, admin, &format!("{PASSWORD}\n"));
    assert!(added.status.success(), "{}", said(&added));
    let again = add_user(&database, "Someone@Example.com", admin, PASSWORD);
    assert!(!again.status.success() && said(&again).contains("is there already"), "{}", said(&again));
    for (password, why) in
        [("short", "at least 12 characters, this one 5"), ("two\nlines of text", "one line"), ("", "this one 0")]
    {
        let refused = add_user(&database, "other@example.com", admin, password);
        assert!(!refused.status.success() && said(&refused).contains(why), "{}", said(&refused));
    }
    let homeless = add_user(&database, "other@example.com", &["--role", "client"], PASSWORD);
    assert!(said(&homeless).contains("belongs to a client: name it"), "{}", said(&homeless));
    database.succeed(&["client", "add", "--slug", "acme"]);
    let of_acme = add_user(&database, "other@example.com", &["--role", "client", "--client", "acme"], PASSWORD);
    assert!(of_acme.status.success(), "{}", said(&of_acme));

    let superuser = database.superuser();
    let hashes: Vec<String> =
        sqlx::query_scalar("select password_hash from auth.users").fetch_all(&superuser).await.unwrap();
    assert!(hashes.len() == 2 && hashes.iter().all(|hash| hash.starts_with("$argon2id$")));
    let everything = "select string_agg(e::text, '') from es.events e";
    let everything: String = sqlx::query_scalar(everything).fetch_one(&superuser).await.unwrap();
    assert!(everything.contains("UserAdded"));
    for secret in ["example.com", "someone", PASSWORD, "argon2"] {
        assert!(!everything.to_lowercase().contains(&secret.to_lowercase()), "an event tells {secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_with_the_settings_is_told_at_once_before_anything_starts() {
    let database = Database::new().await;
    let mut command = database.command(&["serve"]);
    command.env_remove("DATABASE_URL").env("SECRET_KEY", "changeme").env("AUDIT_SIGNING_KEY", "00");
    let output = command.output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(2));
    for name in ["DATABASE_URL is missing", "SECRET_KEY is shorter", "AUDIT_SIGNING_KEY is not 64 hex digits"] {
        assert!(told.contains(name), "{name} is not told in\n{told}");
    }
    assert!(!told.contains("changeme"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_or_written_is_said_at_once_and_spoils_nothing() {
    let database = Database::new().await;
    let mut away = database.command(&["client", "list"]);
    away.env("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:1/none");
    let told = said(&away.output().unwrap());
    assert!(told.contains("127.0.0.1:1") && told.contains("refused"), "{told}");
    let mut blank = database.command(&["report", "pnl"]);
    blank.env("SECRET_KEY", "another-0123456789-abcdefghijklmnop");
    let told = said(&blank.output().unwrap());
    assert!(told.contains("was `pipelabs migrate` run, and with this SECRET_KEY?"), "{told}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    std::fs::write(&file, "what was there").unwrap();
    let failed = database.run(&["audit", "export", "--client", "nobody", "--output", &file.to_string_lossy()]);
    assert_eq!(failed.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "what was there");
    let ahead = database.run(&["report", "pnl", "--as-of", "253402300799999"]);
    assert!(said(&ahead).contains("is it in milliseconds?"), "{}", said(&ahead));
    let refused = database.run(&["client", "add", "--slug", "half", "--name", ""]);
    assert!(said(&refused).contains("1 to 200 characters"), "{}", said(&refused));
    let unknown = database.run(&["audit", "head", "--client", "half"]);
    assert!(said(&unknown).contains("there is no client half"), "{}", said(&unknown));
}
