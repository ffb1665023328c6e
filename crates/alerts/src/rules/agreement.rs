//! A day did not keep what was promised.

use events::{
    Decimal, Event,
    agreement::{AgreementEvent, Clause, Outcome, Verdict},
    alert::{Labels, Severity},
};

use std::collections::BTreeMap;

use super::{Rule, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct AgreementMissed;

/// No day is later.
const OVER: i64 = i64::MAX;

impl Rule for AgreementMissed {
    const KIND: Kind = Kind {
        name: "agreement_missed",
        version: 2,
        about: "the last day that was judged did not keep all that was promised",
        of: Of::Clients,
        names: Names::THING,
        parameters: &[number("clauses", "clauses", ["1", "1", "20"], "so many promises have to be broken")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    /// The last day that was judged, by agreement: one that is judged anew afterwards is history.
    type Memory = BTreeMap<String, i64>;

    fn hear(last: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Agreement(told) = &hearing.event.event else { return };
        let agreement = hearing.event.aggregate.id.clone();
        let labels = Labels::about(agreement.clone());
        match told {
            AgreementEvent::AgreementJudged { day, verdicts, .. } => {
                let before = last.entry(agreement).or_insert(i64::MIN);
                if *before <= day.micros() {
                    *before = day.micros();
                    let reading = reading(hearing, &labels, &day.to_string()[..10], verdicts);
                    hearing.say(labels, reading);
                }
            }
            AgreementEvent::AgreementEnded { .. } => {
                // Its last day is judged still, and nobody waits for a better one.
                last.insert(agreement, OVER);
                hearing.say(labels, Reading::clear());
            }
            AgreementEvent::AgreementSet { .. } => {
                last.entry(agreement).and_modify(|day| *day = if *day == OVER { i64::MIN } else { *day });
            }
            AgreementEvent::ExclusionDeclared { .. } => {}
        }
    }
}

fn reading(hearing: &Hearing<'_>, labels: &Labels, day: &str, verdicts: &[Verdict]) -> Reading {
    let missed: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Missed).collect();
    let (count, most) = (Decimal::from_int(missed.len() as i64), hearing.parameter(labels, "clauses"));
    if count < most {
        // What nobody could measure was not kept.
        let unknown = verdicts.iter().any(|verdict| verdict.outcome == Outcome::Unknown);
        return if unknown { Reading::unknown() } else { Reading::clear() };
    }
    let summary = format!("{day} kept {} of {} promises", verdicts.len() - missed.len(), verdicts.len());
    let reading =
        Reading::new(Condition::Above(Severity::Warning), summary).with("missed", count, Some(most), "clauses");
    missed.iter().fold(reading, |reading, verdict| {
        let (name, promised, unit) = promised(&verdict.clause);
        reading.with(name, verdict.measured.unwrap_or_default(), promised, unit)
    })
}

fn promised(clause: &Clause) -> (&'static str, Option<Decimal>, &'static str) {
    match clause {
        Clause::TwoSided { least, .. } => ("two_sided", Some(*least), ""),
        Clause::Sides { least } => ("sides", Some(*least), ""),
        Clause::Spread { most_bps } => ("spread", Some(*most_bps), "bps"),
        Clause::Depth { least_quote, .. } => ("depth", Some(*least_quote), "quote"),
        Clause::Volume { least_quote, most_quote } => ("net_volume", least_quote.or(*most_quote), "quote"),
        Clause::VolumeShare { least, most } => ("volume_share", least.or(*most), ""),
    }
}
