//! Any event of any stream, and how it is written and read again.

use cqrs_es::DomainEvent;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Time,
    account::AccountEvent,
    agent::AgentEvent,
    agreement::AgreementEvent,
    alert::{AlertEvent, RuleEvent, SilenceEvent},
    bot::BotEvent,
    channel::ChannelEvent,
    client::ClientEvent,
    credential::CredentialEvent,
    desk::DeskEvent,
    ledger::LedgerEvent,
    manual::ManualOrderEvent,
    market::MarketEvent,
    order::OrderEvent,
    schedule::ScheduleEvent,
    subscription::SubscriptionEvent,
};

/// The one version of every event so far. A changed meaning gets a new variant, a new field is optional; what cannot
/// be said so gets another version here, an upcaster, and a sample of each in `samples/`.
const VERSION: &str = "1";

/// Whatever can stand in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Client(ClientEvent),
    Bot(BotEvent),
    Credential(CredentialEvent),
    Ledger(LedgerEvent),
    Market(MarketEvent),
    Order(OrderEvent),
    Manual(ManualOrderEvent),
    Desk(DeskEvent),
    Account(AccountEvent),
    Subscription(SubscriptionEvent),
    Alert(AlertEvent),
    Rule(RuleEvent),
    Silence(SilenceEvent),
    Channel(ChannelEvent),
    Schedule(ScheduleEvent),
    Agreement(AgreementEvent),
    Agent(AgentEvent),
}

/// A stored event that this build cannot read: written by a newer build, or not by us.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("aggregate type {0:?} is not known to this build")]
    Aggregate(String),
    #[error("version {version:?} of {event_type} is not known to this build")]
    Version { event_type: String, version: String },
    #[error("an event that is called {said} reads as {is}")]
    Type { said: String, is: &'static str },
    #[error("payload of {event_type} does not read as one")]
    Payload {
        event_type: String,
        #[source]
        cause: serde_json::Error,
    },
}

impl Event {
    /// Reads a stored event.
    pub fn read(aggregate_type: &str, event_type: &str, version: &str, payload: &str) -> Result<Self, Unreadable> {
        if version != VERSION {
            return Err(Unreadable::Version { event_type: event_type.to_owned(), version: version.to_owned() });
        }
        let event = match aggregate_type {
            "client" => typed(event_type, payload).map(Self::Client),
            "bot" => typed(event_type, payload).map(Self::Bot),
            "credential" => typed(event_type, payload).map(Self::Credential),
            "ledger" => typed(event_type, payload).map(Self::Ledger),
            "market" => typed(event_type, payload).map(Self::Market),
            "orders" => typed(event_type, payload).map(Self::Order),
            "manual" => typed(event_type, payload).map(Self::Manual),
            "desk" => typed(event_type, payload).map(Self::Desk),
            "account" => typed(event_type, payload).map(Self::Account),
            "subscription" => typed(event_type, payload).map(Self::Subscription),
            "alert" => typed(event_type, payload).map(Self::Alert),
            "rule" => typed(event_type, payload).map(Self::Rule),
            "silence" => typed(event_type, payload).map(Self::Silence),
            "channel" => typed(event_type, payload).map(Self::Channel),
            "schedule" => typed(event_type, payload).map(Self::Schedule),
            "agreement" => typed(event_type, payload).map(Self::Agreement),
            "agent" => typed(event_type, payload).map(Self::Agent),
            _ => Err(Unreadable::Aggregate(aggregate_type.to_owned())),
        }?;
        match event.event_type() == event_type {
            true => Ok(event),
            false => Err(Unreadable::Type { said: event_type.to_owned(), is: event.event_type() }),
        }
    }

