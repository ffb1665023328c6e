//! A nats-server of one test's own, to be killed, emptied and started again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pipelabs::stack::Stack;
use tempfile::TempDir;

use crate::{Nats, world::stop_with_the_process};

/// Runs until it is dropped; keeps its address.
#[derive(Debug)]
pub struct OwnNats {
    pub at: Nats,
    stack: Stack,
    dir: TempDir,
}

impl OwnNats {
    /// With an account for each client.
    pub fn start() -> Self {
        Self::of(|dir| Stack::at(dir))
    }

    /// One that lets everybody in.
    pub fn without_accounts() -> Self {
        Self::of(|dir| Stack::at(dir).without_accounts())
    }

    fn of(stack: impl Fn(&Path) -> Stack) -> Self {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let stack = stack(dir.path());
        let url = stack.start_nats().unwrap_or_else(|error| panic!("{error}"));
        stop_with_the_process(dir.path());
        Self { at: Nats::of(&stack, &url), stack, dir }
    }

    /// kill -9.
    pub fn kill(&self) {
        self.stack.kill_nats().unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn start_again(&self) {
        let url = self.stack.start_nats().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(url, self.at.url, "it keeps its address");
    }

    /// Where it keeps its streams.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("nats")
    }

    /// Where it keeps clients' accounts.
    pub fn accounts(&self) -> PathBuf {
        self.dir.path().join("nats-accounts")
    }

    /// Kills it, does something to its store, and starts it again.
    pub fn while_down(&self, what: impl FnOnce(PathBuf)) {
        self.kill();
        what(self.store());
        self.start_again();
    }

    /// Kills it, removes all that it holds, and starts it again.
    pub fn lose_everything(&self) {
        self.while_down(|store| fs::remove_dir_all(store).expect("its store can be removed"));
    }
}

impl Drop for OwnNats {
    fn drop(&mut self) {
        // A test that fails has said why already.
        let _ = self.stack.kill_nats();
    }
}
