//! A channel by which people are told does not take what they are told.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    Decimal, Event, MessageId,
    alert::{AlertEvent, Delivery, Labels, Severity},
    channel::ChannelEvent,
};
use serde::{Deserialize, Serialize};

use super::{Rule, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct ChannelFailing;

/// Tries of a channel that failed since the last one that did not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// One is told of once for each thing that its message tells.
    failed: BTreeSet<(MessageId, u32)>,
}

/// More of them say nothing more.
const FAILED_MAX: usize = 100;

impl Rule for ChannelFailing {
    const KIND: Kind = Kind {
        name: "channel_failing",
        version: 3,
        about: "messages to people do not arrive by one of their channels, or its other side is gone; told by all others",
        of: Of::Both,
        names: Names::THING,
        parameters: &[number("failures", "tries", ["1", "3", "9"], "so many tries in a row have to fail")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<String, Row>;

    fn hear(rows: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Some((channel, heard)) = heard(hearing) else { return };
        let labels = Labels::about(channel.clone());
        let reading = match heard {
            Heard::Well => {
                rows.remove(&channel);
                Reading::clear()
            }
            Heard::Dead(why) => critical(format!("channel {channel} is dead: {why}"), "gone"),
            Heard::Tried(message, result) => {
                let row = rows.entry(channel.clone()).or_default();
                let is_news = row.failed.len() < FAILED_MAX && row.failed.insert(message);
                // However many failed before: what is given up is worse.
                if !is_news && result.is_none() {
                    return;
                }
                let (failed, most) = (row.failed.len(), hearing.parameter(&labels, "failures"));
                let failed = Decimal::from_int(failed as i64);
                let now = match result {
                    Some(why) => {
                        let summary = format!("channel {channel} did not take a message: {why}");
                        return hearing.say(labels, critical(summary, "given_up"));
                    }
                    None if failed >= most => Condition::Above(Severity::Warning),
                    None => Condition::Between,
                };
                Reading::new(now, format!("{failed} tries of channel {channel} failed in a row")).with(
                    "failed",
                    failed,
                    Some(most),
                    "tries",
                )
            }
        };
        hearing.say(labels, reading);
    }
}

/// What an event says of a channel.
enum Heard {
    /// It takes messages, or nothing is known of it any more.
    Well,
    /// Why it takes none for good.
    Dead(&'static str),
    /// A try failed; the last one, where there is a reason.
    Tried((MessageId, u32), Option<String>),
}

fn critical(summary: String, what: &str) -> Reading {
    Reading::new(Condition::Above(Severity::Critical), summary).with(what, Decimal::ONE, Some(Decimal::ZERO), "times")
}

fn heard(hearing: &Hearing<'_>) -> Option<(String, Heard)> {
    if let Event::Alert(AlertEvent::AlertNotified { channel, result, attempt, message, .. }) = &hearing.event.event {
        return Some((channel.to_string(), of(result, (message.unwrap_or_default(), *attempt))));
    }
    let Event::Channel(told) = &hearing.event.event else { return None };
    let heard = match told {
        ChannelEvent::ChannelTested { of: seq, result, attempt, .. }
        | ChannelEvent::ChannelReported { of: seq, result, attempt, .. } => {
            of(result, (MessageId(events::Uuid::from_u128((*seq).into())), *attempt))
        }
        ChannelEvent::ChannelDisabled { .. } => Heard::Dead("its other side is gone for good"),
        ChannelEvent::ChannelAdded { .. }
        | ChannelEvent::ChannelChanged { .. }
        | ChannelEvent::ChannelRenewed { .. }
        | ChannelEvent::ChannelRemoved { .. } => Heard::Well,
        ChannelEvent::ChannelTestRequested { .. } | ChannelEvent::ChannelReportRequested { .. } => return None,
    };
    Some((hearing.event.aggregate.id.clone(), heard))
}

fn of(result: &Delivery, message: (MessageId, u32)) -> Heard {
    match result {
        Delivery::Delivered => Heard::Well,
        Delivery::Failed { .. } => Heard::Tried(message, None),
        Delivery::GivenUp { reason } => Heard::Tried(message, Some(reason.clone())),
    }
}
