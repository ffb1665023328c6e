//! An agreement's life: what is promised from when on, what counts for nothing, and which days are to be judged.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use events::{
    BotId, Decimal, Slug, Time,
    agreement::{AgreementEvent, Clause, Verdict},
    market::GRID_BPS,
};
use serde::{Deserialize, Serialize};

pub use self::verdict::{Figures, verdict};
use crate::line::{LINE_MAX, is_line};

const DAY_US: i64 = 86_400_000_000;
/// What is told late of a day has come by then.
pub const GRACE_US: i64 = 15 * 60_000_000;
/// Time is declared to be left out no longer than so after it.
const LATE_MAX_US: i64 = 45 * DAY_US;
const CLAUSES_MAX: usize = 20;

/// What can be wanted of an agreement, and what a day came to.
#[derive(Debug, Clone)]
pub enum AgreementCommand {
    Set {
        name: Slug,
        bot: BotId,
        clauses: Vec<Clause>,
        at: Time,
    },
    /// Other promises, from the next day on.
    Change {
        clauses: Vec<Clause>,
        at: Time,
    },
    Exclude {
        from: Time,
        to: Time,
        reason: String,
        at: Time,
    },
    Judge {
        day: Time,
        figures: Box<Figures>,
        /// What of the day the figures leave out.
        excluded: Vec<(Time, Time)>,
        as_of_seq: u64,
        at: Time,
    },
    End {
        reason: String,
        at: Time,
    },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementRefusal {
    #[error("there is no such agreement")]
    NotThere,
    #[error("there is an agreement of this name already: change it, or end it first")]
    AlreadyThere,
    #[error("days before it ended are still to be judged, which takes until 00:15 UTC: set it again after that")]
    Unjudged,
    #[error("clauses: between 1 and {CLAUSES_MAX} of them")]
    Count,
    #[error(
        "clauses: a share is above 0 and at most 1, amounts and a spread are above 0, a floor is not above its ceiling, \
         within_bps is one of {GRID_BPS:?}, and size_quote, which needs it, one of 1, 2, 5, 10, 20, 50 and so on"
    )]
    Clause,
    #[error(
        "from, to: an hour that has been, or will be within 31 days, is declared within 45 days, the earlier one first"
    )]
    Exclusion,
    #[error("this day is not to be judged")]
    NotDue,
    #[error("a reason is one line of 1 to {LINE_MAX} characters")]
    Reason,
}

/// What a decision about an agreement must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    set: Option<Set>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    name: Slug,
    bot: BotId,
    /// From which day on what is promised; the last one that began counts.
    promised: BTreeMap<Time, Vec<Clause>>,
    excluded: BTreeSet<(Time, Time)>,
    /// The first day that was never judged, and those that are judged anew.
    next: Time,
    again: BTreeSet<Time>,
    /// What the last days came to: what comes late of one may change it.
    judged: BTreeMap<Time, Vec<Verdict>>,
    /// The begin of the day on which it ended: those before it are judged still.
    ended: Option<Time>,
}

impl Agreement {
    /// Decides a command.
    pub fn decide(&self, command: AgreementCommand) -> Result<Vec<AgreementEvent>, AgreementRefusal> {
        let event = match command {
            AgreementCommand::Set { .. } if self.set().is_ok() => return Err(AgreementRefusal::AlreadyThere),
            // What is set anew knows nothing of the days before it.
            AgreementCommand::Set { .. } if self.is_owed() => return Err(AgreementRefusal::Unjudged),
            AgreementCommand::Set { name, bot, clauses, at } => {
                AgreementEvent::AgreementSet { name, bot, clauses: possible(clauses)?, at }
            }
            AgreementCommand::Change { clauses, at } => {
                let Set { name, bot, .. } = self.set()?.clone();
                AgreementEvent::AgreementSet { name, bot, clauses: possible(clauses)?, at }
            }
            AgreementCommand::Exclude { from, to, reason, at } => {
                self.set()?;
                let reason = readable(reason)?;
                let near = from.micros() > at.micros() - LATE_MAX_US && to.micros() < at.micros() + 31 * DAY_US;
                match near && from < to {
                    true => AgreementEvent::ExclusionDeclared { from, to, reason, at },
                    false => return Err(AgreementRefusal::Exclusion),
                }
            }
            // What was declared meanwhile is not in the figures: they are made anew.
            AgreementCommand::Judge { day, excluded, .. } if excluded != self.excluded(day) => {
                return Err(AgreementRefusal::NotDue);
            }
            AgreementCommand::Judge { day, figures, as_of_seq, at, .. } => {
                return Ok(self.judge(day, &figures, as_of_seq, at)?.into_iter().collect());
            }
            AgreementCommand::End { reason, at } => {
                self.set()?;
                AgreementEvent::AgreementEnded { reason: readable(reason)?, at }
            }
        };
        Ok(vec![event])
    }

