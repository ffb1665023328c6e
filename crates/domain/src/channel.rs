//! A channel's life: added, changed, renewed, tested, removed. Whether messages arrive is told by whoever sends them, and
//! decides nothing here but that a channel whose other side is gone rests until somebody looks after it.

use std::collections::BTreeSet;

use events::{
    SealedId, Slug, Time,
    alert::Delivery,
    channel::{ChannelEvent, Kind, QuietHours, Settings, WhyDisabled},
};
use serde::{Deserialize, Serialize};

use crate::line::{LINE_MAX, is_line};

/// For so long messages are signed by the secret that was renewed, too.
pub const BOTH_FOR_US: i64 = 24 * 3_600 * 1_000_000;
/// News wait for each other no longer than this.
pub const WAIT_MAX_S: u16 = 300;
/// Tests of one channel, each so long after the one before.
const TEST_EVERY_US: i64 = 10_000_000;
const MINUTES_A_DAY: u16 = 1_440;

/// What can be wanted of a channel, and what became of what it was to tell.
#[derive(Debug, Clone)]
pub enum ChannelCommand {
    Add {
        name: Slug,
        kind: Kind,
        shown: String,
        sealed: SealedId,
        settings: Settings,
        at: Time,
    },
    Change {
        settings: Settings,
        at: Time,
    },
    Renew {
        shown: String,
        sealed: SealedId,
        at: Time,
    },
    Test {
        at: Time,
    },
    Tested {
        of: u64,
        attempt: u32,
        result: Delivery,
        at: Time,
    },
    Report {
        from: Time,
        to: Time,
        at: Time,
    },
    Reported {
        of: u64,
        attempt: u32,
        result: Delivery,
        at: Time,
    },
    /// Where it led says that it is gone for good. Nothing, if it leads elsewhere by now.
    Gone {
        sealed: SealedId,
        at: Time,
    },
    Remove {
        reason: String,
        at: Time,
    },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelRefusal {
    #[error("there is no such channel")]
    NotThere,
    #[error("there is a channel of this name already: change or renew it, or remove it first")]
    AlreadyThere,
    #[error("it is so already")]
    AlreadySo,
    #[error("the channel is switched off, or its other side said that it is gone: change or renew it first")]
    Off,
    #[error("it was tested within the last 10 seconds: wait for what comes of that")]
    TestedJustNow,
    #[error("wait_s: at most {WAIT_MAX_S} seconds")]
    Wait,
    #[error("quiet: `from` and `to` are minutes after midnight, 0 to 1439, and differ")]
    Quiet,
    #[error("a reason is one line of 1 to {LINE_MAX} characters")]
    Reason,
}

/// What a decision about a channel must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    there: Option<There>,
    /// Under what the vault was told of where it led, ever.
    sealed: BTreeSet<SealedId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct There {
    kind: Kind,
    sealed: SealedId,
    before: Option<(SealedId, Time)>,
    settings: Settings,
    disabled: bool,
    tested: Option<Time>,
    since: Time,
}

/// Under which values the vault knows where a channel leads, and which came before until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leads {
    pub sealed: SealedId,
    pub before: Option<(SealedId, Time)>,
    /// When it was added: what was to be told before that was for others.
    pub since: Time,
}

impl Channel {
    /// Decides a command.
    pub fn decide(&self, command: ChannelCommand) -> Result<Vec<ChannelEvent>, ChannelRefusal> {
        let event = match command {
            ChannelCommand::Add { name, kind, shown, sealed, settings, at } => {
                self.has_room()?;
                possible(&settings)?;
                ChannelEvent::ChannelAdded { name, kind, shown, sealed, settings, at }
            }
            ChannelCommand::Change { settings, at } => {
                let there = self.there()?;
                possible(&settings)?;
                // One that is disabled is looked after by saying the same again.
                if there.settings == settings && !there.disabled {
                    return Err(ChannelRefusal::AlreadySo);
                }
                ChannelEvent::ChannelChanged { settings, at }
            }
            ChannelCommand::Renew { shown, sealed, at } => {
                let (supersedes, both_until) = (self.there()?.sealed, at.plus_micros(BOTH_FOR_US));
                ChannelEvent::ChannelRenewed { shown, sealed, supersedes, both_until, at }
            }
            ChannelCommand::Test { at } => self.test(at)?,
            ChannelCommand::Tested { of, attempt, result, at } => {
                self.there()?;
                ChannelEvent::ChannelTested { of, attempt, result, at }
            }
            ChannelCommand::Report { from, to, at } => {
                self.listens()?;
                ChannelEvent::ChannelReportRequested { from, to, at }
            }
            ChannelCommand::Reported { of, attempt, result, at } => {
                self.there()?;
                ChannelEvent::ChannelReported { of, attempt, result, at }
            }
            ChannelCommand::Gone { sealed, at } => match self.there()? {
                there if there.disabled || there.sealed != sealed => return Ok(Vec::new()),
                _ => ChannelEvent::ChannelDisabled { why: WhyDisabled::Gone, at },
            },
            ChannelCommand::Remove { reason, at } => {
                self.there()?;
                ChannelEvent::ChannelRemoved { reason: readable(reason)?, at }
            }
        };
        Ok(vec![event])
    }

