//! The workers: any number of them, killed, stopped or poisoned, end in the rows of a rebuild.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use events::{
    AggregateRef, BotId, ClientId,
    bot::BotEvent,
    ledger::{Fill, LedgerEvent},
};
use projections::{
    projection::{ReadModel, Step},
    versions,
    worker::catch_up,
};
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use store::{Append, Login, Streams, read};
use tests::{Database, Served, token};

use crate::facts::{append, at, client_with_bot, d, fill, ledger, mark, recorded, write};

/// Every read model equals its rebuild, byte for byte.
pub async fn equal_to_a_rebuild(database: &Database) {
    let db = database.pool(Login::Projector);
    let pairs = projections::all(&db).into_iter().zip(projections::all(&db));
    for (mut new, mut live) in pairs {
        let found = versions::rebuild(&db, &mut *new, &mut *live, |_| {}).await.unwrap();
        assert!(found.differences.is_empty(), "{}: {:?}", new.name(), found.differences);
        versions::discard(&db, &*new, found.version).await.unwrap();
    }
}

/// Fills in time and late, marks, corrections and voids, in one hour around a midnight.
fn story(client: ClientId, bot: BotId, random: &mut StdRng, from: u64) -> Vec<Append> {
    let mut facts: Vec<Append> =
        (from..from + 60).map(|n| recorded(client, fill(client, bot, n, random.random_range(0..3_600_000)))).collect();
    facts.extend((0..20).map(|n| {
        let pair = ["SOL-USDT", "KCS-USDT"][n % 2];
        mark(client, pair, &format!("{}.{}", 160 + n, n), random.random_range(0..3_600_000))
    }));
    facts.shuffle(random);
    facts
}

