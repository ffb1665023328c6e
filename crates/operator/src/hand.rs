//! A client's hand: it follows the client's stream, does what is wanted, and listens to the client's bots.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use domain::{
    bot::Bot,
    credential::Credential,
    manual::{ManualOrder, ManualTask},
};
use events::{
    AgreementId, BotId, CredentialId, Event, ManualId, Recorded, ScheduleId, Time,
    agreement::{AgreementEvent, Clause},
    bot::{BotEvent, Venue},
};
use hummingbot::mqtt::Heard;
use memories::Memories;
use rounds::Compared;
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
    connect,
    mandate::{HandError, Mandate, Outcome},
    manual,
    observe::{Looks, Seen},
    quotes::Beginning,
    risk::WatchError,
    schedules::{self, Clocked, Next},
    sights::Sights,
};

mod ears;
mod memories;
mod rounds;

/// What a hand has to know of its client's stream; fills and quotes it has written itself.
const FOLLOWED: [&str; 5] = ["bot", "credential", "manual", "schedule", "agreement"];
const TICK: Duration = Duration::from_millis(250);
/// How long is waited after something went wrong.
const PAUSE: Duration = Duration::from_millis(500);

/// What a hand does beside following and listening; each ends by itself and says what it was.
enum Ended {
    Deed(Of, Result<Outcome, HandError>),
    Reconciled(BotId, Result<Compared, HandError>),
    Reported(Result<(), HandError>),
    Swept(Result<(), HandError>),
    Began(BotId, Venue, Time, Result<Beginning, HandError>),
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
    Schedule(ScheduleId),
}

