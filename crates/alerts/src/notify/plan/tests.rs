//! What is told when, told as stories: seconds, what happens in them, and what is said.

use events::{
    AggregateRef, ClientId, Event, EventId, Recorded, SealedId, SilenceId, Uuid,
    account::AccountEvent,
    alert::{AlertEvent, Delivery, Evidence, Scope, SilenceEvent, WhyEscalated, WhyResolved},
    channel::{ChannelEvent, Kind, Settings, WhyDisabled},
};
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Time {
    Time::EPOCH.plus_micros(seconds * SECOND_US)
}

fn channel() -> ChannelId {
    ChannelId(Uuid::from_u128(7))
}

fn settings() -> Settings {
    Settings { severity: Severity::Warning, wait_s: 30, quiet: None, on: true }
}

/// A client's stream, its board, and what was told.
struct Story {
    board: Board,
    told: Told,
    events: Vec<Recorded>,
}

impl Story {
    fn begin(settings: Settings) -> Self {
        let mut story = Self { board: Board::default(), told: Told::default(), events: Vec::new() };
        let (name, shown, sealed) = ("ops".parse().unwrap(), String::new(), SealedId(Uuid::from_u128(1)));
        let kind = Kind::Webhook;
        story.of_channel(ChannelEvent::ChannelAdded { name, kind, shown, sealed, settings, at: at(0) });
        story
    }

    fn hear(&mut self, aggregate: AggregateRef, event: Event) {
        let seq = self.events.len() as u64 + 1;
        let recorded = Recorded {
            client: ClientId(Uuid::from_u128(1)),
            seq,
            aggregate,
            aggregate_seq: seq,
            id: EventId(Uuid::from_u128(seq.into())),
            occurred_at: event.at(),
            recorded_at: event.at(),
            actor: None,
            event,
        };
        self.board.hear(&recorded);
        self.events.push(recorded);
    }

    fn of_channel(&mut self, event: ChannelEvent) {
        self.hear(AggregateRef::new("channel", channel()), event.into());
    }

    fn of_alert(&mut self, n: u128, event: AlertEvent) {
        self.hear(AggregateRef::new("alert", AlertId(Uuid::from_u128(n))), event.into());
    }

    fn fires(&mut self, n: u128, severity: Severity, seconds: i64) {
        self.fires_of("spread_wide", n, 1, severity, None, seconds);
    }

    fn fires_of(&mut self, rule: &str, n: u128, episode: u64, severity: Severity, by: Option<&str>, seconds: i64) {
        let event = AlertEvent::AlertFired {
            rule: rule.parse().unwrap(),
            version: 1,
            severity,
            labels: Labels::about(if rule == OF_CHANNELS { channel().to_string() } else { n.to_string() }),
            episode,
            summary: "it is so".into(),
            evidence: Evidence::default(),
            inhibited_by: by.map(|rule| rule.parse().unwrap()),
            as_of_seq: 1,
            evaluated_at: at(seconds),
        };
        self.of_alert(n, event);
    }

    fn escalates(&mut self, n: u128, seconds: i64) {
        let (rule, severity, why) = ("spread_wide".parse().unwrap(), Severity::Critical, WhyEscalated::Worse);
        let (evidence, evaluated_at) = (Evidence::default(), at(seconds));
        self.of_alert(
            n,
            AlertEvent::AlertEscalated {
                rule,
                version: 1,
                severity,
                episode: 1,
                why,
                evidence,
                as_of_seq: 1,
                evaluated_at,
            },
        );
    }

    fn resolves(&mut self, n: u128, seconds: i64) {
        let (rule, why, severity) = ("spread_wide".parse().unwrap(), WhyResolved::Cleared, Severity::Warning);
        let (evidence, evaluated_at) = (Evidence::default(), at(seconds));
        self.of_alert(
            n,
            AlertEvent::AlertResolved {
                rule,
                version: 1,
                severity,
                episode: 1,
                why,
                evidence,
                as_of_seq: 1,
                evaluated_at,
            },
        );
    }

