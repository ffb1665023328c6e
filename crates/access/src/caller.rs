//! Who is asking. Having a [`Caller`] is having proved it: only a verified token makes one.

use events::{ClientId, UserId, desk::Role};

/// Who is asking, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Admin(Admin),
    Client(ClientUser),
}

/// A person of the desk: sees and does everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    user: UserId,
}

/// A person of one client: sees that client's things, and no others exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientUser {
    user: UserId,
    client: ClientId,
}

impl Caller {
    /// None if role and client contradict each other. The desk is no client, so nobody's user is its.
    pub(crate) fn proved(user: UserId, role: Role, client: Option<ClientId>) -> Option<Self> {
        match (role, client) {
            (Role::Admin, None) => Some(Self::Admin(Admin { user })),
            (Role::Client, Some(client)) if client != ClientId::DESK => Some(Self::Client(ClientUser { user, client })),
            (Role::Admin, Some(_)) | (Role::Client, Some(_) | None) => None,
        }
    }

    pub fn user(&self) -> UserId {
        match self {
            Self::Admin(admin) => admin.user,
            Self::Client(of) => of.user,
        }
    }

    pub fn role(&self) -> Role {
        match self {
            Self::Admin(_) => Role::Admin,
            Self::Client(_) => Role::Client,
        }
    }

    /// The one client that the caller belongs to; absent for an admin.
    pub fn client(&self) -> Option<ClientId> {
        match self {
            Self::Admin(_) => None,
            Self::Client(of) => Some(of.client),
        }
    }
}

impl Admin {
    pub fn user(&self) -> UserId {
        self.user
    }
}

impl ClientUser {
    pub fn user(&self) -> UserId {
        self.user
    }

    pub fn client(&self) -> ClientId {
        self.client
    }
}
