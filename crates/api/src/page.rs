//! Lists in pages: how many, where the next one begins.

use std::borrow::Cow;

use events::ClientId;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::cursor::Cursors;

/// Items of one page.
#[derive(Debug, Clone, Copy)]
pub struct Limit(u32);

const LIMIT_MAX: u32 = 500;

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            limit @ 1..=LIMIT_MAX => Ok(Self(limit)),
            limit => Err(de::Error::custom(format!("limit is 1 to {LIMIT_MAX}, not {limit}"))),
        }
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(LIMIT_MAX))
            .default(Some(Self::default().0.into()))
            .description(Some("How many at most"))
            .into()
    }
}

impl ToSchema for Limit {
    // There are limits of bots, too.
    fn name() -> Cow<'static, str> {
        "PageLimit".into()
    }
}

impl Limit {
    pub fn items(self) -> u32 {
        self.0
    }

    /// One more than is shown tells whether there is a next page.
    pub fn and_one(self) -> u32 {
        self.0 + 1
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Send it as `?cursor=` with the same question; null on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Of what was found with [`Limit::and_one`]; `place` tells where an item stands.
    pub fn new<P: Serialize>(
        mut items: Vec<T>,
        limit: Limit,
        cursors: &Cursors,
        client: ClientId,
        question: &str,
        place: impl Fn(&T) -> P,
    ) -> Self {
        let more = items.len() > limit.0 as usize;
        items.truncate(limit.0 as usize);
        let last = items.last().filter(|_| more);
        let next = last.map(|last| cursors.sign(client, question, &place(last)));
        Self { items, next }
    }
}
