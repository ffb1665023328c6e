//! Who and what an event speaks of: one type an identity, so that two of them cannot be mixed up.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Exchange, Market, Slug};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identity; version 7, so later ones sort later.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// A customer of the platform: the owner of one stream, its bots and its money.
    ClientId
);
id!(
    /// One bot of one client, for as long as it exists under whatever configuration.
    BotId
);
id!(
    /// A person who may log in.
    UserId
);
id!(
    /// One login of a user, from then until it ends.
    SessionId
);
id!(
    /// What a person made for a program, to prove itself with.
    TokenId
);
id!(
    /// One recorded fact.
    EventId
);
id!(
    /// One wish to change something. Sending the same one again changes nothing and gets the same answer.
    CommandId
);
id!(
    /// A client's key to one market of one exchange, whatever its values are at the time.
    CredentialId
);
id!(
    /// The values of a credential as they were given once; a rotation brings others.
    SealedId
);

id!(
    /// A wish for an order by hand, and whatever came of it.
    ManualId
);

id!(
    /// What an alert is about: one rule, of one thing, whichever episode it is.
    AlertId
);

id!(
    /// A time during which nobody is called for some alerts.
    SilenceId
);

id!(
    /// A way by which people are told of alerts.
    ChannelId
);
id!(
    /// What a market maker has promised a client of one bot.
    AgreementId
);
id!(
    /// One message to people, however often it is tried.
    MessageId
);
id!(
    /// Something that is to be done again and again, or once, by the clock.
    ScheduleId
);

id!(
    /// One way by which somebody outside follows a client's events over NATS.
    SubscriptionId
);

impl BotId {
    /// The one bot of this name that a client can have: whoever creates it twice names the same one.
    pub fn named(client: ClientId, name: &Slug) -> Self {
        Self(Uuid::new_v5(&client.0, name.as_str().as_bytes()))
    }
}

/// What a client has one of by each name.
macro_rules! named {
    ($($id:ident: $kind:literal, $does:literal);+ $(;)?) => {$(
        impl $id {
            #[doc = concat!("The one ", $kind, " of this name that a client can have: whoever ", $does, " it twice names the same one.")]
            pub fn named(client: ClientId, name: &Slug) -> Self {
                Self(Uuid::new_v5(&client.0, format!(concat!($kind, "/{}"), name).as_bytes()))
            }
        }
    )+};
}

named! {
    AgreementId: "agreement", "sets";
    ChannelId: "channel", "adds";
    ScheduleId: "schedule", "sets";
    SubscriptionId: "subscription", "asks for";
}

impl ManualId {
    /// The one order that a client can wish for in a bot's book under a key: whoever sends the wish twice names the same.
    pub fn of(client: ClientId, bot: BotId, key: &str) -> Self {
        Self(Uuid::new_v5(&client.0, format!("manual/{bot}/{key}").as_bytes()))
    }
}

impl SilenceId {
    /// The one silence that a client can wish for under a key: whoever sends the wish twice names the same.
    pub fn of(client: ClientId, key: &str) -> Self {
        Self(Uuid::new_v5(&client.0, format!("silence/{key}").as_bytes()))
    }
}

impl CredentialId {
    /// The one credential that a client can have for a market of an exchange: the Hummingbot API keeps one, too.
    pub fn of(client: ClientId, exchange: Exchange, market: Market) -> Self {
        Self(Uuid::new_v5(&client.0, format!("credential/{exchange}/{market}").as_bytes()))
    }

    /// Where this credential of a client lets in; absent if the client cannot have it.
    pub fn lets_into(self, client: ClientId) -> Option<(Exchange, Market)> {
        let all = Exchange::ALL.into_iter().flat_map(|exchange| Market::ALL.map(|market| (exchange, market)));
        all.into_iter().find(|(exchange, market)| Self::of(client, *exchange, *market) == self)
    }
}

impl ClientId {
    /// The desk itself: its stream holds users, grants, onboarding and operations, and no client ever sees it.
    pub const DESK: Self = Self(Uuid::nil());
}
