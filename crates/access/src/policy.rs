//! Who may do what. All of it stands here: the edge asks, and knows no role.
//!
//! Whether a client is there at all for somebody is another question, [`Caller::reach`], and comes first: what is not
//! yours does not exist, and only of your own things you are told that your role is too small.

use events::desk::{Role, Scope};

use crate::caller::Caller;

/// What somebody wants to do, as far as permissions tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// See what a client has.
    See,
    /// Want something of a client's bots, or an order by hand.
    Trade,
    /// Give, change or take away a client's keys to exchanges.
    Keys,
    /// Let a program follow a client's events on NATS, and no more.
    Subscribe,
    /// Decide about a client's own users.
    Team,
    /// See what is about all clients, and about the desk.
    SeeDesk,
    /// Let clients in and out.
    Onboard,
    /// Decide who may do what: all users, their sessions, grants.
    People,
    /// One's own password, sessions and tokens.
    Account,
}

/// Why somebody may not do something with what is there for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("your role does not allow this: ask {0}")]
    Role(&'static str),
    #[error("your token is not for this: take one with scope {0}")]
    Scope(&'static str),
    #[error("this can be done by a person who has logged in, and by no token that was made for a program")]
    Session,
}

/// Whether the caller may do this, with what is there for it.
pub fn may(caller: &Caller, deed: Deed) -> Result<(), Forbidden> {
    if !role_may(caller.role, caller.client.is_some(), deed) {
        return Err(Forbidden::Role(who_may(caller, deed)));
    }
    let Some(scopes) = caller.scopes else { return Ok(()) };
    let scope = scope_for(deed).ok_or(Forbidden::Session)?;
    if scopes.contain(scope) { Ok(()) } else { Err(Forbidden::Scope(scope_name(scope))) }
}

/// The table. `of_client`: the caller belongs to a client, and so does everything that is there for it.
fn role_may(role: Role, of_client: bool, deed: Deed) -> bool {
    match deed {
        Deed::See => true,
        Deed::Trade | Deed::Keys | Deed::Subscribe => match role {
            Role::Admin | Role::Operator | Role::ClientOwner | Role::Service => true,
            Role::Auditor | Role::ClientViewer => false,
        },
        Deed::Team => match role {
            Role::Admin | Role::ClientOwner => true,
            Role::Operator | Role::Auditor | Role::ClientViewer | Role::Service => false,
        },
        Deed::SeeDesk | Deed::Onboard => match role {
            Role::Admin | Role::Operator => true,
            Role::Service => !of_client,
            Role::Auditor | Role::ClientOwner | Role::ClientViewer => false,
        },
        Deed::People => match role {
            Role::Admin => true,
            Role::Operator | Role::Auditor | Role::ClientOwner | Role::ClientViewer | Role::Service => false,
        },
        Deed::Account => match role {
            Role::Admin | Role::Operator | Role::Auditor | Role::ClientOwner | Role::ClientViewer => true,
            Role::Service => false,
        },
    }
}

/// Whom to ask.
fn who_may(caller: &Caller, deed: Deed) -> &'static str {
    match deed {
        Deed::See | Deed::Trade | Deed::Keys | Deed::Subscribe | Deed::Team if caller.client.is_some() => {
            "an owner of your client"
        }
        Deed::See | Deed::Trade | Deed::Keys | Deed::Subscribe | Deed::SeeDesk | Deed::Onboard => "the desk",
        Deed::Team | Deed::People | Deed::Account => "an admin of the desk",
    }
}

