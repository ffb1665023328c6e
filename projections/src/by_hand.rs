//! Orders by hand: what somebody wished for in a bot's book, and what became of each wish.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    Actor, Amount, BotId, ClientId, Decimal, Event, Exchange, ManualId, Market, OrderId, Pair, Price, Recorded, Time,
    bot::Venue,
    decimal::ArithmeticError,
    ledger::{Fill, LedgerEvent, Side},
    manual::{HowEnded, ManualOrderEvent, RestingType, Verdict},
    order::OrderEvent,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's orders by hand: they are few, all of them are kept.
#[derive(Debug, Default)]
pub struct OrdersByHand {
    orders: BTreeMap<ManualId, ByHand>,
    /// By the id that the exchange knows them by.
    placed: BTreeMap<(Venue, OrderId), ManualId>,
    changed: BTreeSet<ManualId>,
}

/// A wish for an order, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ByHand {
    /// Whose it is.
    pub client_id: Uuid,
    /// The event that asked for it.
    pub seq: u64,
    /// What the wish was answered with.
    pub manual_id: ManualId,
    /// In whose book.
    pub bot_id: BotId,
    /// Where.
    pub exchange: Exchange,
    /// On which of its markets.
    pub market: Market,
    /// What for what.
    pub pair: Pair,
    /// Which way the base asset goes.
    pub side: Side,
    /// How it is put to the exchange.
    pub order_type: RestingType,
    /// Of one unit of the base asset.
    pub price: Price,
    /// Of the base asset.
    pub amount: Amount,
    /// When it was asked for, and by whom: `user:` and an id; null: nobody was named.
    pub asked_at: Time,
    #[schema(value_type = Option<String>)]
    pub asked_by: Option<Actor>,
    /// What became of it, and since when.
    pub state: State,
    pub state_at: Time,
    /// Why it was refused or is unknown, or what somebody saw who decided it.
    pub reason: Option<String>,
    /// Who decided what became of it; null: nobody had to.
    #[schema(value_type = Option<String>)]
    pub decided_by: Option<Actor>,
    /// What the exchange knows it by; null: it never got there, as far as we know.
    pub order_id: Option<OrderId>,
    /// How many fills of it are in the ledger, and of how much of the base asset.
    pub fills: i64,
    pub filled: Decimal,
    /// Whether something of it was executed that no fill tells.
    pub fills_missing: bool,
    /// Since when it is wanted cancelled; null: it is not, or is not any more.
    pub cancel_asked_at: Option<Time>,
    /// Why it could not be cancelled.
    pub cancel_failure: Option<String>,
}

/// What became of a wish for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ManualOrderState)]
pub enum State {
    /// It was not sent yet.
    Asked,
    /// It is on its way; the exchange has not said that it took it.
    Sent,
    /// It stands in the book.
    Resting,
    /// All of it was executed.
    Filled,
    /// It is gone from the book; what was executed before stays executed.
    Cancelled,
    /// It was not sent, or the exchange did not take it.
    Refused,
    /// Nobody knows: it may have been sent, or may have been executed. Look at the exchange, and decide.
    Unknown,
}

