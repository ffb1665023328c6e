//! How a client's rules of alerts are configured, and when nobody is to be called.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use events::{
    ClientId, Decimal, Event, Recorded, RuleName, SilenceId, Time,
    alert::{RuleEvent, Scope, SilenceEvent},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use store::read;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's settings.
#[derive(Debug, Default)]
pub struct AlertSettings {
    rules: BTreeMap<String, Said>,
    silences: BTreeMap<SilenceId, Silence>,
    changed: BTreeSet<String>,
    gone: BTreeSet<String>,
    hushed: BTreeSet<SilenceId>,
}

/// What is said of a rule for some of a client's things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RuleSaid)]
pub struct Said {
    /// Whose.
    pub client_id: Uuid,
    /// The rule's name and what it applies to, as one text.
    pub id: String,
    pub rule: RuleName,
    pub scope: Scope,
    pub on: bool,
    #[schema(value_type = BTreeMap<String, Decimal>)]
    pub parameters: BTreeMap<String, Decimal>,
    pub since: Time,
    /// The event that says so.
    pub seq: u64,
}

/// A time during which nobody is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertSilence)]
pub struct Silence {
    /// Whose.
    pub client_id: Uuid,
    pub silence_id: SilenceId,
    /// Of which rule; null: of all.
    pub rule: Option<RuleName>,
    pub scope: Scope,
    pub since: Time,
    /// When it is over, or was ended.
    pub until: Time,
    pub reason: String,
    /// Why it was ended before its time.
    pub ended: Option<String>,
    /// The last event that tells of it.
    pub seq: u64,
}

