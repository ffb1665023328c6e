//! Replaying a stream: the same events, and ticks where transitions say that there was one, give the same transitions and no
//! other.

use std::collections::BTreeMap;

use events::{AlertId, ClientId, Event, Recorded, Time, alert::AlertEvent};
use sqlx::PgConnection;
use store::{ReadError, read};

use crate::engine::{Engine, Transition};

/// At which points of a stream time was looked at, as its transitions tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticks(BTreeMap<u64, Vec<Time>>);

/// What a replay makes of one stream, held against what is recorded there.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    ticks: Ticks,
    recorded: Vec<(u64, Transition)>,
    made: Vec<Transition>,
}

/// Where a replay and the record part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    #[error("event {seq} tells of a transition of alert {alert} that does not follow from the events")]
    DoesNotFollow { seq: u64, alert: AlertId },
    #[error("a transition of alert {alert} follows from the events up to {as_of_seq} and is not recorded")]
    NotRecorded { alert: AlertId, as_of_seq: u64 },
}

/// What an engine makes of a client's stream up to an event and a moment, and how far it read.
pub async fn tried(
    db: &mut PgConnection,
    mut engine: Engine,
    client: ClientId,
    head: u64,
    to: Time,
) -> sqlx::Result<(u64, Vec<Transition>)> {
    let mut transitions = Vec::new();
    if head > 0 {
        read::each(db, client, 1, head, |event| {
            if event.recorded_at <= to {
                transitions.extend(engine.hear(&event));
            }
            Ok::<(), ReadError>(())
        })
        .await?;
    }
    transitions.extend(engine.tick(to));
    Ok((engine.reached(), transitions))
}

impl Ticks {
    /// Those that these events tell of.
    pub fn told_by<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut ticks = Self::default();
        events.into_iter().for_each(|event| ticks.hear(event));
        ticks
    }

    fn hear(&mut self, event: &Recorded) {
        if let Event::Alert(told) = &event.event
            && let Some((as_of_seq, at)) = told.decided().filter(|_| is_ours(told))
        {
            self.0.entry(as_of_seq).or_default().push(at);
        }
    }

    /// Takes an event in, and the ticks that followed it.
    pub fn carry(&self, engine: &mut Engine, event: &Recorded) -> Vec<Transition> {
        let mut transitions = engine.hear(event);
        transitions.extend(self.again(engine));
        transitions
    }

    /// Those that followed the last event that was taken in: behind what that event made by itself.
    pub fn again(&self, engine: &mut Engine) -> Vec<Transition> {
        let ticks = self.0.get(&engine.reached()).into_iter().flatten().skip(engine.made());
        ticks.flat_map(|at| engine.tick(*at)).collect()
    }
}

impl Replay {
    /// Of a client's stream, whose events of alerts are these.
    pub fn new<'a>(client: ClientId, alerts: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut replay =
            Self { engine: Engine::new(client), ticks: Ticks::default(), recorded: Vec::new(), made: Vec::new() };
        for event in alerts {
            replay.ticks.hear(event);
            if let Event::Alert(told) = &event.event
                && told.decided().is_some()
                && is_ours(told)
                && let Ok(alert) = event.aggregate.id.parse()
            {
                replay.recorded.push((event.seq, Transition { alert, event: told.clone() }));
            }
        }
        replay
    }

    /// Takes in the next event of the stream.
    pub fn hear(&mut self, event: &Recorded) {
        let made = self.ticks.carry(&mut self.engine, event);
        self.made.extend(made);
    }

    /// How many transitions were found again, or where the two part first.
    pub fn end(self) -> Result<usize, Difference> {
        let mut made = self.made.into_iter();
        for (seq, recorded) in &self.recorded {
            match made.next() {
                Some(made) if made == *recorded => {}
                Some(made) if decided(&made) < decided(recorded) => return Err(not_recorded(&made)),
                Some(_) | None => return Err(Difference::DoesNotFollow { seq: *seq, alert: recorded.alert }),
            }
        }
        match made.next() {
            // What follows from the last events may be on its way.
            Some(made) if seq(&made) < self.recorded.last().and_then(|(_, last)| seq(last)) => Err(not_recorded(&made)),
            Some(_) | None => Ok(self.recorded.len()),
        }
    }
}

/// What another version of a rule said cannot be said again by this build.
fn is_ours(told: &AlertEvent) -> bool {
    told.version().is_some_and(|(rule, version)| crate::rule(rule.as_str()).is_some_and(|kind| kind.version == version))
}

fn decided(transition: &Transition) -> Option<(u64, Time)> {
    transition.event.decided()
}

fn seq(transition: &Transition) -> Option<u64> {
    decided(transition).map(|(seq, _)| seq)
}

fn not_recorded(made: &Transition) -> Difference {
    Difference::NotRecorded { alert: made.alert, as_of_seq: decided(made).map_or(0, |(seq, _)| seq) }
}
