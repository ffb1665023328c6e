//! What to try: lines for a shell, in which a client has a market maker deployed, watches it, changes it and stops it.

use events::Exchange;

use super::{makers, visitor::Visitor};

/// What the lines call their bot, and what it trades.
const NAME: &str = "try";
const PAIR: &str = "BTC-USDT";

/// Lines to paste; all but the first three answer something to read.
pub fn lines(visitor: &Visitor) -> String {
    let (url, config) = (&visitor.url, makers::config(Exchange::Binance, PAIR));
    let (bot, seq) = (field("bot_id", r#"[^"]+"#), field("client_seq", "[0-9]+"));
    let narrower = r#"{"parameters":{"buy_spreads":"[0.00005]","sell_spreads":"[0.00005]"}}"#;
    [
        log_in(visitor),
        format!(r#"ask() {{ curl -s -H "$auth" "${{@:2}}" "{url}$1"; echo; }}"#),
        r#"want() { ask "$2" -H "idempotency-key: $1" -H 'content-type: application/json' "${@:3}"; }"#.to_owned(),
        "ask '/api/pnl?group=bot'".to_owned(),
        format!(r#"bot=$(want try-1 /api/bots -d '{{"name":"{NAME}","config":{config}}}' | {bot}); seq=$(want try-2 /api/bots/$bot/deploy -X POST | {seq}); echo "bot $bot is asked to run by event $seq""#),
        r#"ask "/api/events?order=oldest&limit=1&after=$((seq - 1))""#.to_owned(),
        r#"until ask "/api/fills?bot=$bot&limit=3" | grep trade_id; do sleep 1; done"#.to_owned(),
        format!("want try-3 /api/bots/$bot/config -X PATCH -d '{narrower}'"),
        r#"until ask /api/bots/$bot | grep '"config_applied":2'; do sleep 1; done"#.to_owned(),
        "want try-4 /api/bots/$bot/stop -X POST".to_owned(),
        r#"until ask /api/bots/$bot | grep '"answer":"stopped"'; do sleep 1; done"#.to_owned(),
        r#"ask "/api/stream?after=$((seq - 1))" -N"#.to_owned(),
    ]
    .join("\n")
}

/// A line that follows all events on NATS, by a subscription; goes on from the others, until Ctrl-C.
pub fn subscribe(server: &str) -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    Ok(format!(
        r#"want try-5 /api/alerts/subscriptions -d '{{"name":"{NAME}","filter":"all"}}' | {} nats follow --server {server}"#,
        program.display()
    ))
}

fn log_in(visitor: &Visitor) -> String {
    let Visitor { url, email, password, .. } = visitor;
    let token = field("access_token", r#"[^"]+"#);
    format!(
        r#"auth="authorization: Bearer $(curl -s {url}/api/auth/login -H 'content-type: application/json' -d '{{"email":"{email}","password":"{password}"}}' | {token})""#
    )
}

/// What a shell takes a field out of an answer with.
fn field(name: &str, value: &str) -> String {
    format!(r#"sed -E 's/.*"{name}":"?({value}).*/\1/'"#)
}