    fn acknowledged(&mut self, n: u128, until: Option<i64>, seconds: i64) {
        let (rule, severity, until) = ("spread_wide".parse().unwrap(), Severity::Warning, until.map(at));
        let note = String::new();
        self.of_alert(n, AlertEvent::AlertAcknowledged { rule, severity, episode: 1, until, note, at: at(seconds) });
    }

    fn silence(&mut self, until: i64, seconds: i64) {
        let (rule, scope, reason) = (None, Scope::default(), "work".to_owned());
        let set = SilenceEvent::SilenceSet { rule, scope, until: at(until), reason, at: at(seconds) };
        self.hear(AggregateRef::new("silence", SilenceId(Uuid::from_u128(4))), set.into());
    }

    /// What is said at a moment, and taken: of each message, what it tells of which alert.
    fn says(&mut self, seconds: i64) -> Vec<String> {
        let messages = self.sends(seconds);
        messages.iter().for_each(|message| self.ends(message, Delivery::Delivered, seconds));
        messages.iter().map(|message| spoken(&message.said)).collect()
    }

    /// What goes out at a moment.
    fn sends(&mut self, seconds: i64) -> Vec<Message> {
        let messages = due(&mut self.board, &self.told, at(seconds));
        messages.iter().for_each(|message| self.told.note_all(message, at(seconds)));
        messages
    }

    /// What comes of a message.
    fn ends(&mut self, message: &Message, result: Delivery, seconds: i64) {
        let Said::Alerts { rule, items } = &message.said else { return };
        for item in items {
            let event = AlertEvent::AlertNotified {
                rule: rule.clone(),
                severity: item.severity,
                episode: item.episode,
                channel: message.channel,
                notice: item.notice,
                attempt: 1,
                result: result.clone(),
                message: None,
                at: at(seconds),
            };
            self.hear(AggregateRef::new("alert", item.alert_id), event.into());
        }
    }

    fn hummingbot(&mut self, is_lost: bool, seconds: i64) {
        let at = at(seconds);
        let event = match is_lost {
            true => AccountEvent::HummingbotLost { since: at, reason: "down".into(), at },
            false => AccountEvent::HummingbotBack { at },
        };
        self.hear(AggregateRef::new("account", "hummingbot"), event.into());
    }

    /// The same board, read from the stream once more.
    fn again(&mut self) {
        self.board = Board::default();
        self.events.iter().for_each(|event| self.board.hear(event));
    }
}

fn spoken(said: &Said) -> String {
    match said {
        Said::Alerts { items, .. } => {
            let item = |item: &Item| format!("{} {}", item.key.split(':').next().unwrap(), item.alert_id.0.as_u128());
            items.iter().map(item).collect::<Vec<_>>().join(", ")
        }
        Said::Test { .. } => "test".to_owned(),
        Said::Report { .. } => "report".to_owned(),
    }
}

#[test]
fn news_of_one_rule_are_gathered_and_then_wait_for_the_interval() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    assert!(story.says(110).is_empty());
    story.fires(2, Severity::Warning, 115);
    assert_eq!(story.says(130), ["fired 1, fired 2"]);
    story.fires(3, Severity::Warning, 140);
    story.resolves(1, 150);
    assert!(story.says(429).is_empty());
    assert_eq!(story.says(430), ["fired 3, resolved 1"]);
    assert!(story.says(2 * HOUR).is_empty());
}

#[test]
fn what_is_critical_waits_for_no_interval() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    assert_eq!(story.says(130), ["fired 1"]);
    story.fires(2, Severity::Critical, 140);
    assert_eq!(story.says(170), ["fired 2"]);
    story.escalates(1, 180);
    assert_eq!(story.says(210), ["escalated 1"]);
}

#[test]
fn what_began_and_ended_within_the_wait_is_told_as_both() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    story.resolves(1, 105);
    assert!(story.says(120).is_empty());
    assert_eq!(story.says(130), ["fired 1, resolved 1"]);
    assert!(story.board.episodes.is_empty());
}

