//! What each may ask for in a time. A dashboard that asks twenty things each second takes a twenty-fifth of its reads.

use std::{num::NonZeroU32, time::Duration};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Read,
    Command,
    Login,
    Stream,
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    User,
    Client,
    Network,
}

/// So many at once, and one more each time `every` is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub class: Class,
    pub party: Party,
    pub burst: NonZeroU32,
    pub every: Duration,
}

/// What one process allows of logins and commands while the common count is away: as much as all together should, if there
/// are four of them.
pub const APART: u32 = 4;

impl Quota {
    /// With all rates at so many hundredths of their defaults.
    pub fn of(class: Class, party: Party, percent: u32) -> Self {
        let (a_minute, burst) = defaults(class, party);
        let every_ns = 60_000_000_000 * 100 / (u64::from(a_minute) * u64::from(percent)).max(1);
        let burst = u32::try_from(u64::from(burst) * u64::from(percent) / 100).unwrap_or(u32::MAX);
        Self {
            class,
            party,
            burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
            every: Duration::from_nanos(every_ns.max(1)),
        }
    }

    /// What holds while each process counts by itself and should not.
    #[must_use]
    pub fn apart(self) -> Self {
        match self.class {
            Class::Read | Class::Stream => self,
            Class::Command | Class::Login => Self {
                burst: NonZeroU32::new(self.burst.get() / APART).unwrap_or(NonZeroU32::MIN),
                every: self.every * APART,
                ..self
            },
        }
    }

    /// How long it takes until so many places are free again.
    pub fn refill(&self, places: u32) -> Duration {
        self.every * places
    }

    pub fn name(&self) -> &'static str {
        match (self.class, self.party) {
            (Class::Read, Party::User) => "read-user",
            (Class::Read, Party::Client) => "read-client",
            (Class::Read, Party::Network) => "read-network",
            (Class::Command, Party::User) => "command-user",
            (Class::Command, Party::Client) => "command-client",
            (Class::Command, Party::Network) => "command-network",
            (Class::Login, Party::User) => "login-user",
            (Class::Login, Party::Client) => "login-client",
            (Class::Login, Party::Network) => "login-network",
            (Class::Stream, Party::User) => "stream-user",
            (Class::Stream, Party::Client) => "stream-client",
            (Class::Stream, Party::Network) => "stream-network",
        }
    }
}

/// A minute, and at once.
fn defaults(class: Class, party: Party) -> (u32, u32) {
    match (class, party) {
        (Class::Read, Party::User) => (30_000, 2_000),
        (Class::Read, Party::Client) => (120_000, 8_000),
        // The pages themselves, for everybody who sits behind one address and has not logged in yet.
        (Class::Read, Party::Network) => (6_000, 1_000),
        (Class::Command, Party::User) => (1_200, 200),
        (Class::Command, Party::Client) => (3_600, 600),
        (Class::Command, Party::Network) => (300, 50),
        // A hash of a password takes a core for a twentieth of a second.
        (Class::Login, Party::User | Party::Client | Party::Network) => (120, 60),
        (Class::Stream, Party::User) => (120, 40),
        (Class::Stream, Party::Client) => (480, 160),
        (Class::Stream, Party::Network) => (60, 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_grows_and_shrinks_as_a_whole_and_never_to_nothing() {
        let quota = |percent| Quota::of(Class::Command, Party::User, percent);
        assert_eq!((quota(100).burst.get(), quota(100).every), (200, Duration::from_millis(50)));
        assert_eq!((quota(1).burst.get(), quota(1).every), (2, Duration::from_secs(5)));
        assert_eq!((quota(1_000_000).burst.get(), quota(1_000_000).every), (2_000_000, Duration::from_micros(5)));
        assert_eq!((quota(1).apart().burst.get(), quota(1).apart().every), (1, Duration::from_secs(20)));
        let reads = Quota::of(Class::Read, Party::Client, 1_000_000);
        assert_eq!((reads.apart(), reads.burst.get(), reads.every.as_nanos()), (reads, 80_000_000, 50));
    }
}
