//! How people are told of alerts: a client's channels, how they do, and what came of each message.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    AlertId, ChannelId, ClientId, Event, MessageId, Recorded, RuleName, SealedId, Slug, Time,
    alert::{AlertEvent, Delivery, Notice},
    channel::{ChannelEvent, Kind, Settings},
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

/// A client's channels.
#[derive(Debug, Default)]
pub struct Channels {
    channels: BTreeMap<ChannelId, Channel>,
    changed: BTreeSet<ChannelId>,
    tries: Vec<Try>,
}

/// One channel as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ListedChannel)]
pub struct Channel {
    /// Whose alerts it tells of.
    pub client_id: Uuid,
    pub channel_id: ChannelId,
    /// What people call it.
    pub name: Slug,
    pub kind: Kind,
    /// So much of where it leads as may be seen.
    pub shown: String,
    /// Under which values the vault knows the rest.
    pub sealed_id: SealedId,
    pub settings: Settings,
    pub state: State,
    pub since: Time,
    /// Things in a row that were told and not taken, counted at each try.
    pub failed: u32,
    /// When a message was last taken.
    pub delivered_at: Option<Time>,
    /// Why the last try failed; null if it did not.
    pub trouble: Option<String>,
    /// Messages are signed by the secret that was renewed, too, until then.
    pub both_until: Option<Time>,
    /// The last event that tells of it.
    pub seq: u64,
}

/// Whether it tells anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChannelState)]
pub enum State {
    On,
    Off,
    /// Its other side said that it is gone: change or renew it.
    Disabled,
    Removed,
}

/// One try of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeliveryTry)]
pub struct Try {
    /// Whose.
    pub client_id: Uuid,
    pub channel_id: ChannelId,
    /// The event that tells of it.
    pub seq: u64,
    pub at: Time,
    pub what: What,
    /// By which the other side knows the message again; null of tests and reports.
    pub message_id: Option<MessageId>,
    pub alert_id: Option<AlertId>,
    pub rule: Option<RuleName>,
    pub episode: Option<u64>,
    pub notice: Option<Notice>,
    /// The how many-th try of its message it was.
    pub attempt: u32,
    pub result: Outcome,
    /// Why it failed.
    pub reason: Option<String>,
}

/// What a message told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MessageKind)]
pub enum What {
    Alert,
    Test,
    Report,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TryOutcome)]
pub enum Outcome {
    Delivered,
    /// It is tried again.
    Failed,
    /// It is tried no more.
    GivenUp,
}