    fn has_room(&self) -> Result<(), ChannelRefusal> {
        if self.there.is_some() { Err(ChannelRefusal::AlreadyThere) } else { Ok(()) }
    }

    fn test(&self, at: Time) -> Result<ChannelEvent, ChannelRefusal> {
        let there = self.listens()?;
        if there.tested.is_some_and(|before| at.micros() - before.micros() < TEST_EVERY_US) {
            Err(ChannelRefusal::TestedJustNow)
        } else {
            Ok(ChannelEvent::ChannelTestRequested { at })
        }
    }

    fn listens(&self) -> Result<&There, ChannelRefusal> {
        let there = self.there()?;
        if there.disabled || !there.settings.on { Err(ChannelRefusal::Off) } else { Ok(there) }
    }

    fn there(&self) -> Result<&There, ChannelRefusal> {
        self.there.as_ref().ok_or(ChannelRefusal::NotThere)
    }

    /// By what means it tells; absent: there is no such channel.
    pub fn kind(&self) -> Option<Kind> {
        self.there.as_ref().map(|there| there.kind)
    }

    /// Where it leads now; absent: nowhere.
    pub fn leads(&self) -> Option<Leads> {
        self.listens().ok().map(|there| Leads { sealed: there.sealed, before: there.before, since: there.since })
    }

    /// What is of no use any more of what the vault knows.
    pub fn useless(&self) -> Vec<SealedId> {
        let before = |there: &There| there.before.map(|(sealed, _)| sealed);
        let live: Vec<SealedId> =
            self.there.iter().flat_map(|there| [Some(there.sealed), before(there)]).flatten().collect();
        self.sealed.iter().filter(|sealed| !live.contains(sealed)).copied().collect()
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: ChannelEvent) {
        if let ChannelEvent::ChannelAdded { sealed, .. } | ChannelEvent::ChannelRenewed { sealed, .. } = &event {
            self.sealed.insert(*sealed);
        }
        if let ChannelEvent::ChannelAdded { kind, sealed, settings, at: since, .. } = event {
            let (before, disabled, tested) = (None, false, None);
            self.there = Some(There { kind, sealed, before, settings, disabled, tested, since });
        } else if let ChannelEvent::ChannelRemoved { .. } = event {
            self.there = None;
        } else if let Some(there) = &mut self.there {
            there.remember(&event);
        }
    }
}

impl There {
    fn remember(&mut self, event: &ChannelEvent) {
        match event {
            ChannelEvent::ChannelChanged { settings, .. } => {
                (self.settings, self.disabled) = (settings.clone(), false);
            }
            ChannelEvent::ChannelRenewed { sealed, supersedes, both_until, .. } => {
                (self.sealed, self.before, self.disabled) = (*sealed, Some((*supersedes, *both_until)), false);
            }
            ChannelEvent::ChannelDisabled { .. } => self.disabled = true,
            ChannelEvent::ChannelTestRequested { at } => self.tested = Some(*at),
            ChannelEvent::ChannelAdded { .. }
            | ChannelEvent::ChannelTested { .. }
            | ChannelEvent::ChannelReportRequested { .. }
            | ChannelEvent::ChannelReported { .. }
            | ChannelEvent::ChannelRemoved { .. } => {}
        }
    }
}

fn possible(settings: &Settings) -> Result<(), ChannelRefusal> {
    if settings.wait_s > WAIT_MAX_S {
        return Err(ChannelRefusal::Wait);
    }
    match &settings.quiet {
        Some(QuietHours { from, to, .. }) if from.max(to) >= &MINUTES_A_DAY || from == to => Err(ChannelRefusal::Quiet),
        Some(_) | None => Ok(()),
    }
}

fn readable(reason: String) -> Result<String, ChannelRefusal> {
    if is_line(&reason, 1..=LINE_MAX) { Ok(reason) } else { Err(ChannelRefusal::Reason) }
}

crate::aggregate!(Channel, "channel", ChannelCommand, ChannelEvent, ChannelRefusal);

#[cfg(test)]
mod tests {
    use events::{Uuid, alert::Severity};

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    fn settings() -> Settings {
        Settings { severity: Severity::Warning, wait_s: 30, quiet: None, on: true }
    }

    fn sealed(n: u128) -> SealedId {
        SealedId(Uuid::from_u128(n))
    }

    fn added() -> ChannelEvent {
        let (name, shown) = ("ops".parse().unwrap(), "https://hooks.example.com/…".to_owned());
        ChannelEvent::ChannelAdded {
            name,
            kind: Kind::Webhook,
            shown,
            sealed: sealed(1),
            settings: settings(),
            at: at(0),
        }
    }

