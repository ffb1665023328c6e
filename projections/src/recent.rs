//! Events that were read a moment ago, shared by the workers of one process.
//!
//! A stream is appended to and never changed, so what was read once is known. Every read model folds every event: without
//! this each of them is fetched and parsed as often as there are models.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use events::{ClientId, Recorded};
use sqlx::PgConnection;
use store::{ReadError, read};

/// Events of one client that are kept, and of all of them.
const KEPT_MAX: usize = 2_048;
const KEPT_OF_ALL_MAX: usize = 32_768;

/// What was read lately. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<ClientId, Stretch>,
    /// How many there are, and how often something was looked for.
    events: usize,
    looks: u64,
}

/// The newest events of a stream that were read, without a gap.
#[derive(Debug, Default)]
struct Stretch {
    events: VecDeque<Arc<Recorded>>,
    looked: u64,
}

impl Recent {
    /// The events numbered `first` to `last`, as [`read::between`] reads them.
    pub async fn read(
        &self,
        db: &mut PgConnection,
        client: ClientId,
        first: u64,
        last: u64,
    ) -> Result<Vec<Arc<Recorded>>, ReadError> {
        if let Some(known) = self.find(client, first, last) {
            return Ok(known);
        }
        let read: Vec<Arc<Recorded>> =
            read::between(db, client, first, last).await?.into_iter().map(Arc::new).collect();
        self.keep(client, &read);
        Ok(read)
    }

    /// The events numbered `first` to `last`, if all of them are here.
    fn find(&self, client: ClientId, first: u64, last: u64) -> Option<Vec<Arc<Recorded>>> {
        let mut kept = self.kept();
        kept.looks += 1;
        let looks = kept.looks;
        let stretch = kept.of.get_mut(&client)?;
        stretch.looked = looks;
        let begins = stretch.events.front()?.seq;
        let from = usize::try_from(first.checked_sub(begins)?).ok()?;
        let to = usize::try_from(last.checked_sub(begins)?).ok()?;
        (to < stretch.events.len()).then(|| stretch.events.range(from..=to).cloned().collect())
    }

    /// Keeps what was read. What does not follow on what is here takes its place, unless it is older.
    fn keep(&self, client: ClientId, read: &[Arc<Recorded>]) {
        let Some(first) = read.first().map(|event| event.seq) else { return };
        let mut kept = self.kept();
        let looks = kept.looks;
        let stretch = kept.of.entry(client).or_default();
        let before = stretch.events.len();
        let next = stretch.events.back().map(|event| event.seq + 1);
        match next {
            Some(next) if first <= next => {
                stretch.events.extend(read.iter().filter(|event| event.seq >= next).cloned());
            }
            Some(_) | None => stretch.events = read.iter().cloned().collect(),
        }
        let old = stretch.events.len().saturating_sub(KEPT_MAX);
        stretch.events.drain(..old);
        stretch.looked = looks;
        let after = stretch.events.len();
        kept.events = kept.events + after - before;
        kept.forget();
    }

    /// Whole after every step, so a panic elsewhere leaves nothing half done.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Those that nobody asked for longest go first.
    fn forget(&mut self) {
        while self.events > KEPT_OF_ALL_MAX {
            let Some(oldest) = self.of.iter().min_by_key(|(_, of)| of.looked).map(|(client, _)| *client) else {
                return;
            };
            self.events -= self.of.remove(&oldest).map_or(0, |of| of.events.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use events::{AggregateRef, EventId, Time, Uuid, bot::BotEvent};

    use super::*;

    fn read(client: ClientId, numbers: std::ops::RangeInclusive<u64>) -> Vec<Arc<Recorded>> {
        let event = |seq| Recorded {
            client,
            seq,
            aggregate: AggregateRef::new("bot", "b"),
            aggregate_seq: seq,
            id: EventId(Uuid::from_u128(u128::from(seq))),
            event: BotEvent::BotSeenAlive { at: Time::EPOCH }.into(),
            occurred_at: Time::EPOCH,
            recorded_at: Time::EPOCH,
            actor: None,
        };
        numbers.map(|seq| Arc::new(event(seq))).collect()
    }

    fn found(recent: &Recent, client: ClientId, first: u64, last: u64) -> Option<Vec<u64>> {
        Some(recent.find(client, first, last)?.iter().map(|event| event.seq).collect())
    }

    #[test]
    fn what_was_read_is_found_whole_or_not_at_all() {
        let (recent, acme, other) = (Recent::default(), ClientId::new(), ClientId::new());
        recent.keep(acme, &read(acme, 3..=6));
        assert_eq!(found(&recent, acme, 3, 6), Some(vec![3, 4, 5, 6]));
        assert_eq!(found(&recent, acme, 5, 5), Some(vec![5]));
        for (first, last) in [(2, 4), (5, 7), (7, 7), (1, 2)] {
            assert_eq!(found(&recent, acme, first, last), None, "{first} to {last}");
        }
        assert_eq!(found(&recent, other, 3, 4), None);
    }

    #[test]
    fn what_follows_goes_on_and_what_does_not_begins_anew_unless_it_is_older() {
        let (recent, acme) = (Recent::default(), ClientId::new());
        recent.keep(acme, &read(acme, 3..=6));
        recent.keep(acme, &read(acme, 5..=8));
        assert_eq!(found(&recent, acme, 3, 8), Some((3..=8).collect()));
        recent.keep(acme, &read(acme, 1..=2));
        assert_eq!(found(&recent, acme, 3, 8), Some((3..=8).collect()), "older ones take nobody's place");
        recent.keep(acme, &read(acme, 20..=21));
        assert_eq!((found(&recent, acme, 8, 8), found(&recent, acme, 20, 21)), (None, Some(vec![20, 21])));
    }

    #[test]
    fn so_much_is_kept_and_no_more() {
        let recent = Recent::default();
        let clients: Vec<ClientId> = (0..20).map(|_| ClientId::new()).collect();
        for client in &clients {
            recent.keep(*client, &read(*client, 1..=3_000));
            recent.find(clients[0], 2_999, 3_000);
        }
        let (counted, there) = {
            let kept = recent.kept();
            (kept.events, kept.of.values().map(|of| of.events.len()).sum::<usize>())
        };
        assert!(counted <= KEPT_OF_ALL_MAX);
        assert_eq!(counted, there);
        let last = clients[19];
        assert_eq!((found(&recent, last, 952, 952), found(&recent, last, 953, 953)), (None, Some(vec![953])));
        assert!(found(&recent, clients[0], 3_000, 3_000).is_some(), "what is asked for stays");
        assert_eq!(found(&recent, clients[1], 3_000, 3_000), None);
    }
}
