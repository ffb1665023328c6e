//! What is done by the clock is done once, however many look at the clock and whoever of them is killed; what was missed is
//! told, and made up for or not as was said; a report reaches people.

use std::time::Duration;

use events::{
    AggregateRef, Event, Recorded, ScheduleId, Time, Uuid,
    bot::BotEvent,
    schedule::{Action, Missed, Outcome, ScheduleEvent, When},
};
use futures::{StreamExt, stream};
use paper::Settings;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Answer, Database, Outside, Receiver, Served};

use crate::{
    edge::{Edge, seq},
    facts::{append, write},
    kill::rounds_of,
};

const SCHEDULES: &str = "/api/schedules";
const OPERATORS: usize = 3;

fn operator(database: &Database, outside: &Outside) -> Served {
    Served::of(outside.served_by(database.command(&["serve", "--roles", "operator"]), 2))
}

async fn told(edge: &Edge) -> Vec<Recorded> {
    read::after(&edge.database.pool(Login::Projector), edge.acme.client, 0, 1_000).await.unwrap()
}

fn of_schedules(all: &[Recorded]) -> Vec<(String, ScheduleEvent)> {
    let of = |recorded: &Recorded| {
        let Event::Schedule(told) = &recorded.event else { return None };
        Some((recorded.aggregate.id.clone(), told.clone()))
    };
    all.iter().filter_map(of).collect()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), future).await.expect("it happens")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_is_wanted_once_by_three_schedulers_whoever_is_killed_now_and_then() {
    let mut running = stream::iter(rounds_of(1)).map(one_round).buffer_unordered(3);
    while let Some(seed) = running.next().await {
        println!("schedules, seed {seed}: 24 runs");
    }
}

async fn one_round(seed: u64) -> u64 {
    const RUNS: i64 = 24;
    let (edge, outside) = (Edge::new("api,projector").await, Outside::start(Settings::default()).await);
    let mut random = StdRng::seed_from_u64(seed);
    // Long before the first, and some at once: a machine may be slow.
    let begin = Time::now().plus_micros(8_000_000);
    let setting = stream::iter(0..RUNS).map(async |n| {
        let due = begin.plus_micros(n * 250_000);
        let change = json!({"parameters": {"n": n.to_string()}});
        let body = json!({"name": format!("run-{n}"), "when": {"once": {"at": due}}, "missed": "run_once",
                          "action": {"configure": {"bot": edge.acme.bot, "change": change}}});
        let set = edge.served.post(&edge.acme.token, SCHEDULES, &format!("set-{n}"), &body).await;
        assert_eq!(set.status, 201, "{}", set.text());
        assert_eq!(set.json()["next"], json!([due]));
    });
    setting.buffer_unordered(4).collect::<()>().await;
    let mut operators: Vec<Served> = (0..OPERATORS).map(|_| operator(&edge.database, &outside)).collect();
    let mut kills = 0;
    within(async {
        loop {
            let all = told(&edge).await;
            let ran =
                of_schedules(&all).iter().filter(|(_, told)| matches!(told, ScheduleEvent::ScheduleRan { .. })).count();
            if ran as i64 >= RUNS {
                return;
            }
            // Most often right after something was taken up.
            tokio::time::sleep(Duration::from_millis(random.random_range(1..400))).await;
            if Time::now() > begin && kills < 12 {
                let one = random.random_range(0..OPERATORS);
                operators[one].kill();
                operators[one] = operator(&edge.database, &outside);
                kills += 1;
            }
        }
    })
    .await;
    assert!(kills > 0, "nobody was killed");
    let all = told(&edge).await;
    let schedules = of_schedules(&all);
    let count = |is: fn(&ScheduleEvent) -> bool| schedules.iter().filter(|(_, told)| is(told)).count() as i64;
    assert_eq!(count(|told| matches!(told, ScheduleEvent::ScheduleTriggered { .. })), RUNS);
    assert_eq!(count(|told| matches!(told, ScheduleEvent::ScheduleRan { .. })), RUNS);
    assert_eq!(count(|told| matches!(told, ScheduleEvent::ScheduleMissed { .. })), 0);
    let mut set: Vec<i64> = all
        .iter()
        .filter_map(|recorded| {
            let Event::Bot(BotEvent::BotConfigChanged { config, .. }) = &recorded.event else { return None };
            config.parameters.get("n")?.parse().ok()
        })
        .collect();
    set.sort_unstable();
    assert_eq!(set, (0..RUNS).collect::<Vec<_>>(), "each was wanted once");
    for (_, told) in &schedules {
        if let ScheduleEvent::ScheduleRan { outcome, .. } = told {
            let Outcome::Wanted { seq: Some(seq) } = outcome else { panic!("{outcome:?}") };
            assert_eq!(all[*seq as usize - 1].event.event_type(), "BotConfigChanged");
        }
    }
    seed
}

