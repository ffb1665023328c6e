//! Every episode of every alert: what fired, how bad it is, who looks after it, how it ended, and what was told of it.

mod episode;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use events::{AlertId, BotId, ClientId, Event, Exchange, Pair, Recorded, RuleName, Time, alert::Severity};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use store::read;
use uuid::Uuid;

pub use self::episode::{Episode, Line, State};
use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's episodes: the newest of each alert, and what changed.
#[derive(Debug)]
pub struct Alerts {
    newest: BTreeMap<AlertId, Episode>,
    changed: BTreeSet<(AlertId, u64)>,
    older: Vec<Episode>,
    lines: Vec<Line>,
}

/// Which episodes are asked for.
#[derive(Debug, Clone, Default)]
pub struct Which {
    pub state: Option<State>,
    pub severity: Option<Severity>,
    pub rule: Option<RuleName>,
    pub bot: Option<BotId>,
    pub exchange: Option<Exchange>,
    pub pair: Option<Pair>,
    /// Those that fired from the one moment on and before the other.
    pub from: Option<Time>,
    pub to: Option<Time>,
    /// Those that fired before this event; absent: from the newest on.
    pub before: Option<u64>,
    /// So many at most.
    pub most: u32,
}

/// Where an episode stands in the list of all clients' ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    fired_at: Time,
    client_id: Uuid,
    fired_seq: u64,
}

impl Projection for Alerts {
    const NAME: &'static str = "alerts";
    const FOLD: u32 = 3;
    const TABLES: &'static str = r#"
        create table alerts (
          client_id          uuid        not null,
          alert_id           uuid        not null,
          episode            bigint      not null,
          rule               text        not null,
          version            bigint      not null,
          severity           text        not null,
          labels             jsonb       not null,
          state              text        not null,
          summary            text        not null,
          evidence           jsonb       not null,
          inhibited_by       text,
          fired_at           timestamptz not null,
          fired_seq          bigint      not null,
          resolved_at        timestamptz,
          why_resolved       text,
          acknowledged_by    uuid,
          acknowledged_at    timestamptz,
          acknowledged_until timestamptz,
          note               text,
          silenced_until     timestamptz,
          seq                bigint      not null,
          primary key (client_id, alert_id, episode)
        );
        create index alerts_newest on alerts (client_id, fired_seq desc);
        create index alerts_last on alerts (client_id, fired_at desc, fired_seq desc);
        create table alert_lines (
          client_id uuid        not null,
          alert_id  uuid        not null,
          episode   bigint      not null,
          seq       bigint      not null,
          at        timestamptz not null,
          by        text,
          what      text        not null,
          told      jsonb       not null,
          primary key (client_id, seq)
        );
        create index alert_lines_of on alert_lines (client_id, alert_id, seq);
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let rows = sqlx::query_scalar!(
            r#"
            select distinct on (a.alert_id) to_jsonb(a)::text as "row!"
              from alerts a
             where a.client_id = $1
             order by a.alert_id, a.episode desc
            "#,
            client.0
        )
        .fetch_all(db)
        .await?;
        let newest = rows.iter().map(|row| rows::read::<Episode>(row)).map(|one| (one.alert_id, one)).collect();
        Ok(Self { newest, changed: BTreeSet::new(), older: Vec::new(), lines: Vec::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Alert(told) = &event.event else { return Ok(()) };
        let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
        let id = event.aggregate.id.parse().map_err(|_| unfoldable("its alert's id is no id"))?;
        if let Some(mut fired) = Episode::fired(event, id, told) {
            // Whoever wants to hear nothing of an alert for a while hears of no new episode of it, either.
            let snoozed = self.newest.get(&id).and_then(|before| before.silenced_until);
            fired.silenced_until = snoozed.filter(|until| *until > fired.fired_at);
            let before = self.newest.insert(id, fired);
            let changed = |one: &Episode| self.changed.remove(&(id, one.episode));
            self.older.extend(before.filter(changed));
        }
        let one = self.newest.get_mut(&id).ok_or_else(|| unfoldable("its alert never fired"))?;
        one.hear(event, told);
        self.changed.insert((id, one.episode));
        self.lines.push(Line::of(event, id, told));
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let (changed, older) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.older));
        let newest = changed.iter().map(|(id, _)| &self.newest[id]);
        let Some(rows) = rows::written(older.iter().chain(newest)) else { return Ok(()) };
        sqlx::query!(
            "delete from alerts a using jsonb_populate_recordset(null::alerts, $1) n
              where (a.client_id, a.alert_id, a.episode) = (n.client_id, n.alert_id, n.episode)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into alerts select * from jsonb_populate_recordset(null::alerts, $1)", rows)
            .execute(&mut *db)
            .await?;
        let lines = rows::written(std::mem::take(&mut self.lines).iter());
        sqlx::query!("insert into alert_lines select * from jsonb_populate_recordset(null::alert_lines, $1)", lines)
            .execute(db)
            .await?;
        Ok(())
    }
}