    /// The kind of aggregate that it belongs to.
    pub fn aggregate_type(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Bot(_) => "bot",
            Self::Credential(_) => "credential",
            Self::Ledger(_) => "ledger",
            Self::Market(_) => "market",
            Self::Order(_) => "orders",
            Self::Manual(_) => "manual",
            Self::Desk(_) => "desk",
            Self::Account(_) => "account",
            Self::Subscription(_) => "subscription",
            Self::Alert(_) => "alert",
            Self::Rule(_) => "rule",
            Self::Silence(_) => "silence",
            Self::Channel(_) => "channel",
            Self::Schedule(_) => "schedule",
            Self::Agreement(_) => "agreement",
            Self::Agent(_) => "agent",
        }
    }

    /// Its variant's name.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Client(event) => event.name(),
            Self::Bot(event) => event.name(),
            Self::Credential(event) => event.name(),
            Self::Ledger(event) => event.name(),
            Self::Market(event) => event.name(),
            Self::Order(event) => event.name(),
            Self::Manual(event) => event.name(),
            Self::Desk(event) => event.name(),
            Self::Account(event) => event.name(),
            Self::Subscription(event) => event.name(),
            Self::Alert(event) => event.name(),
            Self::Rule(event) => event.name(),
            Self::Silence(event) => event.name(),
            Self::Channel(event) => event.name(),
            Self::Schedule(event) => event.name(),
            Self::Agreement(event) => event.name(),
            Self::Agent(event) => event.name(),
        }
    }

    /// The version that this build writes.
    pub fn version(&self) -> &'static str {
        VERSION
    }

    /// When it happened, as the world tells it.
    pub fn at(&self) -> Time {
        match self {
            Self::Client(event) => event.at(),
            Self::Bot(event) => event.at(),
            Self::Credential(event) => event.at(),
            Self::Ledger(event) => event.at(),
            Self::Market(event) => event.at(),
            Self::Order(event) => event.at(),
            Self::Manual(event) => event.at(),
            Self::Desk(event) => event.at(),
            Self::Account(event) => event.at(),
            Self::Subscription(event) => event.at(),
            Self::Alert(event) => event.at(),
            Self::Rule(event) => event.at(),
            Self::Silence(event) => event.at(),
            Self::Channel(event) => event.at(),
            Self::Schedule(event) => event.at(),
            Self::Agreement(event) => event.at(),
            Self::Agent(event) => event.at(),
        }
    }
}

fn typed<E: DeserializeOwned>(event_type: &str, payload: &str) -> Result<E, Unreadable> {
    serde_json::from_str(payload).map_err(|cause| Unreadable::Payload { event_type: event_type.to_owned(), cause })
}

impl Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Client(event) => event.serialize(serializer),
            Self::Bot(event) => event.serialize(serializer),
            Self::Credential(event) => event.serialize(serializer),
            Self::Ledger(event) => event.serialize(serializer),
            Self::Market(event) => event.serialize(serializer),
            Self::Order(event) => event.serialize(serializer),
            Self::Manual(event) => event.serialize(serializer),
            Self::Desk(event) => event.serialize(serializer),
            Self::Account(event) => event.serialize(serializer),
            Self::Subscription(event) => event.serialize(serializer),
            Self::Alert(event) => event.serialize(serializer),
            Self::Rule(event) => event.serialize(serializer),
            Self::Silence(event) => event.serialize(serializer),
            Self::Channel(event) => event.serialize(serializer),
            Self::Schedule(event) => event.serialize(serializer),
            Self::Agreement(event) => event.serialize(serializer),
            Self::Agent(event) => event.serialize(serializer),
        }
    }
}

/// Gives an event enum its variants' names and its place in `Event`; a variant that is not listed does not compile.
macro_rules! words {
    ($enum:ident in $place:ident: $($variant:ident),+ $(,)?) => {
        impl $enum {
            /// The variant's name, as it is stored.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)+
                }
            }

            /// Every name there is.
            pub const NAMES: &[&str] = &[$(stringify!($variant)),+];
        }

        impl From<$enum> for Event {
            fn from(event: $enum) -> Self {
                Self::$place(event)
            }
        }

        impl DomainEvent for $enum {
            fn event_type(&self) -> String {
                self.name().to_owned()
            }

            fn event_version(&self) -> String {
                VERSION.to_owned()
            }
        }
    };
}

