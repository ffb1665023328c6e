//! One client that everybody writes to: its row's lock allows one append at a time, unless they go together.

use store::Streams;

use crate::{
    append::Callers,
    facts,
    ground::Ground,
    plain::Plain,
    table::{Pair, Row},
};

const CALLERS: usize = 64;

pub async fn run(ground: &Ground) -> Vec<Row> {
    let together = measure(ground, false).await;
    let alone = measure(ground, true).await;
    vec![
        Row::ratio("one hot client, 64 callers, one committer", together, Some(100)),
        Row::ratio("one hot client, 64 callers, a call a command", alone, None),
    ]
}

/// With a committer a caller, no two commands ever share a call.
async fn measure(ground: &Ground, alone: bool) -> Pair {
    let database = ground.database().await;
    let (plain, shared) = (Plain::new(&database).await, database.streams());
    let own = || Streams::new(store::Login::Writer.pool(&database.owner, &database.secret, 1));
    let streams = |_| if alone { own() } else { shared.clone() };
    let mut callers = Callers::new((0..CALLERS).map(|n| (streams(n), facts::client(0))).collect());
    let mut rounds = Vec::new();
    for _ in 0..ground.rounds() {
        let baseline = plain.inserts(CALLERS, ground.turn()).await;
        let subject = callers.append(ground.turn()).await;
        rounds.push(Pair { subject, baseline });
    }
    Pair::median(rounds)
}
