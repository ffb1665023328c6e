//! Which changes of something that is seen all the time are told: none too soon after the last one, and no more than a day's
//! budget holds. What is not told is counted.

use events::Time;

/// How often changes are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A change is told at once if none was told for so long, else as far as it still stands by then.
    pub apart_us: i64,
    /// Changes that are told of a day (UTC).
    pub day_max: u32,
}

#[derive(Debug)]
pub(super) struct Changes<S> {
    pace: Pace,
    now: Option<S>,
    told: Option<S>,
    told_at: Option<Time>,
    /// Changes since then that were not told.
    untold: u64,
    day: Option<Time>,
    of_day: u32,
}

impl<S: Copy + PartialEq> Changes<S> {
    /// `of_day`: so many were told of the day of `since` before.
    pub fn new(pace: Pace, since: Time, of_day: u32) -> Self {
        Self { pace, now: None, told: None, told_at: None, untold: 0, day: Some(since.midnight()), of_day }
    }

    /// Takes a state in; how many changes up to it nobody will be told of.
    pub fn note(&mut self, state: S) -> u64 {
        if self.now.replace(state) == Some(state) {
            return 0;
        }
        self.untold += 1;
        // Back where it was told to be, there is nothing to tell.
        if self.told == Some(state) { std::mem::take(&mut self.untold) } else { 0 }
    }

    /// When the untold change may be told; absent: there is none.
    pub fn due(&self) -> Option<Time> {
        let apart = self.pace.apart_us;
        (self.untold > 0).then(|| self.told_at.map_or(Time::BEGINNING, |told| told.plus_micros(apart)))
    }

    /// Whether the state is told now, and how many changes it leaves out.
    pub fn tell(&mut self, state: S, at: Time) -> (bool, u64) {
        if self.day != Some(at.midnight()) {
            (self.day, self.of_day) = (Some(at.midnight()), 0);
        }
        let untold = std::mem::take(&mut self.untold);
        let is_told = self.of_day < self.pace.day_max;
        (self.told, self.told_at) = (is_told.then_some(state), Some(at));
        self.of_day += u32::from(is_told);
        (is_told, untold - u64::from(is_told))
    }

    /// What was told last says nothing of what comes now; how many changes are left out by that.
    pub fn forget(&mut self) -> u64 {
        (self.now, self.told, self.told_at) = (None, None, None);
        std::mem::take(&mut self.untold)
    }
}
