//! Who may do what. All of it stands here: the edge asks, and knows no role.
//!
//! Whether a client is there at all for somebody is another question, [`Caller::reach`], and comes first: what is not
//! yours does not exist, and only of your own things you are told that your role is too small.

use events::{
    Time,
    desk::{Role, Scope},
};

use crate::{caller::Caller, programs::scope_name};

/// So long after somebody proved who it is, what is dangerous has to be proved anew.
const PROVED_FOR_US: i64 = 15 * 60 * 1_000_000;

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
    /// Look after a client's alerts, and say what its rules shall fire on.
    Tend,
    /// See who a client's own users are.
    SeeTeam,
    /// Decide about them.
    Team,
    /// See who of others has looked at what a client has.
    SeeLooks,
    /// See what is about all clients, and about the desk.
    SeeDesk,
    /// Let clients in and out.
    Onboard,
    /// See who all users are, what they were granted, and who looked at what.
    SeePeople,
    /// Decide who may do what: all users, their sessions, grants.
    People,
    /// One's own password, sessions and tokens.
    Account,
    /// Make what proves that somebody acts for one: tokens of programs, recovery codes; or do without a second factor.
    Prove,
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
    #[error("this takes a second factor: set one up with POST /api/auth/second-factor, then refresh your session")]
    SecondFactor,
    #[error(
        "prove once more who you are, with POST /api/auth/step-up, then send the same again: your last proof is older than 15 minutes"
    )]
    StepUp,
}

/// Whether the caller may do this now, with what is there for it.
pub fn may(caller: &Caller, deed: Deed, now: Time) -> Result<(), Forbidden> {
    if !role_may(caller.role, caller.client.is_some(), deed) {
        return Err(Forbidden::Role(who_may(caller, deed)));
    }
    let Some(scopes) = caller.scopes else { return proved(caller, deed, now) };
    let scope = scope_for(deed).ok_or(Forbidden::Session)?;
    if scopes.contain(scope) { Ok(()) } else { Err(Forbidden::Scope(scope_name(scope))) }
}

/// Whether a person has proved well enough, and not too long ago, who it is.
fn proved(caller: &Caller, deed: Deed, now: Time) -> Result<(), Forbidden> {
    if !is_dangerous(deed) {
        Ok(())
    } else if caller.lacks_factor {
        Err(Forbidden::SecondFactor)
    } else if now.micros() - caller.auth_time.micros() > PROVED_FOR_US {
        Err(Forbidden::StepUp)
    } else {
        Ok(())
    }
}

/// What somebody who sits down at an open screen, or has stolen a token, must not be able to do.
fn is_dangerous(deed: Deed) -> bool {
    match deed {
        Deed::Keys | Deed::Team | Deed::Onboard | Deed::People | Deed::Prove => true,
        Deed::See
        | Deed::Trade
        | Deed::Subscribe
        | Deed::Tend
        | Deed::SeeTeam
        | Deed::SeeLooks
        | Deed::SeeDesk
        | Deed::SeePeople
        | Deed::Account => false,
    }
}

/// The table. `of_client`: the caller belongs to a client, and so does everything that is there for it.
fn role_may(role: Role, of_client: bool, deed: Deed) -> bool {
    match deed {
        Deed::See => true,
        Deed::Trade | Deed::Keys | Deed::Subscribe | Deed::Tend => match role {
            Role::Admin | Role::Operator | Role::ClientOwner | Role::Service => true,
            Role::Auditor | Role::ClientViewer => false,
        },
        Deed::SeeTeam | Deed::Team => match role {
            Role::Admin | Role::ClientOwner => true,
            Role::Operator | Role::Auditor | Role::ClientViewer | Role::Service => false,
        },
        // The desk's operators are those who are watched.
        Deed::SeeLooks => match role {
            Role::Admin | Role::Auditor | Role::ClientOwner => true,
            Role::Operator | Role::ClientViewer | Role::Service => false,
        },
        Deed::SeeDesk | Deed::Onboard => match role {
            Role::Admin | Role::Operator => true,
            Role::Service => !of_client,
            Role::Auditor | Role::ClientOwner | Role::ClientViewer => false,
        },
        Deed::SeePeople | Deed::People => match role {
            Role::Admin => true,
            Role::Operator | Role::Auditor | Role::ClientOwner | Role::ClientViewer | Role::Service => false,
        },
        Deed::Account | Deed::Prove => match role {
            Role::Admin | Role::Operator | Role::Auditor | Role::ClientOwner | Role::ClientViewer => true,
            Role::Service => false,
        },
    }
}

/// Whom to ask.
fn who_may(caller: &Caller, deed: Deed) -> &'static str {
    match deed {
        Deed::See
        | Deed::Trade
        | Deed::Keys
        | Deed::Subscribe
        | Deed::Tend
        | Deed::SeeTeam
        | Deed::Team
        | Deed::SeeLooks
            if caller.client.is_some() =>
        {
            "an owner of your client"
        }
        Deed::See | Deed::Trade | Deed::Keys | Deed::Subscribe | Deed::Tend | Deed::SeeDesk | Deed::Onboard => {
            "the desk"
        }
        Deed::SeeTeam | Deed::Team | Deed::SeeLooks | Deed::SeePeople | Deed::People | Deed::Account | Deed::Prove => {
            "an admin of the desk"
        }
    }
}

