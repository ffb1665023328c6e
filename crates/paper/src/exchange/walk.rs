//! A market that nobody recorded: prices that walk at random, the same for the same seed.

use events::{Decimal, bot::Venue};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{book::Tick, listing::Listing};
use crate::exact::{difference, product, sum};

#[derive(Debug)]
pub(crate) struct Walk {
    rng: StdRng,
    price: Decimal,
    step: Decimal,
    listing: Listing,
    every_ms: i64,
    at_ms: i64,
    /// The price goes before the print that it made.
    due: Option<Tick>,
}

impl Walk {
    pub(crate) fn new(venue: &Venue, listing: &Listing, seed: u64, prints_per_second: u32) -> Self {
        let name = format!("{}/{}/{}", venue.exchange, venue.market, venue.pair);
        // FNV-1a: each market walks its own way, in every build the same.
        let own = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self {
            rng: StdRng::seed_from_u64(seed ^ own),
            price: listing.price,
            step: listing.gap(),
            listing: listing.clone(),
            every_ms: i64::from(1_000 / prints_per_second.clamp(1, 1_000)),
            at_ms: 0,
            due: None,
        }
    }

    pub(crate) fn next(&mut self) -> (i64, Tick) {
        if let Some(print) = self.due.take() {
            return (self.at_ms, print);
        }
        self.at_ms += self.every_ms;
        let moved = product(self.step, Decimal::from_int(self.rng.random_range(-4..=4)));
        let price = sum(self.price, moved);
        if price > product(self.step, Decimal::from_int(10)) {
            self.price = price;
        }
        self.due = Some(self.print());
        (self.at_ms, Tick::Best { bid: difference(self.price, self.listing.price_step), ask: self.price })
    }

    /// Between a hundredth and a half of a level's depth.
    fn print(&mut self) -> Tick {
        let hundredths = Decimal::new(self.rng.random_range(1..=50), 2);
        let amount = crate::exact::floor_to(product(self.listing.depth, hundredths), self.listing.amount_step);
        Tick::Print { price: self.price, amount }
    }
}