impl Projection for AlertSettings {
    const NAME: &'static str = "alert_settings";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table alert_rules (
          client_id  uuid        not null,
          id         text        not null,
          rule       text        not null,
          scope      jsonb       not null,
          "on"       boolean     not null,
          parameters jsonb       not null,
          since      timestamptz not null,
          seq        bigint      not null,
          primary key (client_id, id)
        );
        create table silences (
          client_id  uuid        not null,
          silence_id uuid        not null,
          rule       text,
          scope      jsonb       not null,
          since      timestamptz not null,
          until      timestamptz not null,
          reason     text        not null,
          ended      text,
          seq        bigint      not null,
          primary key (client_id, silence_id)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let rules = rules(db, client).await?.into_iter().map(|said| (said.id.clone(), said)).collect();
        let silences = silences(db, client).await?.into_iter().map(|one| (one.silence_id, one)).collect();
        Ok(Self { rules, silences, changed: BTreeSet::new(), gone: BTreeSet::new(), hushed: BTreeSet::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        if let Event::Rule(told) = &event.event {
            self.hear_of_rule(event, told);
        } else if let Event::Silence(told) = &event.event {
            let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
            let id = event.aggregate.id.parse().map_err(|_| unfoldable("its silence's id is no id"))?;
            self.hear_of_silence(event, id, told).ok_or_else(|| unfoldable("nobody set its silence"))?;
        }
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        let (changed, gone) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.gone));
        let stale: Vec<String> = changed.iter().chain(&gone).cloned().collect();
        if !stale.is_empty() {
            sqlx::query!("delete from alert_rules where client_id = $1 and id = any($2)", client.0, &stale)
                .execute(&mut *db)
                .await?;
        }
        if let Some(rows) = rows::written(changed.iter().filter_map(|id| self.rules.get(id))) {
            sqlx::query!("insert into alert_rules select * from jsonb_populate_recordset(null::alert_rules, $1)", rows)
                .execute(&mut *db)
                .await?;
        }
        let hushed = std::mem::take(&mut self.hushed);
        let Some(rows) = rows::written(hushed.iter().map(|id| &self.silences[id])) else { return Ok(()) };
        sqlx::query!(
            "delete from silences s using jsonb_populate_recordset(null::silences, $1) n
              where (s.client_id, s.silence_id) = (n.client_id, n.silence_id)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into silences select * from jsonb_populate_recordset(null::silences, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl AlertSettings {
    fn hear_of_rule(&mut self, event: &Recorded, told: &RuleEvent) {
        let id = event.aggregate.id.clone();
        match told {
            RuleEvent::RuleConfigured { rule, scope, on, parameters, at } => {
                self.gone.remove(&id);
                self.changed.insert(id.clone());
                let said = Said {
                    client_id: event.client.0,
                    id: id.clone(),
                    rule: rule.clone(),
                    scope: scope.clone(),
                    on: *on,
                    parameters: parameters.clone(),
                    since: *at,
                    seq: event.seq,
                };
                self.rules.insert(id, said);
            }
            RuleEvent::RuleReset { .. } => {
                self.rules.remove(&id);
                self.changed.remove(&id);
                self.gone.insert(id);
            }
            // Which rules there are a build knows by itself.
            RuleEvent::RulesSpeak { .. } => {}
        }
    }

    fn hear_of_silence(&mut self, event: &Recorded, id: SilenceId, told: &SilenceEvent) -> Option<()> {
        match told {
            SilenceEvent::SilenceSet { rule, scope, until, reason, at } => {
                let silence = Silence {
                    client_id: event.client.0,
                    silence_id: id,
                    rule: rule.clone(),
                    scope: scope.clone(),
                    since: *at,
                    until: *until,
                    reason: reason.clone(),
                    ended: None,
                    seq: event.seq,
                };
                self.silences.insert(id, silence);
            }
            SilenceEvent::SilenceEnded { reason, at } => {
                let silence = self.silences.get_mut(&id)?;
                (silence.until, silence.ended, silence.seq) = (*at, Some(reason.clone()), event.seq);
            }
        }
        self.hushed.insert(id);
        Some(())
    }
}

/// What is said of a client's rules.
pub async fn rules(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Said>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(r)::text as "row!"
          from alert_rules r
         where r.client_id = $1
         order by r.id
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// How many of a client's silences last at a moment, beside one.
pub async fn other_silences(
    db: &mut PgConnection,
    client: ClientId,
    beside: SilenceId,
    now: Time,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
          from silences
         where client_id = $1 and silence_id <> $2 and until > $3 and ended is null
        "#,
        client.0,
        beside.0,
        DateTime::<Utc>::from(now)
    )
    .fetch_one(db)
    .await
}

/// For how many things something is said of a client's rules, beside one.
pub async fn other_scopes(db: &mut PgConnection, client: ClientId, beside: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from alert_rules where client_id = $1 and id <> $2"#,
        client.0,
        beside
    )
    .fetch_one(db)
    .await
}

/// A client's last silences, those that were set last first.
pub async fn silences(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Silence>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(s)::text as "row!"
          from silences s
         where s.client_id = $1
         order by s.since desc, s.silence_id
         limit 500
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// What is said of rules about the platform, folded each time: no read model is made of the desk's stream.
pub async fn of_desk(db: &PgPool) -> sqlx::Result<Vec<Said>> {
    let mut settings = AlertSettings::default();
    for event in &read::told_of(db, ClientId::DESK, "rule", None).await? {
        settings.fold(event).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?;
    }
    Ok(settings.rules.into_values().collect())
}

#[cfg(test)]
mod tests {
    use events::AggregateRef;

    use super::*;
    use crate::told::{Told, at};

    fn configured(on: bool) -> RuleEvent {
        let (rule, scope, parameters) = ("spread_wide".parse().unwrap(), Scope::default(), BTreeMap::new());
        RuleEvent::RuleConfigured { rule, scope, on, parameters, at: at(1) }
    }

    #[test]
    fn what_is_said_last_counts_and_a_reset_leaves_nothing() {
        let (mut stream, mut settings) = (Told::default(), AlertSettings::default());
        let of = |rule: &str| AggregateRef::new("rule", rule);
        for event in [configured(true), configured(false)] {
            settings.fold(&stream.of(of("spread_wide"), event)).unwrap();
        }
        assert!(!settings.rules["spread_wide"].on);
        let reset = RuleEvent::RuleReset { rule: "spread_wide".parse().unwrap(), scope: Scope::default(), at: at(2) };
        settings.fold(&stream.of(of("spread_wide"), reset)).unwrap();
        assert!(settings.rules.is_empty() && settings.gone.contains("spread_wide"));
        settings.fold(&stream.of(of("spread_wide"), configured(true))).unwrap();
        assert!(settings.gone.is_empty() && settings.changed.contains("spread_wide"));
    }

    #[test]
    fn a_silence_ends_when_somebody_ends_it() {
        let (mut stream, mut settings) = (Told::default(), AlertSettings::default());
        let id = SilenceId(Uuid::from_u128(4));
        let of = || AggregateRef::new("silence", id);
        let ended = || SilenceEvent::SilenceEnded { reason: "done".into(), at: at(5) };
        assert!(settings.fold(&stream.of(of(), ended())).is_err());
        let set = SilenceEvent::SilenceSet {
            rule: None,
            scope: Scope::default(),
            until: at(90),
            reason: "work".into(),
            at: at(1),
        };
        settings.fold(&stream.of(of(), set)).unwrap();
        settings.fold(&stream.of(of(), ended())).unwrap();
        let one = &settings.silences[&id];
        assert_eq!((one.since, one.until, one.ended.as_deref()), (at(1), at(5), Some("done")));
        assert_eq!(rows::read::<Silence>(&rows::text(one)), *one);
    }
}
