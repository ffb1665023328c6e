//! The desk's own stream: who may log in, which clients there are, what an operator did to a projection.

use serde::{Deserialize, Serialize};

use crate::{ClientId, SessionId, Slug, Time, TokenId, UserId, Uuid};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and does everything, and decides who else may.
    Admin,
    /// Works for the desk: sees every client, acts for each, lets clients in and out; decides about no user.
    Operator,
    /// Belongs to no client: reads the clients that an admin grants, as long as the grant lasts.
    Auditor,
    /// Acts for its client, and decides about that client's users. Events tell it as `client`, too, its first name.
    #[serde(alias = "client")]
    ClientOwner,
    /// Sees what its client has, and changes nothing.
    ClientViewer,
    /// A program, of a client or of the desk: does what its tokens say.
    Service,
}

/// What somebody proved with who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Factor {
    /// A password.
    #[serde(rename = "pwd")]
    Password,
    /// A code that changes every half minute.
    #[serde(rename = "otp")]
    Otp,
    /// One of the codes for whoever has lost what shows the others.
    #[serde(rename = "recovery")]
    RecoveryCode,
}

/// What a token is for. One that a person gets by logging in is for everything that this person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Seeing what is there. Each of the others contains it.
    Read,
    /// Bots and orders.
    Trade,
    /// Keys to exchanges.
    Keys,
    /// Letting clients in and out, and seeing who there is. Who may do what is decided by people alone.
    Admin,
}

/// Why a session counts no more before its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyEnded {
    /// Its user logged out there.
    LoggedOut,
    /// It was ended from another session: by its user, or by an admin.
    Ended,
    /// A refresh token came a second time: somebody else has it.
    RefreshReused,
    /// Its user's password was changed.
    PasswordChanged,
    /// Its user was barred.
    Barred,
    /// Its user shows a second factor from now on, and did not there.
    SecondFactorAdded,
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
    /// Somebody logged in, and by what. From where stands in the `auth` schema and never here.
    SessionOpened { session: SessionId, user: UserId, how: Vec<Factor>, at: Time },
    /// A session counts no more. `by` is absent where the platform ended it by itself.
    SessionRevoked { session: SessionId, user: UserId, by: Option<UserId>, reason: WhyEnded, at: Time },
    /// A refresh token came that had been used: its user, or whoever has stolen it, has an older one than the other.
    RefreshReused { session: SessionId, user: UserId, at: Time },
    /// A user may do something else from now on.
    RoleChanged { user: UserId, from: Role, to: Role, by: UserId, reason: String, at: Time },
    /// A user has another password; sessions that were opened with the old one have ended.
    PasswordChanged { user: UserId, at: Time },
    /// A user is let in no more. `by` is absent where its client has left.
    UserBarred { user: UserId, by: Option<UserId>, reason: String, at: Time },
    /// A user is let in again.
    UserUnbarred { user: UserId, by: UserId, reason: String, at: Time },
    /// Somebody was asked to come, by a link that is good once. Whoever uses it is added by that.
    UserInvited { user: UserId, role: Role, client: Option<ClientId>, by: UserId, expires_at: Time, at: Time },
    /// A user was given a link that is good once, to choose a password by.
    PasswordLinkIssued { user: UserId, by: UserId, expires_at: Time, at: Time },
    /// From now on a user shows a code that changes every half minute beside the password.
    SecondFactorAdded { user: UserId, at: Time },
    /// A user shows the password alone again. `by` somebody else where the user has lost what shows the codes, and absent
    /// where that was done at the machine itself.
    SecondFactorRemoved { user: UserId, by: Option<UserId>, at: Time },
    /// A user has other recovery codes; the earlier ones count no more.
    RecoveryCodesRenewed { user: UserId, at: Time },
    /// A user proved once more who it is, and by what, before doing what needs that.
    SteppedUp { session: SessionId, user: UserId, how: Factor, at: Time },
    /// A program may act for this user, as far as its scopes go.
    TokenIssued { token: TokenId, user: UserId, scopes: Vec<Scope>, expires_at: Time, by: UserId, at: Time },
    /// It may not any more.
    TokenRevoked { token: TokenId, user: UserId, by: UserId, at: Time },
    /// An auditor may read what this client has, for so long.
    GrantGiven { user: UserId, client: ClientId, until: Time, by: UserId, reason: String, at: Time },
    /// An auditor may not any more, before its time.
    GrantWithdrawn { user: UserId, client: ClientId, by: UserId, reason: String, at: Time },
    /// Somebody who is not the client's own looked at what a client has, or at all clients at once; told once an hour for
    /// each route.
    ClientAccessed { user: UserId, client: Option<ClientId>, route: String, at: Time },
    /// So many logins of a user failed since then, one after the other.
    LoginsFailed { user: UserId, failures: u32, since: Time, at: Time },
    /// How far a part of the platform was behind the streams, in events of all clients and in time; told when that passes a
    /// step. `part`: `relay`, or `projection:` and the name of a read model.
    LagObserved { part: String, events: u64, age_us: u64, at: Time },
    /// The Hummingbot API has not answered since then.
    HummingbotLost { since: Time, reason: String, at: Time },
    /// It answers again.
    HummingbotBack { at: Time },
    /// Nobody has evaluated alerts since then. Another part of the platform tells it.
    AlertsSilent { since: Time, at: Time },
    /// Alerts are evaluated again.
    AlertsBack { at: Time },
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
            | Self::VaultChecked { at, .. }
            | Self::SessionOpened { at, .. }
            | Self::SessionRevoked { at, .. }
            | Self::RefreshReused { at, .. }
            | Self::RoleChanged { at, .. }
            | Self::PasswordChanged { at, .. }
            | Self::UserBarred { at, .. }
            | Self::UserUnbarred { at, .. }
            | Self::UserInvited { at, .. }
            | Self::PasswordLinkIssued { at, .. }
            | Self::SecondFactorAdded { at, .. }
            | Self::SecondFactorRemoved { at, .. }
            | Self::RecoveryCodesRenewed { at, .. }
            | Self::SteppedUp { at, .. }
            | Self::TokenIssued { at, .. }
            | Self::TokenRevoked { at, .. }
            | Self::GrantGiven { at, .. }
            | Self::GrantWithdrawn { at, .. }
            | Self::ClientAccessed { at, .. }
            | Self::LoginsFailed { at, .. }
            | Self::LagObserved { at, .. }
            | Self::HummingbotLost { at, .. }
            | Self::HummingbotBack { at }
            | Self::AlertsSilent { at, .. }
            | Self::AlertsBack { at } => *at,
        }
    }
}