/// What a token has to be for; absent where none will do.
fn scope_for(deed: Deed) -> Option<Scope> {
    match deed {
        Deed::See | Deed::SeeDesk => Some(Scope::Read),
        Deed::Trade => Some(Scope::Trade),
        // What follows reads all that the client has, and goes on when the token is forgotten.
        Deed::Keys | Deed::Subscribe => Some(Scope::Keys),
        Deed::Team | Deed::Onboard | Deed::People => Some(Scope::Admin),
        Deed::Account => None,
    }
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Trade => "trade",
        Scope::Keys => "keys",
        Scope::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use events::{ClientId, SessionId, Time, UserId};

    use super::*;
    use crate::caller::{Reach, Scopes};

    const DEEDS: [Deed; 9] = [
        Deed::See,
        Deed::Trade,
        Deed::Keys,
        Deed::Subscribe,
        Deed::Team,
        Deed::SeeDesk,
        Deed::Onboard,
        Deed::People,
        Deed::Account,
    ];

    fn caller(role: Role, client: Option<ClientId>, scopes: Option<Scopes>) -> Caller {
        Caller {
            user: UserId::new(),
            role,
            client,
            session: SessionId::new(),
            scopes,
            perm_ver: 1,
            auth_time: Time::EPOCH,
        }
    }

    /// `x` may, `-` may not, in the order of [`DEEDS`].
    #[test]
    fn every_role_may_do_what_this_table_says_and_nothing_else() {
        let some = Some(ClientId::new());
        for (role, client, expected) in [
            (Role::Admin, None, "xxxxxxxxx"),
            (Role::Operator, None, "xxxx-xx-x"),
            (Role::Auditor, None, "x-------x"),
            (Role::ClientOwner, some, "xxxxx---x"),
            (Role::ClientViewer, some, "x-------x"),
            (Role::Service, some, "xxxx-----"),
            (Role::Service, None, "xxxx-xx--"),
        ] {
            let caller = caller(role, client, None);
            let told: String = DEEDS.map(|deed| if may(&caller, deed).is_ok() { 'x' } else { '-' }).iter().collect();
            assert_eq!(told, expected, "{role:?} of {client:?}");
        }
    }

    #[test]
    fn a_token_never_allows_more_than_its_owner_and_never_what_only_a_person_does() {
        for (scope, expected) in [
            (vec![], "---------"),
            (vec![Scope::Read], "x----x---"),
            (vec![Scope::Trade], "xx---x---"),
            (vec![Scope::Keys], "x-xx-x---"),
            (vec![Scope::Admin], "x---xxxx-"),
            (vec![Scope::Read, Scope::Trade, Scope::Keys, Scope::Admin], "xxxxxxxx-"),
        ] {
            let scopes: Scopes = scope.iter().copied().collect();
            let admin = caller(Role::Admin, None, Some(scopes));
            let told: String = DEEDS.map(|deed| if may(&admin, deed).is_ok() { 'x' } else { '-' }).iter().collect();
            assert_eq!(told, expected, "{scope:?}");
            for (role, client) in [
                (Role::Operator, None),
                (Role::Auditor, None),
                (Role::ClientOwner, Some(ClientId::new())),
                (Role::ClientViewer, Some(ClientId::new())),
                (Role::Service, None),
            ] {
                for deed in DEEDS {
                    let by_token = may(&caller(role, client, Some(scopes)), deed).is_ok();
                    assert!(!by_token || may(&caller(role, client, None), deed).is_ok(), "{role:?} {deed:?}");
                }
            }
        }
    }

    #[test]
    fn whoever_belongs_to_a_client_reaches_that_one_alone() {
        let client = ClientId::new();
        for role in [Role::ClientOwner, Role::ClientViewer, Role::Service] {
            assert_eq!(caller(role, Some(client), None).reach(), Reach::Own(client));
        }
        for role in [Role::Admin, Role::Operator, Role::Service] {
            assert_eq!(caller(role, None, None).reach(), Reach::Every);
        }
        assert_eq!(caller(Role::Auditor, None, None).reach(), Reach::Granted);
    }

    #[test]
    fn a_refusal_says_whom_to_ask() {
        let viewer = caller(Role::ClientViewer, Some(ClientId::new()), None);
        assert_eq!(may(&viewer, Deed::Trade), Err(Forbidden::Role("an owner of your client")));
        assert_eq!(may(&viewer, Deed::People), Err(Forbidden::Role("an admin of the desk")));
        let auditor = caller(Role::Auditor, None, None);
        assert_eq!(may(&auditor, Deed::SeeDesk), Err(Forbidden::Role("the desk")));
    }
}
