//! Buckets in this process.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota as Rate, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use tokio_util::sync::CancellationToken;

use super::{
    Bucket, Level, Verdict,
    quota::{Class, Party, Quota},
};

/// Buckets that are full again are forgotten so often.
const FORGET_EVERY: Duration = Duration::from_secs(5);
/// With more than so many of one kind, networks that are new share one bucket until some are forgotten.
const KEPT_MAX: usize = 100_000;
/// The key of those.
const CROWD: u128 = 0;

type Limiter<C> = RateLimiter<u128, DashMapStateStore<u128>, C, StateInformationMiddleware>;

/// All buckets. Clones share them.
#[derive(Clone)]
pub struct Local<C: Clock = DefaultClock> {
    kinds: Arc<[Kind<C>]>,
    clock: C,
}

/// The buckets of one class and party.
struct Kind<C: Clock> {
    quota: Quota,
    limiter: Limiter<C>,
    crowded: AtomicBool,
}

impl Local {
    /// `apart`: it is only in use while the common count is away.
    pub fn new(percent: u32, apart: bool) -> Self {
        Self::by(DefaultClock::default(), percent, apart)
    }

    /// Keeps memory small, until `stop`.
    pub async fn forget_idle_ones(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! { () = tokio::time::sleep(FORGET_EVERY) => self.forget(), () = stop.cancelled() => {} }
        }
    }
}

impl<C: Clock + Clone> Local<C> {
    fn by(clock: C, percent: u32, apart: bool) -> Self {
        let classes = [Class::Read, Class::Command, Class::Login, Class::Stream];
        let all = classes.into_iter().flat_map(|class| {
            [Party::User, Party::Client, Party::Network].map(|party| Quota::of(class, party, percent))
        });
        let kinds = all.map(|quota| Kind::new(if apart { quota.apart() } else { quota }, &clock)).collect();
        Self { kinds, clock }
    }

    /// Takes a place in each, up to the first that has none.
    pub fn take(&self, buckets: &[Bucket]) -> Verdict {
        let mut levels = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let level = self.kind(bucket).take(bucket.key, &self.clock);
            levels.push(level);
            if !level.wait.is_zero() {
                break;
            }
        }
        Verdict::new(levels)
    }

    fn kind(&self, bucket: &Bucket) -> &Kind<C> {
        let mine = |kind: &&Kind<C>| (kind.quota.class, kind.quota.party) == (bucket.class, bucket.party);
        self.kinds.iter().find(mine).expect("there is one of every class and party")
    }

    fn forget(&self) {
        for kind in &*self.kinds {
            kind.limiter.retain_recent();
            kind.limiter.shrink_to_fit();
            kind.crowded.store(kind.limiter.len() > KEPT_MAX, Ordering::Relaxed);
        }
    }
}

impl<C: Clock + Clone> Kind<C> {
    fn new(quota: Quota, clock: &C) -> Self {
        let rate = Rate::with_period(quota.every).expect("it is longer than nothing").allow_burst(quota.burst);
        let limiter = RateLimiter::new(rate, DashMapStateStore::default(), clock.clone());
        Self { quota, limiter, crowded: AtomicBool::new(false) }
    }

    fn take(&self, key: u128, clock: &C) -> Level {
        let crowded = self.quota.party == Party::Network && self.crowded.load(Ordering::Relaxed);
        match self.limiter.check_key(if crowded { &CROWD } else { &key }) {
            Ok(state) => Level { quota: self.quota, left: state.remaining_burst_capacity(), wait: Duration::ZERO },
            Err(not_until) => {
                let wait = not_until.wait_time_from(clock.now()).max(Duration::from_nanos(1));
                Level { quota: self.quota, left: 0, wait }
            }
        }
    }
}

impl<C: Clock> fmt::Debug for Local<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn bucket(class: Class, party: Party, key: u128) -> Bucket {
        Bucket { class, party, key }
    }

    fn passes(local: &Local<FakeRelativeClock>, buckets: &[Bucket]) -> bool {
        local.take(buckets).refusal().is_none()
    }

    #[test]
    fn each_has_its_own_and_time_gives_back_what_was_taken() {
        let clock = FakeRelativeClock::default();
        let local = Local::by(clock.clone(), 100, false);
        let (mine, yours) = (bucket(Class::Command, Party::User, 1), bucket(Class::Command, Party::User, 2));
        assert_eq!((0..300).filter(|_| passes(&local, &[mine])).count(), 200);
        assert!(passes(&local, &[yours]), "another user's is another");
        assert!(passes(&local, &[bucket(Class::Read, Party::User, 1)]), "and another class's");
        clock.advance(Duration::from_millis(100));
        assert_eq!((0..9).filter(|_| passes(&local, &[mine])).count(), 2);
    }

    #[test]
    fn all_of_a_clients_users_together_have_no_more_than_the_client() {
        let local = Local::by(FakeRelativeClock::default(), 100, false);
        let of = |user| [bucket(Class::Command, Party::User, user), bucket(Class::Command, Party::Client, 7)];
        let passed = (0..10).flat_map(|user| (0..200).map(move |_| user)).filter(|user| passes(&local, &of(*user)));
        assert_eq!(passed.count(), 600);
    }

    #[test]
    fn alone_a_process_allows_a_quarter_of_logins_and_commands_and_all_reads() {
        let local = Local::by(FakeRelativeClock::default(), 100, true);
        let passed = |class| (0..5_000).filter(|_| passes(&local, &[bucket(class, Party::User, 1)])).count();
        assert_eq!((passed(Class::Command), passed(Class::Login), passed(Class::Read)), (50, 15, 2_000));
    }

    #[test]
    fn who_is_idle_takes_no_memory_and_a_crowd_of_networks_shares_one_bucket() {
        let clock = FakeRelativeClock::default();
        let local = Local::by(clock.clone(), 100, false);
        let network = |key| bucket(Class::Command, Party::Network, key);
        for key in 1..=KEPT_MAX as u128 + 1 {
            assert!(passes(&local, &[network(key)]));
        }
        local.forget();
        assert_eq!((0..100).filter(|n| passes(&local, &[network(1_000_000 + n)])).count(), 50, "they share one");
        clock.advance(Duration::from_secs(60));
        local.forget();
        assert!(local.kind(&network(1)).limiter.is_empty());
        assert_eq!((0..100).filter(|n| passes(&local, &[network(1_000_000 + n)])).count(), 100);
    }
}
