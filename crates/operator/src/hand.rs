//! A client's hand: it follows the client's stream, does what is wanted, and listens to the client's bots.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use domain::{
    bot::{Bot, Sight},
    credential::Credential,
    manual::{ManualOrder, ManualTask},
};
use events::{
    BotId, CredentialId, Event, ManualId, Recorded, Time,
    bot::{Limits, Venue},
};
use hummingbot::{
    BotName,
    mqtt::{Heard, Message},
};
use store::{Follower, Wakes, read};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    carry_out::carry_out,
    collect::Told,
    connect, evidence,
    facts::Owner,
    mandate::{HandError, Mandate, Outcome},
    manual,
    observe::{self, Looks, Seen},
    reconcile,
    risk::{self, WatchError},
    sights::Sights,
};

const TICK: Duration = Duration::from_millis(250);
/// Messages that are written down together at most.
const MESSAGES_AT_ONCE: usize = 500;
/// How long is waited after something went wrong.
const PAUSE: Duration = Duration::from_millis(500);
/// Balances and volumes are looked at every so many looks.
const ALL_EVERY: u64 = 12;

/// What a hand does beside following and listening; each ends by itself and says what it was.
enum Ended {
    Deed(Of, Result<Outcome, HandError>),
    Reconciled(BotId, Time, Result<Compared, HandError>),
    Reported(Result<(), HandError>),
    Looked(Looks),
    Watched(Result<u64, WatchError>),
    Followed(manual::Memory, Result<(), HandError>),
}

/// What a deed is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Of {
    Credential(CredentialId),
    Bot(BotId),
    Manual(ManualId),
}

struct Hand {
    mandate: Mandate,
    bots: BTreeMap<BotId, Bot>,
    credentials: BTreeMap<CredentialId, Credential>,
    sights: Sights,
    manual: BTreeMap<ManualId, ManualOrder>,
    /// Absent while manual orders are looked at.
    watch: Option<manual::Memory>,
    watch_at: Instant,
    work: JoinSet<Ended>,
    /// What a deed is under way for, and when the others' next is due.
    busy: BTreeSet<Of>,
    due: HashMap<Of, Instant>,
    /// Bots that are being asked for their history, when the others are, and up to when all of it is recorded.
    asking: BTreeSet<BotId>,
    ask_at: HashMap<BotId, Instant>,
    complete_to: HashMap<BotId, Time>,
    /// Whether the broker is there; unknown before it was told.
    hears: bool,
    seen: Seen,
    looks: u64,
    look_at: Instant,
    report_at: Instant,
    watching: bool,
}

/// Acts for one client until told to stop or overtaken.
pub(crate) async fn act(mandate: Mandate, heard: mpsc::Receiver<Heard>, wakes: Wakes, stop: CancellationToken) {
    let client = mandate.client;
    tokio::select! {
        ended = serve(mandate, heard, wakes) => match ended {
            Err(HandError::Overtaken) | Ok(()) => debug!(client.id = %client, "no longer acting for client {client}"),
            Err(fault) => warn!(client.id = %client, error = &fault as &dyn std::error::Error, "the hand of client {client} begins anew"),
        },
        () = stop.cancelled() => {}
    }
}

async fn serve(mandate: Mandate, mut heard: mpsc::Receiver<Heard>, wakes: Wakes) -> Result<(), HandError> {
    let head = read::head(&mandate.means.db, mandate.client).await?;
    let mut hand = Hand::new(mandate.clone());
    for kind in ["bot", "credential", "manual"] {
        for event in mandate.means.streams.all_of_kind(mandate.client, kind, head).await? {
            hand.follow(event);
        }
    }
    let mut follower = Follower::new(mandate.means.db.clone(), wakes, mandate.client, head);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            events = follower.next() => events?.into_iter().for_each(|event| hand.follow(event)),
            Some(first) = heard.recv() => hand.listen(first, &mut heard).await?,
            Some(ended) = hand.work.join_next() => match ended {
                Ok(ended) => hand.ended(ended).await?,
                Err(broken) => return Err(HandError::NotYet(format!("a deed broke: {broken}"))),
            },
            _ = tick.tick() => hand.look_around().await?,
        }
        mandate.holds()?;
        hand.start_deeds();
    }
}