#[test]
fn what_goes_on_is_told_again_and_what_somebody_looks_after_is_not() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 0);
    story.fires_of("depth_low", 2, 1, Severity::Critical, None, 0);
    assert_eq!(story.says(30), ["fired 2", "fired 1"]);
    assert!(story.says(29 * 60).is_empty());
    assert_eq!(story.says(30 + 30 * 60), ["reminder 2"]);
    assert_eq!(story.says(30 + 60 * 60), ["reminder 2"]);
    story.acknowledged(2, Some(3 * HOUR), 4_000);
    assert!(story.says(2 * HOUR).is_empty());
    assert_eq!(story.says(3 * HOUR), ["reminder 2"]);
    story.acknowledged(1, None, 3 * HOUR);
    assert_eq!(story.says(30 + 4 * HOUR), ["reminder 2"]);
    story.resolves(1, 5 * HOUR);
    assert_eq!(story.says(5 * HOUR + 30), ["reminder 2", "resolved 1"]);
}

#[test]
fn in_quiet_hours_only_what_is_critical_is_told_and_the_rest_when_they_are_over() {
    // Berlin, January: an hour ahead. 22:00 to 07:00 there.
    let quiet = QuietHours { from: 22 * 60, to: 7 * 60, zone: "Europe/Berlin".parse().unwrap() };
    let mut story = Story::begin(Settings { quiet: Some(quiet), ..settings() });
    story.fires(1, Severity::Warning, 21 * HOUR);
    story.resolves(1, 21 * HOUR + 60);
    story.fires_of("depth_low", 2, 1, Severity::Critical, None, 22 * HOUR);
    assert_eq!(story.says(22 * HOUR + 30), ["fired 2"]);
    assert_eq!(story.says(30 * HOUR - 1).len(), 1, "a reminder of what is critical");
    assert_eq!(story.says(30 * HOUR), ["fired 1, resolved 1"]);
}

#[test]
fn whoever_wants_only_what_is_critical_hears_of_the_rest_when_it_becomes_so() {
    let mut story = Story::begin(Settings { severity: Severity::Critical, ..settings() });
    story.fires(1, Severity::Warning, 0);
    story.fires(2, Severity::Warning, 0);
    assert!(story.says(60).is_empty());
    story.escalates(1, 100);
    assert_eq!(story.says(130), ["escalated 1"]);
    story.resolves(1, 200);
    story.resolves(2, 200);
    assert_eq!(story.says(600), ["resolved 1"]);
}

#[test]
fn nobody_is_called_for_what_is_silent_or_explained_by_something_else() {
    let mut story = Story::begin(settings());
    story.silence(HOUR, 0);
    story.fires(1, Severity::Warning, 10);
    story.fires(2, Severity::Critical, 10);
    story.fires_of("heartbeat_lost", 3, 1, Severity::Critical, Some("hummingbot_down"), 10);
    story.resolves(1, 100);
    assert!(story.says(600).is_empty());
    assert_eq!(story.says(HOUR), ["fired 2"], "it goes on, and the other is over");
    story.again();
    assert!(story.says(HOUR + 400).is_empty(), "what was over while it was silent is not told afterwards");
}

#[test]
fn who_looks_after_a_warning_is_called_when_it_becomes_critical_but_not_by_what_is_silenced() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 0);
    assert_eq!(story.says(30), ["fired 1"]);
    story.acknowledged(1, None, 40);
    story.escalates(1, 100);
    assert_eq!(story.says(130), ["escalated 1"]);
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 0);
    let (rule, severity, until, note) =
        ("spread_wide".parse().unwrap(), Severity::Warning, at(2 * HOUR), String::new());
    story.of_alert(1, AlertEvent::AlertSilenced { rule, severity, episode: 1, until, note, at: at(5) });
    story.acknowledged(1, Some(60), 10);
    story.escalates(1, 100);
    assert!(story.says(600).is_empty());
    assert_eq!(story.says(2 * HOUR), ["fired 1, escalated 1"]);
}

