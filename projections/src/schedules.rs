//! What is done by the clock: a client's schedules, and what came of each run.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use events::{
    ClientId, Event, Recorded, ScheduleId, Slug, Time,
    schedule::{Action, Missed, Outcome, ScheduleEvent, When},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's schedules.
#[derive(Debug)]
pub struct Schedules {
    schedules: BTreeMap<ScheduleId, Schedule>,
    changed: BTreeSet<ScheduleId>,
    /// Runs that changed, and those that nobody has told the end of.
    runs: BTreeMap<(ScheduleId, Time), Run>,
    told: BTreeSet<(ScheduleId, Time)>,
}

/// One schedule as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ListedSchedule)]
pub struct Schedule {
    /// Whose.
    pub client_id: Uuid,
    pub schedule_id: ScheduleId,
    /// What people call it.
    pub name: Slug,
    pub action: Action,
    pub clock: When,
    /// What becomes of runs whose time passed while nobody was there.
    pub missed: Missed,
    /// Whether it goes on.
    pub state: State,
    /// Since when that, and all of the above, is so.
    pub since: Time,
    /// Why it ended.
    pub reason: Option<String>,
    /// The last moment of its clock that was taken up.
    pub last_due: Option<Time>,
    /// The last event that tells of it.
    pub seq: u64,
}

/// Whether a schedule goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScheduleState)]
pub enum State {
    On,
    Off,
    Ended,
}

/// One run, or some that were missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScheduledRun)]
pub struct Run {
    /// Whose.
    pub client_id: Uuid,
    pub schedule_id: ScheduleId,
    /// The moment that the clock named; of runs that were missed, the first.
    pub due: Time,
    /// When it was taken up; null of those that were missed.
    pub triggered_at: Option<Time>,
    /// What came of it; null until that is known, and of those that were missed.
    pub outcome: Option<Outcome>,
    pub ran_at: Option<Time>,
    /// So many were missed, up to `last`; 0 of a run that was taken up.
    pub missed: u64,
    pub last: Option<Time>,
    /// The last event that tells of it.
    pub seq: u64,
}

