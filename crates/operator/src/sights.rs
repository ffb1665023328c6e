//! What is seen of running bots beside their fills: signs of life, their own figures, their own quotes.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use domain::bot::Sight;
use events::{AggregateRef, BotId, Event, Time, bot::Venue, market::MarketEvent};
use hummingbot::{
    BotName, OrderBook,
    mqtt::{BotEvent, Happened, Message, Said},
};
use store::{Append, Draft, Expected};

use crate::{
    evidence::Evidence,
    facts::Owner,
    figures::OwnFigures,
    mandate::{HandError, Mandate},
    observe::LEVELS,
    quotes::{Beginning, Look, Quotes},
};

/// Of one client's bots, in this process: who acts next sees everything anew.
#[derive(Debug, Default)]
pub(crate) struct Sights {
    evidence: HashMap<BotId, Evidence>,
    figures: OwnFigures,
    quotes: BTreeMap<BotId, Quotes>,
    /// What bots said since it was asked what is known of them: heard when that is there.
    early: BTreeMap<BotId, Vec<(Owner, BotEvent)>>,
    /// Those whose quotes came to their end, and when: the minute of it is still to be told.
    ending: BTreeMap<BotId, (Quotes, Time)>,
    /// What could not be recorded yet, and since when the quotes were known that it is of.
    untold: Vec<(Time, MarketEvent)>,
}

/// How long after its end the last minute of quotes is told for certain.
const LAST_MINUTE_US: i64 = 61_000_000;

impl Sights {
    /// What messages show, each with the bot that said it; what of it is worth recording.
    pub fn hear(&mut self, messages: &[(Owner, &Message)]) -> Vec<(BotId, Sight)> {
        let mut seen = Vec::new();
        for (owner, message) in messages {
            let (bot, at) = (owner.bot, message.received);
            let evidence = self.evidence.entry(bot).or_insert_with(|| Evidence::since(at));
            if evidence.is_silent() {
                self.quotes.get_mut(&bot).into_iter().for_each(|quotes| quotes.hears(at));
            }
            seen.extend(evidence.heard(at).map(|sight| (bot, sight)));
            match &message.said {
                Said::Performance(told) => {
                    let worth = self.figures.hear(bot, message.bot.as_str(), told, at);
                    seen.extend(worth.map(|sight| (bot, sight)));
                }
                Said::Event(event) => self.quote(owner, event),
                Said::Heartbeat { .. }
                | Said::Log(_)
                | Said::Notify { .. }
                | Said::Status(_)
                | Said::Unreadable { .. } => {}
            }
        }
        seen
    }

    /// What is said before it is asked what is known of the bot will be among that.
    fn quote(&mut self, owner: &Owner, event: &BotEvent) {
        if let Some(quotes) = self.quotes.get_mut(&owner.bot) {
            hear(quotes, owner, event);
        } else if let Some(early) = self.early.get_mut(&owner.bot) {
            early.push((owner.clone(), event.clone()));
        }
    }

    /// Bots that run and are not listened to yet: what is known of them is to be asked for now.
    pub fn unknown(&mut self, running: &[(BotId, BotName)]) -> Vec<BotId> {
        let is_new = |id: &BotId| !self.quotes.contains_key(id) && !self.early.contains_key(id);
        let new: Vec<BotId> = running.iter().map(|(id, _)| *id).filter(is_new).collect();
        self.early.extend(new.iter().map(|id| (*id, Vec::new())));
        new
    }

    /// What is known of a bot since a moment; absent: nobody could tell, and it is to be asked for again.
    pub fn begin(&mut self, bot: BotId, venue: Venue, since: Time, known: Option<Beginning>, hears: bool) {
        // It may have stopped meanwhile.
        let Some(early) = self.early.remove(&bot) else { return };
        let Some(known) = known else { return };
        let mut quotes = Quotes::new(bot, venue, since, known);
        early.iter().for_each(|(owner, event)| hear(&mut quotes, owner, event));
        if !hears || self.evidence.get(&bot).is_some_and(Evidence::is_silent) {
            quotes.deaf(since);
        }
        self.quotes.insert(bot, quotes);
    }

    /// What order books looked like.
    pub fn books(&mut self, books: &[(Venue, OrderBook, Time)]) {
        for (venue, book, at) in books {
            let Some(look) = Look::at(book, LEVELS) else { continue };
            for quotes in self.quotes.values_mut().filter(|quotes| quotes.venue() == venue) {
                quotes.book(look.clone(), *at);
            }
        }
    }

    /// How many fills an instance remembers.
    pub fn remembers(&mut self, bot: BotId, instance: &BotName, fills: u64, until: Time) {
        self.figures.fills(bot, instance.as_str(), fills, until);
    }

    /// The broker went: nothing is known of quotes from then on.
    pub fn deaf(&mut self, since: Time) {
        self.quotes.values_mut().for_each(|quotes| quotes.deaf(since));
    }

    /// It is back; a bot that was silent before is so until it speaks.
    pub fn hears(&mut self, at: Time) {
        let silent = |bot: &BotId| self.evidence.get(bot).is_some_and(Evidence::is_silent);
        self.quotes.iter_mut().filter(|(bot, _)| !silent(bot)).for_each(|(_, quotes)| quotes.hears(at));
    }

