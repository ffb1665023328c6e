//! How our words look to a reader of the API's description: each is a text of its own kind.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

use crate::{
    AccountName, AgreementId, AlertId, Asset, BotId, ChannelId, ClientId, CommandId, CredentialId, Decimal, EventId,
    ManualId, MessageId, OrderId, Pair, RuleName, ScheduleId, SealedId, SessionId, SilenceId, Slug, SubscriptionId,
    Time, TokenId, TradeId, UserId,
    credential::Fingerprint,
    money::{Amount, Price},
    subscription::{Filter, UserNkey},
};

fn text(about: &str, example: &str, format: Option<KnownFormat>, pattern: Option<&str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(pattern)
        .format(format.map(SchemaFormat::KnownFormat))
        .description(Some(about))
        .examples([serde_json::Value::from(example)])
        .into()
}

macro_rules! texts {
    ($($name:ident: $about:literal, $example:literal, $format:expr $(, $pattern:literal)?;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text($about, $example, $format, None$(.or(Some($pattern)))?)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

texts! {
    Decimal: "An exact decimal number, never a float", "-12.345", None, r"^-?[0-9]+(\.[0-9]+)?$";
    Price: "Of one unit of the base asset, in the quote asset", "64250.1", None, r"^[0-9]+(\.[0-9]+)?$";
    Amount: "Of the base asset", "0.25", None, r"^[0-9]+(\.[0-9]+)?$";
    Time: "RFC 3339 in UTC, six decimals", "2026-11-24T12:00:00.000000Z", Some(KnownFormat::DateTime);
    Asset: "An asset by its symbol", "USDT", None, r"^[\p{L}\p{N}._]{1,32}$";
    Pair: "What is traded for what", "BTC-USDT", None, r"^[\p{L}\p{N}._]{1,32}-[\p{L}\p{N}._]{1,32}$";
    Slug: "A short name that never changes", "acme", None, "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    AccountName: "An account as the Hummingbot server knows it", "0192f0c1a2b3", None;
    OrderId: "The exchange's own order id", "771203", None;
    TradeId: "The exchange's own trade id", "88412", None;
    ClientId: "Which client", "0192f0c1-0000-7000-8000-000000000001", Some(KnownFormat::Uuid);
    BotId: "Which bot", "0192f0c1-0000-5000-8000-000000000002", Some(KnownFormat::Uuid);
    CredentialId: "Which credential", "0192f0c1-0000-5000-8000-000000000006", Some(KnownFormat::Uuid);
    SealedId: "Which values of a credential", "0192f0c1-0000-8000-8000-000000000007", Some(KnownFormat::Uuid);
    Fingerprint: "The same for the same API key of one client; tells nothing of it", "9f86d081884c7d65", None;
    ManualId: "Which order by hand", "0192f0c1-0000-5000-8000-000000000008", Some(KnownFormat::Uuid);
    AlertId: "What an alert is about", "0192f0c1-0000-8000-8000-000000000012", Some(KnownFormat::Uuid);
    SilenceId: "Which silence", "0192f0c1-0000-7000-8000-000000000013", Some(KnownFormat::Uuid);
    ChannelId: "Which way of telling people", "0192f0c1-0000-7000-8000-000000000014", Some(KnownFormat::Uuid);
    ScheduleId: "Which schedule", "0192f0c1-0000-7000-8000-000000000015", Some(KnownFormat::Uuid);
    MessageId: "Which message to people", "0192f0c1-0000-7000-8000-000000000016", Some(KnownFormat::Uuid);
    AgreementId: "Which agreement", "0192f0c1-0000-5000-8000-000000000017", Some(KnownFormat::Uuid);
    RuleName: "Which rule of alerts", "spread_wide", None, "^[a-z0-9_]{1,40}$";
    SubscriptionId: "Which subscription", "0192f0c1-0000-5000-8000-000000000010", Some(KnownFormat::Uuid);
    UserNkey: "The public half of a user's nkey", "UBDN3OMC55KS2MSPXQVSJ5YLJDM7TAFW2DBBYVAVVVZEOLQSTVOPPCWP", None;
    Filter: "Which events: `all`; `events`, or `events.` and a kind of aggregate; `alerts`, or `alerts.` and a severity", "events.bot", None;
    SessionId: "Which login", "0192f0c1-0000-7000-8000-000000000009", Some(KnownFormat::Uuid);
    TokenId: "Which token of a program", "0192f0c1-0000-7000-8000-000000000011", Some(KnownFormat::Uuid);
    UserId: "Which user", "0192f0c1-0000-7000-8000-000000000003", Some(KnownFormat::Uuid);
    EventId: "Which event", "0192f0c1-0000-7000-8000-000000000004", Some(KnownFormat::Uuid);
    CommandId: "Which wish", "0192f0c1-0000-7000-8000-000000000005", Some(KnownFormat::Uuid);
}