    /// What a day came to. One that was judged before, and comes to the same, is nothing new.
    fn judge(
        &self,
        day: Time,
        figures: &Figures,
        as_of_seq: u64,
        at: Time,
    ) -> Result<Option<AgreementEvent>, AgreementRefusal> {
        let set = self.set.as_ref().ok_or(AgreementRefusal::NotThere)?;
        let (is_due, before) = (self.due(at) == Some(day), set.judged.get(&day));
        if !is_due && before.is_none() {
            return Err(AgreementRefusal::NotDue);
        }
        let clauses = set.promised.range(..=day).next_back().map(|(_, clauses)| clauses.as_slice()).unwrap_or_default();
        let verdicts: Vec<Verdict> = clauses.iter().map(|clause| verdict(clause, figures)).collect();
        let excluded_us = figures.excluded_us.unsigned_abs();
        let is_new = is_due || before != Some(&verdicts);
        Ok(is_new.then_some(AgreementEvent::AgreementJudged { day, verdicts, excluded_us, as_of_seq, at }))
    }

    /// The next day that is to be judged now.
    pub fn due(&self, now: Time) -> Option<Time> {
        let set = self.set.as_ref()?;
        let first = set.first();
        let is_over = now.micros() >= first.micros() + DAY_US + GRACE_US;
        (is_over && set.ended.is_none_or(|ended| first < ended)).then_some(first)
    }

    /// Whether it ended, and days before that are still to be judged.
    fn is_owed(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.ended.is_some_and(|ended| set.first() < ended))
    }

    /// The days that were judged and may come to something else, if something of them comes late.
    pub fn judged(&self) -> impl Iterator<Item = Time> {
        self.set.iter().flat_map(|set| set.judged.keys().copied())
    }

    /// Whose promise it is.
    pub fn bot(&self) -> Option<BotId> {
        self.set.as_ref().map(|set| set.bot)
    }

    /// What of a day counts for nothing: in order, apart from each other.
    pub fn excluded(&self, day: Time) -> Vec<(Time, Time)> {
        let end = day.plus_micros(DAY_US);
        let mut apart: Vec<(Time, Time)> = Vec::new();
        for (from, to) in self.set.iter().flat_map(|set| &set.excluded) {
            let (from, to) = (day.max(*from), end.min(*to));
            match apart.last_mut() {
                _ if from >= to => {}
                Some(last) if last.1 >= from => last.1 = to.max(last.1),
                Some(_) | None => apart.push((from, to)),
            }
        }
        apart
    }

    fn set(&self) -> Result<&Set, AgreementRefusal> {
        self.set.as_ref().filter(|set| set.ended.is_none()).ok_or(AgreementRefusal::NotThere)
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: AgreementEvent) {
        match event {
            AgreementEvent::AgreementSet { name, bot, clauses, at } => {
                let first = at.next_midnight();
                self.set.take_if(|set| set.ended.is_some());
                let set = self.set.get_or_insert_with(|| Set {
                    name,
                    bot,
                    promised: BTreeMap::new(),
                    excluded: BTreeSet::new(),
                    next: first,
                    again: BTreeSet::new(),
                    judged: BTreeMap::new(),
                    ended: None,
                });
                set.promised.insert(first, clauses);
            }
            AgreementEvent::ExclusionDeclared { from, to, .. } => {
                self.set.iter_mut().for_each(|set| set.exclude(from, to));
            }
            AgreementEvent::AgreementJudged { day, verdicts, .. } => {
                self.set.iter_mut().for_each(|set| set.judge(day, verdicts.clone()));
            }
            AgreementEvent::AgreementEnded { at, .. } => {
                self.set.iter_mut().for_each(|set| set.ended = Some(at.midnight()));
            }
        }
    }
}

impl Set {
    /// The first day that is to be judged next.
    fn first(&self) -> Time {
        self.again.first().copied().map_or(self.next, |again| again.min(self.next))
    }

    fn judge(&mut self, day: Time, verdicts: Vec<Verdict>) {
        self.again.remove(&day);
        self.next = self.next.max(day.plus_micros(DAY_US));
        self.judged.insert(day, verdicts);
        let old = self.next.plus_micros(-LATE_MAX_US);
        self.judged.retain(|day, _| *day >= old);
    }

    /// Days that were judged with it are judged anew.
    fn exclude(&mut self, from: Time, to: Time) {
        self.excluded.insert((from, to));
        let first = self.promised.keys().next().copied().unwrap_or(self.next);
        let days = std::iter::successors(Some(from.midnight()), |day| Some(day.plus_micros(DAY_US)));
        let touched = days.take_while(|day| *day < to && *day < self.next).filter(|day| *day >= first);
        self.again.extend(touched);
    }
}

