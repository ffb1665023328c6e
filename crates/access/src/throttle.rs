//! Guessing is made slow: each account, and each network that somebody tries from, waits longer after every failure.
//!
//! Nobody is locked out for ever: a wait has an end that trying again does not move, and a network without failures of
//! its own may try any account, however many others fail at it.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures of accounts and networks, known by their keyed hashes only.
pub(crate) struct Throttle {
    hasher: RandomState,
    seen: Mutex<Seen>,
}

/// One try at the door. Ends as a failure unless it is forgiven, so that hanging up early hides nothing.
pub(crate) struct Attempt {
    throttle: Arc<Throttle>,
    account: u64,
    network: u64,
    at: Instant,
    failed: bool,
}

struct Seen {
    accounts: Tries,
    networks: Tries,
}

/// What is remembered of some accounts, or of some networks.
struct Tries {
    free: u32,
    of: HashMap<u64, Tried>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    failures: u32,
    running: u32,
    last: Instant,
}

/// People mistype: so many failures cost no wait. A network is an office full of people.
const FREE_OF_ACCOUNT: u32 = 3;
const FREE_OF_NETWORK: u32 = 10;
/// The first wait; each further failure doubles it, up to the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// After so long without a failure all earlier ones are forgotten.
const QUIET: Duration = Duration::from_secs(15 * 60);
/// Bounds the memory to a few MB, whoever tries whatever.
const REMEMBERED_MAX: usize = 65_536;

impl Throttle {
    pub(crate) fn new() -> Arc<Self> {
        let tries = |free| Tries { free, of: HashMap::new() };
        let seen = Seen { accounts: tries(FREE_OF_ACCOUNT), networks: tries(FREE_OF_NETWORK) };
        Arc::new(Self { hasher: RandomState::new(), seen: Mutex::new(seen) })
    }

    /// Lets one try at an account pass, whatever tells accounts apart, or tells how long to wait.
    pub(crate) fn enter(self: &Arc<Self>, at: impl Hash, from: IpAddr, now: Instant) -> Result<Attempt, Duration> {
        let account = self.hasher.hash_one(at);
        let network = self.hasher.hash_one(network(from));
        let mut seen = self.seen();
        let wait = match seen.networks.of(network, now) {
            None => Duration::ZERO,
            Some(_) => seen.networks.wait(network, now).max(seen.accounts.wait(account, now)),
        };
        if !wait.is_zero() {
            return Err(wait);
        }
        seen.accounts.start(account, now);
        seen.networks.start(network, now);
        Ok(Attempt { throttle: self.clone(), account, network, at: now, failed: true })
    }

    /// Counters are whole after every step, so a panic elsewhere leaves nothing half done.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// It was no failure: the password was right, or nobody could look.
    pub(crate) fn forgive(mut self) {
        self.failed = false;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut seen = self.throttle.seen();
        seen.accounts.end(self.account, self.failed, self.at);
        seen.networks.end(self.network, self.failed, self.at);
    }
}

impl Tries {
    fn of(&self, key: u64, now: Instant) -> Option<Tried> {
        self.of.get(&key).copied().filter(|tried| tried.counts(now))
    }

    fn wait(&self, key: u64, now: Instant) -> Duration {
        self.of(key, now).map_or(Duration::ZERO, |tried| tried.wait(self.free, now))
    }

    fn start(&mut self, key: u64, now: Instant) {
        if !self.of.contains_key(&key) {
            self.make_room(now);
        }
        let tried = self.of.entry(key).or_insert(Tried::nothing(now));
        if !tried.counts(now) {
            *tried = Tried::nothing(now);
        }
        tried.running += 1;
    }

    fn end(&mut self, key: u64, failed: bool, at: Instant) {
        let tried = self.of.entry(key).or_insert(Tried::nothing(at));
        tried.running = tried.running.saturating_sub(1);
        if failed {
            tried.failures = tried.failures.saturating_add(1);
            tried.last = tried.last.max(at);
        } else if tried.failures == 0 && tried.running == 0 {
            self.of.remove(&key);
        }
    }

    /// Whoever failed least goes first, so that many new ones do not wash away one that is being guessed at.
    fn make_room(&mut self, now: Instant) {
        if self.of.len() < REMEMBERED_MAX {
            return;
        }
        self.of.retain(|_, tried| tried.counts(now));
        if self.of.len() >= REMEMBERED_MAX {
            let least = self.of.iter().min_by_key(|(_, tried)| (tried.failures, tried.last)).map(|(key, _)| *key);
            least.map(|key| self.of.remove(&key));
        }
    }
}

impl Tried {
    fn nothing(now: Instant) -> Self {
        Self { failures: 0, running: 0, last: now }
    }

    fn counts(&self, now: Instant) -> bool {
        self.running > 0 || (self.failures > 0 && now.saturating_duration_since(self.last) < QUIET)
    }

    /// Past the free ones only one try runs at a time: a thousand at once would all pass before the first has failed.
    fn wait(&self, free: u32, now: Instant) -> Duration {
        match self.failures.saturating_add(self.running).checked_sub(free) {
            None => Duration::ZERO,
            Some(_) if self.running > 0 => WAIT_FIRST,
            Some(over) => {
                let wait = (WAIT_FIRST * 2_u32.pow(over.min(6))).min(WAIT_MAX);
                (self.last + wait).saturating_duration_since(now)
            }
        }
    }
}

