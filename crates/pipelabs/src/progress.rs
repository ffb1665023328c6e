//! Long steps show how far they are: a bar for a person, a line now and then for a log.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How far a step of known length has come.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    done: u64,
    of: u64,
    told: Instant,
}

/// Lines in a log come no more often.
const PAUSE: Duration = Duration::from_secs(5);

impl Progress {
    /// A step of `of` pieces.
    pub fn new(what: &str, of: u64) -> Self {
        let style = ProgressStyle::with_template("{msg:>28} {bar:30} {human_pos}/{human_len} {per_sec} {eta}");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(of).with_style(style.expect("the template is ours"));
            bar.set_message(what.to_owned());
            bar
        });
        Self { bar, what: what.to_owned(), done: 0, of, told: Instant::now() }
    }

    /// So many pieces more are done.
    pub fn add(&mut self, more: u64) {
        self.done += more;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.told.elapsed() >= PAUSE => {
                eprintln!("{}: {} of {}", self.what, self.done, self.of);
                self.told = Instant::now();
            }
            None => {}
        }
    }

    /// The step is over.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