struct Hand {
    mandate: Mandate,
    bots: BTreeMap<BotId, Bot>,
    credentials: BTreeMap<CredentialId, Credential>,
    sights: Sights,
    manual: BTreeMap<ManualId, ManualOrder>,
    schedules: BTreeMap<ScheduleId, Clocked>,
    /// Bots of which a share of their market is promised, whatever they do.
    shares: BTreeMap<AgreementId, BotId>,
    /// Absent while manual orders are looked at.
    watch: Option<manual::Memory>,
    watch_at: Instant,
    work: JoinSet<Ended>,
    /// What a deed is under way for, and when the others' next is due.
    busy: BTreeSet<Of>,
    due: HashMap<Of, Instant>,
    /// Bots that are being asked for their history, and when the others are.
    asking: BTreeSet<BotId>,
    ask_at: HashMap<BotId, Instant>,
    memories: Memories,
    /// Whether the broker is there; unknown before it was told.
    hears: bool,
    seen: Seen,
    look_at: Instant,
    /// When balances and volumes are looked at next, too.
    look_at_all: Instant,
    report_at: Instant,
    /// When instances that nobody counts on are looked for next; absent while they are.
    sweep_at: Option<Instant>,
    /// When it may be asked again what is known of bots that nobody listens to yet.
    begin_at: Instant,
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
    for kind in FOLLOWED {
        for event in mandate.means.streams.all_of_kind(mandate.client, kind, 1..=head).await? {
            hand.follow(event);
        }
    }
    let mut follower = Follower::new(mandate.means.db.clone(), wakes, mandate.client, head).only(&FOLLOWED);
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
            memories: Memories::asked_every(mandate.means.settings.reconcile_every),
            mandate,
            bots: BTreeMap::new(),
            credentials: BTreeMap::new(),
            sights: Sights::default(),
            manual: BTreeMap::new(),
            schedules: BTreeMap::new(),
            shares: BTreeMap::new(),
            watch: Some(manual::Memory::default()),
            watch_at: now,
            work: JoinSet::new(),
            busy: BTreeSet::new(),
            due: HashMap::new(),
            asking: BTreeSet::new(),
            ask_at: HashMap::new(),
            hears: true,
            seen: Seen::default(),
            look_at: now,
            look_at_all: now,
            report_at: now,
            sweep_at: Some(now),
            begin_at: now,
            watching: false,
        }
    }

    /// Takes in what the stream tells of bots and credentials; what has an id that is none of ours has nothing to do.
    fn follow(&mut self, event: Recorded) {
        let id = &event.aggregate.id;
        match event.event {
            Event::Bot(told) => {
                let Ok(id) = id.parse() else { return };
                if let BotEvent::BotFiguresReported { instance, figures, .. } = &told {
                    self.memories.recorded(id, instance, figures);
                }
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
            Event::Schedule(told) => {
                let Ok(id) = id.parse() else { return };
                self.schedules.entry(id).or_default().remember(told);
                self.due.remove(&Of::Schedule(id));
            }
            Event::Agreement(told) => {
                let Ok(id) = id.parse() else { return };
                self.follow_promise(id, &told);
            }
            Event::Client(_)
            | Event::Account(_)
            | Event::Ledger(_)
            | Event::Market(_)
            | Event::Order(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Channel(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Desk(_) => {}
        }
    }

    fn follow_promise(&mut self, id: AgreementId, told: &AgreementEvent) {
        match told {
            AgreementEvent::AgreementSet { bot, clauses, .. } => {
                self.shares.remove(&id);
                let is_share = |clause: &Clause| matches!(clause, Clause::VolumeShare { .. });
                self.shares.extend(clauses.iter().any(is_share).then_some((id, *bot)));
            }
            AgreementEvent::AgreementEnded { .. } => drop(self.shares.remove(&id)),
            AgreementEvent::ExclusionDeclared { .. } | AgreementEvent::AgreementJudged { .. } => {}
        }
    }

    /// Starts what is to be done: one deed a bot at a time, and those of keys before those that need them.
    fn start_deeds(&mut self) {
        let keys = self.credentials.iter().filter(|(_, credential)| credential.task().is_some());
        let keys: Vec<Of> = keys.map(|(id, _)| Of::Credential(*id)).collect();
        let bots = self.bots.iter().filter(|(_, bot)| bot.task().is_some() && keys.is_empty());
        let by_hand = self.manual.keys().filter(|id| self.is_next(**id) && keys.is_empty()).map(|id| Of::Manual(*id));
        let by_clock = schedules::next(&self.schedules, Time::now());
        let overtaken: BTreeSet<ScheduleId> =
            by_clock.iter().filter(|next| next.overtaken).map(|next| next.id).collect();
        let by_clock = by_clock.into_iter().map(|next| Of::Schedule(next.id));
        let bots = bots.map(|(id, _)| Of::Bot(*id));
        let all: Vec<Of> = keys.iter().copied().chain(bots).chain(by_hand).chain(by_clock).collect();
        let now = Instant::now();
        for of in all {
            if self.busy.contains(&of) || self.due.get(&of).is_some_and(|due| *due > now) {
                continue;
            }
            self.busy.insert(of);
            let mandate = self.mandate.clone();
            let overtaken = matches!(of, Of::Schedule(id) if overtaken.contains(&id));
            self.work.spawn(async move {
                let outcome = match of {
                    Of::Credential(id) => connect::carry_out(&mandate, id).await,
                    Of::Bot(id) => carry_out(&mandate, id).await,
                    Of::Manual(id) => manual::carry_out(&mandate, id).await,
                    Of::Schedule(id) => schedules::carry_out(&mandate, Next { id, overtaken }).await,
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
            Ended::Reconciled(id, found) => self.reconciled(id, found).await?,
            Ended::Reported(told) => unless_passing(told)?,
            Ended::Swept(told) => {
                self.sweep_at = Some(Instant::now() + self.mandate.means.settings.report_every);
                unless_passing(told)?;
            }
            Ended::Began(id, venue, since, known) => {
                let known = known.map(Some).or_else(|fault| {
                    self.begin_at = Instant::now() + PAUSE * 4;
                    unless_passing(Err(fault)).map(|()| None)
                })?;
                self.sights.begin(id, venue, since, known, self.hears);
            }
            Ended::Followed(memory, told) => {
                self.watch = Some(memory);
                unless_passing(told)?;
            }
            Ended::Looked(looks) => {
                self.sights.books(&looks.books);
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