/// Whether an amount is a step of 1, 2, 5, 10, 20, 50 and so on: what sizes are measured by.
fn is_step(amount: Decimal) -> bool {
    let text = amount.normalised().to_string();
    let digits: String = text.chars().filter(|digit| ('1'..='9').contains(digit)).collect();
    ["1", "2", "5"].contains(&&*digits) && amount.is_positive()
}

fn possible(clauses: Vec<Clause>) -> Result<Vec<Clause>, AgreementRefusal> {
    if !(1..=CLAUSES_MAX).contains(&clauses.len()) {
        return Err(AgreementRefusal::Count);
    }
    let share = |share: &Decimal| share.is_positive() && *share <= Decimal::ONE;
    let order = |least: &Option<Decimal>, most: &Option<Decimal>, fine: &dyn Fn(&Decimal) -> bool| {
        let both = least.iter().chain(most);
        (least.is_some() || most.is_some())
            && both.into_iter().all(fine)
            && least.zip(*most).is_none_or(|(least, most)| least <= most)
    };
    let fine = |clause: &Clause| match clause {
        Clause::TwoSided { least, within_bps, size_quote } => {
            share(least)
                && within_bps.is_none_or(|bps| GRID_BPS.contains(&bps))
                && size_quote.is_none_or(|size| is_step(size) && within_bps.is_some())
        }
        Clause::Sides { least } => share(least),
        Clause::Spread { most_bps } => most_bps.is_positive(),
        Clause::Depth { within_bps, least_quote } => GRID_BPS.contains(within_bps) && least_quote.is_positive(),
        Clause::Volume { least_quote, most_quote } => order(least_quote, most_quote, &Decimal::is_positive),
        Clause::VolumeShare { least, most } => order(least, most, &share),
    };
    if clauses.iter().all(fine) { Ok(clauses) } else { Err(AgreementRefusal::Clause) }
}

fn readable(reason: String) -> Result<String, AgreementRefusal> {
    if is_line(&reason, 1..=LINE_MAX) { Ok(reason) } else { Err(AgreementRefusal::Reason) }
}

crate::aggregate!(Agreement, "agreement", AgreementCommand, AgreementEvent, AgreementRefusal);

#[cfg(test)]
mod tests {
    use events::{Uuid, agreement::Outcome};

    use super::{verdict::tests::figures, *};

    const HOUR_US: i64 = 3_600_000_000;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn hour(day: i64, hour: i64) -> Time {
        Time::EPOCH.plus_micros(day * DAY_US + hour * HOUR_US)
    }

    fn of(given: impl IntoIterator<Item = AgreementEvent>) -> Agreement {
        let mut agreement = Agreement::default();
        given.into_iter().for_each(|event| agreement.remember(event));
        agreement
    }

    fn set() -> AgreementEvent {
        let (name, bot) = ("maker".parse().unwrap(), BotId(Uuid::from_u128(2)));
        let clauses = vec![Clause::Sides { least: d("0.9") }];
        AgreementEvent::AgreementSet { name, bot, clauses, at: hour(0, 5) }
    }

    fn judged(day: i64) -> AgreementEvent {
        let verdicts = vec![verdict(&Clause::Sides { least: d("0.9") }, &figures())];
        AgreementEvent::AgreementJudged {
            day: hour(day, 0),
            verdicts,
            excluded_us: 0,
            as_of_seq: 9,
            at: hour(day + 1, 1),
        }
    }

    #[test]
    fn each_day_is_judged_once_when_what_is_late_has_come_and_anew_when_time_is_left_out_of_it() {
        let agreement = of([set()]);
        assert_eq!(agreement.due(hour(2, 0)), None);
        assert_eq!(agreement.due(hour(2, 1)), Some(hour(1, 0)));
        let judge = |day: i64, at: Time| AgreementCommand::Judge {
            day: hour(day, 0),
            figures: Box::new(figures()),
            excluded: Vec::new(),
            as_of_seq: 9,
            at,
        };
        assert_eq!(agreement.decide(judge(1, hour(2, 0))), Err(AgreementRefusal::NotDue));
        assert_eq!(agreement.decide(judge(1, hour(2, 1))), Ok(vec![judged(1)]));
        let mut agreement = of([set(), judged(1), judged(2)]);
        assert_eq!((agreement.due(hour(3, 9)), agreement.due(hour(4, 1))), (None, Some(hour(3, 0))));
        let (from, to, reason) = (hour(1, 22), hour(2, 2), "the exchange was down".to_owned());
        agreement.remember(AgreementEvent::ExclusionDeclared { from, to, reason, at: hour(3, 1) });
        assert_eq!(agreement.due(hour(3, 9)), Some(hour(1, 0)));
        assert_eq!(agreement.decide(judge(1, hour(3, 9))), Err(AgreementRefusal::NotDue), "they leave nothing out");
        assert_eq!(agreement.excluded(hour(1, 0)), [(hour(1, 22), hour(2, 0))]);
        agreement.remember(judged(1));
        assert_eq!(agreement.due(hour(3, 9)), Some(hour(2, 0)));
        assert_eq!(agreement.excluded(hour(2, 0)), [(hour(2, 0), hour(2, 2))]);
        agreement.remember(judged(2));
        assert_eq!(agreement.due(hour(3, 9)), None);
    }

