//! Plays the tape: its lines go into the streams when they are due, in the order in which they happened.

use std::{collections::VecDeque, fmt, time::Duration};

use anyhow::ensure;
use events::Time;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::import::{Importer, RATES, Waiting};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(50);

/// A tape and how far it has come.
pub struct Player {
    importer: Importer,
    lines: VecDeque<Waiting>,
    start: Time,
    end: Time,
    clock: watch::Sender<Time>,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("left", &self.lines.len()).finish_non_exhaustive()
    }
}

impl Player {
    /// Rates come before the fills of the same moment: they value them.
    pub fn new(importer: Importer, mut lines: Vec<Waiting>) -> Self {
        lines.sort_by_key(|line| (line.at(), line.file != RATES));
        let start = lines.first().map_or(Time::EPOCH, Waiting::at);
        let end = lines.last().map_or(start, Waiting::at);
        Self { importer, lines: lines.into(), start, end, clock: watch::Sender::new(start) }
    }

    /// What time it is on the tape.
    pub fn clock(&self) -> watch::Receiver<Time> {
        self.clock.subscribe()
    }

    /// The speed at which the tape leaves two fifths of the time for what follows.
    pub fn speed_for(&self, time: Duration) -> u32 {
        let span_us = self.end.micros().abs_diff(self.start.micros());
        let speed = u128::from(span_us) * 5 / (time.as_micros() * 3).max(1);
        u32::try_from(speed + 1).unwrap_or(u32::MAX)
    }

    /// Plays to the end.
    pub async fn play(&mut self, speed: u32) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.lines.is_empty() {
            let passed_us = began.elapsed().as_micros().saturating_mul(speed.into());
            let passed_us = i64::try_from(passed_us).unwrap_or(i64::MAX).min(self.end.micros() - self.start.micros());
            let now = self.start.plus_micros(passed_us);
            let due = self.lines.partition_point(|line| line.at() <= now);
            let due = self.lines.drain(..due).collect();
            self.importer.append(due).await?;
            self.clock.send_replace(now);
            sleep(TICK).await;
        }
        let count = self.importer.count();
        ensure!(count.refused == 0 && count.duplicates == 0, "the demo's own data was not taken as new: {count}");
        Ok(())
    }
}
