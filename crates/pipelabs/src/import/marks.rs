//! Marks on their way into streams, each told apart from its like.

use std::collections::HashMap;

use events::{AggregateRef, ClientId, Pair, Price, Time, market::MarketEvent};
use store::{Append, Cause, Draft, Expected};

/// A rate that was observed: the n-th time that this price of this pair at this time is told is one fact, however often
/// a file is read.
#[derive(Debug, Clone)]
pub struct Mark {
    pub pair: Pair,
    price: Price,
    at: Time,
    nth: u64,
}

/// How often each rate was told so far.
#[derive(Debug, Default)]
pub struct Told(HashMap<(Pair, Time, String), u64>);

impl Told {
    /// The next telling of a rate.
    pub fn mark(&mut self, pair: Pair, price: Price, at: Time) -> Mark {
        let told = self.0.entry((pair.clone(), at, price.to_string())).or_default();
        *told += 1;
        Mark { pair, price, at, nth: *told }
    }
}

impl Mark {
    /// The append that brings it into a stream.
    pub fn to(&self, client: ClientId, cause: &Cause) -> Append {
        let Self { pair, price, at, nth } = self.clone();
        let key = format!("mark:{pair}:{at}:{price}:{nth}");
        let aggregate = AggregateRef::new("market", &pair);
        let event = MarketEvent::MarkObserved { pair, price, source: "import".to_owned(), at };
        let events = vec![Draft { event: event.into(), key: Some(key) }];
        Append { client, aggregate, expected: Expected::Any, events, cause: cause.clone() }
    }
}