impl Projection for OrdersByHand {
    const NAME: &'static str = "by_hand";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table orders_by_hand (
          client_id       uuid        not null,
          manual_id       uuid        not null,
          seq             bigint      not null,           -- the event that asked for it
          bot_id          uuid        not null,
          exchange        text        not null,
          market          text        not null,
          pair            text        not null,
          side            text        not null,
          order_type      text        not null,
          price           numeric     not null,
          amount          numeric     not null,
          asked_at        timestamptz not null,
          asked_by        text,
          state           text        not null,
          state_at        timestamptz not null,
          reason          text,
          decided_by      text,
          order_id        text,
          fills           bigint      not null,
          filled          numeric     not null,
          fills_missing   boolean     not null,
          cancel_asked_at timestamptz,
          cancel_failure  text,
          primary key (client_id, manual_id)
        );
        create index orders_by_hand_by_bot on orders_by_hand (client_id, bot_id, seq desc);
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let rows = sqlx::query_scalar!(
            r#"select to_jsonb(o)::text as "row!" from orders_by_hand o where o.client_id = $1"#,
            client.0
        )
        .fetch_all(db)
        .await?;
        let mut all = Self::default();
        for row in rows {
            let order: ByHand = rows::read(&row);
            all.find_by(&order);
            all.orders.insert(order.manual_id, order);
        }
        Ok(all)
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let unfoldable = |reason: String| ProjectError::Unfoldable { seq: event.seq, reason };
        match &event.event {
            Event::Manual(told) => {
                let id = event.aggregate.id.parse().map_err(|_| unfoldable("its order's id is no id".to_owned()))?;
                self.hear(event, id, told).ok_or_else(|| unfoldable("nobody asked for its order".to_owned()))
            }
            Event::Order(told) => {
                self.live(told);
                Ok(())
            }
            Event::Ledger(fact) => self.count(fact).map_err(|cause| unfoldable(cause.to_string())),
            Event::Client(_)
            | Event::Bot(_)
            | Event::Credential(_)
            | Event::Market(_)
            | Event::Account(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Desk(_) => Ok(()),
        }
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        let Some(rows) = rows::written(changed.iter().map(|id| &self.orders[id])) else { return Ok(()) };
        sqlx::query!(
            "delete from orders_by_hand o using jsonb_populate_recordset(null::orders_by_hand, $1) n
              where (o.client_id, o.manual_id) = (n.client_id, n.manual_id)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "insert into orders_by_hand select * from jsonb_populate_recordset(null::orders_by_hand, $1)",
            rows
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

impl OrdersByHand {
    /// Takes a step of a wish in; absent: nobody wished for it.
    fn hear(&mut self, event: &Recorded, id: ManualId, told: &ManualOrderEvent) -> Option<()> {
        if let ManualOrderEvent::ManualOrderRequested { bot, venue, side, order_type, price, amount, at } = told {
            let Venue { exchange, market, pair } = venue.clone();
            let order = ByHand {
                client_id: event.client.0,
                seq: event.seq,
                manual_id: id,
                bot_id: *bot,
                exchange,
                market,
                pair,
                side: *side,
                order_type: *order_type,
                price: *price,
                amount: *amount,
                asked_at: *at,
                asked_by: event.actor.clone(),
                state: State::Asked,
                state_at: *at,
                reason: None,
                decided_by: None,
                order_id: None,
                fills: 0,
                filled: Decimal::ZERO,
                fills_missing: false,
                cancel_asked_at: None,
                cancel_failure: None,
            };
            self.orders.insert(id, order);
        }
        let order = self.orders.get_mut(&id)?;
        order.hear(told, event.actor.as_ref());
        let order = order.clone();
        self.find_by(&order);
        self.changed.insert(id);
        Some(())
    }

    fn find_by(&mut self, order: &ByHand) {
        if let Some(placed) = &order.order_id {
            self.placed.insert((order.venue(), placed.clone()), order.manual_id);
        }
    }

    fn placed(&mut self, venue: Venue, order: &OrderId) -> Option<&mut ByHand> {
        let id = self.placed.get(&(venue, order.clone()))?;
        self.changed.insert(*id);
        self.orders.get_mut(id)
    }

    /// What the exchange says of the order itself.
    fn live(&mut self, told: &OrderEvent) {
        let Some(order) = self.placed(told.venue().clone(), told.order()) else { return };
        match told {
            OrderEvent::OrderPlaced { at, .. } if order.state == State::Sent => order.is(State::Resting, *at),
            OrderEvent::OrderRejected { reason, .. } => order.reason = Some(reason.clone()),
            // How it ended is told by whoever watches it, who has looked at its fills as well.
            OrderEvent::OrderPlaced { .. }
            | OrderEvent::OrderCancelled { .. }
            | OrderEvent::OrderFilled { .. }
            | OrderEvent::OrderExpired { .. } => {}
        }
    }

    fn count(&mut self, fact: &LedgerEvent) -> Result<(), ArithmeticError> {
        match fact {
            LedgerEvent::FillRecorded(fill) => self.fill(fill, 1),
            LedgerEvent::FillCorrected { was, fill, .. } => {
                self.fill(was, -1)?;
                self.fill(fill, 1)
            }
            LedgerEvent::FillVoided { was, .. } => self.fill(was, -1),
            LedgerEvent::FillDisputed { .. }
            | LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => Ok(()),
        }
    }

    fn fill(&mut self, fill: &Fill, times: i64) -> Result<(), ArithmeticError> {
        let venue = Venue { exchange: fill.exchange, market: fill.market, pair: fill.pair.clone() };
        let Some(order) = fill.order.as_ref().and_then(|order| self.placed(venue, order)) else { return Ok(()) };
        order.fills += times;
        order.filled = order.filled.plus(fill.amount.0.times(Decimal::from_int(times))?)?.normalised();
        Ok(())
    }
}

impl ByHand {
    fn venue(&self) -> Venue {
        Venue { exchange: self.exchange, market: self.market, pair: self.pair.clone() }
    }

    fn is(&mut self, state: State, since: Time) {
        (self.state, self.state_at) = (state, since);
    }

    fn hear(&mut self, told: &ManualOrderEvent, by: Option<&Actor>) {
        match told {
            ManualOrderEvent::ManualOrderRequested { .. } => {}
            ManualOrderEvent::ManualOrderStarted { at } => self.is(State::Sent, *at),
            ManualOrderEvent::ManualOrderSubmitted { order, .. } => self.order_id = Some(order.clone()),
            ManualOrderEvent::ManualOrderFound { order, at } => {
                (self.order_id, self.reason) = (Some(order.clone()), None);
                self.is(State::Sent, *at);
            }
            ManualOrderEvent::ManualOrderRefused { reason, at } => {
                self.is(State::Refused, *at);
                self.reason = Some(reason.clone());
            }
            ManualOrderEvent::ManualOrderUnknown { reason, at } => {
                self.is(State::Unknown, *at);
                self.reason = Some(reason.clone());
            }
            ManualOrderEvent::ManualOrderResolved { verdict, order, reason, at } => {
                self.is(decided(*verdict), *at);
                (self.order_id, self.reason, self.decided_by) = (order.clone(), Some(reason.clone()), by.cloned());
                self.fills_missing |= *verdict == Verdict::Filled;
            }
            ManualOrderEvent::ManualCancelRequested { at } => {
                (self.cancel_asked_at, self.cancel_failure) = (Some(*at), None);
            }
            ManualOrderEvent::ManualCancelDone { .. } => self.cancel_asked_at = None,
            ManualOrderEvent::ManualCancelFailed { reason, .. } => {
                (self.cancel_asked_at, self.cancel_failure) = (None, Some(reason.clone()));
            }
            ManualOrderEvent::ManualFillsMissing { .. } => self.fills_missing = true,
            ManualOrderEvent::ManualFillsExplained { .. } => self.fills_missing = false,
            ManualOrderEvent::ManualOrderEnded { ended, at, .. } => self.is(ended_as(*ended), *at),
        }
    }
}

fn decided(verdict: Verdict) -> State {
    match verdict {
        Verdict::NotPlaced => State::Refused,
        Verdict::Cancelled => State::Cancelled,
        Verdict::Filled => State::Filled,
    }
}

fn ended_as(ended: HowEnded) -> State {
    match ended {
        HowEnded::Filled => State::Filled,
        HowEnded::Cancelled => State::Cancelled,
        HowEnded::Rejected => State::Refused,
        HowEnded::Vanished => State::Unknown,
    }
}

/// A bot's orders by hand, the one asked for last first, what stands before event `before`; at most `most`.
pub async fn page(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    before: Option<u64>,
    most: u32,
) -> sqlx::Result<Vec<ByHand>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(o)::text as "row!"
          from orders_by_hand o
         where o.client_id = $1 and o.bot_id = $2 and o.seq < $3
         order by o.seq desc
         limit $4
        "#,
        client.0,
        bot.0,
        before.map_or(i64::MAX, |seq| seq as i64),
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

    fn venue() -> Venue {
        Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
    }

    fn order() -> OrderId {
        "o1".parse().unwrap()
    }

    /// The order after these events, each a second after the one before.
    fn after(given: impl IntoIterator<Item = Event>) -> ByHand {
        let id = ManualId(Uuid::from_u128(3));
        let (mut told, mut model) = (Told::default(), OrdersByHand::default());
        let asked = ManualOrderEvent::ManualOrderRequested {
            bot: told.bot,
            venue: venue(),
            side: Side::Buy,
            order_type: RestingType::LimitMaker,
            price: Price("150".parse().unwrap()),
            amount: Amount("2".parse().unwrap()),
            at: at(0),
        };
        for event in std::iter::once(Event::from(asked)).chain(given) {
            model.fold(&told.of(AggregateRef::new("manual", id), event)).unwrap();
        }
        model.orders[&id].clone()
    }

    fn check(given: impl IntoIterator<Item = Event>, then: State) {
        assert_eq!(after(given).state, then);
    }

    #[test]
    fn a_wish_is_asked_sent_resting_and_over_in_this_order() {
        let started = || Event::from(ManualOrderEvent::ManualOrderStarted { at: at(1) });
        let submitted = || Event::from(ManualOrderEvent::ManualOrderSubmitted { order: order(), at: at(2) });
        let placed = || {
            let (side, price, amount) = (Side::Buy, None, Amount(Decimal::ONE));
            let placed = OrderEvent::OrderPlaced {
                order: order(),
                venue: venue(),
                side,
                price,
                amount,
                precision: None,
                at: at(3),
            };
            Event::from(placed)
        };
        let ended = |ended| Event::from(ManualOrderEvent::ManualOrderEnded { ended, filled: Decimal::ONE, at: at(4) });
        check([], State::Asked);
        check([started()], State::Sent);
        check([started(), submitted()], State::Sent);
        check([started(), submitted(), placed()], State::Resting);
        for (how, then) in [
            (HowEnded::Filled, State::Filled),
            (HowEnded::Cancelled, State::Cancelled),
            (HowEnded::Rejected, State::Refused),
            (HowEnded::Vanished, State::Unknown),
        ] {
            check([started(), submitted(), placed(), ended(how)], then);
            check([started(), submitted(), placed(), ended(how), placed()], then);
        }
    }

    #[test]
    fn what_was_unknown_is_what_it_was_found_or_decided_to_be() {
        let unknown = || {
            let unknown = ManualOrderEvent::ManualOrderUnknown { reason: "no answer".into(), at: at(2) };
            [Event::from(ManualOrderEvent::ManualOrderStarted { at: at(1) }), Event::from(unknown)]
        };
        assert_eq!(after(unknown()).reason.as_deref(), Some("no answer"));
        let found = Event::from(ManualOrderEvent::ManualOrderFound { order: order(), at: at(3) });
        let light = after(unknown().into_iter().chain([found]));
        assert_eq!((light.state, light.order_id, light.reason), (State::Sent, Some(order()), None));
        for (verdict, then) in [
            (Verdict::NotPlaced, State::Refused),
            (Verdict::Cancelled, State::Cancelled),
            (Verdict::Filled, State::Filled),
        ] {
            let reason = "seen at the exchange".to_owned();
            let decided = ManualOrderEvent::ManualOrderResolved { verdict, order: None, reason, at: at(3) };
            let order = after(unknown().into_iter().chain([Event::from(decided)]));
            assert_eq!((order.state, order.decided_by), (then, Some(Actor::System("test".into()))));
            assert_eq!(order.fills_missing, verdict == Verdict::Filled);
        }
    }
}