words!(ClientEvent in Client: ClientOnboarded, AccountOpened, ClientRenamed, ReportingCurrencyChanged, ClientOffboarded,
    DataKeyDestructionRequested, DataKeyDestroyed);
words!(BotEvent in Bot: BotCreated, BotConfigChanged, BotDeployRequested, BotDeployed, BotDeployFailed, BotStopRequested,
    BotStopped, BotStopFailed, BotStateReported, BotSeenAlive, BotSilent, BotConfigApplied, BotConfigNotApplied,
    BotDeployStarted, BotArchived, BotStrayFound, BotStrayStopped, BotGapOpened, BotGapHealed, BotLimitNeared, BotLimitBroken, BotLogged, BotFiguresReported);
words!(CredentialEvent in Credential: CredentialStored, CredentialRotated, CredentialVerified, CredentialActive,
    CredentialFailing, CredentialRevokeRequested, CredentialRevoked, CredentialOpened, CredentialRefused);
words!(LedgerEvent in Ledger: FillRecorded, FillCorrected, FillVoided, FillDisputed, OpeningPosition, FundingPaid,
    TransferRecorded, FeeRateSupplied);
words!(MarketEvent in Market: MarkObserved, QuoteObserved, QuoteMinute, QuotesUnknown, DepthObserved, DepthMinute, VolumeObserved);
words!(OrderEvent in Order: OrderPlaced, OrderCancelled, OrderFilled, OrderRejected, OrderExpired);
words!(ManualOrderEvent in Manual: ManualOrderRequested, ManualOrderStarted, ManualOrderSubmitted, ManualOrderRefused,
    ManualOrderUnknown, ManualOrderFound, ManualOrderResolved, ManualCancelRequested, ManualCancelDone, ManualCancelFailed, ManualFillsMissing,
    ManualFillsExplained, ManualOrderEnded);
words!(DeskEvent in Desk: ClientRegistered, UserAdded, ParkedRetried, ParkedSkipped, RelayDiverged, Quarantined,
    KeyRotationBegun, KeyRotationDone, VaultChecked, SessionOpened, SessionRevoked, RefreshReused, RoleChanged,
    PasswordChanged, UserBarred, UserUnbarred, UserInvited, PasswordLinkIssued, SecondFactorAdded, SecondFactorRemoved,
    RecoveryCodesRenewed, SteppedUp, TokenIssued, TokenRevoked, GrantGiven, GrantWithdrawn, ClientAccessed, LoginsFailed,
    LagObserved, HummingbotLost, HummingbotBack, AlertsSilent, AlertsBack);
words!(AccountEvent in Account: BalanceObserved, HummingbotLost, HummingbotBack);
words!(SubscriptionEvent in Subscription: SubscriptionRequested, SubscriptionActive, SubscriptionRenewed,
    SubscriptionRotated, SubscriptionBarred, SubscriptionRevokeRequested, SubscriptionRevoked);
words!(AlertEvent in Alert: AlertFired, AlertEscalated, AlertResolved, AlertAcknowledged, AlertSilenced, AlertNotified);
words!(RuleEvent in Rule: RuleConfigured, RuleReset, RulesSpeak);
words!(SilenceEvent in Silence: SilenceSet, SilenceEnded);
words!(ChannelEvent in Channel: ChannelAdded, ChannelChanged, ChannelRenewed, ChannelDisabled, ChannelTestRequested,
    ChannelTested, ChannelReportRequested, ChannelReported, ChannelRemoved);
words!(AgreementEvent in Agreement: AgreementSet, ExclusionDeclared, AgreementJudged, AgreementEnded);
words!(ScheduleEvent in Schedule: ScheduleSet, ScheduleSwitched, ScheduleTriggered, ScheduleRan, ScheduleMissed,
    ScheduleEnded);
words!(AgentEvent in Agent: PlanRejected, BudgetCharged);
