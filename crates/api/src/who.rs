//! Who asks, and what they may do. Having one of these values is having the permission: each can be made only of a token
//! that counts, by what [`access::policy`] says.
//!
//! [`crate::own::OwnBot`] and its like are for seeing. What changes something takes `May<Trade, OwnBot>`: the same thing,
//! and the permission to do that with it; [`crate::wish::Wish::carry_out`] takes nothing less.

use std::{marker::PhantomData, ops::Deref};

use access::{
    Caller, Gate, Look, NotLetIn, Proof, Reach,
    policy::{self, Deed, Forbidden},
};
use axum::{
    extract::{FromRef, FromRequestParts, MatchedPath},
    http::{Method, header, request::Parts as Head},
};
use events::{ClientId, Slug, Time};
use serde::Deserialize;

use crate::{
    Parts,
    cookies::{self, Csrf},
    input,
    known::Known,
    looks::Looking,
    problem::{Code, Problem},
};

/// Anyone who is logged in, and until when.
#[derive(Debug, Clone, Copy)]
pub struct SignedIn {
    pub caller: Caller,
    pub until: Time,
}

/// The desk, for those who may see it.
#[derive(Debug, Clone, Copy)]
pub struct OfTheDesk(());

/// Whose things are asked about, and until when the caller may see them.
#[derive(Debug, Clone, Copy)]
pub struct OfWhom {
    /// Absent where it is all clients.
    pub client: Option<ClientId>,
    pub until: Time,
}

/// Something that is there for the caller, and the permission to do this with it.
#[derive(Debug, Clone, Copy)]
pub struct May<D, T> {
    of: T,
    deed: PhantomData<D>,
}

impl<D, T> Deref for May<D, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.of
    }
}

/// What [`May`] permits.
pub trait Permission {
    const DEED: Deed;
}

macro_rules! permissions {
    ($($deed:ident: $what:literal,)+) => {
        $(
            #[doc = $what]
            #[derive(Debug, Clone, Copy)]
            pub struct $deed;

            impl Permission for $deed {
                const DEED: Deed = Deed::$deed;
            }
        )+
    };
}

permissions! {
    Trade: "Wanting something of bots, or an order by hand.",
    Keys: "Giving, changing and taking away keys to exchanges.",
    Subscribe: "Letting a program follow on NATS, and no more.",
    Tend: "Looking after alerts, and saying what rules shall fire on.",
    SeeTeam: "Seeing who a client's users are.",
    Team: "Deciding about a client's users.",
    SeeLooks: "Seeing who of others looked at what a client has.",
    Onboard: "Letting clients in and out.",
    SeePeople: "Seeing who all users are, and who looked at what.",
    People: "Deciding who may do what.",
    Account: "One's own password, sessions and tokens.",
    Prove: "Making what proves that somebody acts for one.",
}

/// What somebody brought with a request, to prove who it is.
enum Brought<'a> {
    Header(&'a str),
    /// Browsers send it along whoever made the page that asks.
    Cookie(&'a str),
}

impl SignedIn {
    /// Refuses what the caller may not do with what is there for it.
    pub fn may(&self, deed: Deed) -> Result<(), Problem> {
        Ok(policy::may(&self.caller, deed, Time::now())?)
    }

    /// Whose things the caller asks about, by the client that it names: all clients', if none and it is of the desk.
    pub async fn of_whom(&self, named: Option<Slug>, state: &Parts) -> Result<OfWhom, Problem> {
        let (known, until) = (Known::from_ref(state), self.until);
        match (self.caller.reach(), named) {
            (Reach::Own(client), None) => Ok(OfWhom { client: Some(client), until }),
            (Reach::Own(_), Some(_)) => Err(Problem::invalid("leave ?client= out: your token says whose you are")),
            (Reach::Every, Some(slug)) => {
                let client = known.client_of(&slug).await?.ok_or_else(Problem::not_found)?;
                Ok(OfWhom { client: Some(client), until })
            }
            (Reach::Every, None) => Ok(OfWhom { client: None, until }),
            (Reach::Granted, Some(slug)) => {
                let client = known.client_of(&slug).await?.ok_or_else(Problem::not_found)?;
                let granted = Gate::from_ref(state).granted(self.caller.user(), client, Time::now());
                let granted = granted.ok_or_else(Problem::not_found)?;
                Ok(OfWhom { client: Some(client), until: until.min(granted) })
            }
            (Reach::Granted, None) => Err(which_client()),
        }
    }

    /// Whoever asks about what is not its own is on record, if it is answered.
    pub fn looks(&self, head: &Head, client: Option<ClientId>) {
        let own = matches!(self.caller.reach(), Reach::Own(_));
        let (route, looking) = (head.extensions.get::<MatchedPath>(), head.extensions.get::<Looking>());
        if let (Some(route), Some(looking), false, false) = (route, looking, own, changes(&head.method)) {
            let route = format!("{} {}", head.method, route.as_str());
            looking.at(Look { user: self.caller.user(), client, route });
        }
    }

    /// Whether this still is so: a request takes its time to arrive.
    pub fn still_counts(&self, gate: &Gate) -> bool {
        self.until > Time::now() && gate.lets_in(&self.caller, None)
    }

    pub async fn of(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        Self::from_request_parts(head, state).await
    }
}

pub fn which_client() -> Problem {
    Problem::invalid("say which client: add ?client=SLUG")
}

impl FromRequestParts<Parts> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        if let Some(known) = head.extensions.get::<Self>() {
            return Ok(*known);
        }
        let brought = brought(head)?;
        let (token, ambient) = match brought {
            Brought::Header(token) => (token, false),
            Brought::Cookie(token) => (token, true),
        };
        if let Some(refusal) = head.extensions.get::<NotLetIn>() {
            return Err((*refusal).into());
        }
        let admitted = Gate::from_ref(state).admit(token, Time::now()).await;
        let Proof { caller, expires_at } = match admitted {
            Ok(proof) => proof,
            Err(refusal) => {
                // Nobody is asked twice about the same request.
                head.extensions.insert(refusal);
                return Err(refusal.into());
            }
        };
        if ambient && changes(&head.method) {
            Csrf::from_ref(state).check(caller.session(), &head.headers)?;
        }
        let known = Self { caller, until: expires_at };
        head.extensions.insert(known);
        Ok(known)
    }
}