impl Projection for Schedules {
    const NAME: &'static str = "schedules";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table schedules (
          client_id   uuid        not null,
          schedule_id uuid        not null,
          name        text        not null,
          action      jsonb       not null,
          clock       jsonb       not null,
          missed      text        not null,
          state       text        not null,
          since       timestamptz not null,
          reason      text,
          last_due    timestamptz,
          seq         bigint      not null,
          primary key (client_id, schedule_id)
        );
        create table scheduled_runs (
          client_id    uuid        not null,
          schedule_id  uuid        not null,
          due          timestamptz not null,
          triggered_at timestamptz,
          outcome      jsonb,
          ran_at       timestamptz,
          missed       bigint      not null,
          last         timestamptz,
          seq          bigint      not null,
          primary key (client_id, schedule_id, due)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let schedules = of_client(db, client).await?.into_iter().map(|one| (one.schedule_id, one)).collect();
        let runs = open_runs(db, client).await?.into_iter().map(|run| ((run.schedule_id, run.due), run)).collect();
        Ok(Self { schedules, changed: BTreeSet::new(), runs, told: BTreeSet::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Schedule(told) = &event.event else { return Ok(()) };
        let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
        let id = event.aggregate.id.parse().map_err(|_| unfoldable("its schedule's id is no id"))?;
        self.hear_of_schedule(event, id, told).ok_or_else(|| unfoldable("nobody set its schedule"))?;
        self.hear_of_run(event, id, told);
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        if let Some(rows) = rows::written(changed.iter().map(|id| &self.schedules[id])) {
            sqlx::query!(
                "delete from schedules s using jsonb_populate_recordset(null::schedules, $1) n
                  where (s.client_id, s.schedule_id) = (n.client_id, n.schedule_id)",
                rows
            )
            .execute(&mut *db)
            .await?;
            sqlx::query!("insert into schedules select * from jsonb_populate_recordset(null::schedules, $1)", rows)
                .execute(&mut *db)
                .await?;
        }
        let told = std::mem::take(&mut self.told);
        if let Some(rows) = rows::written(told.iter().filter_map(|key| self.runs.get(key))) {
            sqlx::query!(
                "delete from scheduled_runs r using jsonb_populate_recordset(null::scheduled_runs, $1) n
                  where (r.client_id, r.schedule_id, r.due) = (n.client_id, n.schedule_id, n.due)",
                rows
            )
            .execute(&mut *db)
            .await?;
            sqlx::query!(
                "insert into scheduled_runs select * from jsonb_populate_recordset(null::scheduled_runs, $1)",
                rows
            )
            .execute(db)
            .await?;
        }
        self.runs.retain(|_, run| run.is_open());
        Ok(())
    }
}

impl Schedules {
    fn hear_of_schedule(&mut self, event: &Recorded, id: ScheduleId, told: &ScheduleEvent) -> Option<()> {
        if let ScheduleEvent::ScheduleSet { name, action, when, missed, at } = told {
            let before = self.schedules.remove(&id).filter(|before| before.state != State::Ended);
            let schedule = Schedule {
                client_id: event.client.0,
                schedule_id: id,
                name: name.clone(),
                action: action.clone(),
                clock: when.clone(),
                missed: *missed,
                state: before.as_ref().map_or(State::On, |before| before.state),
                since: *at,
                reason: None,
                last_due: before.and_then(|before| before.last_due),
                seq: event.seq,
            };
            self.schedules.insert(id, schedule);
        }
        let schedule = self.schedules.get_mut(&id)?;
        schedule.hear(told);
        schedule.seq = event.seq;
        self.changed.insert(id);
        Some(())
    }

    fn hear_of_run(&mut self, event: &Recorded, id: ScheduleId, told: &ScheduleEvent) {
        let run = |due: Time| Run {
            client_id: event.client.0,
            schedule_id: id,
            due,
            triggered_at: None,
            outcome: None,
            ran_at: None,
            missed: 0,
            last: None,
            seq: event.seq,
        };
        let run = match told {
            ScheduleEvent::ScheduleTriggered { due, at } => Run { triggered_at: Some(*at), ..run(*due) },
            ScheduleEvent::ScheduleMissed { due, last, runs, .. } => {
                Run { missed: *runs, last: Some(*last), ..run(*due) }
            }
            ScheduleEvent::ScheduleRan { due, outcome, at } => {
                let before = self.runs.remove(&(id, *due)).unwrap_or_else(|| run(*due));
                Run { outcome: Some(outcome.clone()), ran_at: Some(*at), seq: event.seq, ..before }
            }
            ScheduleEvent::ScheduleEnded { at, .. } => return self.leave_open(event.seq, id, *at),
            ScheduleEvent::ScheduleSet { .. } | ScheduleEvent::ScheduleSwitched { .. } => return,
        };
        self.told.insert((id, run.due));
        self.runs.insert((id, run.due), run);
    }
}

impl Schedules {
    /// What was taken up when its schedule ended comes to nothing any more.
    fn leave_open(&mut self, seq: u64, id: ScheduleId, at: Time) {
        for ((of, due), run) in self.runs.iter_mut().filter(|(key, run)| key.0 == id && run.is_open()) {
            run.outcome = Some(Outcome::Refused { reason: "its schedule ended before".to_owned() });
            (run.ran_at, run.seq) = (Some(at), seq);
            self.told.insert((*of, *due));
        }
    }
}

impl Schedule {
    fn hear(&mut self, told: &ScheduleEvent) {
        match told {
            ScheduleEvent::ScheduleSwitched { on, at } => {
                (self.state, self.since) = (if *on { State::On } else { State::Off }, *at);
            }
            ScheduleEvent::ScheduleTriggered { due, .. } => self.last_due = Some(*due),
            ScheduleEvent::ScheduleEnded { reason, at } => {
                (self.state, self.since, self.reason) = (State::Ended, *at, Some(reason.clone()));
            }
            ScheduleEvent::ScheduleSet { .. }
            | ScheduleEvent::ScheduleRan { .. }
            | ScheduleEvent::ScheduleMissed { .. } => {}
        }
    }
}

impl Run {
    fn is_open(&self) -> bool {
        self.triggered_at.is_some() && self.outcome.is_none()
    }
}

/// A client's schedules, those that ended among them, by name.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Schedule>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(s)::text as "row!"
          from schedules s
         where s.client_id = $1
         order by s.name, s.schedule_id
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// Runs of one schedule that were due before a moment, the last first.
pub async fn runs(
    db: &mut PgConnection,
    client: ClientId,
    schedule: ScheduleId,
    before: Option<Time>,
    most: u32,
) -> sqlx::Result<Vec<Run>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(r)::text as "row!"
          from scheduled_runs r
         where r.client_id = $1 and r.schedule_id = $2 and r.due < $3
         order by r.due desc
         limit $4
        "#,
        client.0,
        schedule.0,
        DateTime::<Utc>::from(before.unwrap_or(Time::END)),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

async fn open_runs(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Run>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(r)::text as "row!"
          from scheduled_runs r
         where r.client_id = $1 and r.triggered_at is not null and r.outcome is null
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests {
    use events::{AggregateRef, BotId};

    use super::*;
    use crate::told::{Told, at};

    #[test]
    fn a_schedule_shows_what_came_of_its_runs_and_a_new_one_of_its_name_begins_anew() {
        let id = ScheduleId(Uuid::from_u128(4));
        let (runs, told) = (BTreeMap::new(), BTreeSet::new());
        let mut model = Schedules { schedules: BTreeMap::new(), changed: BTreeSet::new(), runs, told };
        let mut stream = Told::default();
        let of = || AggregateRef::new("schedule", id);
        let set = |seconds| ScheduleEvent::ScheduleSet {
            name: "daily".parse().unwrap(),
            action: Action::Stop { bot: BotId(Uuid::from_u128(2)) },
            when: When::Once { at: at(90) },
            missed: Missed::RunOnce,
            at: at(seconds),
        };
        let (due, outcome) = (at(90), Outcome::Refused { reason: "no".into() });
        assert!(model.fold(&stream.of(of(), ScheduleEvent::ScheduleSwitched { on: true, at: at(1) })).is_err());
        for event in [
            set(1),
            ScheduleEvent::ScheduleMissed { due: at(30), last: at(60), runs: 2, at: at(90) },
            ScheduleEvent::ScheduleTriggered { due, at: at(91) },
            ScheduleEvent::ScheduleRan { due, outcome: outcome.clone(), at: at(92) },
            ScheduleEvent::ScheduleSwitched { on: false, at: at(93) },
        ] {
            model.fold(&stream.of(of(), event)).unwrap();
        }
        let run = &model.runs[&(id, due)];
        assert_eq!((run.triggered_at, run.ran_at, &run.outcome), (Some(at(91)), Some(at(92)), &Some(outcome)));
        assert_eq!(model.runs[&(id, at(30))].missed, 2);
        assert_eq!(model.told.len(), 2);
        let one = &model.schedules[&id];
        assert_eq!((one.state, one.last_due), (State::Off, Some(due)));
        assert_eq!(rows::read::<Schedule>(&rows::text(one)), *one);
        assert_eq!(rows::read::<Run>(&rows::text(run)), *run);
        let ended = ScheduleEvent::ScheduleEnded { reason: "done".into(), at: at(94) };
        for event in [ended, set(95)] {
            model.fold(&stream.of(of(), event)).unwrap();
        }
        assert_eq!((model.schedules[&id].state, model.schedules[&id].last_due), (State::On, None));
    }
}
