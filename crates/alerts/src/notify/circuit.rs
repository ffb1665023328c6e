//! Circuits: an endpoint that fails again and again is left in peace for a while, and then tried with one message.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row after which it is left in peace.
const FAILURES_MAX: u32 = 5;
const PEACE_MIN: Duration = Duration::from_secs(30);
const PEACE_MAX: Duration = Duration::from_secs(600);

/// Of all endpoints of this process.
#[derive(Debug, Default)]
pub struct Circuits(Mutex<HashMap<String, Circuit>>);

#[derive(Debug, Clone, Copy, Default)]
struct Circuit {
    failures: u32,
    /// Nobody tries before.
    open_until: Option<Instant>,
}

impl Circuits {
    /// Whether it may be tried, or how long it is left in peace. Whoever may try one that failed is the only one for a while.
    pub fn may_try(&self, endpoint: &str, now: Instant) -> Result<(), Duration> {
        self.with(endpoint, |circuit| {
            if circuit.failures < FAILURES_MAX {
                return Ok(());
            }
            match circuit.open_until.filter(|until| *until > now) {
                Some(until) => Err(until - now),
                None => {
                    circuit.open_until = Some(now + PEACE_MIN);
                    Ok(())
                }
            }
        })
    }

    pub fn tried(&self, endpoint: &str, went_well: bool, now: Instant) {
        if went_well {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
            return;
        }
        self.with(endpoint, |circuit| {
            circuit.failures += 1;
            let doublings = circuit.failures.saturating_sub(FAILURES_MAX).min(10);
            circuit.open_until = Some(now + (PEACE_MIN * 2_u32.pow(doublings)).min(PEACE_MAX));
        });
    }

    fn with<T>(&self, endpoint: &str, act: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(all.entry(endpoint.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_is_left_in_peace_longer_and_longer_and_tried_by_one() {
        let (circuits, begin) = (Circuits::default(), Instant::now());
        let later = |seconds| begin + Duration::from_secs(seconds);
        for _ in 0..FAILURES_MAX {
            assert_eq!(circuits.may_try("a", begin), Ok(()));
            circuits.tried("a", false, begin);
        }
        assert_eq!(circuits.may_try("a", later(29)), Err(Duration::from_secs(1)));
        assert_eq!(circuits.may_try("b", later(29)), Ok(()));
        assert_eq!(circuits.may_try("a", later(30)), Ok(()));
        assert!(circuits.may_try("a", later(30)).is_err(), "one is at it");
        circuits.tried("a", false, later(31));
        assert!(circuits.may_try("a", later(90)).is_err() && circuits.may_try("a", later(91)).is_ok());
        circuits.tried("a", true, later(91));
        assert_eq!(circuits.may_try("a", later(91)), Ok(()));
        assert_eq!(circuits.may_try("a", later(91)), Ok(()));
    }
}
