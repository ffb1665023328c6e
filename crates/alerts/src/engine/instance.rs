//! One rule of one thing: quiet, about to fire, firing, about to be over. Times are the events' own.

use events::{
    RuleName, Time,
    alert::{AlertEvent, Evidence, Labels, Severity, WhyEscalated, WhyResolved},
};
use serde::{Deserialize, Serialize};

use super::{
    Condition, Reading, Turn,
    kind::{Kind, Timing},
};

/// After so long a critical one that nobody acknowledged is told to more people, and again.
const UNACKNOWLEDGED_US: [i64; 2] = [5 * 60 * 1_000_000, 15 * 60 * 1_000_000];
/// Events that an episode names at most.
const SEQS_MAX: usize = 20;

/// How one thing stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Instance {
    /// How many there were, the one that goes on among them.
    episode: u64,
    /// Since when it has been at least so bad, by severity.
    above: [Option<Time>; 3],
    /// Since when it has been well.
    clear: Option<Time>,
    later: Vec<Turn>,
    firing: Option<Firing>,
    evidence: Evidence,
    summary: String,
    /// What was read last, when, and of which event.
    last: Option<(Reading, Time, u64)>,
    /// Whether nobody is to hear of it.
    asleep: bool,
    /// When it is due next, as far as the engine keeps that in mind.
    #[serde(skip)]
    pub noted: Option<Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Firing {
    severity: Severity,
    since: Time,
    /// Since when it is critical, and how often that was told on because nobody acknowledged it.
    critical_since: Option<Time>,
    told_on: usize,
    acknowledged: Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Acknowledged {
    No,
    Until(Time),
    ToTheEnd,
}

/// What an instance came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Fired(Severity),
    Escalated(Severity, WhyEscalated),
    Resolved(Severity, WhyResolved),
}

/// What is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// What was said to become of it.
    Turn,
    Resolve,
    /// The worse one first.
    Fire(std::cmp::Reverse<Severity>),
    TellOn,
}

impl Instance {
    /// When it is due next.
    pub fn due(&self, timing: &Timing) -> Option<Time> {
        self.next(timing).map(|(at, _)| at)
    }

    fn next(&self, timing: &Timing) -> Option<(Time, Due)> {
        let turn = self.later.first().map(|turn| (turn.at, Due::Turn));
        let fire = Severity::ALL.into_iter().filter_map(|severity| {
            let worse = self.firing.as_ref().is_none_or(|firing| firing.severity < severity);
            let since = self.above[severity as usize].filter(|_| worse)?;
            Some((since.plus_micros(timing.wait(severity)), Due::Fire(std::cmp::Reverse(severity))))
        });
        [turn, self.resolves(timing), self.tells_on()].into_iter().flatten().chain(fire).min()
    }

    fn resolves(&self, timing: &Timing) -> Option<(Time, Due)> {
        let firing = self.firing.as_ref().filter(|_| !timing.by_hand)?;
        let at = match timing.lasts_us {
            Some(lasts_us) => firing.since.plus_micros(lasts_us),
            None => self.clear?.plus_micros(timing.keep_us),
        };
        Some((at, Due::Resolve))
    }

    fn tells_on(&self) -> Option<(Time, Due)> {
        let firing = self.firing.as_ref()?;
        let due = firing.critical_since?.plus_micros(*UNACKNOWLEDGED_US.get(firing.told_on)?);
        match firing.acknowledged {
            Acknowledged::No => Some((due, Due::TellOn)),
            Acknowledged::Until(until) => Some((due.max(until), Due::TellOn)),
            Acknowledged::ToTheEnd => None,
        }
    }

    /// Takes in what was read at a moment.
    pub fn read(&mut self, reading: Reading, at: Time, seq: u64) {
        let Reading { now, later, features, seqs, summary } = reading;
        self.find(now, at);
        // Of what nobody can tell there is nothing to show, unless something becomes of that.
        let is_shown = now != Condition::Unknown || !later.is_empty();
        self.later = later;
        if is_shown {
            let mut seqs = seqs;
            seqs.retain(|one| *one != seq);
            seqs.push(seq);
            let kept = seqs.len().saturating_sub(SEQS_MAX);
            self.evidence = Evidence { features, seqs: seqs.split_off(kept) };
        }
        if !summary.is_empty() {
            self.summary = summary;
        }
    }

    fn find(&mut self, condition: Condition, at: Time) {
        match condition {
            Condition::Above(severity) => {
                for each in Severity::ALL {
                    let since = &mut self.above[each as usize];
                    *since = if each <= severity { Some(since.unwrap_or(at)) } else { None };
                }
                self.clear = None;
            }
            Condition::Clear => {
                self.above = [None; 3];
                self.clear = Some(self.clear.unwrap_or(at));
            }
            Condition::Between | Condition::Unknown => (self.above, self.clear) = ([None; 3], None),
        }
    }

    /// Lets what is due next happen, if it is by this moment.
    pub fn pass(&mut self, at: Time, timing: &Timing) -> Option<Change> {
        let (_, due) = self.next(timing).filter(|(next, _)| *next <= at)?;
        match due {
            Due::Turn => {
                let Turn { at: turned, condition, shown } = self.later.remove(0);
                self.find(condition, turned);
                if let Some((features, summary)) = shown {
                    (self.evidence.features, self.summary) = (features, summary);
                }
                None
            }
            Due::Resolve => {
                let why = if timing.lasts_us.is_some() { WhyResolved::Passed } else { WhyResolved::Cleared };
                self.resolve(why)
            }
            Due::Fire(std::cmp::Reverse(severity)) => Some(self.fire(severity, at)),
            Due::TellOn => {
                let firing = self.firing.as_mut()?;
                // What was put off is told now, and the next as much later as ever.
                firing.critical_since = Some(at.plus_micros(-UNACKNOWLEDGED_US[firing.told_on]));
                firing.told_on += 1;
                firing.acknowledged = Acknowledged::No;
                Some(Change::Escalated(firing.severity, WhyEscalated::Unacknowledged))
            }
        }
    }