    /// Looks at who is silent among those that run, while they can be heard at all; and lets go of those that run no longer.
    pub fn look(&mut self, running: &[(BotId, BotName)], hears: bool, silence: Duration) -> Vec<(BotId, Sight)> {
        let now = Time::now();
        let runs = |id: &BotId| running.iter().any(|(running, _)| running == id);
        let ended: Vec<BotId> = self.evidence.keys().filter(|id| !runs(id)).copied().collect();
        self.early.retain(|id, _| runs(id));
        let mut seen = Vec::new();
        for id in ended {
            self.evidence.remove(&id);
            seen.extend(self.figures.end(id, now).map(|sight| (id, sight)));
            if let Some(mut quotes) = self.quotes.remove(&id) {
                quotes.stopped(now);
                self.ending.insert(id, (quotes, now));
            }
        }
        for (id, _) in running {
            let evidence = self.evidence.entry(*id).or_insert_with(|| Evidence::since(now));
            if hears {
                if let Some(sight) = evidence.silent(silence) {
                    // Nobody can tell whether its orders are still there.
                    self.quotes.get_mut(id).into_iter().for_each(|quotes| quotes.deaf(now));
                    seen.push((*id, sight));
                }
            } else {
                evidence.deaf();
            }
        }
        seen
    }

    /// Records how bots quoted up to a moment.
    pub async fn record_quotes(&mut self, mandate: &Mandate, until: Time) -> Result<(), HandError> {
        let ending = self.ending.values_mut().map(|(quotes, _)| quotes);
        for quotes in self.quotes.values_mut().chain(ending) {
            let (since, told) = (quotes.since(), quotes.until(until));
            self.untold.extend(told.into_iter().map(|event| (since, event)));
        }
        self.ending.retain(|_, (_, end)| end.plus_micros(LAST_MINUTE_US) > until);
        let appends = self.untold.iter().filter_map(|(since, event)| append(mandate, *since, event.clone())).collect();
        for outcome in mandate.means.streams.committer().append_all(appends).await {
            match outcome {
                Ok(_) => {}
                Err(store::AppendError::Stale { .. }) => return Err(HandError::Overtaken),
                Err(cause) => return Err(cause.into()),
            }
        }
        self.untold.clear();
        Ok(())
    }
}

fn hear(quotes: &mut Quotes, owner: &Owner, event: &BotEvent) {
    if let Happened::OrderFilled(fill) = &event.happened {
        quotes.filled(fill.order.clone(), fill.trade.clone(), fill.amount, event.at);
    }
    // What is told of another market is kept aside elsewhere.
    if let Ok(Some(order)) = owner.order(&event.happened, event.at) {
        quotes.order(&order);
    }
}

/// What nobody answered for may have been recorded: it is recorded once.
fn append(mandate: &Mandate, since: Time, event: MarketEvent) -> Option<Append> {
    let (MarketEvent::QuoteObserved { bot, venue, .. }
    | MarketEvent::QuoteMinute { bot, venue, .. }
    | MarketEvent::QuotesUnknown { bot, venue, .. }
    | MarketEvent::DepthObserved { bot, venue, .. }
    | MarketEvent::DepthMinute { bot, venue, .. }) = &event
    else {
        return None;
    };
    let aggregate = AggregateRef::new("market", &venue.pair);
    let (of, at) = (format!("{bot}:{}", since.micros()), event.at().micros());
    let event = Event::from(event);
    let key = Some(format!("quotes:{of}:{}:{at}", event.event_type()));
    let events = vec![Draft { event, key }];
    Some(Append { client: mandate.client, aggregate, expected: Expected::Any, events, cause: mandate.cause() })
}

#[cfg(test)]
mod tests {
    use events::{Exchange, Market, Uuid};

    use super::*;

    #[test]
    fn of_a_bot_that_fell_silent_nobody_can_tell_how_it_quotes_whoever_else_is_heard_again() {
        let (bot, since) = (BotId(Uuid::from_u128(1)), Time::now());
        let venue = Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() };
        let running = [(bot, "maker-1".parse::<BotName>().unwrap())];
        let mut sights = Sights::default();
        assert_eq!(sights.unknown(&running), [bot]);
        sights.begin(bot, venue, since, Some(Beginning::default()), true);
        assert!(sights.look(&running, true, Duration::from_secs(3_600)).is_empty());
        let seen = sights.look(&running, true, Duration::ZERO);
        assert!(matches!(&*seen, [(of, Sight::Silent { .. })] if *of == bot));
        // The broker was away and is back: what is silent is silent.
        sights.hears(Time::now());
        let quotes = sights.quotes.get_mut(&bot).expect("it is listened to");
        let told = quotes.until(since.plus_micros(180_000_000));
        let unknown = told.iter().filter(|event| matches!(event, MarketEvent::QuotesUnknown { .. })).count();
        let Some(MarketEvent::QuoteMinute { unknown_us, .. }) =
            told.iter().rev().find(|event| matches!(event, MarketEvent::QuoteMinute { .. }))
        else {
            panic!("no minute: {told:?}")
        };
        assert_eq!((unknown, *unknown_us), (1, 60_000_000));
    }
}