impl Hand {
    fn new(mandate: Mandate) -> Self {
        let now = Instant::now();
        Self {
            mandate,
            bots: BTreeMap::new(),
            credentials: BTreeMap::new(),
            sights: Sights::default(),
            manual: BTreeMap::new(),
            watch: Some(manual::Memory::default()),
            watch_at: now,
            work: JoinSet::new(),
            busy: BTreeSet::new(),
            due: HashMap::new(),
            asking: BTreeSet::new(),
            ask_at: HashMap::new(),
            complete_to: HashMap::new(),
            hears: true,
            seen: Seen::default(),
            looks: 0,
            look_at: now,
            report_at: now,
            watching: false,
        }
    }

    /// Takes in what the stream tells of bots and credentials; what has an id that is none of ours has nothing to do.
    fn follow(&mut self, event: Recorded) {
        let id = &event.aggregate.id;
        match event.event {
            Event::Bot(told) => {
                let Ok(id) = id.parse() else { return };
                self.bots.entry(id).or_default().remember(told);
                self.due.remove(&Of::Bot(id));
            }
            Event::Credential(told) => {
                let Ok(id) = id.parse() else { return };
                self.credentials.entry(id).or_default().remember(told);
                self.due.remove(&Of::Credential(id));
            }
            Event::Manual(told) => {
                let Ok(id) = id.parse() else { return };
                self.manual.entry(id).or_default().remember(told);
                self.due.remove(&Of::Manual(id));
            }
            Event::Client(_)
            | Event::Account(_)
            | Event::Ledger(_)
            | Event::Market(_)
            | Event::Order(_)
            | Event::Desk(_) => {}
        }
    }

    /// Starts what is to be done: one deed a bot at a time, and those of keys before those that need them.
    fn start_deeds(&mut self) {
        let keys = self.credentials.iter().filter(|(_, credential)| credential.task().is_some());
        let keys: Vec<Of> = keys.map(|(id, _)| Of::Credential(*id)).collect();
        let bots = self.bots.iter().filter(|(_, bot)| bot.task().is_some() && keys.is_empty());
        let by_hand = self.manual.keys().filter(|id| self.is_next(**id) && keys.is_empty()).map(|id| Of::Manual(*id));
        let all: Vec<Of> = keys.iter().copied().chain(bots.map(|(id, _)| Of::Bot(*id))).chain(by_hand).collect();
        let now = Instant::now();
        for of in all {
            if self.busy.contains(&of) || self.due.get(&of).is_some_and(|due| *due > now) {
                continue;
            }
            self.busy.insert(of);
            let mandate = self.mandate.clone();
            self.work.spawn(async move {
                let outcome = match of {
                    Of::Credential(id) => connect::carry_out(&mandate, id).await,
                    Of::Bot(id) => carry_out(&mandate, id).await,
                    Of::Manual(id) => manual::carry_out(&mandate, id).await,
                };
                Ended::Deed(of, outcome)
            });
        }
    }

    /// Whether something is to be done for a manual order now: one that is to be placed waits for those before it.
    fn is_next(&self, id: ManualId) -> bool {
        let order = &self.manual[&id];
        match order.task() {
            Some(ManualTask::Place) => {
                !self.manual.iter().any(|(other, before)| *other != id && before.goes_before(order))
            }
            Some(ManualTask::Find { .. } | ManualTask::Cancel { .. }) => true,
            None => false,
        }
    }