/// What these events of alerts come to, the newest first: for the desk's own stream, which has no read models.
pub fn folded(events: &[Recorded]) -> Result<Vec<Episode>, ProjectError> {
    let mut alerts = Alerts { newest: BTreeMap::new(), changed: BTreeSet::new(), older: Vec::new(), lines: Vec::new() };
    events.iter().try_for_each(|event| alerts.fold(event))?;
    let mut all: Vec<Episode> = alerts.older.into_iter().chain(alerts.newest.into_values()).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.fired_seq));
    Ok(all)
}

/// Episodes of alerts about the platform itself, the newest first.
pub async fn of_desk(db: impl PgExecutor<'_>, which: &Which) -> sqlx::Result<Vec<Episode>> {
    let events = read::of_alerts(db, ClientId::DESK, 0).await?;
    let mut all = folded(&events).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?;
    all.retain(|one| which.includes(one));
    all.truncate(which.most as usize);
    Ok(all)
}

impl Which {
    /// Whether an episode is one of those.
    pub fn includes(&self, one: &Episode) -> bool {
        self.state.is_none_or(|state| one.state == state)
            && self.severity.is_none_or(|severity| one.severity == severity)
            && self.rule.as_ref().is_none_or(|rule| one.rule == *rule)
            && self.bot.is_none_or(|bot| one.labels.bot == Some(bot))
            && self.exchange.is_none_or(|exchange| one.labels.exchange == Some(exchange))
            && self.pair.as_ref().is_none_or(|pair| one.labels.pair.as_ref() == Some(pair))
            && self.from.is_none_or(|from| one.fired_at >= from)
            && self.to.is_none_or(|to| one.fired_at < to)
            && self.before.is_none_or(|before| one.fired_seq < before)
    }
}