/// What it wants is on its way into the stream, and takes long, when everybody who could know of it dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_scheduler_dies_between_taking_it_up_and_wanting_it_is_wanted_once() {
    let (edge, outside) = (Edge::new("api,projector").await, Outside::start(Settings::default()).await);
    let slow = "create function es.slow() returns trigger language plpgsql as $$
                begin perform pg_sleep(4); return new; end $$;
                grant execute on function es.slow to public;
                create trigger slow before insert on es.events
                   for each row when (new.event_type = 'BotConfigChanged') execute function es.slow()";
    sqlx::raw_sql(slow).execute(&edge.database.superuser()).await.unwrap();
    let due = Time::now().plus_micros(2_000_000);
    let change = json!({"parameters": {"n": "7"}});
    let body = json!({"name": "once", "when": {"once": {"at": due}}, "missed": "run_once",
                      "action": {"configure": {"bot": edge.acme.bot, "change": change}}});
    assert_eq!(edge.served.post(&edge.acme.token, SCHEDULES, "set", &body).await.status, 201);
    let mut operators: Vec<Served> = (0..OPERATORS).map(|_| operator(&edge.database, &outside)).collect();
    let count = |all: &[Recorded], name: &str| all.iter().filter(|one| one.event.event_type() == name).count();
    let until = async |name: &str| {
        while count(&told(&edge).await, name) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(until("ScheduleTriggered")).await;
    assert_eq!(count(&told(&edge).await, "BotConfigChanged"), 0, "it is on its way still");
    operators.iter_mut().for_each(Served::kill);
    operators = (0..OPERATORS).map(|_| operator(&edge.database, &outside)).collect();
    within(until("ScheduleRan")).await;
    let all = told(&edge).await;
    let counts =
        ["ScheduleTriggered", "BotConfigChanged", "ScheduleRan", "ScheduleMissed"].map(|name| count(&all, name));
    assert_eq!(counts, [1, 1, 1, 0]);
    drop(operators);
}

