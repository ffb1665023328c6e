//! `stack up|down|status|env`: the private Postgres and NATS.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::stack::Stack;

#[derive(Debug, Args)]
pub struct StackCommand {
    /// Where its files are
    #[arg(long, global = true, default_value = ".pipelabs")]
    dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// Start what does not run yet
    Up,
    /// Stop both
    Down,
    /// Say what runs
    Status,
    /// Print the settings that reach it, for `eval`
    Env,
}

impl StackCommand {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let stack = Stack::at(self.dir);
        let mut say = |text: &str| eprintln!("{text}");
        match self.what {
            What::Up => drop(stack.up(&mut say)?),
            What::Down => stack.down(&mut say)?,
            What::Status => println!("{}", stack.status()),
            What::Env => {
                for (name, value) in stack.env()? {
                    println!("export {name}='{value}'");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