impl Projection for Channels {
    const NAME: &'static str = "channels";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table channels (
          client_id    uuid        not null,
          channel_id   uuid        not null,
          name         text        not null,
          kind         text        not null,
          shown        text        not null,
          sealed_id    uuid        not null,
          settings     jsonb       not null,
          state        text        not null,
          since        timestamptz not null,
          failed       bigint      not null,
          delivered_at timestamptz,
          trouble      text,
          both_until   timestamptz,
          seq          bigint      not null,
          primary key (client_id, channel_id)
        );
        create table tries (
          client_id  uuid        not null,
          channel_id uuid        not null,
          seq        bigint      not null,
          at         timestamptz not null,
          what       text        not null,
          message_id uuid,
          alert_id   uuid,
          rule       text,
          episode    bigint,
          notice     text,
          attempt    bigint      not null,
          result     text        not null,
          reason     text,
          primary key (client_id, channel_id, seq)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let channels = of_client(db, client).await?.into_iter().map(|one| (one.channel_id, one)).collect();
        Ok(Self { channels, ..Self::default() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        if let Event::Alert(told @ AlertEvent::AlertNotified { .. }) = &event.event {
            self.tries.extend(Try::of_alert(event, told));
        } else if let Event::Channel(told) = &event.event {
            let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
            let id = event.aggregate.id.parse().map_err(|_| unfoldable("its channel's id is no id"))?;
            self.hear(event, id, told).ok_or_else(|| unfoldable("nobody added its channel"))?;
            self.tries.extend(Try::of_channel(event, id, told));
        } else {
            return Ok(());
        }
        if let Some(tried) = self.tries.last().filter(|tried| tried.seq == event.seq) {
            let channel = self.channels.get_mut(&tried.channel_id);
            self.changed.extend(channel.map(|channel| channel.tried(tried)));
        }
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let tries = std::mem::take(&mut self.tries);
        if let Some(rows) = rows::written(tries.iter()) {
            sqlx::query!("insert into tries select * from jsonb_populate_recordset(null::tries, $1)", rows)
                .execute(&mut *db)
                .await?;
        }
        let changed = std::mem::take(&mut self.changed);
        let Some(rows) = rows::written(changed.iter().map(|id| &self.channels[id])) else { return Ok(()) };
        sqlx::query!(
            "delete from channels c using jsonb_populate_recordset(null::channels, $1) n
              where (c.client_id, c.channel_id) = (n.client_id, n.channel_id)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into channels select * from jsonb_populate_recordset(null::channels, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Channels {
    fn hear(&mut self, event: &Recorded, id: ChannelId, told: &ChannelEvent) -> Option<()> {
        if let ChannelEvent::ChannelAdded { name, kind, shown, sealed, settings, at } = told {
            let channel = Channel {
                client_id: event.client.0,
                channel_id: id,
                name: name.clone(),
                kind: *kind,
                shown: shown.clone(),
                sealed_id: *sealed,
                settings: settings.clone(),
                state: State::of(settings),
                since: *at,
                failed: 0,
                delivered_at: None,
                trouble: None,
                both_until: None,
                seq: event.seq,
            };
            self.channels.insert(id, channel);
        }
        let channel = self.channels.get_mut(&id)?;
        channel.hear(told);
        channel.seq = event.seq;
        self.changed.insert(id);
        Some(())
    }
}

impl Channel {
    fn hear(&mut self, told: &ChannelEvent) {
        match told {
            ChannelEvent::ChannelChanged { settings, at } => {
                (self.settings, self.failed, self.trouble) = (settings.clone(), 0, None);
                self.become_so(State::of(settings), *at);
            }
            ChannelEvent::ChannelRenewed { shown, sealed, both_until, at, .. } => {
                (self.shown, self.sealed_id, self.both_until) = (shown.clone(), *sealed, Some(*both_until));
                (self.failed, self.trouble) = (0, None);
                self.become_so(State::of(&self.settings), *at);
            }
            ChannelEvent::ChannelDisabled { at, .. } => self.become_so(State::Disabled, *at),
            ChannelEvent::ChannelRemoved { at, .. } => self.become_so(State::Removed, *at),
            ChannelEvent::ChannelAdded { .. }
            | ChannelEvent::ChannelTestRequested { .. }
            | ChannelEvent::ChannelTested { .. }
            | ChannelEvent::ChannelReportRequested { .. }
            | ChannelEvent::ChannelReported { .. } => {}
        }
    }

    fn become_so(&mut self, state: State, at: Time) {
        if self.state != state {
            (self.state, self.since) = (state, at);
        }
    }

    fn tried(&mut self, tried: &Try) -> ChannelId {
        self.seq = tried.seq;
        self.trouble.clone_from(&tried.reason);
        match tried.result {
            Outcome::Delivered => (self.failed, self.delivered_at) = (0, Some(tried.at)),
            Outcome::Failed | Outcome::GivenUp => self.failed += 1,
        }
        self.channel_id
    }
}

impl State {
    fn of(settings: &Settings) -> Self {
        if settings.on { Self::On } else { Self::Off }
    }
}

impl Try {
    fn of_alert(event: &Recorded, told: &AlertEvent) -> Option<Self> {
        let AlertEvent::AlertNotified { rule, episode, channel, notice, attempt, result, message, at, .. } = told
        else {
            return None;
        };
        Some(Self {
            message_id: *message,
            alert_id: event.aggregate.id.parse().ok(),
            rule: Some(rule.clone()),
            episode: Some(*episode),
            notice: Some(*notice),
            ..Self::bare(event, *channel, What::Alert, *attempt, result, *at)
        })
    }

    fn of_channel(event: &Recorded, id: ChannelId, told: &ChannelEvent) -> Option<Self> {
        match told {
            ChannelEvent::ChannelTested { attempt, result, at, .. } => {
                Some(Self::bare(event, id, What::Test, *attempt, result, *at))
            }
            ChannelEvent::ChannelReported { attempt, result, at, .. } => {
                Some(Self::bare(event, id, What::Report, *attempt, result, *at))
            }
            ChannelEvent::ChannelAdded { .. }
            | ChannelEvent::ChannelChanged { .. }
            | ChannelEvent::ChannelRenewed { .. }
            | ChannelEvent::ChannelDisabled { .. }
            | ChannelEvent::ChannelTestRequested { .. }
            | ChannelEvent::ChannelReportRequested { .. }
            | ChannelEvent::ChannelRemoved { .. } => None,
        }
    }

    fn bare(event: &Recorded, channel: ChannelId, what: What, attempt: u32, result: &Delivery, at: Time) -> Self {
        let (result, reason) = match result {
            Delivery::Delivered => (Outcome::Delivered, None),
            Delivery::Failed { reason } => (Outcome::Failed, Some(reason.clone())),
            Delivery::GivenUp { reason } => (Outcome::GivenUp, Some(reason.clone())),
        };
        Self {
            client_id: event.client.0,
            channel_id: channel,
            seq: event.seq,
            at,
            what,
            message_id: None,
            alert_id: None,
            rule: None,
            episode: None,
            notice: None,
            attempt,
            result,
            reason,
        }
    }
}

/// A client's channels, those that were removed among them, by name.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Channel>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(c)::text as "row!"
          from channels c
         where c.client_id = $1
         order by c.name, c.channel_id
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// The desk's channels, and all tries in order, folded each time: no read model is made of its stream.
pub async fn of_desk(db: &PgPool) -> sqlx::Result<(Vec<Channel>, Vec<Try>)> {
    let mut events = read::told_of(db, ClientId::DESK, "channel", None).await?;
    events.extend(read::of_alerts(db, ClientId::DESK, 0).await?);
    events.sort_by_key(|event| event.seq);
    let mut model = Channels::default();
    for event in &events {
        model.fold(event).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?;
    }
    Ok((model.channels.into_values().collect(), model.tries))
}

/// The last tries of one channel, the newest first.
pub async fn tries(
    db: &mut PgConnection,
    client: ClientId,
    channel: ChannelId,
    before: Option<u64>,
    most: u32,
) -> sqlx::Result<Vec<Try>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(t)::text as "row!"
          from tries t
         where t.client_id = $1 and t.channel_id = $2 and ($3::bigint is null or t.seq < $3)
         order by t.seq desc
         limit $4
        "#,
        client.0,
        channel.0,
        before.map(|before| before as i64),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests {
    use events::{AggregateRef, alert::Severity, channel::WhyDisabled};

    use super::*;
    use crate::told::{Told, at};

    fn settings() -> Settings {
        Settings { severity: Severity::Warning, wait_s: 30, quiet: None, on: true }
    }

    #[test]
    fn a_channel_shows_how_it_does_and_what_was_tried() {
        let id = ChannelId(Uuid::from_u128(4));
        let (mut stream, mut model) = (Told::default(), Channels::default());
        let of = || AggregateRef::new("channel", id);
        let failed = || Delivery::Failed { reason: "it answered 503".into() };
        assert!(model.fold(&stream.of(of(), ChannelEvent::ChannelTestRequested { at: at(1) })).is_err());
        let added = ChannelEvent::ChannelAdded {
            name: "ops".parse().unwrap(),
            kind: Kind::Slack,
            shown: "https://hooks.example.com/…".into(),
            sealed: SealedId(Uuid::from_u128(5)),
            settings: settings(),
            at: at(1),
        };
        let tested = |attempt, result, seconds| ChannelEvent::ChannelTested { of: 2, attempt, result, at: at(seconds) };
        for event in [added, tested(1, failed(), 2), tested(2, failed(), 3)] {
            model.fold(&stream.of(of(), event)).unwrap();
        }
        assert_eq!((model.channels[&id].failed, model.channels[&id].trouble.as_deref()), (2, Some("it answered 503")));
        let gone = ChannelEvent::ChannelDisabled { why: WhyDisabled::Gone, at: at(5) };
        for event in [tested(3, Delivery::Delivered, 4), gone] {
            model.fold(&stream.of(of(), event)).unwrap();
        }
        let one = &model.channels[&id];
        assert_eq!((one.failed, one.delivered_at, &one.trouble), (0, Some(at(4)), &None));
        assert_eq!((one.state, one.since), (State::Disabled, at(5)));
        assert_eq!(model.tries.iter().map(|tried| tried.attempt).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(rows::read::<Channel>(&rows::text(one)), *one);
        assert_eq!(rows::read::<Try>(&rows::text(&model.tries[0])), model.tries[0]);
        let again = ChannelEvent::ChannelChanged { settings: settings(), at: at(6) };
        model.fold(&stream.of(of(), again)).unwrap();
        assert_eq!(model.channels[&id].state, State::On);
    }
}
