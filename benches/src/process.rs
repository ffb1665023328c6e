//! What a process costs: read from the kernel.

use std::time::Duration;

use tests::Served;

/// Ticks of the kernel's clock in a second.
const TICKS: u64 = 100;

/// How long it had a core so far.
pub fn cpu_ticks(of: &Served) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", of.pid())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("it has fields").split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("it is a number");
    ticks(11) + ticks(12)
}

/// What so many ticks are of one core, in hundredths.
pub fn share(ticks: u64, elapsed: Duration) -> u64 {
    ticks * 100 * 1_000 / TICKS / u64::try_from(elapsed.as_millis()).expect("benches end")
}

pub fn resident_mib(of: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", of.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") / 1_024
}