    /// The first moment up to `now` at which something comes of it.
    pub fn first_change(mut self, timing: &Timing, now: Time) -> Option<Time> {
        while let Some(at) = self.due(timing).filter(|at| *at <= now) {
            if self.pass(at, timing).is_some() {
                return Some(at);
            }
        }
        None
    }

    fn fire(&mut self, severity: Severity, at: Time) -> Change {
        let critical_since = (severity == Severity::Critical).then_some(at);
        match &mut self.firing {
            Some(firing) => {
                // Whoever looks after a warning does not know of this yet.
                (firing.severity, firing.acknowledged) = (severity, Acknowledged::No);
                firing.critical_since = critical_since;
                Change::Escalated(severity, WhyEscalated::Worse)
            }
            None => {
                self.episode += 1;
                let (told_on, acknowledged) = (0, Acknowledged::No);
                self.firing = Some(Firing { severity, since: at, critical_since, told_on, acknowledged });
                Change::Fired(severity)
            }
        }
    }

    fn resolve(&mut self, why: WhyResolved) -> Option<Change> {
        // One that passes by itself, or by hand, was told: it is not bad any more until it is read anew.
        if why != WhyResolved::Cleared {
            (self.above, self.clear) = ([None; 3], None);
            self.later.clear();
        }
        self.firing.take().map(|firing| Change::Resolved(firing.severity, why))
    }

    /// Keeps what is read, for when somebody is to hear it again.
    pub fn keep(&mut self, reading: Reading, at: Time, seq: u64) {
        self.last = Some((reading, at, seq));
    }

    /// What was read last counts from now on, if there is something, and it was read since then.
    pub fn wake(&mut self, at: Time, since: Time) {
        let last = self.last.clone().filter(|(_, read_at, _)| *read_at >= since);
        if std::mem::take(&mut self.asleep)
            && let Some((reading, _, seq)) = last
        {
            self.read(reading, at, seq);
        }
    }

    /// Nothing that was read counts until it wakes; what fires goes on.
    pub fn sleep(&mut self) {
        self.asleep = true;
        (self.above, self.clear) = ([None; 3], None);
        self.later.clear();
    }

    /// Nothing that was read is remembered.
    pub fn forget(&mut self) {
        (self.above, self.clear, self.last) = ([None; 3], None, None);
        self.later.clear();
    }

    /// What another version of the rule said of it. Of one moment it is not said again.
    pub fn remember(&mut self, told: &AlertEvent, lasts: bool) {
        match told {
            AlertEvent::AlertFired { severity, episode, summary, evidence, evaluated_at: since, .. } => {
                self.last.take_if(|(_, _, seq)| !lasts && evidence.seqs.contains(seq));
                (self.episode, self.summary) = (*episode, summary.clone());
                let (severity, acknowledged) = (*severity, Acknowledged::No);
                let firing = Firing { severity, since: *since, critical_since: None, told_on: 0, acknowledged };
                self.firing = Some(firing);
            }
            AlertEvent::AlertEscalated { severity, .. } => {
                self.firing.iter_mut().for_each(|firing| firing.severity = *severity);
            }
            AlertEvent::AlertResolved { .. } => self.firing = None,
            AlertEvent::AlertAcknowledged { .. }
            | AlertEvent::AlertSilenced { .. }
            | AlertEvent::AlertNotified { .. } => {}
        }
    }

    /// Nothing of it goes on.
    pub fn end(&mut self, why: WhyResolved) -> Option<Change> {
        self.resolve(why)
    }

    /// Somebody looks after this episode; absent: after whichever goes on.
    pub fn acknowledge(&mut self, episode: Option<u64>, until: Option<Time>, by_hand: bool) -> Option<Change> {
        if episode.is_some_and(|episode| episode != self.episode) {
            return None;
        }
        let firing = self.firing.as_mut()?;
        firing.acknowledged = until.map_or(Acknowledged::ToTheEnd, Acknowledged::Until);
        if by_hand { self.resolve(WhyResolved::ByHand) } else { None }
    }

    /// The event that tells of a change.
    pub fn told(
        &self,
        kind: &Kind,
        labels: &Labels,
        change: Change,
        inhibited_by: Option<RuleName>,
        as_of_seq: u64,
        evaluated_at: Time,
    ) -> AlertEvent {
        let (rule, version, episode, evidence) = (kind.rule(), kind.version, self.episode, self.evidence.clone());
        match change {
            Change::Fired(severity) => AlertEvent::AlertFired {
                rule,
                version,
                severity,
                labels: labels.clone(),
                episode,
                summary: self.summary.clone(),
                evidence,
                inhibited_by,
                as_of_seq,
                evaluated_at,
            },
            Change::Escalated(severity, why) => {
                AlertEvent::AlertEscalated { rule, version, severity, episode, why, evidence, as_of_seq, evaluated_at }
            }
            Change::Resolved(severity, why) => {
                AlertEvent::AlertResolved { rule, version, severity, episode, why, evidence, as_of_seq, evaluated_at }
            }
        }
    }
}
