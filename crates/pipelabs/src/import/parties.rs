//! Whom the lines speak of: clients, accounts and bots, found by their names or onboarded on first sight.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Context;
use domain::{
    bot::{Bot, BotCommand, BotRefusal},
    client::{Client, ClientCommand, ClientRefusal},
};
use events::{
    Asset, BotId, ClientId, Event, Exchange, Pair, Price, Slug, Time, bot::BotConfig, desk::DeskEvent,
    market::MarketEvent,
};
use sqlx::PgPool;
use store::{Cause, ExecuteError, Streams, read};

/// Everyone who was met so far.
pub struct Parties {
    streams: Streams,
    auditor: PgPool,
    cause: Cause,
    clients: HashMap<Slug, ClientId>,
    accounts: HashSet<(ClientId, Exchange)>,
    bots: HashMap<(ClientId, Slug), BotId>,
}

/// What a client needs rates of.
pub struct Needs {
    pub client: ClientId,
    assets: BTreeSet<String>,
    /// Pairs that the desk had marks of before this import, and its stream had none.
    lacks: BTreeSet<Pair>,
}

impl Needs {
    /// Whether its figures can need the pair's rate.
    pub fn needs(&self, pair: &Pair) -> bool {
        prices(&self.assets, pair)
    }

    /// Whether it needs the pair's rate and has not got what the desk knows of it.
    pub fn lacks(&self, pair: &Pair) -> bool {
        self.lacks.contains(pair)
    }

    /// Whether there is such a pair.
    pub fn lacks_any(&self) -> bool {
        !self.lacks.is_empty()
    }
}

fn prices(assets: &BTreeSet<String>, pair: &Pair) -> bool {
    [pair.base(), pair.quote()].iter().all(|asset| assets.contains(*asset))
}

impl Parties {
    pub fn new(streams: Streams, auditor: PgPool) -> Self {
        Self {
            streams,
            auditor,
            cause: Cause::system("import"),
            clients: HashMap::new(),
            accounts: HashSet::new(),
            bots: HashMap::new(),
        }
    }

    /// The client of this slug.
    pub async fn client(&mut self, slug: &Slug) -> anyhow::Result<ClientId> {
        if let Some(client) = self.clients.get(slug) {
            return Ok(*client);
        }
        let (client, _) = api::onboard(&self.streams, slug, slug.as_str(), &Asset::usdt(), &self.cause).await?;
        self.clients.insert(slug.clone(), client);
        Ok(client)
    }

    /// The client's account on an exchange stands ready.
    pub async fn account(&mut self, client: ClientId, exchange: Exchange) -> anyhow::Result<()> {
        if !self.accounts.insert((client, exchange)) {
            return Ok(());
        }
        let command = ClientCommand::OpenAccount { exchange, account: client.into(), at: Time::now() };
        let key = Some(format!("account:{exchange}"));
        match self.streams.execute::<Client>(client, &client.to_string(), command, key, &self.cause).await {
            Ok(_) | Err(ExecuteError::Refused(ClientRefusal::AccountOpen(_))) => Ok(()),
            Err(fault) => Err(fault).with_context(|| format!("could not open the account on {exchange}")),
        }
    }

    /// The client's bot of this name.
    pub async fn bot(&mut self, client: ClientId, name: &Slug) -> anyhow::Result<BotId> {
        if let Some(bot) = self.bots.get(&(client, name.clone())) {
            return Ok(*bot);
        }
        let bot = BotId::named(client, name);
        let command = BotCommand::Create { name: name.clone(), config: BotConfig::default(), at: Time::now() };
        match self.streams.execute::<Bot>(client, &bot.to_string(), command, None, &self.cause).await {
            Ok(_) | Err(ExecuteError::Refused(BotRefusal::AlreadyCreated)) => {}
            Err(fault) => return Err(fault).with_context(|| format!("could not create bot {name}")),
        }
        self.bots.insert((client, name.clone()), bot);
        Ok(bot)
    }

