//! Places that each has so many of: connections of an address, streams of a user, requests under way.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many for each. Who has none left takes no memory.
#[derive(Debug, Clone)]
pub struct Seats<K: Eq + Hash> {
    max: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// One of them, until it is dropped.
pub struct Seat<K: Eq + Hash> {
    of: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Seats<K> {
    pub fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// None when all of this one's are taken.
    pub fn take(&self, of: K) -> Option<Seat<K>> {
        let mut taken = lock(&self.taken);
        let mine = taken.entry(of.clone()).or_default();
        if *mine >= self.max {
            return None;
        }
        *mine += 1;
        drop(taken);
        Some(Seat { of, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(mine) = taken.get_mut(&self.of) {
            *mine -= 1;
            if *mine == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

impl<K: Eq + Hash> fmt::Debug for Seat<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

/// Counts are whole after every step, so a panic elsewhere leaves nothing half done.
fn lock<K>(taken: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_who_leaves_makes_room_and_is_forgotten() {
        let seats = Seats::new(2);
        let first = seats.take("one").unwrap();
        let second = seats.take("one").unwrap();
        assert!(seats.take("one").is_none() && seats.take("two").is_some());
        drop(first);
        assert!(seats.take("one").is_some());
        drop(second);
        assert!(lock(&seats.taken).is_empty());
    }
}
