//! What was promised of bots, what time counts for nothing, and what each day came to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use events::{
    AgreementId, BotId, ClientId, Event, Recorded, Slug, Time,
    agreement::{AgreementEvent, Clause, Outcome, Verdict},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's agreements.
#[derive(Debug)]
pub struct Agreements {
    agreements: BTreeMap<AgreementId, Agreement>,
    changed: BTreeSet<AgreementId>,
    judged: BTreeMap<(AgreementId, Time), Judged>,
}

/// One agreement as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ListedAgreement)]
pub struct Agreement {
    /// Whose.
    pub client_id: Uuid,
    pub agreement_id: AgreementId,
    /// What people call it.
    pub name: Slug,
    /// Of whom it is promised.
    pub bot_id: BotId,
    pub clauses: Vec<Clause>,
    /// Since when it stands as it does; promises count from the next day on.
    pub since: Time,
    /// What counts for nothing.
    pub exclusions: Vec<Exclusion>,
    /// Why it ended; null while it goes on.
    pub ended: Option<String>,
    /// The last event that tells of it.
    pub seq: u64,
}

/// A time that counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AgreementExclusion)]
pub struct Exclusion {
    pub from: Time,
    pub to: Time,
    pub reason: String,
    /// The event that declares it.
    pub seq: u64,
}

/// What a day came to, by the last judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JudgedDay)]
pub struct Judged {
    /// Whose.
    pub client_id: Uuid,
    pub agreement_id: AgreementId,
    /// Begin of the day (UTC).
    pub day: Time,
    /// The worst of its verdicts.
    pub outcome: Outcome,
    pub verdicts: Vec<Verdict>,
    /// How much of the day counted for nothing, in microseconds.
    pub excluded_us: u64,
    /// By all that was known up to this event.
    pub as_of_seq: u64,
    /// The event that tells it.
    pub seq: u64,
}