/// Whom one attacker can be anywhere in: the /24 of an IPv4 address, the /64 of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("failed", &self.failed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::Email;

    /// A door and a clock that a test turns.
    struct Door {
        throttle: Arc<Throttle>,
        now: Instant,
    }

    impl Door {
        fn new() -> Self {
            Self { throttle: Throttle::new(), now: Instant::now() }
        }

        fn enter(&self, account: &str, from: &str) -> Result<Attempt, Duration> {
            let email: Email = format!("{account}@example.com").parse().unwrap();
            self.throttle.enter(email.account(), from.parse().unwrap(), self.now)
        }

        /// A failure, at once or as soon as one is heard; how long that took.
        fn fail(&mut self, account: &str, from: &str) -> Duration {
            let mut waited = Duration::ZERO;
            loop {
                match self.enter(account, from) {
                    Ok(_failed) => return waited,
                    Err(wait) => {
                        waited += wait;
                        self.now += wait;
                    }
                }
            }
        }
    }

    fn seconds(waits: &[Duration]) -> Vec<u64> {
        waits.iter().map(Duration::as_secs).collect()
    }

    #[test]
    fn an_account_waits_longer_after_every_failure_but_never_longer_than_a_minute() {
        let mut door = Door::new();
        let waits: Vec<Duration> = (0..12).map(|_| door.fail("one", "192.0.2.1")).collect();
        assert_eq!(seconds(&waits), [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_network_waits_whichever_accounts_it_tries_and_whichever_of_its_addresses() {
        for at in [|n| format!("192.0.2.{n}"), |n| format!("::ffff:192.0.2.{n}"), |n| format!("2001:db8::{n}:1")] {
            let mut door = Door::new();
            let waits: Vec<Duration> = (0..13).map(|n| door.fail(&n.to_string(), &at(n))).collect();
            assert_eq!(seconds(&waits), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4]);
            for elsewhere in ["198.51.100.1", "::ffff:203.0.113.1", "2001:db8:0:1::1"] {
                assert!(door.enter("another", elsewhere).is_ok(), "{elsewhere} waits for others");
            }
        }
    }

    #[test]
    fn who_owns_the_account_gets_in_from_elsewhere_while_others_fail_at_it() {
        let mut door = Door::new();
        for n in 0..200 {
            door.fail("owner", &format!("10.0.{n}.1"));
        }
        assert!(door.enter("owner", "10.0.7.99").is_err(), "a network that failed waits");
        door.enter("owner", "192.0.2.1").expect("a network that did not is heard").forgive();
        drop(door.enter("owner", "192.0.2.1").expect("and again, with a mistake"));
        assert!(door.enter("owner", "192.0.2.1").is_err(), "which makes it one that failed");
    }

    #[test]
    fn trying_while_it_waits_does_not_make_it_wait_longer() {
        let mut door = Door::new();
        for _ in 0..5 {
            door.fail("one", "192.0.2.1");
        }
        let wait = door.enter("one", "192.0.2.1").unwrap_err();
        for _ in 0..100 {
            assert_eq!(door.enter("one", "192.0.2.1").unwrap_err(), wait);
        }
        door.now += wait;
        assert!(door.enter("one", "192.0.2.1").is_ok());
    }

    #[test]
    fn many_tries_at_once_are_no_more_than_the_free_ones() {
        let door = Door::new();
        let running: Vec<_> = (0..100).map(|_| door.enter("one", "192.0.2.1")).collect();
        assert_eq!(running.iter().filter(|attempt| attempt.is_ok()).count(), FREE_OF_ACCOUNT as usize);
        drop(running);
        assert!(door.enter("one", "192.0.2.1").is_err(), "dropped is failed");
    }

    #[test]
    fn who_has_waited_is_heard_once_however_many_tries_come_at_that_moment() {
        let mut door = Door::new();
        for _ in 0..5 {
            door.fail("one", "192.0.2.1");
        }
        door.now += WAIT_MAX;
        let running: Vec<_> = (0..100).map(|_| door.enter("one", "192.0.2.1")).collect();
        assert_eq!(running.iter().filter(|attempt| attempt.is_ok()).count(), 1);
    }

    #[test]
    fn an_account_is_the_same_however_its_address_is_written() {
        let mut door = Door::new();
        for account in ["someone", "Someone", "SOMEONE"] {
            door.fail(account, "192.0.2.1");
        }
        assert!(door.enter("sOmEoNe", "192.0.2.1").is_err());
    }

    #[test]
    fn what_was_forgiven_or_is_long_past_leaves_no_trace() {
        let mut door = Door::new();
        for _ in 0..50 {
            door.enter("one", "192.0.2.1").unwrap().forgive();
        }
        assert!(door.throttle.seen().accounts.of.is_empty() && door.throttle.seen().networks.of.is_empty());
        for _ in 0..9 {
            door.fail("one", "192.0.2.1");
        }
        door.now += QUIET;
        assert_eq!(door.fail("one", "192.0.2.1"), Duration::ZERO);
        assert_eq!(door.throttle.seen().accounts.of.values().map(|tried| tried.failures).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn memory_is_bounded_and_who_fails_most_is_remembered_longest() {
        let mut door = Door::new();
        for _ in 0..6 {
            door.fail("guessed", "192.0.2.1");
        }
        let mut seen = door.throttle.seen();
        for n in 0..REMEMBERED_MAX as u64 + 50 {
            seen.accounts.start(n, door.now);
            seen.accounts.end(n, true, door.now);
        }
        assert_eq!(seen.accounts.of.len(), REMEMBERED_MAX);
        drop(seen);
        assert!(door.enter("guessed", "192.0.2.1").is_err());
    }

    #[test]
    fn nothing_shows_an_address() {
        let door = Door::new();
        let attempt = door.enter("someone", "192.0.2.1").unwrap();
        let shown = format!("{:?} {attempt:?}", door.throttle);
        assert!(!shown.contains("someone") && !shown.contains("192"), "{shown}");
    }
}