/// Corrects and voids some of what was recorded.
async fn mend(streams: &Streams, database: &Database, client: ClientId, random: &mut StdRng) {
    let events = read::after(&database.pool(Login::Projector), client, 0, 100_000).await.unwrap();
    let fills: Vec<(u64, Fill)> = events
        .into_iter()
        .filter_map(|event| {
            let events::Event::Ledger(LedgerEvent::FillRecorded(fill)) = event.event else { return None };
            Some((event.seq, fill))
        })
        .collect();
    let mut mended = Vec::new();
    for (seq, was) in fills.choose_multiple(random, 6) {
        let right = Fill { price: events::Price(was.price.0.plus(d("0.01")).unwrap()), ..was.clone() };
        let event = if random.random_bool(0.7) {
            domain::ledger::correct(*seq, was, right, "exact figures".into()).unwrap()
        } else {
            LedgerEvent::FillVoided { voids: *seq, was: was.clone().into(), reason: "never happened".into() }
        };
        mended.push(ledger(client, event, None));
    }
    write(streams, mended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_duplicate_corrected_and_voided_fills_end_in_the_rows_of_a_rebuild() {
    for seed in 0..4 {
        let database = Database::new().await;
        let streams = database.streams();
        let (client, bot) = client_with_bot(&streams, "acme").await;
        let db = database.pool(Login::Projector);
        let mut random = StdRng::seed_from_u64(seed);
        let mut models = projections::all(&db);
        for round in 0..5 {
            let facts = story(client, bot, &mut random, round * 60);
            // Batches of every size: after each piece the models are folded to the head.
            for piece in facts.chunks(random.random_range(1..40)) {
                write(&streams, piece.to_vec()).await;
                let again: Vec<Append> = piece.iter().filter(|f| f.events[0].key.is_some()).take(3).cloned().collect();
                streams.committer().append_all(again).await;
                for model in &mut models {
                    // Now and then a fresh worker takes over, which remembers nothing.
                    if random.random_bool(0.2) {
                        *model = projections::named(&db, model.name()).unwrap();
                    }
                    catch_up(&mut **model, |_| {}).await.unwrap();
                }
            }
            mend(&streams, &database, client, &mut random).await;
        }
        for model in &mut models {
            catch_up(&mut **model, |_| {}).await.unwrap();
        }
        equal_to_a_rebuild(&database).await;
    }
}

fn model(db: &sqlx::PgPool, name: &str) -> Box<dyn ReadModel> {
    projections::named(db, name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_folded_parks_its_client_and_no_other_until_a_person_decides() {
    let database = Database::new().await;
    let streams = database.streams();
    let (poisoned, bot) = client_with_bot(&streams, "poisoned").await;
    let (healthy, _) = client_with_bot(&streams, "healthy").await;
    let nobody =
        append(poisoned, AggregateRef::new("bot", BotId::new()), BotEvent::BotStopped { at: at(1) }.into(), None);
    write(&streams, (0..20).map(|n| recorded(poisoned, fill(poisoned, bot, n, 0))).collect()).await;
    let seq = write(&streams, vec![nobody]).await[0].first;
    write(&streams, vec![recorded(poisoned, fill(poisoned, bot, 99, 50))]).await;
    let db = database.pool(Login::Projector);
    let mut bots = model(&db, "bots");
    let parked = catch_up(&mut *bots, |_| {}).await.unwrap();
    let [Step::Parked { client, seq: at_seq, trouble }] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!((*client, *at_seq), (poisoned, seq), "parked exactly at the event that is to blame");
    assert!(trouble.contains("nobody created its bot"), "{trouble}");
    let reach = |client| projections::checkpoints::reach(&db, "bots", client);
    assert_eq!(reach(poisoned).await.unwrap().reached, seq - 1);
    assert_eq!(reach(healthy).await.unwrap().reached, 2);
    // The figures of the same client go on.
    assert!(catch_up(&mut *model(&db, "pnl"), |_| {}).await.unwrap().is_empty());
    let listed = database.succeed(&["parked", "list"]);
    assert!(listed.contains("nobody created its bot") && listed.contains(&poisoned.to_string()), "{listed}");

    database.succeed(&["parked", "retry", "bots", "--client", "poisoned"]);
    assert!(matches!(catch_up(&mut *bots, |_| {}).await.unwrap().as_slice(), [Step::Parked { .. }]), "it is still bad");

    let wrong = database.run(&["parked", "skip", "bots", "--client", "poisoned", "--seq", "3", "--reason", "x"]);
    assert!(!wrong.status.success());
    let skip = ["parked", "skip", "bots", "--client", "poisoned", "--seq", &seq.to_string(), "--reason", "no such bot"];
    database.succeed(&skip);
    assert!(catch_up(&mut *bots, |_| {}).await.unwrap().is_empty());
    assert_eq!(reach(poisoned).await.unwrap().reached, seq + 1);
    assert_eq!(database.succeed(&["parked", "list"]), "");
    for model in &mut projections::all(&db) {
        catch_up(&mut **model, |_| {}).await.unwrap();
    }
    // A rebuild reads the decision, too.
    equal_to_a_rebuild(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_build_parks_and_withholds_nothing_that_stands_before_it() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    write(&streams, (0..5).map(|n| recorded(client, fill(client, bot, n, 0))).collect()).await;
    let newer =
        "alter table es.events disable trigger user; update es.events set event_version = '99' where client_seq = 6";
    sqlx::raw_sql(newer).execute(&database.superuser()).await.unwrap();
    let mut pnl = model(&database.pool(Login::Projector), "pnl");
    let parked = catch_up(&mut *pnl, |_| {}).await.unwrap();
    let [Step::Parked { seq: 6, trouble, .. }] = parked.as_slice() else { panic!("{parked:?}") };
    assert!(trouble.contains("version \"99\" of FillRecorded is not known to this build"), "{trouble}");
    let report = database.run(&["report", "pnl", "--format", "json"]);
    let said = String::from_utf8(report.stderr).unwrap();
    assert!(said.contains("warning: stale") && said.contains("it is parked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_share_the_work_and_fold_each_event_once() {
    let database = Database::new().await;
    let streams = database.streams();
    for n in 0..6 {
        let (client, bot) = client_with_bot(&streams, &format!("client-{n}")).await;
        write(&streams, (0..300).map(|n| recorded(client, fill(client, bot, n, n as i64 * 700))).collect()).await;
    }
    let db = database.pool(Login::Projector);
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let mut overview = model(&db, "overview");
        tasks.push(tokio::spawn(async move { catch_up(&mut *overview, |_| {}).await.unwrap() }));
    }
    for task in tasks {
        assert!(task.await.unwrap().is_empty());
    }
    // A worker that found everything in others' hands has gone; whoever is left finishes.
    catch_up(&mut *model(&db, "overview"), |_| {}).await.unwrap();
    let mut tx = database.pool(Login::AdminQuery).begin().await.unwrap();
    versions::use_live(&mut tx).await.unwrap();
    let fills: Vec<i64> =
        projections::overview::every(&mut *tx).await.unwrap().into_iter().map(|line| line.fills).collect();
    assert_eq!(fills, [300; 6]);
    drop(tx);
    for model in &mut projections::all(&db) {
        catch_up(&mut **model, |_| {}).await.unwrap();
    }
    equal_to_a_rebuild(&database).await;
}

fn signal(pid: u32, name: &str) {
    // The shell's own: a bare system has no program of this name.
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_in_the_middle_wakes_late_and_writes_nothing() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let mut worker = database.start(&["serve", "--roles", "projector"]);
    let superuser = database.superuser();
    let holding = || {
        let held = "select count(*) from pg_stat_activity where datname = current_database()
                     and application_name = 'pipelabs_projector' and state = 'idle in transaction'";
        sqlx::query_scalar::<_, i64>(held).fetch_one(&superuser)
    };
    // One that is stopped while it still starts gives up and is started again; this is about one that works.
    let db = database.pool(Login::Projector);
    while projections::checkpoints::reach(&db, "pnl", client).await.unwrap().reached == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Stop it again and again until it is caught with a lease in its hands.
    let mut n = 0;
    let caught = Instant::now() + Duration::from_secs(60);
    loop {
        write(&streams, (n..n + 40).map(|n| recorded(client, fill(client, bot, n, n as i64))).collect()).await;
        n += 40;
        signal(worker.id(), "STOP");
        tokio::time::sleep(Duration::from_millis(30)).await;
        if holding().await.unwrap() > 0 {
            break;
        }
        signal(worker.id(), "CONT");
        assert!(Instant::now() < caught, "it was never caught in a transaction");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The idle timeout takes its lease; others go on to the head.
    while holding().await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for model in &mut projections::all(&db) {
        catch_up(&mut **model, |_| {}).await.unwrap();
    }
    signal(worker.id(), "CONT");
    tokio::time::sleep(Duration::from_millis(500)).await;
    write(&streams, vec![recorded(client, fill(client, bot, n, 0))]).await;
    let head = read::heads_of_all(&db).await.unwrap().into_iter().find(|(other, _)| *other == client).unwrap().1;
    let reached = Instant::now() + Duration::from_secs(20);
    while projections::checkpoints::reach(&db, "pnl", client).await.unwrap().reached < head {
        if Instant::now() > reached {
            let attempts: Vec<(String, i64, i32, Option<String>)> =
                sqlx::query_as("select projection, seq, attempts, trouble from rm.attempts")
                    .fetch_all(&superuser)
                    .await
                    .unwrap();
            let activity: Vec<(Option<String>, Option<String>, Option<String>)> = sqlx::query_as(
                "select application_name, state, query from pg_stat_activity where datname = current_database()",
            )
            .fetch_all(&superuser)
            .await
            .unwrap();
            panic!(
                "the worker that woke does not work: {attempts:?}\n{activity:#?}\n{}",
                database.succeed(&["parked", "list"])
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    signal(worker.id(), "TERM");
    assert!(worker.wait().unwrap().success(), "it stops when it is told to");
    for model in &mut projections::all(&db) {
        catch_up(&mut **model, |_| {}).await.unwrap();
    }
    equal_to_a_rebuild(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_differs_is_not_put_in_place_and_says_where() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    write(&streams, vec![recorded(client, fill(client, bot, 1, 0))]).await;
    database.succeed(&["report", "pnl", "--catch-up"]);
    assert_eq!(database.succeed(&["rebuild", "pnl"]).lines().next(), Some("pnl: equal byte for byte, 1 clients"));
    sqlx::raw_sql("update rm_pnl_v2.pnl_books set realized = realized + 1")
        .execute(&database.superuser())
        .await
        .unwrap();
    let output = database.run(&["rebuild", "pnl"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("table pnl_books of client {client}")) && said.contains("the live version stays"),
        "{said}"
    );
    database.succeed(&["rebuild", "pnl", "--accept-differences"]);
    database.succeed(&["rebuild", "pnl", "--verify"]);
    let unknown = database.run(&["rebuild", "prices"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no read model \"prices\": use one of pnl, "));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_another_build_fills_are_left_to_it_until_a_rebuild_takes_over() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    write(&streams, vec![recorded(client, fill(client, bot, 1, 0))]).await;
    let db = database.pool(Login::Projector);
    let other = "update rm.versions set shape = 'of another build' where projection = 'pnl'";
    sqlx::query(other).execute(&database.superuser()).await.unwrap();
    let reached = || projections::checkpoints::reach(&db, "pnl", client);
    assert!(catch_up(&mut *model(&db, "pnl"), |_| {}).await.unwrap().is_empty());
    assert_eq!(reached().await.unwrap().reached, 0, "it was folded into another build's tables");
    let serving = database.run(&["serve", "--roles", "projector"]);
    let said = String::from_utf8(serving.stderr).unwrap();
    assert!(!serving.status.success() && said.contains("run `pipelabs rebuild` for each of pnl"), "{said}");
    let rebuilt = database.succeed(&["rebuild", "pnl"]);
    assert!(rebuilt.contains("filled by this build's fold") && rebuilt.contains("version 2 is live now"), "{rebuilt}");
    assert_eq!(reached().await.unwrap().reached, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_event_stays_out_when_history_is_read_again_and_hides_nobody_elses_figures() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let (other, other_bot) = client_with_bot(&streams, "other").await;
    let db = database.pool(Login::Projector);
    write(&streams, vec![recorded(client, fill(client, bot, 1, 1_000)), recorded(other, fill(other, other_bot, 1, 0))])
        .await;
    // No door of ours lets this in; a stream can still hold it.
    let endless = Fill { amount: events::Amount(d(&"9".repeat(70))), ..fill(client, bot, 2, 2_000) };
    let seq = write(&streams, vec![recorded(client, endless)]).await[0].first;
    let parked = catch_up(&mut *model(&db, "pnl"), |_| {}).await.unwrap();
    assert!(matches!(parked.as_slice(), [Step::Parked { seq: at_seq, .. }] if *at_seq == seq), "{parked:?}");
    let skip = ["parked", "skip", "pnl", "--client", "acme", "--seq", &seq.to_string(), "--reason", "a broken build"];
    database.succeed(&skip);
    // A late fill far back: the events since then are read again.
    write(&streams, vec![recorded(client, fill(client, bot, 3, -3_600_000))]).await;
    assert!(catch_up(&mut *model(&db, "pnl"), |_| {}).await.unwrap().is_empty());
    let report = database.succeed(&["report", "pnl", "--format", "json", "--catch-up"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let fills: Vec<i64> = report["groups"].as_array().unwrap().iter().map(|g| g["fills"].as_i64().unwrap()).collect();
    assert_eq!(fills, [2, 1]);
    database.succeed(&["rebuild", "pnl", "--verify"]);
    // Whoever asks for the client does not see the desk's stream, and leaves out the same.
    let served = Served::start(&database, "api");
    let window = format!("/api/pnl?group=bot&from={}&to={}", at(-7_200_000), at(3_600_000));
    let told = served.ask(&token(&database, Some(client)), &window).await.json();
    assert_eq!(told["lines"][0]["fills"], 2, "{told}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acme.jsonl").to_string_lossy().into_owned();
    database.succeed(&["audit", "export", "--client", "acme", "--output", &file]);
    assert!(!database.run(&["audit", "recompute", &file]).status.success(), "the export alone cannot know of the skip");
    let recomputed = database.succeed(&["audit", "recompute", &file, "--without", &seq.to_string()]);
    assert!(recomputed.contains("\"fills\": 2"), "{recomputed}");
}
