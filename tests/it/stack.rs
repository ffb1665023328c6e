//! The private servers: started once, found again, gone when told to.

use std::process::Command;

use tests::{Database, Servers};

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_comes_up_is_found_again_survives_kill_9_and_goes() {
    let given = Database::new().await.command(&[]);
    let dir = tempfile::tempdir().unwrap();
    tests::stop_with_the_process(dir.path());
    let stack = |what: &str| {
        let mut command = Command::new(given.get_program());
        let output = command.args(["stack", "--dir"]).arg(dir.path()).arg(what).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    stack("up");
    stack("up");
    let running = stack("status");
    assert_eq!(running.matches("process").count(), 2, "{running}");
    let settings = stack("env");
    for name in ["DATABASE_URL", "NATS_URL", "NATS_KEYS", "SECRET_KEY", "AUDIT_SIGNING_KEY"] {
        assert_eq!(settings.matches(&format!("export {name}='")).count(), 1, "{settings}");
    }
    let reached = Command::new("bash")
        .args(["-euc", &format!("{settings} \"$0\" migrate && \"$0\" client add --slug acme && \"$0\" migrate")])
        .arg(given.get_program())
        .output()
        .unwrap();
    assert!(reached.status.success(), "{}", String::from_utf8_lossy(&reached.stderr));
    let servers = pipelabs::stack::Stack::at(dir.path());
    servers.kill_postgres().unwrap();
    stack("up");
    assert_eq!(stack("env"), settings, "the same address and the same secrets");
    stack("down");
    stack("down");
    assert_eq!(stack("status").matches("process").count(), 0);
}

#[test]
fn the_shared_servers_run_as_long_as_a_test_needs_them() {
    assert!(Servers::shared().stack.status().both_run());
}