    fn check(
        given: impl IntoIterator<Item = ChannelEvent>,
        when: ChannelCommand,
        then: Result<ChannelEvent, ChannelRefusal>,
    ) {
        let mut channel = Channel::default();
        given.into_iter().for_each(|event| channel.remember(event));
        assert_eq!(channel.decide(when), then.map(|event| vec![event]));
    }

    fn change(settings: Settings) -> ChannelCommand {
        ChannelCommand::Change { settings, at: at(5) }
    }

    #[test]
    fn settings_change_within_what_is_possible() {
        check([], change(settings()), Err(ChannelRefusal::NotThere));
        check([added()], change(settings()), Err(ChannelRefusal::AlreadySo));
        check([added()], change(Settings { wait_s: 301, ..settings() }), Err(ChannelRefusal::Wait));
        let quiet = |from, to| Some(QuietHours { from, to, zone: "UTC".parse().unwrap() });
        for (from, to) in [(0, 0), (1_440, 0), (0, 1_440)] {
            check([added()], change(Settings { quiet: quiet(from, to), ..settings() }), Err(ChannelRefusal::Quiet));
        }
        let fine = Settings { quiet: quiet(1_320, 420), ..settings() };
        check([added()], change(fine.clone()), Ok(ChannelEvent::ChannelChanged { settings: fine, at: at(5) }));
    }

    #[test]
    fn one_whose_other_side_is_gone_rests_until_it_is_looked_after() {
        let gone = ChannelEvent::ChannelDisabled { why: WhyDisabled::Gone, at: at(3) };
        let tells = |sealed| ChannelCommand::Gone { sealed, at: at(3) };
        check([added()], tells(sealed(1)), Ok(gone.clone()));
        let mut channel = Channel::default();
        channel.remember(added());
        assert_eq!(channel.decide(tells(sealed(9))), Ok(Vec::new()), "it leads elsewhere by now");
        let test = || ChannelCommand::Test { at: at(60) };
        check([added(), gone.clone()], test(), Err(ChannelRefusal::Off));
        let again = ChannelEvent::ChannelChanged { settings: settings(), at: at(5) };
        check([added(), gone.clone()], change(settings()), Ok(again.clone()));
        check([added(), gone, again], test(), Ok(ChannelEvent::ChannelTestRequested { at: at(60) }));
    }

    #[test]
    fn a_renewed_one_is_signed_by_both_secrets_for_a_day_and_a_removed_one_can_be_added_anew() {
        let renew = ChannelCommand::Renew { shown: "x".into(), sealed: sealed(2), at: at(9) };
        let renewed = ChannelEvent::ChannelRenewed {
            shown: "x".into(),
            sealed: sealed(2),
            supersedes: sealed(1),
            both_until: at(9 + 86_400),
            at: at(9),
        };
        check([added()], renew, Ok(renewed));
        let ChannelEvent::ChannelAdded { name, kind, shown, sealed, settings, at: first } = added() else { return };
        let add = || ChannelCommand::Add {
            name: name.clone(),
            kind,
            shown: shown.clone(),
            sealed,
            settings: settings.clone(),
            at: first,
        };
        check([added()], add(), Err(ChannelRefusal::AlreadyThere));
        let removed = ChannelEvent::ChannelRemoved { reason: "moved".into(), at: at(9) };
        check([added()], ChannelCommand::Remove { reason: "moved".into(), at: at(9) }, Ok(removed.clone()));
        check([added()], ChannelCommand::Remove { reason: " ".into(), at: at(9) }, Err(ChannelRefusal::Reason));
        check([added(), removed], add(), Ok(added()));
    }

    #[test]
    fn what_a_removed_channel_led_to_is_useless_and_what_another_of_its_name_leads_to_is_not() {
        let removed = ChannelEvent::ChannelRemoved { reason: "moved".into(), at: at(9) };
        let ChannelEvent::ChannelAdded { name, kind, shown, settings, .. } = added() else { return };
        let again = ChannelEvent::ChannelAdded { name, kind, shown, sealed: sealed(5), settings, at: at(10) };
        let mut channel = Channel::default();
        for (event, useless) in [(added(), vec![]), (removed, vec![sealed(1)]), (again, vec![sealed(1)])] {
            channel.remember(event);
            assert_eq!(channel.useless(), useless);
        }
    }

    #[test]
    fn a_test_is_not_asked_for_before_the_last_one_can_have_come() {
        let asked = |seconds| ChannelEvent::ChannelTestRequested { at: at(seconds) };
        check([added(), asked(50)], ChannelCommand::Test { at: at(59) }, Err(ChannelRefusal::TestedJustNow));
        check([added(), asked(50)], ChannelCommand::Test { at: at(60) }, Ok(asked(60)));
    }
}