    async fn ended(&mut self, ended: Ended) -> Result<(), HandError> {
        match ended {
            Ended::Deed(of, outcome) => {
                self.busy.remove(&of);
                let pause = match outcome {
                    // The stream tells of it in a moment; until then it looks undone.
                    Ok(Outcome::Done) => PAUSE,
                    Ok(Outcome::Later(pause)) => pause,
                    Err(HandError::Overtaken) => return Err(HandError::Overtaken),
                    Err(fault) => {
                        warn!(error = &fault as &dyn std::error::Error, "what is wanted of {of:?} is not done yet");
                        PAUSE * 4
                    }
                };
                self.due.insert(of, Instant::now() + pause);
            }
            Ended::Reconciled(id, until, found) => self.reconciled(id, until, found).await?,
            Ended::Reported(told) => unless_passing(told)?,
            Ended::Followed(memory, told) => {
                self.watch = Some(memory);
                unless_passing(told)?;
            }
            Ended::Looked(looks) => {
                let recorded = self.seen.record(&self.mandate, looks).await;
                unless_passing(recorded)?;
            }
            Ended::Watched(told) => {
                self.watching = false;
                if let Err(fault) = told {
                    warn!(error = &fault as &dyn std::error::Error, "limits could not be watched, trying again");
                }
            }
        }
        Ok(())
    }

    /// Writes down what was heard. Nothing is dropped: what cannot be written now is written when it can be.
    async fn listen(&mut self, first: Heard, heard: &mut mpsc::Receiver<Heard>) -> Result<(), HandError> {
        let (mut messages, mut next): (Vec<Message>, _) = (Vec::new(), Some(first));
        while let Some(what) = next.take() {
            match what {
                Heard::Message(message) => messages.push(*message),
                Heard::Connected { .. } | Heard::Lost { .. } => {
                    self.write_down(std::mem::take(&mut messages)).await?;
                    self.connection(what).await?;
                }
            }
            if messages.len() < MESSAGES_AT_ONCE {
                next = heard.try_recv().ok();
            }
        }
        self.write_down(messages).await
    }

    async fn write_down(&mut self, messages: Vec<Message>) -> Result<(), HandError> {
        if messages.is_empty() {
            return Ok(());
        }
        self.know_speakers(&messages).await?;
        self.note_sights(&messages).await?;
        loop {
            match Told::by(&self.mandate, &self.bots, &messages).keep(&self.mandate).await {
                Ok(()) => return Ok(()),
                Err(HandError::Overtaken) => return Err(HandError::Overtaken),
                Err(fault) => {
                    warn!(error = &fault as &dyn std::error::Error, "what bots said is not written down yet");
                    tokio::time::sleep(PAUSE).await;
                    self.mandate.holds()?;
                }
            }
        }
    }

    /// An instance may speak before the stream has told this hand of it: then the stream is asked.
    async fn know_speakers(&mut self, messages: &[Message]) -> Result<(), HandError> {
        let account = self.mandate.account();
        let strange = |hand: &Self| {
            messages.iter().any(|message| crate::collect::speaker(&hand.bots, &account, message).is_none())
        };
        if strange(self) {
            for (id, bot) in &mut self.bots {
                *bot = self.mandate.bot(*id).await?;
            }
        }
        Ok(())
    }

    async fn note_sights(&mut self, messages: &[Message]) -> Result<(), HandError> {
        let account = self.mandate.account();
        let known = |message| Some((crate::collect::speaker(&self.bots, &account, message)?, message));
        let said: Vec<(Owner, &Message)> = messages.iter().filter_map(known).collect();
        let seen = self.sights.hear(&said);
        self.tell(seen).await
    }

    async fn tell(&self, seen: Vec<(BotId, Sight)>) -> Result<(), HandError> {
        for (id, sight) in seen {
            unless_passing(self.mandate.saw(id, sight).await)?;
        }
        Ok(())
    }

    /// The broker came or went: while it is away, what bots do is unknown, and afterwards it is asked for.
    async fn connection(&mut self, what: Heard) -> Result<(), HandError> {
        let running: Vec<BotId> = self.listening_to().map(|(id, _)| id).collect();
        match what {
            Heard::Connected { at, .. } => {
                self.hears = true;
                self.sights.hears(at);
                self.ask_at.clear();
            }
            Heard::Lost { since, why, .. } => {
                self.hears = false;
                let since = since.unwrap_or_else(Time::now);
                self.sights.deaf(since);
                for id in running {
                    let reason = format!("the broker of the bots is away: {why}");
                    unless_passing(self.mandate.saw(id, Sight::Gap { since, reason }).await)?;
                }
            }
            Heard::Message(_) => {}
        }
        Ok(())
    }