/// Whether a request of this method may change something.
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

fn brought(head: &Head) -> Result<Brought<'_>, Problem> {
    let Some(given) = head.headers.get(header::AUTHORIZATION) else {
        return cookies::access(&head.headers).map(Brought::Cookie).ok_or_else(|| {
            Problem::unauthenticated("log in with POST /api/auth/login and send `Authorization: Bearer TOKEN`")
        });
    };
    let token = given.to_str().ok().and_then(|given| given.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    token.map(Brought::Header).ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer TOKEN`"))
}

impl From<NotLetIn> for Problem {
    /// In the same words whatever is wrong with it: who tries tokens out learns nothing from the answers.
    fn from(error: NotLetIn) -> Self {
        match error {
            NotLetIn::Refused(refusal) => {
                tracing::debug!("a token was refused: {refusal}");
                Self::unauthenticated("this token does not count: refresh it, or log in again")
            }
            NotLetIn::Blind => Self::unavailable(),
        }
    }
}

impl From<Forbidden> for Problem {
    fn from(refusal: Forbidden) -> Self {
        let code = match refusal {
            Forbidden::Role(_) | Forbidden::Scope(_) | Forbidden::Session => Code::Forbidden,
            Forbidden::SecondFactor => Code::SecondFactorMissing,
            Forbidden::StepUp => Code::StepUpNeeded,
        };
        Self::new(code, refusal.to_string())
    }
}

impl FromRequestParts<Parts> for OfTheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let who = SignedIn::of(head, state).await?;
        who.may(Deed::SeeDesk)?;
        let Named { client } = Named::by(head)?;
        if client.is_some() {
            return Err(Problem::invalid("leave ?client= out: this is about all of them"));
        }
        who.looks(head, None);
        Ok(Self(()))
    }
}

impl FromRequestParts<Parts> for OfWhom {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let who = SignedIn::of(head, state).await?;
        let Named { client } = Named::by(head)?;
        let whose = who.of_whom(client, state).await?;
        who.may(if whose.client.is_some() { Deed::See } else { Deed::SeeDesk })?;
        who.looks(head, whose.client);
        Ok(whose)
    }
}

/// Which client somebody of the desk speaks of.
#[derive(Debug, Deserialize)]
pub struct Named {
    pub client: Option<Slug>,
}

impl Named {
    pub fn by(head: &Head) -> Result<Self, Problem> {
        input::read_query(head.uri.query().unwrap_or_default())
    }
}

impl<D, T> FromRequestParts<Parts> for May<D, T>
where
    D: Permission + Send,
    T: FromRequestParts<Parts, Rejection = Problem> + Send,
{
    type Rejection = Problem;

    /// What is not there for the caller is not there, whatever the caller may do elsewhere.
    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let of = T::from_request_parts(head, state).await?;
        SignedIn::of(head, state).await?.may(D::DEED)?;
        Ok(Self { of, deed: PhantomData })
    }
}