/// Episodes of a client, the newest first.
pub async fn of_client(db: &mut PgConnection, client: ClientId, which: &Which) -> sqlx::Result<Vec<Episode>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(a)::text as "row!"
          from alerts a
         where a.client_id = $1
           and ($2::text is null or a.state = $2)
           and ($3::text is null or a.severity = $3)
           and ($4::text is null or a.rule = $4)
           and ($5::text is null or a.labels ->> 'bot' = $5)
           and ($6::text is null or a.labels ->> 'exchange' = $6)
           and ($7::text is null or a.labels ->> 'pair' = $7)
           and ($8::timestamptz is null or a.fired_at >= $8)
           and ($9::timestamptz is null or a.fired_at < $9)
           and ($10::bigint is null or a.fired_seq < $10)
         order by a.fired_seq desc
         limit $11
        "#,
        client.0,
        which.state.map(State::as_str),
        which.severity.map(Severity::as_str),
        which.rule.as_ref().map(RuleName::as_str),
        which.bot.map(|bot| bot.to_string()),
        which.exchange.map(|exchange| exchange.to_string()),
        which.pair.as_ref().map(ToString::to_string),
        which.from.map(DateTime::<Utc>::from),
        which.to.map(DateTime::<Utc>::from),
        which.before.map(|seq| seq as i64),
        i64::from(which.most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// Episodes of all clients, or of one, those that fired last first; for the desk. Of each client the last are looked up, and not
/// all. `after`: what follows that place.
pub async fn of_all(
    db: &mut PgConnection,
    which: &Which,
    client: Option<ClientId>,
    after: Option<Place>,
) -> sqlx::Result<Vec<Episode>> {
    let rows = sqlx::query_scalar!(
        r#"
        with recursive clients as (
          (select client_id from alerts order by client_id limit 1)
          union all
          select (select a.client_id from alerts a where a.client_id > c.client_id order by a.client_id limit 1)
            from clients c
           where c.client_id is not null)
        select to_jsonb(l)::text as "row!"
          from clients c
         cross join lateral (
               select *
                 from alerts a
                where a.client_id = c.client_id
                  and ($1::text is null or a.state = $1)
                  and ($2::text is null or a.severity = $2)
                  and ($3::text is null or a.rule = $3)
                  and ($4::text is null or a.labels ->> 'bot' = $4)
                  and ($5::text is null or a.labels ->> 'exchange' = $5)
                  and ($6::text is null or a.labels ->> 'pair' = $6)
                  and a.fired_at >= coalesce($7::timestamptz, '-infinity')
                  and a.fired_at < coalesce($8::timestamptz, 'infinity')
                  and a.fired_at <= coalesce($11::timestamptz, 'infinity')
                  and ($11 is null or a.fired_at < $11 or a.client_id > $12 or a.client_id = $12 and a.fired_seq < $13)
                order by a.fired_at desc, a.fired_seq desc
                limit $9) l
         where $10::uuid is null or c.client_id = $10
         order by l.fired_at desc, l.client_id, l.fired_seq desc
         limit $9
        "#,
        which.state.map(State::as_str),
        which.severity.map(Severity::as_str),
        which.rule.as_ref().map(RuleName::as_str),
        which.bot.map(|bot| bot.to_string()),
        which.exchange.map(|exchange| exchange.to_string()),
        which.pair.as_ref().map(ToString::to_string),
        which.from.map(DateTime::<Utc>::from),
        which.to.map(DateTime::<Utc>::from),
        i64::from(which.most),
        client.map(|client| client.0),
        after.map(|after| DateTime::<Utc>::from(after.fired_at)),
        after.map(|after| after.client_id),
        after.map(|after| after.fired_seq as i64)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// How many episodes fired from one moment on and before another, by their severity, the worst first.
pub async fn fired(
    db: &mut PgConnection,
    client: ClientId,
    from: Time,
    to: Time,
) -> Result<Vec<(Severity, i64)>, ProjectError> {
    let rows = sqlx::query!(
        r#"
        select severity, count(*) as "count!"
          from alerts
         where client_id = $1 and fired_at >= $2 and fired_at < $3
         group by severity
        "#,
        client.0,
        DateTime::<Utc>::from(from),
        DateTime::<Utc>::from(to)
    )
    .fetch_all(db)
    .await?;
    let of = |severity: &Severity| rows.iter().find(|row| row.severity == severity.as_str()).map(|row| row.count);
    Ok(Severity::ALL.into_iter().rev().filter_map(|severity| Some((severity, of(&severity)?))).collect())
}

/// An alert's last episodes, the newest first, and the last of its history; `before`: of its history before an event.
pub async fn one(
    db: &mut PgConnection,
    client: ClientId,
    alert: AlertId,
    before: Option<u64>,
) -> sqlx::Result<Option<(Vec<Episode>, Vec<Line>)>> {
    let episodes = sqlx::query_scalar!(
        r#"
        select to_jsonb(a)::text as "row!"
          from alerts a
         where a.client_id = $1 and a.alert_id = $2
         order by a.episode desc
         limit 100
        "#,
        client.0,
        alert.0
    )
    .fetch_all(&mut *db)
    .await?;
    let lines = sqlx::query_scalar!(
        r#"
        select to_jsonb(l)::text as "row!"
          from alert_lines l
         where l.client_id = $1 and l.alert_id = $2 and ($3::bigint is null or l.seq < $3)
         order by l.seq desc
         limit 500
        "#,
        client.0,
        alert.0,
        before.map(|seq| seq as i64)
    )
    .fetch_all(db)
    .await?;
    let episodes: Vec<Episode> = episodes.iter().map(|row| rows::read(row)).collect();
    Ok((!episodes.is_empty()).then(|| (episodes, lines.iter().map(|row| rows::read(row)).collect())))
}

impl Episode {
    /// Where it stands in the list of all clients' ones.
    pub fn place(&self) -> Place {
        Place { fired_at: self.fired_at, client_id: self.client_id, fired_seq: self.fired_seq }
    }
}

#[cfg(test)]
mod tests {
    use events::{
        AggregateRef,
        alert::{AlertEvent, Evidence, Labels, WhyEscalated, WhyResolved},
    };
    use uuid::Uuid;

    use super::*;
    use crate::told::{Told, at};

    fn rule() -> RuleName {
        "spread_wide".parse().unwrap()
    }

    fn fired(episode: u64, second: i64) -> AlertEvent {
        AlertEvent::AlertFired {
            rule: rule(),
            version: 1,
            severity: Severity::Warning,
            labels: Labels::default(),
            episode,
            summary: "wide".into(),
            evidence: Evidence::default(),
            inhibited_by: None,
            as_of_seq: 1,
            evaluated_at: at(second),
        }
    }

    fn escalated(severity: Severity, why: WhyEscalated) -> AlertEvent {
        let evidence = Evidence { seqs: vec![9], ..Evidence::default() };
        AlertEvent::AlertEscalated {
            rule: rule(),
            version: 1,
            severity,
            episode: 1,
            why,
            evidence,
            as_of_seq: 1,
            evaluated_at: at(5),
        }
    }

    fn resolved(episode: u64) -> AlertEvent {
        let (severity, why, evidence) = (Severity::Warning, WhyResolved::Cleared, Evidence::default());
        AlertEvent::AlertResolved {
            rule: rule(),
            version: 1,
            severity,
            episode,
            why,
            evidence,
            as_of_seq: 2,
            evaluated_at: at(9),
        }
    }

    fn acknowledged() -> AlertEvent {
        let (severity, note) = (Severity::Warning, "on it".into());
        AlertEvent::AlertAcknowledged { rule: rule(), severity, episode: 1, until: None, note, at: at(4) }
    }

    fn told(events: Vec<AlertEvent>) -> Vec<Recorded> {
        let (mut stream, id) = (Told::default(), AlertId(Uuid::from_u128(3)));
        events.into_iter().map(|event| stream.of(AggregateRef::new("alert", id), event)).collect()
    }

    #[test]
    fn each_episode_is_one_row_with_its_worst_and_its_end() {
        let events =
            told(vec![fired(1, 3), escalated(Severity::Critical, WhyEscalated::Worse), resolved(1), fired(2, 20)]);
        let all = folded(&events).unwrap();
        assert_eq!(
            all.iter().map(|one| (one.episode, one.state)).collect::<Vec<_>>(),
            [(2, State::Firing), (1, State::Resolved)]
        );
        let first = &all[1];
        assert_eq!((first.severity, first.fired_at, first.resolved_at), (Severity::Critical, at(3), Some(at(9))));
        assert_eq!((first.why_resolved, first.fired_seq, first.seq), (Some(WhyResolved::Cleared), 1, 3));
    }

    #[test]
    fn who_looks_after_a_warning_does_not_look_after_what_became_of_it() {
        let worse =
            folded(&told(vec![fired(1, 3), acknowledged(), escalated(Severity::Critical, WhyEscalated::Worse)]));
        assert_eq!(worse.unwrap()[0].acknowledged_at, None);
        let again = escalated(Severity::Warning, WhyEscalated::Unacknowledged);
        let same = folded(&told(vec![fired(1, 3), acknowledged(), again])).unwrap();
        assert_eq!((same[0].acknowledged_at, same[0].note.as_deref()), (Some(at(4)), Some("on it")));
    }

    #[test]
    fn an_episode_nobody_began_is_an_error_and_a_row_reads_back() {
        assert!(folded(&told(vec![resolved(1)])).is_err());
        let one = folded(&told(vec![fired(1, 3), acknowledged()])).unwrap().remove(0);
        assert_eq!(rows::read::<Episode>(&rows::text(&one)), one);
    }
}
