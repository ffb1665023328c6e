//! Who is asking. Having a [`Caller`] is having proved it: only what the gate lets through makes one.

use events::{
    ClientId, SessionId, Time, UserId,
    desk::{Role, Scope},
};

/// Who is asking, in which role, for whom, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) client: Option<ClientId>,
    pub(crate) session: SessionId,
    /// Absent in a session: there a person may do all that the role may.
    pub(crate) scopes: Option<Scopes>,
    pub(crate) perm_ver: u64,
    pub(crate) auth_time: Time,
    /// Its role takes a second factor, and there was none.
    pub(crate) lacks_factor: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// Which clients there are, for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    Every,
    /// Those that were granted, as long as they are.
    Granted,
    /// One's own.
    Own(ClientId),
}

impl Caller {
    pub fn user(&self) -> UserId {
        self.user
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// The one client that the caller belongs to; absent for whoever belongs to the desk.
    pub fn client(&self) -> Option<ClientId> {
        self.client
    }

    /// The login that the caller came by; of a program, its token.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What the caller's token is for; absent in a session, which is for everything.
    pub fn scopes(&self) -> Option<Scopes> {
        self.scopes
    }

    /// When the caller last proved who it is.
    pub fn auth_time(&self) -> Time {
        self.auth_time
    }

    pub fn reach(&self) -> Reach {
        match (self.client, self.role) {
            (Some(client), _) => Reach::Own(client),
            (None, Role::Admin | Role::Operator | Role::Service) => Reach::Every,
            // A client's user without a client is none that we let in.
            (None, Role::Auditor | Role::ClientOwner | Role::ClientViewer) => Reach::Granted,
        }
    }
}

/// Whether a user of this role may belong to this client, or to none. The desk is no client, so nobody's user is its.
pub(crate) fn belongs(role: Role, client: Option<ClientId>) -> bool {
    match role {
        Role::Admin | Role::Operator | Role::Auditor => client.is_none(),
        Role::ClientOwner | Role::ClientViewer => client.is_some_and(|client| client != ClientId::DESK),
        Role::Service => client != Some(ClientId::DESK),
    }
}

impl Scopes {
    pub fn contain(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    pub fn all(self) -> impl Iterator<Item = Scope> {
        [Scope::Read, Scope::Trade, Scope::Keys, Scope::Admin].into_iter().filter(move |scope| self.contain(*scope))
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

/// Each contains reading.
impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let bits = scopes.into_iter().fold(0, |bits, scope| bits | bit(scope));
        Self(if bits == 0 { 0 } else { bits | bit(Scope::Read) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_belongs_to_the_desk_as_a_client_and_each_role_stands_on_one_side() {
        let (some, desk) = (Some(ClientId::new()), Some(ClientId::DESK));
        for (role, none, client) in [
            (Role::Admin, true, false),
            (Role::Operator, true, false),
            (Role::Auditor, true, false),
            (Role::ClientOwner, false, true),
            (Role::ClientViewer, false, true),
            (Role::Service, true, true),
        ] {
            assert_eq!((belongs(role, None), belongs(role, some)), (none, client), "{role:?}");
            assert!(!belongs(role, desk), "{role:?}");
        }
    }

    #[test]
    fn every_scope_contains_reading_and_no_scope_contains_nothing() {
        let none: Scopes = [].into_iter().collect();
        assert_eq!(none.all().count(), 0);
        for scope in [Scope::Read, Scope::Trade, Scope::Keys, Scope::Admin] {
            let scopes: Scopes = [scope].into_iter().collect();
            assert!(scopes.contain(Scope::Read) && scopes.contain(scope));
            assert_eq!(scopes.all().count(), if scope == Scope::Read { 1 } else { 2 });
        }
    }
}
