//! The machine's processes: which ones run, how to end them, how to wait until they are gone.

use std::{
    fs, io,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::StackError;

const PAUSE: Duration = Duration::from_millis(20);

/// A running process and the command line it shows.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub command: String,
}

/// Every process, zombies left out, whose command line satisfies this.
pub fn whose(command: impl Fn(&str) -> bool) -> Result<Vec<Process>, StackError> {
    let all = if has_proc() { from_proc() } else { from_ps() }.map_err(StackError::Processes)?;
    Ok(all.into_iter().filter(|process| command(&process.command)).collect())
}

/// Sends them all a signal in one go; those that are gone already do not matter.
pub fn signal(signal: &str, pids: &[u32]) {
    // The shell's own `kill`: the program of that name is missing from small images.
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" \"$@\" 2>/dev/null", signal]).args(pids.iter().map(u32::to_string));
    let _ = kill.status();
}

/// Signals them until none is left, each signal with the time it is given.
pub fn end(name: &'static str, pids: &[u32], ways: &[(&str, Duration)]) -> Result<(), StackError> {
    let mut left = pids.to_vec();
    for (way, time) in ways {
        if left.is_empty() {
            break;
        }
        signal(way, &left);
        wait_until(*time, || {
            left.retain(|&pid| is_alive(pid));
            left.is_empty()
        });
    }
    if left.is_empty() { Ok(()) } else { Err(StackError::Stubborn { name, pids: left }) }
}

/// Asks again and again; false when the time is over and it still is not so.
pub fn wait_until(time: Duration, mut it_is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if it_is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// A zombie counts as gone: it holds no file, port or memory, and where nobody reaps it, it stays forever.
pub fn is_alive(pid: u32) -> bool {
    let state = if has_proc() {
        // The state follows the program's name, which stands in brackets and may itself hold brackets and spaces.
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        String::from_utf8_lossy(&stat).rsplit_once(')').map(|(_, rest)| rest.trim().to_owned())
    } else {
        ps(&["-o", "stat=", "-p", &pid.to_string()]).ok()
    };
    state.is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn from_proc() -> io::Result<Vec<Process>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that ends while we look has no command line any more, and is not looked for.
    Ok(pids.filter_map(|pid| Some(Process { pid, command: command_line(pid)? })).collect())
}

fn command_line(pid: u32) -> Option<String> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&arguments).replace('\0', " ").trim().to_owned()).filter(|line| !line.is_empty())
}

fn from_ps() -> io::Result<Vec<Process>> {
    let processes = ps(&["-A", "-ww", "-o", "pid=,stat=,command="])?;
    Ok(processes.lines().filter_map(from_line).collect())
}

fn from_line(line: &str) -> Option<Process> {
    let (pid, rest) = line.trim().split_once(' ')?;
    let (state, command) = rest.trim().split_once(' ')?;
    let is_zombie = state.starts_with('Z');
    (!is_zombie).then_some(Process { pid: pid.parse().ok()?, command: command.trim().to_owned() })
}

fn ps(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("ps").args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
