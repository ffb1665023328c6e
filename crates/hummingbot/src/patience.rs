//! How long the API is waited for, by what is asked of it.

use std::time::Duration;

/// The longest that one attempt may take. Reads are attempted up to three times, everything else once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the whole answer of an ordinary call is there.
    pub answer: Duration,
    /// Adding a credential: the API logs in to the exchange, which took 2 to 8 s.
    pub credential: Duration,
    /// Deploying, stopping and archiving: the API talks to Docker.
    pub deploy: Duration,
    /// The history of a bot, which the API asks of the bot itself.
    pub history: Duration,
    /// Order books and candles: the API gives a new feed 30 s to fill.
    pub feed: Duration,
    /// How long an unused connection is kept. The server closes its own after 5 s: a call must not meet that.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(15),
            credential: Duration::from_secs(60),
            deploy: Duration::from_secs(60),
            history: Duration::from_secs(30),
            feed: Duration::from_secs(45),
            idle: Duration::from_secs(3),
        }
    }
}
