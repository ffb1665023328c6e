//! Logins of one user that failed one after the other: told to the desk's stream when they are many, in case somebody
//! tries to become that user. Counted by each process for itself.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use events::{Time, UserId};

/// So many within so long are told, and counted from nothing again.
const MANY: u32 = 10;
const WITHIN_US: i64 = 10 * 60 * 1_000_000;
/// Users that are remembered: whoever has a password is known, so there are no more than users.
const REMEMBERED_MAX: usize = 65_536;

#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<UserId, Failed>>);

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    since: Time,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Many {
    pub failures: u32,
    pub since: Time,
}

impl Failures {
    /// One more; what is to be told, if that makes many.
    pub fn one_more(&self, user: UserId, now: Time) -> Option<Many> {
        let mut known = self.known();
        let recent = |failed: &Failed| now.micros() - failed.since.micros() <= WITHIN_US;
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, failed| recent(failed));
        }
        let before = known.get(&user).copied().filter(recent).unwrap_or(Failed { times: 0, since: now });
        let failed = Failed { times: before.times + 1, ..before };
        if failed.times < MANY {
            known.insert(user, failed);
            return None;
        }
        known.remove(&user);
        Some(Many { failures: failed.times, since: failed.since })
    }

    /// The user got in: whatever failed before was mistyped.
    pub fn forget(&self, user: UserId) {
        self.known().remove(&user);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<UserId, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failures(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_tenth_within_ten_minutes_is_told_and_then_it_begins_anew() {
        let (failures, user, other) = (Failures::default(), UserId::new(), UserId::new());
        for n in 0..9 {
            assert_eq!(failures.one_more(user, at(n)), None);
            assert_eq!(failures.one_more(other, at(n * 600)), None);
        }
        assert_eq!(failures.one_more(user, at(600)), Some(Many { failures: 10, since: at(0) }));
        assert_eq!(failures.one_more(user, at(601)), None);
        assert_eq!(failures.one_more(other, at(9 * 600)), None, "they are too far apart");
    }

    #[test]
    fn who_gets_in_has_mistyped() {
        let (failures, user) = (Failures::default(), UserId::new());
        (0..9).for_each(|n| assert_eq!(failures.one_more(user, at(n)), None));
        failures.forget(user);
        assert_eq!(failures.one_more(user, at(10)), None);
    }
}