#[test]
fn what_waits_for_the_morning_is_told_whatever_is_silenced_or_changed_in_the_night() {
    let quiet = QuietHours { from: 22 * 60, to: 7 * 60, zone: "UTC".parse().unwrap() };
    let night = Settings { quiet: Some(quiet), ..settings() };
    let mut story = Story::begin(night.clone());
    story.fires(1, Severity::Warning, 21 * HOUR);
    assert_eq!(story.says(21 * HOUR + 30), ["fired 1"]);
    story.fires(2, Severity::Warning, 21 * HOUR + 3_590);
    story.resolves(1, 22 * HOUR);
    story.resolves(2, 22 * HOUR);
    assert!(story.says(22 * HOUR + 1).is_empty());
    // A silence that begins when they are over is about others; whoever wants to hear more hears how the first one ended.
    story.silence(24 * HOUR, 23 * HOUR);
    assert!(story.says(23 * HOUR + 1).is_empty());
    let settings = Settings { severity: Severity::Info, ..night };
    story.of_channel(ChannelEvent::ChannelChanged { settings, at: at(30 * HOUR) });
    assert_eq!(story.says(31 * HOUR), ["fired 2, resolved 1, resolved 2"]);
}

#[test]
fn a_channel_is_not_told_that_it_fails() {
    let mut story = Story::begin(settings());
    story.fires_of(OF_CHANNELS, 1, 1, Severity::Critical, None, 0);
    assert!(story.says(60).is_empty());
}

#[test]
fn a_channel_that_was_off_tells_what_goes_on_when_it_is_on_again_and_nothing_that_is_over() {
    let mut story = Story::begin(Settings { on: false, ..settings() });
    story.fires(1, Severity::Warning, 10);
    story.fires(2, Severity::Warning, 10);
    story.resolves(1, 20);
    assert!(story.says(60).is_empty());
    story.of_channel(ChannelEvent::ChannelChanged { settings: settings(), at: at(100) });
    story.again();
    assert_eq!(story.says(100), ["fired 2"]);
    story.of_channel(ChannelEvent::ChannelDisabled { why: WhyDisabled::Gone, at: at(200) });
    story.fires(3, Severity::Critical, 210);
    assert!(story.says(300).is_empty());
    story.of_channel(ChannelEvent::ChannelRemoved { reason: "gone".into(), at: at(400) });
    assert!(story.says(900).is_empty());
}

#[test]
fn a_test_is_told_at_once_and_whatever_is_quiet() {
    let quiet = QuietHours { from: 0, to: 1_439, zone: "UTC".parse().unwrap() };
    let mut story = Story::begin(Settings { quiet: Some(quiet), ..settings() });
    story.of_channel(ChannelEvent::ChannelTestRequested { at: at(50) });
    story.of_channel(ChannelEvent::ChannelReportRequested { from: at(0), to: at(50), at: at(50) });
    assert_eq!(story.says(50), ["test", "report"]);
    let (of, attempt, result) = (2, 1, Delivery::Delivered);
    story.of_channel(ChannelEvent::ChannelTested { of, attempt, result, at: at(51) });
    assert!(story.says(60).is_empty());
}

#[test]
fn a_storm_goes_into_messages_of_fifty() {
    let mut story = Story::begin(settings());
    (1..=120).for_each(|n| story.fires(n, Severity::Warning, 0));
    let said = story.says(30);
    assert_eq!(said.iter().map(|text| text.split(", ").count()).collect::<Vec<_>>(), [50, 50, 20]);
}