    #[test]
    fn a_day_that_something_comes_late_of_is_judged_anew_if_it_comes_to_something_else() {
        let agreement = of([set(), judged(1)]);
        let judge = |figures: Figures| {
            let (figures, excluded) = (Box::new(figures), Vec::new());
            agreement.decide(AgreementCommand::Judge {
                day: hour(1, 0),
                figures,
                excluded,
                as_of_seq: 12,
                at: hour(2, 5),
            })
        };
        assert_eq!(judge(figures()), Ok(vec![]));
        let better = judge(Figures { sides_us: 48 * HOUR_US, ..figures() }).unwrap();
        let [AgreementEvent::AgreementJudged { verdicts, as_of_seq: 12, .. }] = &*better else { panic!("{better:?}") };
        assert_eq!(verdicts[0].outcome, Outcome::Met);
        assert_eq!(agreement.judged().collect::<Vec<_>>(), [hour(1, 0)]);
    }

    #[test]
    fn the_days_before_the_one_on_which_it_ends_are_judged_and_no_other() {
        let ended = AgreementEvent::AgreementEnded { reason: "over".into(), at: hour(3, 1) };
        let anew = || {
            let (name, bot) = ("maker".parse().unwrap(), BotId(Uuid::from_u128(2)));
            AgreementCommand::Set { name, bot, clauses: vec![Clause::Sides { least: d("0.8") }], at: hour(3, 2) }
        };
        let owed = of([set(), judged(1), ended.clone()]);
        assert_eq!(owed.decide(anew()), Err(AgreementRefusal::Unjudged));
        assert!(of([set(), judged(1), judged(2), ended.clone()]).decide(anew()).is_ok());
        let mut agreement = of([set(), judged(1), ended]);
        assert_eq!((agreement.due(hour(3, 1)), agreement.bot().is_some()), (Some(hour(2, 0)), true));
        let change = AgreementCommand::Change { clauses: vec![Clause::Sides { least: d("0.9") }], at: hour(3, 2) };
        assert_eq!(agreement.decide(change), Err(AgreementRefusal::NotThere));
        agreement.remember(judged(2));
        assert_eq!(agreement.due(hour(9, 0)), None);
        agreement.remember(set());
        assert_eq!(agreement.due(hour(2, 1)), Some(hour(1, 0)));
    }

    #[test]
    fn times_that_are_left_out_twice_count_once_and_terms_are_possible_ones() {
        let excluded = |from: i64, to: i64| AgreementEvent::ExclusionDeclared {
            from: hour(1, from),
            to: hour(1, to),
            reason: "x".into(),
            at: hour(1, 1),
        };
        let agreement = of([set(), excluded(3, 6), excluded(5, 8), excluded(10, 11)]);
        assert_eq!(agreement.excluded(hour(1, 0)), [(hour(1, 3), hour(1, 8)), (hour(1, 10), hour(1, 11))]);
        let change = |clauses| agreement.decide(AgreementCommand::Change { clauses, at: hour(1, 1) });
        assert_eq!(change(Vec::new()), Err(AgreementRefusal::Count));
        for bad in [
            Clause::Sides { least: d("1.01") },
            Clause::Sides { least: d("0") },
            Clause::TwoSided { least: d("0.5"), within_bps: Some(100), size_quote: Some(d("3000")) },
            Clause::TwoSided { least: d("0.5"), within_bps: None, size_quote: Some(d("2000")) },
            Clause::Spread { most_bps: d("-1") },
            Clause::Volume { least_quote: None, most_quote: None },
            Clause::Volume { least_quote: Some(d("2")), most_quote: Some(d("1")) },
            Clause::VolumeShare { least: Some(d("2")), most: None },
        ] {
            assert_eq!(change(vec![bad]), Err(AgreementRefusal::Clause));
        }
        let exclude = |from, to| {
            let reason = "down".to_owned();
            agreement.decide(AgreementCommand::Exclude { from, to, reason, at: hour(100, 0) })
        };
        assert_eq!(exclude(hour(1, 0), hour(1, 1)), Err(AgreementRefusal::Exclusion), "too late");
        assert_eq!(exclude(hour(99, 1), hour(99, 1)), Err(AgreementRefusal::Exclusion));
        assert!(exclude(hour(99, 1), hour(99, 2)).is_ok());
    }
}