    /// The bots that run, and their instances.
    fn listening_to(&self) -> impl Iterator<Item = (BotId, BotName)> {
        self.bots.iter().filter_map(|(id, bot)| Some((*id, bot.instance()?.parse().ok()?)))
    }

    /// What is looked at again and again: silence, histories, the server's opinion, the market.
    async fn look_around(&mut self) -> Result<(), HandError> {
        let running: Vec<(BotId, BotName)> = self.listening_to().collect();
        let settings = &self.mandate.means.settings;
        let (silence, told_to) = (settings.silence, Time::now().plus_micros(-micros(settings.grace)));
        let seen = self.sights.look(&running, self.hears, silence);
        self.tell(seen).await?;
        let quoted = self.sights.record_quotes(&self.mandate, told_to).await;
        unless_passing(quoted)?;
        self.ask_histories(&running);
        self.ask_server(running);
        self.look_at_market();
        self.watch_limits();
        self.watch_manual();
        Ok(())
    }

    fn ask_histories(&mut self, running: &[(BotId, BotName)]) {
        let now = Instant::now();
        for (id, instance) in running {
            let waits = !self.hears || self.asking.contains(id) || self.ask_at.get(id).is_some_and(|due| *due > now);
            let owner = self.bots[id].clone();
            let owner = Owner::of(*id, &owner, instance.as_str(), self.mandate.account());
            let (Some(owner), false) = (owner, waits) else { continue };
            self.asking.insert(*id);
            let (since, started) = (self.since(*id), self.started(*id));
            let (mandate, id, instance) = (self.mandate.clone(), *id, instance.clone());
            self.work.spawn(async move {
                let until = Time::now().plus_micros(-micros(mandate.means.settings.grace));
                let question = History { owner, instance, started, since, until };
                Ended::Reconciled(id, until, question.ask(&mandate).await)
            });
        }
    }

    /// From when on a bot's fills may be missing: since all of them were asked for last, or since it was asked for.
    fn since(&self, id: BotId) -> Time {
        self.complete_to.get(&id).copied().unwrap_or_else(|| self.started(id))
    }

    fn started(&self, id: BotId) -> Time {
        self.bots[&id].started().map_or_else(Time::now, |started| started.at)
    }

    async fn reconciled(
        &mut self,
        id: BotId,
        until: Time,
        found: Result<Compared, HandError>,
    ) -> Result<(), HandError> {
        self.asking.remove(&id);
        match found {
            Ok(Compared { instance, new: fills, remembered }) => {
                if let Some(remembered) = remembered {
                    self.sights.remembers(id, &instance, remembered, until);
                }
                self.ask_at.insert(id, Instant::now() + self.mandate.means.settings.reconcile_every);
                let since = self.since(id);
                let is_open = self.mandate.bot(id).await?.gap_since().is_some();
                if fills > 0 && !is_open {
                    let reason = format!("{fills} fills did not reach us at once");
                    unless_passing(self.mandate.saw(id, Sight::Gap { since, reason }).await)?;
                }
                // A bot's own memory knows nothing of what was placed by hand for it.
                let lacks = |order: &ManualOrder| {
                    order.missing().is_some() && order.wanted().is_some_and(|wanted| wanted.bot == id)
                };
                if (fills > 0 || is_open) && !self.manual.values().any(lacks) {
                    unless_passing(self.mandate.saw(id, Sight::GapHealed { until, fills }).await)?;
                }
                self.complete_to.insert(id, until);
            }
            Err(HandError::Overtaken) => return Err(HandError::Overtaken),
            Err(fault) => {
                warn!(bot.id = %id, error = &fault as &dyn std::error::Error, "the history of bot {id} could not be compared, trying again");
                self.ask_at.insert(id, Instant::now() + PAUSE * 4);
            }
        }
        Ok(())
    }

