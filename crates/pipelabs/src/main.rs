//! `pipelabs`: the one binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    pipelabs::run(pipelabs::Cli::parse())
}
