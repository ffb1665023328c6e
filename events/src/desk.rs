//! The desk's own stream: who may log in, which clients there are, what an operator did to a projection.

use serde::{Deserialize, Serialize};

use crate::{ClientId, Slug, Time, UserId, Uuid};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and does everything on the desk.
    Admin,
    /// Belongs to one client and acts for it.
    Client,
}

/// Facts of the desk's stream. No client ever sees one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum DeskEvent {
    /// A client got its id. Its slug belongs to it for ever.
    ClientRegistered { client: ClientId, slug: Slug, at: Time },
    /// A person may log in. Who that is, and the password's hash, stand in the `auth` schema and never here.
    UserAdded { user: UserId, role: Role, client: Option<ClientId>, at: Time },
    /// A parked projection shall try this event of this client again.
    ParkedRetried { projection: String, client: ClientId, seq: u64, at: Time },
    /// A parked projection shall go on without this event of this client, live and in every rebuild.
    ParkedSkipped { projection: String, client: ClientId, seq: u64, reason: String, at: Time },
    /// NATS holds something else than this event of this client: nothing more of the client is published until a person
    /// has removed that copy.
    RelayDiverged { client: ClientId, seq: u64, at: Time },
    /// Something came in that belongs to nobody for sure. Its bytes are kept whole under this id.
    Quarantined { quarantine: Uuid, instance: String, reason: String, raw_hash: String, at: Time },
    /// So many clients' data keys shall be wrapped by the newest key of `ENCRYPTION_KEY`, each told by its `kek_id`. One
    /// without its `KeyRotationDone` was interrupted; the next one does the rest.
    KeyRotationBegun { from: Vec<String>, to: String, clients: u64, at: Time },
    /// No data key is wrapped by an older key any more; this run wrapped so many anew.
    KeyRotationDone { to: String, clients: u64, at: Time },
    /// Somebody had every sealed credential tried, whether it opens; none was shown.
    VaultChecked { credentials: u64, at: Time },
}

impl DeskEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::ClientRegistered { at, .. }
            | Self::UserAdded { at, .. }
            | Self::ParkedRetried { at, .. }
            | Self::ParkedSkipped { at, .. }
            | Self::RelayDiverged { at, .. }
            | Self::Quarantined { at, .. }
            | Self::KeyRotationBegun { at, .. }
            | Self::KeyRotationDone { at, .. }
            | Self::VaultChecked { at, .. } => *at,
        }
    }
}
