//! Deciding about somebody, a person or a program's own account: the same over the desk's routes and over a client's, by
//! whoever may there.

use std::marker::PhantomData;

use access::{Register, people::Whose};
use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts as Head,
};
use events::UserId;

use crate::{
    Parts,
    input::{NoQuery, OnlyClient},
    own::{AnyPerson, AnyService, OwnPerson, OwnService},
    problem::Problem,
    who::{May, Permission, SignedIn},
};

/// Somebody who is there for the caller, and the permission to decide about it.
pub struct Deciding<D, S> {
    pub register: Register,
    pub whose: Whose,
    /// Who is decided about.
    pub about: UserId,
    /// Who decides.
    pub by: UserId,
    of: PhantomData<(D, S)>,
}

/// Whom a path names, and what can be said to it beside.
pub trait Subject {
    type Query: FromRequestParts<Parts, Rejection = Problem> + Send;

    fn whose(&self) -> Whose;
    fn id(&self) -> UserId;
}

macro_rules! of_the_desk {
    ($($subject:ty),+) => {
        $(impl Subject for $subject {
            type Query = NoQuery;

            fn whose(&self) -> Whose {
                Whose::Desk
            }

            fn id(&self) -> UserId {
                self.0
            }
        })+
    };
}

macro_rules! of_a_client {
    ($($subject:ty: $id:ident),+) => {
        $(impl Subject for $subject {
            type Query = OnlyClient;

            fn whose(&self) -> Whose {
                Whose::Of(self.client)
            }

            fn id(&self) -> UserId {
                self.$id
            }
        })+
    };
}

of_the_desk!(AnyPerson, AnyService);
of_a_client!(OwnPerson: user, OwnService: service);

impl<D, S> FromRequestParts<Parts> for Deciding<D, S>
where
    D: Permission + Send,
    S: Subject + FromRequestParts<Parts, Rejection = Problem> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let subject = May::<D, S>::from_request_parts(head, state).await?;
        let (whose, about) = (subject.whose(), subject.id());
        let by = SignedIn::of(head, state).await?.caller.user();
        S::Query::from_request_parts(head, state).await?;
        Ok(Self { register: Register::from_ref(state), whose, about, by, of: PhantomData })
    }
}