/// A schedule that was set hours ago, and at which nobody has looked since.
async fn set_hours_ago(edge: &Edge, missed: Missed, name: &str) -> ScheduleId {
    let id = ScheduleId(Uuid::new_v5(&edge.acme.client.0, name.as_bytes()));
    // Half an hour from now, and so from any full run.
    let minute = (Time::now().micros() / 60_000_000 + 30) % 60;
    let when = When::Cron { expression: format!("{minute} * * * *"), zone: "UTC".parse().unwrap() };
    let (action, at) = (Action::Stop { bot: edge.acme.bot }, Time::now().plus_micros(-3 * 3_600_000_000));
    let set = ScheduleEvent::ScheduleSet { name: name.parse().unwrap(), action, when, missed, at };
    write(&edge.streams, vec![append(edge.acme.client, AggregateRef::new("schedule", id), set.into(), None)]).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_told_and_made_up_for_once_or_not_at_all() {
    let (edge, outside) = (Edge::new("api,projector").await, Outside::start(Settings::default()).await);
    let once = set_hours_ago(&edge, Missed::RunOnce, "once").await;
    let skip = set_hours_ago(&edge, Missed::Skip, "skip").await;
    let _operator = operator(&edge.database, &outside);
    let runs = |id: ScheduleId| format!("{SCHEDULES}/{id}/runs");
    let becomes = async |id: ScheduleId, count: usize| {
        within(async {
            loop {
                let all = edge.served.ask(&edge.acme.token, &runs(id)).await.json();
                let all = all.as_array().unwrap().clone();
                let done = all.iter().all(|run| run["triggered_at"].is_null() || !run["outcome"].is_null());
                if all.len() == count && done {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        })
        .await
    };
    let made_up = becomes(once, 2).await;
    assert_eq!((&made_up[0]["missed"], &made_up[1]["missed"]), (&json!(0), &json!(2)));
    // The bot does not run, as it is wanted: that is no refusal, and nothing has to be wanted for it.
    assert_eq!(made_up[0]["outcome"], json!({"wanted": {}}));
    let skipped = becomes(skip, 1).await;
    assert_eq!(skipped[0]["missed"], 3);
    let listed = edge.served.ask(&edge.acme.token, SCHEDULES).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["next"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_set_within_bounds_for_what_is_there_rests_and_ends() {
    let edge = Edge::new("api,projector").await;
    let token = &edge.acme.token;
    let cron = |expression: &str, zone: &str| json!({"cron": {"expression": expression, "zone": zone}});
    let body = |when: Value| json!({"name": "daily", "action": {"stop": {"bot": edge.acme.bot}}, "when": when, "missed": "skip"});
    let set = async |key: &str, body: &Value| edge.served.post(token, SCHEDULES, key, body).await;
    for (n, when) in [
        cron("* * * *", "UTC"),
        cron("61 * * * *", "UTC"),
        cron("0 0 31 2 *", "UTC"),
        cron("0 8 * * *", "Berlin"),
        json!({"once": {"at": "2020-01-01T00:00:00Z"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = set(&format!("r{n}"), &body(when)).await;
        assert!(matches!(refused.status, 400 | 422), "{}", refused.text());
        assert!(refused.text().len() > 80, "it says what to do: {}", refused.text());
    }
    let foreign = json!({"name": "x", "action": {"start": {"bot": edge.borealis.bot}},
                         "when": cron("0 8 * * *", "UTC"), "missed": "skip"});
    assert_eq!(set("f", &foreign).await.problem(), (422, "invalid".into()));
    let made = set("k", &body(cron("30 8 * * 1-5", "Europe/Berlin"))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["next"].as_array().unwrap().len(), 3);
    assert_eq!(set("k", &body(cron("30 8 * * 1-5", "Europe/Berlin"))).await.json()["repeated"], true);
    assert_eq!(set("k2", &body(cron("30 8 * * *", "UTC"))).await.problem(), (409, "conflict".into()));
    let path = format!("{SCHEDULES}/{}", made.json()["schedule_id"].as_str().unwrap());
    assert_eq!(edge.served.ask(&edge.borealis.token, &format!("{path}/runs")).await.status, 404);
    let off = edge.served.post(token, &format!("{path}/switch"), "s", &json!({"on": false})).await.json();
    let listed = edge.served.ask(token, &format!("{SCHEDULES}?min_seq={}", seq(&off))).await.json();
    assert_eq!((&listed[0]["state"], &listed[0]["next"]), (&json!("off"), &json!([])));
    assert_eq!(listed[0]["clock"], cron("30 8 * * 1-5", "Europe/Berlin"));
    let mut other = body(cron("0 9 * * *", "Asia/Tokyo"));
    other.as_object_mut().unwrap().remove("name");
    let put = Answer::to(edge.served.command(Method::PUT, token, &path, "p", &other)).await;
    assert_eq!(put.status, 202, "{}", put.text());
    let end = edge.served.command(Method::DELETE, token, &path, "e", &json!({"reason": "no longer"}));
    let ended = Answer::to(end).await.json();
    let listed = edge.served.ask(token, &format!("{SCHEDULES}?min_seq={}", seq(&ended))).await.json();
    assert_eq!((&listed[0]["state"], &listed[0]["reason"]), (&json!("ended"), &json!("no longer")));
    assert_eq!(set("k3", &body(cron("30 8 * * *", "UTC"))).await.status, 201, "its name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_reaches_people_once_at_its_time() {
    let (outside, receiver) = (Outside::start(Settings::default()).await, Receiver::start().await);
    let told_by = |database: &Database, roles: &str| {
        let mut command = outside.served_by(database.command(&["serve", "--roles", roles, "--port", "0"]), 2);
        command.env("NOTIFY_TRUSTED_NETWORKS", "127.0.0.1");
        command
    };
    let edge = Edge::served(Database::new().await, |database| told_by(database, "api,projector")).await;
    let _others = Served::of(told_by(&edge.database, "operator,alerts"));
    let target = json!({"kind": "slack", "url": format!("{}/reports", receiver.url)});
    let settings = json!({"severity": "critical", "wait_s": 0, "on": true});
    let channel = json!({"name": "reports", "target": target, "settings": settings});
    let channel = edge.served.post(&edge.acme.token, "/api/alerts/channels", "c", &channel).await.json();
    let due = Time::now().plus_micros(1_500_000);
    let body = json!({"name": "daily", "when": {"once": {"at": due}}, "missed": "run_once",
                      "action": {"report": {"channel": channel["channel_id"], "period": "day"}}});
    assert_eq!(edge.served.post(&edge.acme.token, SCHEDULES, "s", &body).await.status, 201);
    let came = within(receiver.until("/reports", 1)).await;
    let text = came[0].json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Report, ") && text.contains("Trades: none"), "{text}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.posted("/reports").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_client_that_has_left_is_done_or_told_by_the_clock() {
    let edge = Edge::new("api,projector").await;
    let token = &edge.acme.token;
    let schedule = json!({"name": "daily", "action": {"start": {"bot": edge.acme.bot}}, "missed": "skip",
                          "when": {"cron": {"expression": "0 8 * * *", "zone": "UTC"}}});
    assert_eq!(edge.served.post(token, SCHEDULES, "s", &schedule).await.status, 201);
    let target = json!({"kind": "slack", "url": "https://hooks.example.com/hook-nobody-knows"});
    let settings = json!({"severity": "info", "wait_s": 0, "on": true});
    let channel = json!({"name": "ops", "target": target, "settings": settings});
    assert_eq!(edge.served.post(token, "/api/alerts/channels", "c", &channel).await.status, 201);
    let goodbye = json!({"reason": "the contract ended", "destroy_data_key": false});
    let left = edge.served.post(&edge.admin, "/api/admin/clients/acme/offboard", "bye", &goodbye).await;
    assert_eq!(left.status, 202, "{}", left.text());
    let gone = async {
        loop {
            let all = told(&edge).await;
            let names: Vec<&str> = all.iter().map(|recorded| recorded.event.event_type()).collect();
            let sealed: i64 = sqlx::query_scalar("select count(*) from vault.targets where client_id = $1")
                .bind(edge.acme.client.0)
                .fetch_one(&edge.database.pool(Login::Vault))
                .await
                .unwrap();
            if names.contains(&"ScheduleEnded") && names.contains(&"ChannelRemoved") && sealed == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(gone).await;
}
