//! The demo: it checks its own totals, what it prints can be pasted, and nothing outlives it.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use pipelabs::stack::{Part, Stack};

fn demo(dir: &Path, arguments: &[&str]) -> Command {
    tests::stop_with_the_process(dir);
    let mut command = Command::new(tests::binary());
    command.args(["demo", "--port", "0", "--dir"]).arg(dir).args(arguments).stdin(Stdio::null()).process_group(0);
    command
}

fn nothing_runs(dir: &Path) {
    let status = Stack::at(dir).status();
    assert_eq!((status.postgres, status.nats), (Part::Stopped, Part::Stopped));
    // Every process of ours is told of its directory, the paper server too.
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    let (binary, dir) = (tests::binary().display().to_string(), dir.display().to_string());
    let left: Vec<String> = lines.filter(|line| line.starts_with(&binary) && line.contains(&dir)).collect();
    assert!(left.is_empty(), "these processes are left: {left:?}");
}

/// Gone with the test, however it ends.
struct Running(Child);

impl Running {
    /// As Ctrl-C does, to the whole group.
    fn interrupt(&self) {
        let mut kill = Command::new("sh");
        let sent = kill.args(["-c", &format!("kill -s INT -- -{}", self.0.id())]).status().unwrap();
        assert!(sent.success(), "the demo runs no more");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_demo_with_a_time_checks_every_total_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), &["--for", "8s", "--speed", "20"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for found in [
        "acme: 2930 fills before today",
        "borealis: 2413 fills before today",
        "acme: fake keys for binance, bitmart, bybit, gate_io, kucoin, okx are active",
        "acme: 3 bots are stopped and archived",
        "fills on paper, each in the ledger as it happened, once",
        "each once and in order",
        "all totals agree",
    ] {
        assert!(said.contains(found), "{found} is missing in\n{said}");
    }
    for nobody in ["acme: 0 fills on paper", "borealis: 0 fills on paper"] {
        assert!(!said.contains(nobody), "no bot traded:\n{said}");
    }
    nothing_runs(dir.path());
}

#[test]
fn what_a_demo_prints_can_be_pasted_and_ctrl_c_ends_it_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running(demo(dir.path(), &[]).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(running.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let leaflet = said.by_ref().skip_while(|line| !line.contains("paste into another terminal")).skip(2);
    let lines: Vec<String> = leaflet.take_while(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 12, "{lines:#?}");
    let rest = thread::spawn(move || said.collect::<Vec<_>>().join("\n"));

    let mut bash = Command::new("bash");
    bash.env("NO_PROXY", "127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut bash = Running(bash.spawn().unwrap());
    bash.0.stdin.take().unwrap().write_all(format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
    let mut answers = BufReader::new(bash.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    for expected in [
        r#""by":"bot""#,
        "is asked to run by event",
        r#""event_type":"BotDeployRequested""#,
        r#""trade_id":"#,
        r#""repeated":false"#,
        r#""config_applied":2"#,
        r#""repeated":false"#,
        r#""answer":"stopped""#,
    ] {
        let answer = answers.next().unwrap_or_default();
        assert!(answer.contains(expected), "{expected} is missing in {answer}");
    }
    for event in ["BotDeployRequested", "FillRecorded", "BotConfigApplied", "BotStopped"] {
        let heard = |line: String| line.starts_with("event:") && line.ends_with(event);
        assert!(answers.any(heard), "the live stream tells the event");
    }
    // Seen once: a listener whose pipe was full never noticed that its server had gone.
    thread::spawn(move || answers.for_each(drop));

    running.interrupt();
    assert!(running.0.wait().unwrap().success(), "{}", rest.join().unwrap());
    assert!(bash.0.wait().unwrap().success(), "the live stream ends with its server");
    nothing_runs(dir.path());
}

#[test]
fn a_paper_server_ends_with_whoever_holds_its_standard_input() {
    let mut command = Command::new(tests::binary());
    command.args(["paper", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--until-stdin-ends"]);
    let mut paper = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(paper.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.next().unwrap().starts_with("ready: http://127.0.0.1:"));
    drop(paper.0.stdin.take());
    assert!(paper.0.wait().unwrap().success());
}