proptest! {
    #[test]
    fn each_episode_is_told_once_however_often_the_board_is_made_anew(
        steps in prop::collection::vec((1_i64..200, 0_u8..4, 1_u128..6, any::<bool>()), 1..80),
    ) {
        let mut story = Story::begin(settings());
        let (mut now, mut open, mut number) = (0, BTreeMap::new(), 0_u64);
        let mut told: BTreeMap<String, u32> = BTreeMap::new();
        let mut fired = 0;
        for (wait, what, n, anew) in steps {
            now += wait;
            match what {
                0 | 1 if !open.contains_key(&n) => {
                    number += 1;
                    fired += 1;
                    let severity = if what == 0 { Severity::Warning } else { Severity::Critical };
                    story.fires_of("spread_wide", u128::from(number), 1, severity, None, now);
                    open.insert(n, number);
                }
                2 => {
                    if let Some(number) = open.remove(&n) {
                        story.resolves(number.into(), now);
                    }
                }
                _ => {}
            }
            if anew {
                story.again();
            }
            for text in story.says(now) {
                text.split(", ").for_each(|part| *told.entry(part.to_owned()).or_default() += 1);
            }
        }
        for text in story.says(now + 100_000) {
            text.split(", ").for_each(|part| *told.entry(part.to_owned()).or_default() += 1);
        }
        let first: Vec<_> = told.iter().filter(|(part, _)| part.starts_with("fired") || part.starts_with("resolved")).collect();
        prop_assert!(first.iter().all(|(_, times)| **times == 1), "{told:?}");
        prop_assert_eq!(first.iter().filter(|(part, _)| part.starts_with("fired")).count(), fired);
    }
}

#[test]
fn what_ended_a_week_ago_is_told_to_nobody() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    story.resolves(1, 200);
    let mut late = Story::begin(settings());
    late.fires(1, Severity::Warning, 100);
    late.resolves(1, 200);
    assert_eq!(story.says(7 * 24 * HOUR), ["fired 1, resolved 1"]);
    assert!(late.says(7 * 24 * HOUR + 200).is_empty());
}

#[test]
fn only_what_goes_on_has_to_be_read_again_and_nothing_of_it_is_told_anew() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    story.resolves(1, 150);
    story.fires(2, Severity::Warning, 160);
    assert_eq!(story.board.news_from(), Some(2));
    assert_eq!(story.says(190), ["fired 1, resolved 1, fired 2"]);
    assert_eq!(story.board.news_from(), Some(4));
    story.told.forget(&story.board);
    story.board = Board::default();
    story.events.iter().filter(|event| event.seq == 1 || event.seq >= 4).for_each(|event| story.board.hear(event));
    assert!(story.says(4 * HOUR).is_empty());
    story.resolves(2, 4 * HOUR + 1);
    assert_eq!(story.says(4 * HOUR + 31), ["resolved 2"]);
    assert_eq!(story.board.news_from(), None);
}

#[test]
fn nobody_hears_that_something_is_over_before_he_has_heard_that_it_began() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    let began = story.sends(130).remove(0);
    story.ends(&began, Delivery::Failed { reason: "503".into() }, 131);
    story.resolves(1, 140);
    assert!(story.says(HOUR).is_empty());
    story.again();
    assert!(story.says(HOUR + 1).is_empty());
    story.ends(&began, Delivery::Delivered, HOUR + 60);
    assert_eq!(story.says(HOUR + 61), ["resolved 1"]);
    // One that was given up holds nothing up, and neither does one of which nobody ever tells what came of it.
    for n in [2, 3] {
        story.fires(n, Severity::Critical, 2 * HOUR);
    }
    let lost = story.sends(2 * HOUR + 30);
    story.resolves(2, 2 * HOUR + 40);
    story.resolves(3, 2 * HOUR + 40);
    assert!(story.says(3 * HOUR).is_empty());
    let Said::Alerts { rule, items } = lost[0].said.clone() else { panic!("no alerts") };
    let first = Message { said: Said::Alerts { rule, items: items[..1].to_vec() }, ..lost[0].clone() };
    story.ends(&first, Delivery::GivenUp { reason: "no".into() }, 3 * HOUR);
    assert_eq!(story.says(3 * HOUR + 1), ["resolved 2"]);
    assert_eq!(story.says(100 * HOUR), ["resolved 3"]);
}

