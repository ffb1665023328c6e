//! What somebody who asks as a dashboard does gets while the edge is under attack, beside what it gets in peace: bodies
//! that mean nothing, heads and bodies that come drop by drop, listeners that never read. The attackers and the process
//! share this machine.

use std::{
    fs::{self, File},
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::Client as Http;
use sqlx::PgPool;
use store::Login;
use tests::{Attack, Database, Served, token};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    facts,
    ground::Ground,
    table::{Row, Target},
};

const NONSENSE: usize = 10_000;
const SLOW: usize = 1_000;
const DEAF: usize = 32;
/// Between two questions of the one who is measured.
const STEP: Duration = Duration::from_millis(5);
/// Events that are there to be listened to.
const EVENTS: u64 = 20_000;

pub async fn run(ground: &Ground) -> Vec<Row> {
    let database = ground.database().await;
    let [legit, hostile] = [0, 1].map(facts::client);
    let streams = database.streams();
    for client in [legit, hostile] {
        let fills = (0..EVENTS).step_by(100).map(|first| facts::recorded(client, first..first + 100));
        for outcome in streams.committer().append_all(fills.collect()).await {
            outcome.expect("it is written");
        }
    }
    let served = serve(&database);
    let (known, bad) = (token(&database, Some(legit)), token(&database, Some(hostile)));
    let turn = ground.turn() * 4;
    let db = database.pool(Login::Projector);
    caught_up(&db).await;
    let peace = measure(&served, &known, async || tokio::time::sleep(turn).await).await;
    let before = memory_kb(&served);
    let mut rows = vec![Row::latency("a question in peace, p99", peace.p99(), None)];
    for (what, attack) in [
        ("10,000 bodies of nonsense", Kind::Nonsense),
        ("2,000 slow senders", Kind::Slow),
        ("32 deaf listeners", Kind::Deaf),
        ("all of them", Kind::All),
    ] {
        let attacked = measure(&served, &known, async || attack.go_on(&served, &bad, turn).await).await;
        rows.push(Row::latency(format!("under {what}, p99"), attacked.p99(), None));
        let ratio = attacked.p99() * 100 / peace.p99().max(1);
        rows.push(Row::value(format!("under {what}, p99 of peace's"), ratio, "%", Target::AtMost(200)));
        rows.push(Row::value(format!("under {what}, wrong answers"), attacked.wrong, "answers", Target::AtMost(0)));
    }
    let grown = memory_kb(&served).saturating_sub(before);
    rows.push(Row::value("memory that all of it took", grown / 1_024, "MB", Target::AtMost(200)));
    rows
}

/// As it runs for everybody: with its usual limits, and a log that is written.
fn serve(database: &Database) -> Served {
    let mut command = database.command(&["serve", "--roles", "api,projector", "--port", "0"]);
    let log = File::create("/dev/null").expect("there is one");
    command.env("RATE_LIMITS_PERCENT", "100").env_remove("RUST_LOG").stderr(Stdio::from(log));
    Served::of(command)
}

enum Kind {
    Nonsense,
    Slow,
    Deaf,
    All,
}

impl Kind {
    /// Until it has had its effect.
    async fn go_on(&self, served: &Served, bad: &str, turn: Duration) {
        let nonsense = async |n| Attack::nonsense(served, bad, n).finish().await;
        let slow = || [Attack::slow_heads(served, SLOW), Attack::slow_bodies(served, bad, SLOW)];
        match self {
            Self::Nonsense => nonsense(NONSENSE).await,
            Self::Slow => {
                let _slow = slow();
                tokio::time::sleep(turn).await;
            }
            Self::Deaf => {
                let _deaf = Attack::deaf(served, bad, DEAF);
                tokio::time::sleep(turn).await;
            }
            Self::All => {
                let (_slow, _deaf) = (slow(), Attack::deaf(served, bad, DEAF));
                tokio::join!(nonsense(NONSENSE), tokio::time::sleep(turn));
            }
        }
    }
}

/// How long each question took.
struct Measured {
    micros: Vec<u64>,
    wrong: u64,
}

impl Measured {
    fn p99(&self) -> u64 {
        self.micros[self.micros.len() * 99 / 100]
    }
}

/// Asks in a steady step until the other thing is done. From a thread of its own: the attackers keep the others busy.
async fn measure(served: &Served, token: &str, other: impl AsyncFnOnce()) -> Measured {
    let over = CancellationToken::new();
    let (url, token, until) = (format!("{}/api/fills?limit=20", served.url), token.to_owned(), over.clone());
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(ask(&url, &token, until))
    });
    other().await;
    over.cancel();
    tokio::task::spawn_blocking(|| asking.join().expect("it asks to the end")).await.expect("it is waited for")
}

async fn ask(url: &str, token: &str, until: CancellationToken) -> Measured {
    let (http, mut measured) = (Http::new(), Measured { micros: Vec::new(), wrong: 0 });
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !until.is_cancelled() {
        steps.tick().await;
        let began = Instant::now();
        let fine = match http.get(url).bearer_auth(token).send().await {
            Ok(answer) => answer.status() == 200 && answer.bytes().await.is_ok_and(|body| body.len() > 1_000),
            Err(_) => false,
        };
        measured.micros.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        measured.wrong += u64::from(!fine);
    }
    measured.micros.sort_unstable();
    measured
}

/// Every read model has read both clients.
async fn caught_up(db: &PgPool) {
    let read = "select count(*) from rm.checkpoints where reached >= $1";
    let all = 2 * projections::all(db).len() as i64;
    loop {
        let count: i64 = sqlx::query_scalar(read).bind(EVENTS as i64).fetch_one(db).await.expect("they can be read");
        if count >= all {
            return;
        }
        tokio::time::sleep(STEP * 20).await;
    }
}

fn memory_kb(served: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).unwrap_or_default()
}
