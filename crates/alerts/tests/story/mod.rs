//! A client's stream told second by second, and what its alerts make of it, one line a transition.

#![allow(dead_code, reason = "each file of stories tells other things")]

use std::collections::BTreeMap;

use alerts::{Engine, Transition, replay::Replay};
use events::{
    AggregateRef, Amount, BotId, ClientId, Decimal, Event, EventId, Exchange, Market, Price, Recorded, RuleName, Slug,
    Time, Uuid,
    account::AccountEvent,
    alert::{AlertEvent, RuleEvent, Scope},
    bot::{BotConfig, BotEvent, Limits, Venue},
    ledger::{Fill, LedgerEvent, Liquidity, Side},
    market::{DepthSum, MarketEvent},
    order::OrderEvent,
};

/// 2026-11-24 12:00:00 UTC.
const START_US: i64 = 1_795_521_600_000_000;

pub fn at(second: i64) -> Time {
    Time::from_micros(START_US + second * 1_000_000).unwrap()
}

pub fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub fn maker() -> BotId {
    BotId(Uuid::from_u128(1))
}

pub fn venue() -> Venue {
    on(Exchange::Kucoin)
}

pub fn on(exchange: Exchange) -> Venue {
    Venue { exchange, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
}

/// What comes of a rule in a story up to a second; lines of other rules are not what it is about.
pub fn check(mut story: Story, rule: &str, until: i64, expected: &[&str]) {
    story.until(until);
    assert_eq!(of(rule, &mut story), expected, "{rule}");
    story.replays();
    story.shows();
}

/// What became of a rule since it was asked last.
pub fn of(rule: &str, story: &mut Story) -> Vec<String> {
    story.told().into_iter().filter(|line| line.split(' ').nth(1) == Some(rule)).collect()
}

/// A stream, its engine, and what came of it so far.
pub struct Story {
    pub client: ClientId,
    pub stream: Vec<Recorded>,
    engine: Engine,
    now: i64,
    lines: Vec<String>,
}

impl Story {
    /// Nothing has happened yet.
    pub fn of(client: ClientId) -> Self {
        let mut story = Self { client, stream: Vec::new(), engine: Engine::new(client), now: 0, lines: Vec::new() };
        story.speak(0, Engine::versions());
        story
    }

    pub fn desk() -> Self {
        Self::of(ClientId::DESK)
    }

    /// A bot called `maker` with 1000 USDT a side in four orders of 10 bps each, asked for and running since second 0.
    pub fn with_maker() -> Self {
        Self::with_maker_of(Limits::default())
    }

    pub fn with_maker_of(limits: Limits) -> Self {
        let mut story = Self::of(ClientId(Uuid::from_u128(7)));
        let told = [("total_amount_quote", "2000"), ("buy_spreads", "0.001,0.002"), ("sell_spreads", "0.001,0.002")];
        let parameters = told.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = BotConfig { venue: Some(venue()), parameters, limits, ..BotConfig::default() };
        let name: Slug = "maker".parse().unwrap();
        story.bot(BotEvent::BotCreated { name, config, at: at(0) });
        story.bot(BotEvent::BotDeployRequested { at: at(0) });
        story.bot(BotEvent::BotDeployed { instance: "maker-1".into(), at: at(0) });
        story
    }

    /// Lets the clock go on, with a look each second.
    pub fn until(&mut self, second: i64) -> &mut Self {
        while self.now < second {
            self.now += 1;
            let made = self.engine.tick(at(self.now).plus_micros(-self.engine.late_us(at(self.now))));
            self.note(made);
        }
        self
    }

    /// Something happens at a second, and is recorded at once.
    pub fn at(&mut self, second: i64, aggregate: AggregateRef, event: impl Into<Event>) -> &mut Self {
        self.until(second);
        self.tell(aggregate, event.into(), at(second))
    }

    /// Something is recorded now that happened some time ago.
    pub fn tell(&mut self, aggregate: AggregateRef, event: Event, recorded_at: Time) -> &mut Self {
        let seq = self.stream.len() as u64 + 1;
        let recorded = Recorded {
            client: self.client,
            seq,
            aggregate,
            aggregate_seq: seq,
            id: EventId(Uuid::from_u128(u128::from(seq))),
            occurred_at: event.at(),
            event,
            recorded_at,
            actor: None,
        };
        let made = self.engine.hear(&recorded);
        self.stream.push(recorded);
        self.restore();
        self.note(made);
        self
    }

    /// Somebody else goes on from what was kept: whatever an engine does not keep is lost here.
    fn restore(&mut self) {
        let kept = self.engine.written();
        self.engine = Engine::restored(&kept).expect("it was kept by this build");
        assert_eq!(self.engine.written(), kept, "what was kept is not what is kept next");
    }

    /// What the engine decides goes into the stream, as it does for real.
    fn note(&mut self, made: Vec<Transition>) {
        for transition in made {
            self.lines.push(line(&transition.event));
            let aggregate = AggregateRef::new("alert", transition.alert);
            self.tell(aggregate, transition.event.into(), at(self.now));
        }
    }

    /// What became of it since it was asked last.
    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// How a rule fired last.
    pub fn fired(&self, rule: &str) -> (AggregateRef, AlertEvent) {
        let fired = self.stream.iter().rev().filter_map(|recorded| {
            let Event::Alert(told @ AlertEvent::AlertFired { .. }) = &recorded.event else { return None };
            Some((recorded.aggregate.clone(), told.clone()))
        });
        fired.into_iter().find(|(_, told)| told.rule().0.as_str() == rule).expect("it fired")
    }

    /// Every alert shows what it follows from: events, and what was measured.
    pub fn shows(&self) {
        for recorded in &self.stream {
            if let Event::Alert(
                AlertEvent::AlertFired { rule, evidence, .. }
                | AlertEvent::AlertEscalated { rule, evidence, .. }
                | AlertEvent::AlertResolved { rule, evidence, .. },
            ) = &recorded.event
            {
                let seqs = &evidence.seqs;
                assert!(!seqs.is_empty() && seqs.iter().all(|seq| *seq < recorded.seq), "{rule}: {evidence:?}");
            }
            if let Event::Alert(AlertEvent::AlertFired { rule, evidence, summary, labels, .. }) = &recorded.event {
                // A scope can name what its alerts name, and nothing else.
                let named =
                    [labels.bot.is_some(), labels.exchange.is_some(), labels.pair.is_some(), labels.about.is_some()];
                let names = alerts::rule(rule.as_str()).expect("a rule fired").names;
                assert_eq!(named, [names.bot, names.exchange, names.pair, names.about], "{rule}");
                assert!(!evidence.features.is_empty() && !summary.is_empty(), "{rule}: {evidence:?}");
            }
        }
    }

    /// Its stream replayed gives the same, and nothing else.
    pub fn replays(&self) {
        let mut replay = Replay::new(self.client, &self.stream);
        self.stream.iter().for_each(|event| replay.hear(event));
        replay.end().unwrap_or_else(|difference| panic!("{difference}"));
    }

    pub fn bot(&mut self, event: BotEvent) -> &mut Self {
        let second = (event.at().micros() - START_US) / 1_000_000;
        self.at(second, AggregateRef::new("bot", maker()), event)
    }

    pub fn market(&mut self, event: MarketEvent) -> &mut Self {
        let second = (event.at().micros() - START_US) / 1_000_000;
        self.at(second, AggregateRef::new("market", "SOL-USDT"), event)
    }

    /// The maker's best quotes are these from a second on.
    pub fn quotes(&mut self, second: i64, bid: &str, ask: &str) -> &mut Self {
        let price = |text: &str| (!text.is_empty()).then(|| Price(d(text)));
        let (bot, venue) = (maker(), venue());
        self.market(MarketEvent::QuoteObserved {
            bot,
            venue,
            bid: price(bid),
            ask: price(ask),
            band_bps: None,
            at: at(second),
        })
    }

    /// The same, told so many seconds later.
    pub fn late_quotes(&mut self, second: i64, late: i64, bid: &str, ask: &str) -> &mut Self {
        self.until(second + late);
        let price = |text: &str| (!text.is_empty()).then(|| Price(d(text)));
        let (bid, ask) = (price(bid), price(ask));
        let (bot, venue) = (maker(), venue());
        let event = MarketEvent::QuoteObserved { bot, venue, bid, ask, band_bps: None, at: at(second) };
        self.tell(AggregateRef::new("market", "SOL-USDT"), event.into(), at(second + late))
    }

    /// The maker quotes with another amount from a second on.
    pub fn reconfigured(&mut self, second: i64, total_amount_quote: &str) -> &mut Self {
        self.reconfigured_to(second, [total_amount_quote, "0.001,0.002", "0.001,0.002"])
    }

    /// The maker quotes so far from the middle from a second on.
    pub fn reconfigured_spreads(&mut self, second: i64, buy: &str, sell: &str) -> &mut Self {
        self.reconfigured_to(second, ["2000", buy, sell])
    }

    fn reconfigured_to(
        &mut self,
        second: i64,
        [total_amount_quote, buy_spreads, sell_spreads]: [&str; 3],
    ) -> &mut Self {
        let told =
            [("total_amount_quote", total_amount_quote), ("buy_spreads", buy_spreads), ("sell_spreads", sell_spreads)];
        let parameters = told.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = BotConfig { venue: Some(venue()), parameters, ..BotConfig::default() };
        self.bot(BotEvent::BotConfigChanged { config, at: at(second) })
    }

    pub fn mark(&mut self, second: i64, price: &str) -> &mut Self {
        let pair = "SOL-USDT".parse().unwrap();
        self.market(MarketEvent::MarkObserved { pair, price: Price(d(price)), source: "test".into(), at: at(second) })
    }

    /// The book of an exchange has these best prices from a second on.
    pub fn book(&mut self, second: i64, exchange: Exchange, bid: &str, ask: &str) -> &mut Self {
        let (best_bid, best_ask) = (Some(Price(d(bid))), Some(Price(d(ask))));
        let middle = Some(Price(d(bid).plus(d(ask)).unwrap().divided_by(d("2")).unwrap()));
        let (bot, venue, within) = (maker(), on(exchange), [].into());
        self.market(MarketEvent::DepthObserved { bot, venue, middle, best_bid, best_ask, within, at: at(second) })
    }

    /// The minute that begins at a second: how long it quoted well, and how long nobody could tell.
    pub fn quote_minute(&mut self, second: i64, good_s: u64, unknown_s: u64) -> &mut Self {
        let us = |s: u64| s * 1_000_000;
        let event = MarketEvent::QuoteMinute {
            bot: maker(),
            venue: venue(),
            bid_us: us(good_s),
            ask_us: us(good_s),
            two_sided_us: us(good_s),
            spread_bps_us: d("0"),
            unknown_us: us(unknown_s),
            band_us: [(20, us(good_s))].into(),
            changes_left_out: None,
            bid: None,
            ask: None,
            at: at(second),
        };
        self.at(second + 60, AggregateRef::new("market", "SOL-USDT"), event)
    }

    /// The minute that begins at a second: what the maker had in the book on each side.
    pub fn depth_minute(&mut self, second: i64, bid: &str, ask: &str) -> &mut Self {
        let integral = |quote: &str| d(quote).times(d("60000000")).unwrap();
        let sum = DepthSum { own_bid_quote_us: integral(bid), own_ask_quote_us: integral(ask), ..DepthSum::default() };
        let event = MarketEvent::DepthMinute {
            bot: maker(),
            venue: venue(),
            known_us: 60_000_000,
            own_known_us: 60_000_000,
            within: [(200, sum)].into(),
            changes_left_out: None,
            slippage: BTreeMap::new(),
            sized_us: BTreeMap::new(),
            middles: BTreeMap::new(),
            best_bid: None,
            best_ask: None,
            at: at(second),
        };
        self.at(second + 60, AggregateRef::new("market", "SOL-USDT"), event)
    }

    /// A fill of the maker.
    pub fn fill(&mut self, second: i64, side: Side, price: &str, amount: &str) -> &mut Self {
        let trade = format!("t{}", self.stream.len());
        self.fill_of(second, maker(), side, price, amount, &trade)
    }

    /// The same, of which nobody tells the fee.
    pub fn untold_fill(&mut self, second: i64, side: Side, price: &str, amount: &str) -> &mut Self {
        let trade = format!("t{}", self.stream.len());
        let fill = Fill { fees: None, ..self.one(second, maker(), side, price, amount, &trade) };
        self.at(second, AggregateRef::ledger(self.client), LedgerEvent::FillRecorded(fill))
    }

    pub fn fill_of(
        &mut self,
        second: i64,
        bot: BotId,
        side: Side,
        price: &str,
        amount: &str,
        trade: &str,
    ) -> &mut Self {
        let fill = self.one(second, bot, side, price, amount, trade);
        let ledger = AggregateRef::ledger(self.client);
        self.at(second, ledger, LedgerEvent::FillRecorded(fill))
    }

    /// A fill of the maker that happened at one second and is told at another.
    pub fn late_fill(
        &mut self,
        (happened, told): (i64, i64),
        side: Side,
        price: &str,
        amount: &str,
        trade: &str,
    ) -> &mut Self {
        self.until(told);
        let fill = self.one(happened, maker(), side, price, amount, trade);
        self.tell(AggregateRef::ledger(self.client), LedgerEvent::FillRecorded(fill).into(), at(told))
    }

    fn one(&self, second: i64, bot: BotId, side: Side, price: &str, amount: &str, trade: &str) -> Fill {
        Fill {
            bot,
            account: self.client.into(),
            exchange: Exchange::Kucoin,
            market: Market::Spot,
            pair: venue().pair,
            side,
            price: Price(d(price)),
            amount: Amount(d(amount)),
            fees: Some(Vec::new()),
            liquidity: Liquidity::Maker,
            order: Some(format!("o{}", self.stream.len()).parse().unwrap()),
            trade: trade.parse().unwrap(),
            at: at(second),
            mid_at_fill: None,
            source: "mqtt".into(),
            precision: None,
            raw_hash: None,
        }
    }

    pub fn holds(&mut self, second: i64, asset: &str, total: &str, available: &str) -> &mut Self {
        let event = AccountEvent::BalanceObserved {
            exchange: Exchange::Kucoin,
            market: Market::Spot,
            account: self.client.into(),
            asset: asset.parse().unwrap(),
            total: d(total),
            available: d(available),
            at: at(second),
        };
        self.at(second, AggregateRef::new("account", "kucoin:spot"), event)
    }

    pub fn order(&mut self, second: i64, refused: bool) -> &mut Self {
        let order = format!("o{}", self.stream.len()).parse().unwrap();
        let (venue, at_) = (venue(), at(second));
        let event = match refused {
            true => OrderEvent::OrderRejected { order, venue, reason: "insufficient balance".into(), at: at_ },
            false => OrderEvent::OrderPlaced {
                order,
                venue,
                side: Side::Buy,
                price: Some(Price(d("150"))),
                amount: Amount(d("1")),
                precision: None,
                at: at_,
            },
        };
        self.at(second, AggregateRef::new("orders", maker()), event)
    }

    /// From then on these versions of rules speak.
    pub fn speak(&mut self, second: i64, versions: BTreeMap<RuleName, u32>) -> &mut Self {
        let event = RuleEvent::RulesSpeak { versions, at: at(second) };
        self.at(second, AggregateRef::new("rule", "versions"), event)
    }

    pub fn configure(&mut self, second: i64, rule: &str, on: bool, parameters: &[(&str, &str)]) -> &mut Self {
        self.configure_for(second, rule, Scope::default(), on, parameters)
    }

    pub fn configure_for(
        &mut self,
        second: i64,
        rule: &str,
        scope: Scope,
        on: bool,
        parameters: &[(&str, &str)],
    ) -> &mut Self {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), d(value))).collect();
        let event = RuleEvent::RuleConfigured { rule: rule.parse().unwrap(), scope, on, parameters, at: at(second) };
        self.at(second, AggregateRef::new("rule", rule), event)
    }

    /// Somebody looks after what a rule fired last.
    pub fn acknowledge(&mut self, second: i64, rule: &str) -> &mut Self {
        let (aggregate, fired) = self.fired(rule);
        let (rule, severity) = fired.rule();
        let event = AlertEvent::AlertAcknowledged {
            rule: rule.clone(),
            severity,
            episode: fired.episode(),
            until: None,
            note: "looking".into(),
            at: at(second),
        };
        self.at(second, aggregate, event)
    }
}

/// When it became so, which rule, and what: `30 spread_wide fired warning`.
fn line(event: &AlertEvent) -> String {
    let (rule, severity) = event.rule();
    let second = (event.at().micros() - START_US).div_euclid(1_000_000);
    let severity = severity.as_str();
    match event {
        AlertEvent::AlertFired { .. } => format!("{second} {rule} fired {severity}"),
        AlertEvent::AlertEscalated { why, .. } => {
            format!("{second} {rule} escalated {severity} {why:?}").to_lowercase()
        }
        AlertEvent::AlertResolved { why, .. } => format!("{second} {rule} resolved {why:?}").to_lowercase(),
        AlertEvent::AlertAcknowledged { .. } | AlertEvent::AlertSilenced { .. } | AlertEvent::AlertNotified { .. } => {
            panic!("the engine decides nothing of that kind")
        }
    }
}