    fn ask_server(&mut self, running: Vec<(BotId, BotName)>) {
        if Instant::now() < self.report_at {
            return;
        }
        self.report_at = Instant::now() + self.mandate.means.settings.report_every;
        let mandate = self.mandate.clone();
        self.work.spawn(async move { Ended::Reported(report(&mandate, running).await) });
    }

    /// Holds limits against what was counted, as often as there is time for it: what was told already is told once.
    fn watch_limits(&mut self) {
        let limited =
            |bot: &Bot| bot.is_wanted() && bot.config().is_some_and(|config| config.limits != Limits::default());
        if self.watching || !self.bots.values().any(limited) {
            return;
        }
        self.watching = true;
        let mandate = self.mandate.clone();
        self.work.spawn(async move {
            let (means, cause) = (&mandate.means, mandate.cause());
            Ended::Watched(risk::watch(mandate.client, &means.query, &means.streams, &cause, Time::now()).await)
        });
    }

    fn watch_manual(&mut self) {
        let needed = self.manual.values().any(|order| order.is_open() || order.missing().is_some());
        if !needed || Instant::now() < self.watch_at {
            return;
        }
        let Some(mut memory) = self.watch.take() else { return };
        self.watch_at = Instant::now() + self.mandate.means.settings.observe_every;
        let (mandate, all) = (self.mandate.clone(), self.manual.clone());
        self.work.spawn(async move {
            let told = manual::look(&mandate, &all, &mut memory).await;
            Ended::Followed(memory, told)
        });
    }

    fn look_at_market(&mut self) {
        let configs = || self.bots.values().filter(|bot| bot.instance().is_some()).filter_map(Bot::config);
        let venues: BTreeSet<Venue> = configs().filter_map(|config| config.venue.clone()).collect();
        let shared = configs().filter(|config| config.limits.participation_cap.is_some());
        let shared: BTreeSet<Venue> = shared.filter_map(|config| config.venue.clone()).collect();
        if Instant::now() < self.look_at || venues.is_empty() {
            return;
        }
        self.look_at = Instant::now() + self.mandate.means.settings.observe_every;
        let all = self.looks.is_multiple_of(ALL_EVERY);
        self.looks += 1;
        let mandate = self.mandate.clone();
        let (venues, shared): (Vec<_>, Vec<_>) = (venues.into_iter().collect(), shared.into_iter().collect());
        self.work.spawn(async move { Ended::Looked(observe::look(&mandate, &venues, &shared, all).await) });
    }
}

/// A question to a bot about its fills.
struct History {
    owner: Owner,
    instance: BotName,
    started: Time,
    since: Time,
    until: Time,
}

/// What a bot's own memory came to, held against what is recorded.
struct Compared {
    instance: BotName,
    new: u64,
    /// How many fills it remembers of its whole life; absent where only a part of it was asked for.
    remembered: Option<u64>,
}

impl History {
    async fn ask(self, mandate: &Mandate) -> Result<Compared, HandError> {
        let Self { owner, instance, started, since, until } = self;
        let back = reconcile::reaching_back_to(since);
        let mut trades = mandate.means.bots.history(&instance, back).await?;
        trades.retain(|trade| trade.at <= until);
        let remembered = (reconcile::reaching_back_to(started) == back).then_some(trades.len() as u64);
        let new = reconcile::with(mandate, &mandate.gate, &owner, instance.as_str(), trades, "history").await?;
        Ok(Compared { instance, new, remembered })
    }
}

async fn report(mandate: &Mandate, running: Vec<(BotId, BotName)>) -> Result<(), HandError> {
    for (id, instance) in running {
        let status = mandate.means.hummingbot.bot_status(&instance).await;
        if let Some(state) = evidence::reported(&status) {
            mandate.saw(id, Sight::Reported(state)).await?;
        }
    }
    Ok(())
}

/// What went wrong and may go right the next time is told and forgotten.
fn unless_passing(outcome: Result<(), HandError>) -> Result<(), HandError> {
    match outcome {
        Err(HandError::Overtaken) => Err(HandError::Overtaken),
        Err(fault) => {
            warn!(error = &fault as &dyn std::error::Error, "what was seen is not recorded");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