    /// What every client of the desk needs rates of, by the files and by what its ledger speaks of already.
    pub async fn needs(&mut self, told: BTreeMap<String, BTreeSet<String>>) -> anyhow::Result<Vec<Needs>> {
        let mut assets: BTreeMap<ClientId, BTreeSet<String>> = BTreeMap::new();
        for (slug, told) in told {
            let client = self.client(&slug.parse()?).await?;
            assets.entry(client).or_default().extend(told);
        }
        let (mut needs, of_the_desk) = (Vec::new(), self.marked_pairs(ClientId::DESK).await?);
        for client in self.registered().await? {
            let mut assets = assets.remove(&client).unwrap_or_default();
            let mut tx = self.auditor.begin().await?;
            read::for_client(&mut tx, client).await?;
            assets.extend(read::assets_of_ledger(&mut *tx, client).await?);
            if !assets.is_empty() {
                assets.insert("USDT".to_owned());
            }
            drop(tx);
            let marked = self.marked_pairs(client).await?;
            let lacks = of_the_desk.difference(&marked).filter(|pair| prices(&assets, pair)).cloned().collect();
            needs.push(Needs { client, assets, lacks });
        }
        Ok(needs)
    }

    /// The pairs that a stream holds marks of.
    async fn marked_pairs(&self, client: ClientId) -> anyhow::Result<BTreeSet<Pair>> {
        let mut tx = self.auditor.begin().await?;
        read::for_client(&mut tx, client).await?;
        let pairs = read::marked_pairs(&mut *tx, client).await?;
        Ok(pairs.iter().map(|pair| pair.parse()).collect::<Result<_, _>>()?)
    }

    /// Some marks of the desk's stream after a number, and how far they go; absent at its end.
    pub async fn marks_of_the_desk(&self, reached: u64) -> anyhow::Result<Option<(u64, Vec<(Pair, Price, Time)>)>> {
        let mut tx = self.auditor.begin().await?;
        read::for_client(&mut tx, ClientId::DESK).await?;
        let events = read::after(&mut *tx, ClientId::DESK, reached, 1_000).await?;
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(None) };
        let marks = events.into_iter().filter_map(|event| match event.event {
            Event::Market(MarketEvent::MarkObserved { pair, price, at, .. }) => Some((pair, price, at)),
            Event::Market(
                MarketEvent::QuoteObserved { .. }
                | MarketEvent::QuoteMinute { .. }
                | MarketEvent::QuotesUnknown { .. }
                | MarketEvent::DepthObserved { .. }
                | MarketEvent::DepthMinute { .. }
                | MarketEvent::VolumeObserved { .. },
            )
            | Event::Manual(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Desk(_)
            | Event::Client(_)
            | Event::Account(_)
            | Event::Credential(_)
            | Event::Bot(_)
            | Event::Ledger(_)
            | Event::Order(_) => None,
        });
        Ok(Some((last, marks.collect())))
    }

    async fn registered(&self) -> anyhow::Result<Vec<ClientId>> {
        let (mut clients, mut reached) = (Vec::new(), 0);
        loop {
            let mut tx = self.auditor.begin().await?;
            read::for_client(&mut tx, ClientId::DESK).await?;
            let events = read::after(&mut *tx, ClientId::DESK, reached, 1_000).await?;
            let Some(last) = events.last() else { return Ok(clients) };
            reached = last.seq;
            clients.extend(events.iter().filter_map(|event| match &event.event {
                Event::Desk(DeskEvent::ClientRegistered { client, .. }) => Some(*client),
                Event::Desk(_)
                | Event::Manual(_)
                | Event::Subscription(_)
                | Event::Alert(_)
                | Event::Rule(_)
                | Event::Agreement(_)
                | Event::Channel(_)
                | Event::Schedule(_)
                | Event::Silence(_)
                | Event::Agent(_)
                | Event::Client(_)
                | Event::Bot(_)
                | Event::Credential(_)
                | Event::Ledger(_)
                | Event::Account(_)
                | Event::Market(_)
                | Event::Order(_) => None,
            }));
        }
    }
}