#[test]
fn a_channel_that_was_removed_and_added_again_tells_other_people_what_goes_on() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Critical, 100);
    assert_eq!(story.says(130), ["fired 1"]);
    story.of_channel(ChannelEvent::ChannelRemoved { reason: "another team".into(), at: at(200) });
    let (name, shown, sealed) = ("ops".parse().unwrap(), String::new(), SealedId(Uuid::from_u128(2)));
    let (kind, settings) = (Kind::Webhook, settings());
    story.of_channel(ChannelEvent::ChannelAdded { name, kind, shown, sealed, settings, at: at(300) });
    assert_eq!(story.says(300), ["fired 1"]);
    story.again();
    assert!(story.says(301).is_empty());
    story.resolves(1, 400);
    assert_eq!(story.says(800), ["resolved 1"]);
}

#[test]
fn whoever_wants_to_hear_of_worse_alone_is_reminded_of_nothing_else() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    assert_eq!(story.says(130), ["fired 1"]);
    let settings = Settings { severity: Severity::Critical, ..settings() };
    story.of_channel(ChannelEvent::ChannelChanged { settings, at: at(200) });
    assert!(story.says(100 + 5 * HOUR).is_empty());
}

#[test]
fn no_message_tells_more_than_a_reader_sees() {
    for (kind, messages) in [(Kind::Webhook, 1), (Kind::Slack, 2), (Kind::Telegram, 2), (Kind::Email, 1)] {
        let mut story = Story { board: Board::default(), told: Told::default(), events: Vec::new() };
        let (name, shown, sealed) = ("ops".parse().unwrap(), String::new(), SealedId(Uuid::from_u128(1)));
        story.of_channel(ChannelEvent::ChannelAdded { name, kind, shown, sealed, settings: settings(), at: at(0) });
        (1..=40).for_each(|n| story.fires(n, Severity::Warning, 100));
        let sent = story.sends(130);
        assert_eq!(sent.len(), messages, "{kind:?}");
        for message in sent {
            let Said::Alerts { items, .. } = &message.said else { panic!("no alerts") };
            let text = text::all(&message.said, kind);
            assert!(items.iter().all(|item| text.contains(&item.alert_id.to_string())), "{text}");
        }
    }
}

#[test]
fn what_something_else_explained_is_told_when_that_is_over_and_it_goes_on() {
    let silent = |story: &mut Story, n, seconds| {
        story.fires_of("heartbeat_lost", n, 1, Severity::Critical, Some("hummingbot_down"), seconds);
    };
    let mut story = Story::begin(settings());
    // One that fired just before it was known that it is explained is explained, too.
    story.fires_of("heartbeat_lost", 1, 1, Severity::Warning, None, 90);
    story.hummingbot(true, 100);
    silent(&mut story, 2, 110);
    silent(&mut story, 3, 110);
    assert!(story.says(500).is_empty());
    story.hummingbot(false, 600);
    story.resolves(3, 620);
    assert!(story.says(659).is_empty());
    assert_eq!(story.says(660), ["fired 1, fired 2"]);
    story.again();
    story.resolves(2, 700);
    assert_eq!(story.says(1_000), ["resolved 2"]);
}

#[test]
fn who_wants_to_hear_nothing_of_an_alert_for_a_while_hears_of_no_new_episode_either() {
    let mut story = Story::begin(settings());
    story.fires(1, Severity::Warning, 100);
    assert_eq!(story.says(130), ["fired 1"]);
    let (rule, severity) = ("spread_wide".parse().unwrap(), Severity::Warning);
    let (until, note) = (at(8 * HOUR), String::new());
    story.of_alert(1, AlertEvent::AlertSilenced { rule, severity, episode: 1, until, note, at: at(140) });
    story.resolves(1, 150);
    assert_eq!(story.says(500), ["resolved 1"]);
    let seq = story.board.news_from().expect("what was snoozed has to be read again");
    story.fires_of("spread_wide", 1, 2, Severity::Critical, None, HOUR);
    assert!(story.says(2 * HOUR).is_empty());
    story.board = Board::default();
    story.events.iter().filter(|event| event.seq == 1 || event.seq >= seq).for_each(|event| story.board.hear(event));
    assert!(story.says(3 * HOUR).is_empty());
    assert_eq!(story.says(8 * HOUR), ["fired 1"]);
}
