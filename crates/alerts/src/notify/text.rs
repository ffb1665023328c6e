//! A message in words, for people.

use std::fmt::Write;

use events::{
    alert::{Labels, Notice},
    channel::Kind,
};

use super::plan::{Item, Said};

/// The longest text that Telegram takes is 4,096 characters, and Slack cuts longer ones, too.
const CHARACTERS_MAX: usize = 3_500;
/// What the first line takes of that.
const SUBJECT_MAX: usize = 100;

/// What it is about, in one line.
pub fn subject(said: &Said) -> String {
    match said {
        Said::Alerts { rule, items } => {
            let worst = items.iter().map(|item| item.severity).max().map_or("info", |worst| worst.as_str());
            let count = if items.len() > 1 { format!(" ({} news)", items.len()) } else { String::new() };
            format!("[{worst}] {rule}{count}")
        }
        Said::Test { .. } => "This is a test".to_owned(),
        Said::Report { from, to, .. } => format!("Report, {} to {}", day(&from.to_string()), day(&to.to_string())),
    }
}

/// How many characters the lines of one message can have together.
pub fn longest(kind: Kind) -> usize {
    match kind {
        Kind::Slack | Kind::Telegram => CHARACTERS_MAX - SUBJECT_MAX,
        Kind::Webhook | Kind::Email => usize::MAX,
    }
}

/// How many characters tell one thing.
pub fn length(item: &Item) -> usize {
    line(item).chars().count() + 1
}

/// All that it says.
pub fn body(said: &Said) -> String {
    match said {
        Said::Alerts { items, .. } => items.iter().map(line).collect::<Vec<_>>().join("\n"),
        Said::Test { .. } => "Alerts will come by this channel.".to_owned(),
        Said::Report { lines, .. } => {
            lines.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
        }
    }
}

/// Both, as a channel of this kind takes it.
pub fn all(said: &Said, kind: Kind) -> String {
    let text = format!("{}\n{}", subject(said), body(said));
    match kind {
        // Slack reads these as its own marks.
        Kind::Slack => shortened(said, text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        Kind::Telegram => shortened(said, text),
        Kind::Webhook | Kind::Email => text,
    }
}

fn line(item: &Item) -> String {
    let what = match item.notice {
        Notice::Fired => "began",
        Notice::Escalated => "is worse, or nobody has acknowledged it",
        Notice::Reminder => "goes on",
        Notice::Resolved => "is over",
    };
    let mut line = format!("{} {what}: {}{}", item.severity.as_str(), item.summary, at(&item.labels));
    for feature in &item.features {
        let _ = write!(line, "; {} {}{}", feature.name, feature.value, unit(&feature.unit));
        if let Some(threshold) = feature.threshold {
            let _ = write!(line, " (against {threshold})");
        }
    }
    let _ = write!(line, " [{}, alert {}, episode {}]", item.at, item.alert_id, item.episode);
    line
}

fn at(labels: &Labels) -> String {
    let pair = labels.pair.as_ref().map(ToString::to_string);
    let parts = [labels.exchange.map(|exchange| exchange.to_string()), pair, labels.about.clone()];
    let bot = labels.bot.map(|bot| format!("bot {bot}"));
    let parts: Vec<String> = parts.into_iter().chain([bot]).flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn unit(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" {unit}") }
}

fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// What is cut off can be asked for: a report of many pairs, or a thing of which too much is to be told.
fn shortened(said: &Said, text: String) -> String {
    let Some((end, _)) = text.char_indices().nth(CHARACTERS_MAX) else { return text };
    let rest = if let Said::Report { .. } = said { "/api/pnl" } else { "/api/alerts" };
    format!("{}…\nThere is more: ask GET {rest}", &text[..end])
}