impl Projection for Agreements {
    const NAME: &'static str = "agreements";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table agreements (
          client_id    uuid        not null,
          agreement_id uuid        not null,
          name         text        not null,
          bot_id       uuid        not null,
          clauses      jsonb       not null,
          since        timestamptz not null,
          exclusions   jsonb       not null,
          ended        text,
          seq          bigint      not null,
          primary key (client_id, agreement_id)
        );
        create table judged_days (
          client_id    uuid        not null,
          agreement_id uuid        not null,
          day          timestamptz not null,
          outcome      text        not null,
          verdicts     jsonb       not null,
          excluded_us  bigint      not null,
          as_of_seq    bigint      not null,
          seq          bigint      not null,
          primary key (client_id, agreement_id, day)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let agreements = of_client(db, client).await?.into_iter().map(|one| (one.agreement_id, one)).collect();
        Ok(Self { agreements, changed: BTreeSet::new(), judged: BTreeMap::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Agreement(told) = &event.event else { return Ok(()) };
        let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
        let id = event.aggregate.id.parse().map_err(|_| unfoldable("its agreement's id is no id"))?;
        self.hear(event, id, told).ok_or_else(|| unfoldable("nobody set its agreement"))
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        if let Some(rows) = rows::written(changed.iter().map(|id| &self.agreements[id])) {
            sqlx::query!(
                "delete from agreements a using jsonb_populate_recordset(null::agreements, $1) n
                  where (a.client_id, a.agreement_id) = (n.client_id, n.agreement_id)",
                rows
            )
            .execute(&mut *db)
            .await?;
            sqlx::query!("insert into agreements select * from jsonb_populate_recordset(null::agreements, $1)", rows)
                .execute(&mut *db)
                .await?;
        }
        let judged = std::mem::take(&mut self.judged);
        let Some(rows) = rows::written(judged.values()) else { return Ok(()) };
        sqlx::query!(
            "delete from judged_days j using jsonb_populate_recordset(null::judged_days, $1) n
              where (j.client_id, j.agreement_id, j.day) = (n.client_id, n.agreement_id, n.day)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into judged_days select * from jsonb_populate_recordset(null::judged_days, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Agreements {
    fn hear(&mut self, event: &Recorded, id: AgreementId, told: &AgreementEvent) -> Option<()> {
        match told {
            AgreementEvent::AgreementSet { name, bot, clauses, at } => {
                let before = self.agreements.remove(&id).filter(|before| before.ended.is_none());
                let agreement = Agreement {
                    client_id: event.client.0,
                    agreement_id: id,
                    name: name.clone(),
                    bot_id: *bot,
                    clauses: clauses.clone(),
                    since: *at,
                    exclusions: before.map(|before| before.exclusions).unwrap_or_default(),
                    ended: None,
                    seq: event.seq,
                };
                self.agreements.insert(id, agreement);
            }
            AgreementEvent::ExclusionDeclared { from, to, reason, .. } => {
                let exclusion = Exclusion { from: *from, to: *to, reason: reason.clone(), seq: event.seq };
                self.agreements.get_mut(&id)?.exclusions.push(exclusion);
            }
            AgreementEvent::AgreementJudged { day, verdicts, excluded_us, as_of_seq, .. } => {
                let judged = Judged {
                    client_id: event.client.0,
                    agreement_id: id,
                    day: *day,
                    outcome: worst(verdicts),
                    verdicts: verdicts.clone(),
                    excluded_us: *excluded_us,
                    as_of_seq: *as_of_seq,
                    seq: event.seq,
                };
                self.judged.insert((id, *day), judged);
            }
            AgreementEvent::AgreementEnded { reason, .. } => {
                self.agreements.get_mut(&id)?.ended = Some(reason.clone());
            }
        }
        self.agreements.get_mut(&id)?.seq = event.seq;
        self.changed.insert(id);
        Some(())
    }
}

fn worst(verdicts: &[Verdict]) -> Outcome {
    let is = |outcome| verdicts.iter().any(|verdict| verdict.outcome == outcome);
    let by = [Outcome::Missed, Outcome::Unknown, Outcome::Met];
    by.into_iter().find(|outcome| is(*outcome)).unwrap_or(Outcome::Excused)
}

/// A client's agreements, those that ended among them, by name.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Agreement>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(a)::text as "row!"
          from agreements a
         where a.client_id = $1
         order by a.name, a.agreement_id
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// What the last days came to, or the last before another one, the newest first.
pub async fn days(
    db: &mut PgConnection,
    client: ClientId,
    agreement: AgreementId,
    before: Option<Time>,
    most: u32,
) -> sqlx::Result<Vec<Judged>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(j)::text as "row!"
          from judged_days j
         where j.client_id = $1 and j.agreement_id = $2 and j.day < $3
         order by j.day desc
         limit $4
        "#,
        client.0,
        agreement.0,
        DateTime::<Utc>::from(before.unwrap_or(Time::END)),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests {
    use events::AggregateRef;

    use super::*;
    use crate::told::{Told, at};

    #[test]
    fn a_day_that_is_judged_anew_stands_in_place_of_what_it_was_and_is_as_good_as_its_worst_verdict() {
        let id = AgreementId(Uuid::from_u128(4));
        let (changed, judged) = (BTreeSet::new(), BTreeMap::new());
        let mut model = Agreements { agreements: BTreeMap::new(), changed, judged };
        let mut stream = Told::default();
        let of = || AggregateRef::new("agreement", id);
        let clause = Clause::Sides { least: "0.9".parse().unwrap() };
        let verdict = |outcome| Verdict {
            clause: clause.clone(),
            outcome,
            measured: None,
            numerator: "1".parse().unwrap(),
            denominator: "2".parse().unwrap(),
        };
        let judged = |outcomes: &[Outcome], seconds| AgreementEvent::AgreementJudged {
            day: at(0).midnight(),
            verdicts: outcomes.iter().map(|outcome| verdict(*outcome)).collect(),
            excluded_us: 0,
            as_of_seq: 3,
            at: at(seconds),
        };
        assert!(model.fold(&stream.of(of(), judged(&[], 1))).is_err());
        let (name, bot) = ("maker".parse().unwrap(), BotId(Uuid::from_u128(2)));
        let set = AgreementEvent::AgreementSet { name, bot, clauses: vec![clause.clone()], at: at(1) };
        let (from, to) = (at(2), at(3));
        let excluded = AgreementEvent::ExclusionDeclared { from, to, reason: "down".into(), at: at(4) };
        for event in
            [set, judged(&[Outcome::Met, Outcome::Missed], 2), excluded, judged(&[Outcome::Met, Outcome::Excused], 5)]
        {
            model.fold(&stream.of(of(), event)).unwrap();
        }
        let day = &model.judged[&(id, at(0).midnight())];
        assert_eq!((day.outcome, model.judged.len()), (Outcome::Met, 1));
        assert_eq!(rows::read::<Judged>(&rows::text(day)), *day);
        let one = &model.agreements[&id];
        assert_eq!((one.exclusions.len(), &one.ended), (1, &None));
        assert_eq!(rows::read::<Agreement>(&rows::text(one)), *one);
    }
}