/// What a token has to be for; absent where none will do.
fn scope_for(deed: Deed) -> Option<Scope> {
    match deed {
        Deed::See | Deed::SeeDesk | Deed::SeeLooks => Some(Scope::Read),
        Deed::Trade | Deed::Tend => Some(Scope::Trade),
        // What follows reads all that the client has, and goes on when the token is forgotten.
        Deed::Keys | Deed::Subscribe => Some(Scope::Keys),
        Deed::SeeTeam | Deed::Onboard | Deed::SeePeople => Some(Scope::Admin),
        // Whoever could let others in could let itself in again.
        Deed::Team | Deed::People | Deed::Account | Deed::Prove => None,
    }
}

#[cfg(test)]
mod tests {
    use events::{ClientId, SessionId, Time, UserId};

    use super::*;
    use crate::caller::{Reach, Scopes};

    const DEEDS: [Deed; 14] = [
        Deed::See,
        Deed::Trade,
        Deed::Keys,
        Deed::Subscribe,
        Deed::Tend,
        Deed::SeeTeam,
        Deed::Team,
        Deed::SeeLooks,
        Deed::SeeDesk,
        Deed::Onboard,
        Deed::SeePeople,
        Deed::People,
        Deed::Account,
        Deed::Prove,
    ];
    const NOW: Time = Time::EPOCH;

    /// `x` may, `-` may not, in the order of [`DEEDS`].
    fn told(caller: &Caller) -> String {
        DEEDS.map(|deed| if may(caller, deed, NOW).is_ok() { 'x' } else { '-' }).iter().collect()
    }

    fn caller(role: Role, client: Option<ClientId>, scopes: Option<Scopes>) -> Caller {
        Caller {
            user: UserId::new(),
            role,
            client,
            session: SessionId::new(),
            scopes,
            perm_ver: 1,
            auth_time: NOW,
            lacks_factor: false,
        }
    }

    #[test]
    fn every_role_may_do_what_this_table_says_and_nothing_else() {
        let some = Some(ClientId::new());
        for (role, client, expected) in [
            (Role::Admin, None, "xxxxxxxxxxxxxx"),
            (Role::Operator, None, "xxxxx---xx--xx"),
            (Role::Auditor, None, "x------x----xx"),
            (Role::ClientOwner, some, "xxxxxxxx----xx"),
            (Role::ClientViewer, some, "x-----------xx"),
            (Role::Service, some, "xxxxx---------"),
            (Role::Service, None, "xxxxx---xx----"),
        ] {
            assert_eq!(told(&caller(role, client, None)), expected, "{role:?} of {client:?}");
        }
    }

    #[test]
    fn a_token_never_allows_more_than_its_owner_and_never_what_only_a_person_does() {
        for (scope, expected) in [
            (vec![], "--------------"),
            (vec![Scope::Read], "x------xx-----"),
            (vec![Scope::Trade], "xx--x--xx-----"),
            (vec![Scope::Keys], "x-xx---xx-----"),
            (vec![Scope::Admin], "x----x-xxxx---"),
            (vec![Scope::Read, Scope::Trade, Scope::Keys, Scope::Admin], "xxxxxx-xxxx---"),
        ] {
            let scopes: Scopes = scope.iter().copied().collect();
            assert_eq!(told(&caller(Role::Admin, None, Some(scopes))), expected, "{scope:?}");
            for (role, client) in [
                (Role::Operator, None),
                (Role::Auditor, None),
                (Role::ClientOwner, Some(ClientId::new())),
                (Role::ClientViewer, Some(ClientId::new())),
                (Role::Service, None),
            ] {
                for deed in DEEDS {
                    let by_token = may(&caller(role, client, Some(scopes)), deed, NOW).is_ok();
                    assert!(!by_token || may(&caller(role, client, None), deed, NOW).is_ok(), "{role:?} {deed:?}");
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
    fn what_is_dangerous_takes_a_proof_that_is_fresh_and_strong_and_nothing_else_does() {
        let admin = caller(Role::Admin, None, None);
        let later = |seconds: i64| NOW.plus_micros(seconds * 1_000_000);
        let dangerous = [Deed::Keys, Deed::Team, Deed::Onboard, Deed::People, Deed::Prove];
        for deed in DEEDS {
            let is = dangerous.contains(&deed);
            assert_eq!(may(&admin, deed, later(900)), Ok(()), "{deed:?}");
            assert_eq!(may(&admin, deed, later(901)), if is { Err(Forbidden::StepUp) } else { Ok(()) }, "{deed:?}");
            let weak = Caller { lacks_factor: true, ..admin };
            assert_eq!(may(&weak, deed, NOW), if is { Err(Forbidden::SecondFactor) } else { Ok(()) }, "{deed:?}");
        }
        // A program cannot be asked; what its token is for was decided by somebody who was.
        let token = caller(Role::Admin, None, Some([Scope::Keys].into_iter().collect()));
        assert_eq!(may(&token, Deed::Keys, later(90 * 86_400)), Ok(()));
    }

    #[test]
    fn a_refusal_says_whom_to_ask() {
        let viewer = caller(Role::ClientViewer, Some(ClientId::new()), None);
        assert_eq!(may(&viewer, Deed::Trade, NOW), Err(Forbidden::Role("an owner of your client")));
        assert_eq!(may(&viewer, Deed::People, NOW), Err(Forbidden::Role("an admin of the desk")));
        let auditor = caller(Role::Auditor, None, None);
        assert_eq!(may(&auditor, Deed::SeeDesk, NOW), Err(Forbidden::Role("the desk")));
    }
}
