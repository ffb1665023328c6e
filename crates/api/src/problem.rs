//! What an answer that is none looks like: RFC 9457, one closed set of codes, a detail that says what to do.

use std::time::Duration;

use ::alerts::notify::target::BadTarget;
use access::{
    ChangeError, FactorError, LinkError, LoginError, LoginRefusal, RefreshError, people::PeopleError,
    programs::TokenError,
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    agreement::AgreementRefusal, alert::AlertRefusal, alert_rule::RuleRefusal, bot::BotRefusal,
    channel::ChannelRefusal, client::ClientRefusal, credential::CredentialRefusal, manual::ManualRefusal,
    schedule::ScheduleRefusal, silence::SilenceRefusal, subscription::SubscriptionRefusal,
};
use events::fields::FieldsRefusal;
use projections::projection::ProjectError;
use serde::Serialize;
use store::{AppendError, DeskError, ExecuteError, ReadError};
use utoipa::ToSchema;
use vault::VaultError;

/// Why a request was not answered. A code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be read.
    BadRequest,
    /// It can be read, but something it says cannot be.
    Invalid,
    /// No token, or none that counts.
    Unauthenticated,
    /// No such user with this password.
    WrongCredentials,
    /// The caller may not do this.
    Forbidden,
    /// This takes a second factor, and the caller has none.
    SecondFactorMissing,
    /// Who this is was proved too long ago for what it wants.
    StepUpNeeded,
    /// A cookie alone may change nothing.
    CsrfTokenMissing,
    /// There is nothing here, or nothing of yours.
    NotFound,
    MethodNotAllowed,
    /// What is there stands against it.
    Conflict,
    /// A command comes with a key, so that sending it twice does it once.
    IdempotencyKeyMissing,
    /// The key belongs to another command.
    IdempotencyKeyReused,
    TooLarge,
    UnsupportedMediaType,
    /// Too many failed logins.
    TooManyRequests,
    /// More is asked than one may in this time, or at once: `RateLimit` and `Retry-After` tell how much and when.
    RateLimited,
    /// More is asked by all together than can be answered in time.
    Overloaded,
    /// The request is for a host that is not this one.
    WrongHost,
    /// The read model is not as far as the answer has to be.
    NotReachedYet,
    /// It may work later: send the same again.
    Unavailable,
    /// Our fault; it is in the log.
    Internal,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::IdempotencyKeyMissing => StatusCode::BAD_REQUEST,
            Self::Invalid | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthenticated | Self::WrongCredentials => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::SecondFactorMissing | Self::StepUpNeeded | Self::CsrfTokenMissing => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests | Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NotReachedYet | Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The name as it is sent.
    pub fn name(self) -> String {
        let value = serde_json::to_value(self).expect("a unit variant has a JSON form");
        value.as_str().expect("it is a text").to_owned()
    }
}

/// A request that was not answered.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    retry_after: Option<Duration>,
}

/// A problem as it is sent, `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:pipelabs:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    pub status: u16,
    pub code: Code,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    pub fn not_found() -> Self {
        // The same words for what never was and for what is somebody else's.
        Self::new(Code::NotFound, "there is nothing here that is yours")
    }

    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    pub fn unavailable() -> Self {
        let detail = "the answer cannot be had at the moment: send the same again; a command with its key is done once";
        Self::new(Code::Unavailable, detail).retry_after(Duration::from_secs(1))
    }

    pub fn internal() -> Self {
        Self::new(Code::Internal, "this is our fault and was noted; nothing was changed that you were not told of")
    }

    /// Whether the same may be answered later.
    pub fn passes(&self) -> bool {
        self.code == Code::Unavailable
    }

    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            kind: format!("urn:pipelabs:problem:{}", self.code.name()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail,
        };
        let body = serde_json::to_vec(&body).expect("a problem has a JSON form");
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(pause) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pipelabs\""));
        }
        response
    }
}

impl From<BotRefusal> for Problem {
    fn from(refusal: BotRefusal) -> Self {
        match refusal {
            BotRefusal::NotCreated => Self::not_found(),
            BotRefusal::AlreadyCreated
            | BotRefusal::AlreadyWanted
            | BotRefusal::NotWanted
            | BotRefusal::NoController
            | BotRefusal::NotAskedToDeploy
            | BotRefusal::NotAskedToStop
            | BotRefusal::MovedWhileRunning
            | BotRefusal::ScriptRuns
            | BotRefusal::SameConfig => Self::new(Code::Conflict, refusal.to_string()),
            BotRefusal::ControllerName(_)
            | BotRefusal::ParameterName(_)
            | BotRefusal::ParameterValue(_)
            | BotRefusal::Reason
            | BotRefusal::NoCap(_)
            | BotRefusal::BothControllerAndScript
            | BotRefusal::Limit { .. }
            | BotRefusal::TooManyParameters(_) => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<ClientRefusal> for Problem {
    fn from(refusal: ClientRefusal) -> Self {
        match refusal {
            ClientRefusal::NotOnboarded => Self::not_found(),
            ClientRefusal::AlreadyOnboarded
            | ClientRefusal::Offboarded
            | ClientRefusal::NotAskedToDestroy
            | ClientRefusal::AccountOpen(_) => Self::new(Code::Conflict, refusal.to_string()),
            ClientRefusal::NameLength(_) | ClientRefusal::Unreadable(_) | ClientRefusal::Reason => {
                Self::invalid(refusal.to_string())
            }
        }
    }
}

impl From<CredentialRefusal> for Problem {
    fn from(refusal: CredentialRefusal) -> Self {
        match refusal {
            CredentialRefusal::NotStored => Self::not_found(),
            CredentialRefusal::AlreadyStored
            | CredentialRefusal::Superseded
            | CredentialRefusal::NotVerified
            | CredentialRefusal::Revoked
            | CredentialRefusal::NotAskedToRevoke => Self::new(Code::Conflict, refusal.to_string()),
            CredentialRefusal::Reason => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<ManualRefusal> for Problem {
    fn from(refusal: ManualRefusal) -> Self {
        match refusal {
            ManualRefusal::NotRequested => Self::not_found(),
            ManualRefusal::AlreadyRequested
            | ManualRefusal::NoVenue
            | ManualRefusal::NotWaiting
            | ManualRefusal::NotStarted
            | ManualRefusal::NotSubmitted
            | ManualRefusal::Over
            | ManualRefusal::AlreadyCancelling
            | ManualRefusal::NothingToDecide
            | ManualRefusal::WasPlaced
            | ManualRefusal::NotAskedToCancel => Self::new(Code::Conflict, refusal.to_string()),
            ManualRefusal::Market
            | ManualRefusal::NoPrice
            | ManualRefusal::NoOrder
            | ManualRefusal::Reason
            | ManualRefusal::Number { .. } => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<SubscriptionRefusal> for Problem {
    fn from(refusal: SubscriptionRefusal) -> Self {
        match refusal {
            SubscriptionRefusal::NotThere => Self::not_found(),
            SubscriptionRefusal::AlreadyThere
            | SubscriptionRefusal::Revoked
            | SubscriptionRefusal::Barred
            | SubscriptionRefusal::SameKey
            | SubscriptionRefusal::KeyWasUsed
            | SubscriptionRefusal::TooOften => Self::new(Code::Conflict, refusal.to_string()),
            SubscriptionRefusal::Reason => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<AlertRefusal> for Problem {
    fn from(refusal: AlertRefusal) -> Self {
        match refusal {
            AlertRefusal::NotThere => Self::not_found(),
            AlertRefusal::Over => Self::new(Code::Conflict, refusal.to_string()),
            AlertRefusal::Until | AlertRefusal::Note => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<RuleRefusal> for Problem {
    fn from(refusal: RuleRefusal) -> Self {
        match refusal {
            RuleRefusal::AlreadySo | RuleRefusal::NotConfigured => Self::new(Code::Conflict, refusal.to_string()),
            RuleRefusal::Unknown { .. }
            | RuleRefusal::Scope { .. }
            | RuleRefusal::About
            | RuleRefusal::Range { .. }
            | RuleRefusal::Decimals { .. }
            | RuleRefusal::Order { .. } => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<SilenceRefusal> for Problem {
    fn from(refusal: SilenceRefusal) -> Self {
        match refusal {
            SilenceRefusal::NotThere => Self::not_found(),
            SilenceRefusal::AlreadyThere | SilenceRefusal::Over => Self::new(Code::Conflict, refusal.to_string()),
            SilenceRefusal::Until | SilenceRefusal::Reason => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<ChannelRefusal> for Problem {
    fn from(refusal: ChannelRefusal) -> Self {
        match refusal {
            ChannelRefusal::NotThere => Self::not_found(),
            ChannelRefusal::AlreadyThere
            | ChannelRefusal::AlreadySo
            | ChannelRefusal::Off
            | ChannelRefusal::TestedJustNow => Self::new(Code::Conflict, refusal.to_string()),
            ChannelRefusal::Wait | ChannelRefusal::Quiet | ChannelRefusal::Reason => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<ScheduleRefusal> for Problem {
    fn from(refusal: ScheduleRefusal) -> Self {
        match refusal {
            ScheduleRefusal::NotThere => Self::not_found(),
            ScheduleRefusal::AlreadyThere | ScheduleRefusal::AlreadySo | ScheduleRefusal::NotTriggered => {
                Self::new(Code::Conflict, refusal.to_string())
            }
            ScheduleRefusal::Expression(_)
            | ScheduleRefusal::Never
            | ScheduleRefusal::TooOften
            | ScheduleRefusal::Reason => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<AgreementRefusal> for Problem {
    fn from(refusal: AgreementRefusal) -> Self {
        match refusal {
            AgreementRefusal::NotThere => Self::not_found(),
            AgreementRefusal::AlreadyThere | AgreementRefusal::Unjudged | AgreementRefusal::NotDue => {
                Self::new(Code::Conflict, refusal.to_string())
            }
            AgreementRefusal::Count
            | AgreementRefusal::Clause
            | AgreementRefusal::Exclusion
            | AgreementRefusal::Reason => Self::invalid(refusal.to_string()),
        }
    }
}

impl From<BadTarget> for Problem {
    fn from(bad: BadTarget) -> Self {
        Self::invalid(bad.to_string())
    }
}

impl From<FieldsRefusal> for Problem {
    fn from(refusal: FieldsRefusal) -> Self {
        Self::invalid(refusal.to_string())
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Database(cause) => cause.into(),
            VaultError::Missing(_) | VaultError::DataKey { .. } => broken(&error),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused(refusal @ LoginRefusal::WrongCredentials) => {
                Self::new(Code::WrongCredentials, refusal.to_string())
            }
            LoginError::Refused(refusal @ LoginRefusal::Throttled { retry_after }) => {
                Self::new(Code::TooManyRequests, refusal.to_string()).retry_after(retry_after)
            }
            LoginError::Database(cause) => cause.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Login(LoginError::Refused(LoginRefusal::WrongCredentials)) => {
                Self::new(Code::WrongCredentials, "this is not your password")
            }
            ChangeError::Login(error) => error.into(),
            ChangeError::Password(refusal) => Self::invalid(refusal.to_string()),
            ChangeError::Database(cause) => cause.into(),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Unknown => Self::new(Code::WrongCredentials, error.to_string()),
            LinkError::Password(refusal) => Self::invalid(refusal.to_string()),
            LinkError::Database(cause) => cause.into(),
        }
    }
}

impl From<FactorError> for Problem {
    fn from(error: FactorError) -> Self {
        match error {
            FactorError::Refused(refusal) => LoginError::Refused(refusal).into(),
            FactorError::WrongCode | FactorError::NoTicket => Self::new(Code::WrongCredentials, error.to_string()),
            FactorError::AlreadyThere | FactorError::NotThere => Self::new(Code::Conflict, error.to_string()),
            FactorError::Database(cause) => cause.into(),
        }
    }
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::NotThere => Self::not_found(),
            PeopleError::Exists
            | PeopleError::Oneself
            | PeopleError::LastAdmin
            | PeopleError::AlreadySo
            | PeopleError::NoAuditor
            | PeopleError::BarredByDesk
            | PeopleError::IsBarred => Self::new(Code::Conflict, error.to_string()),
            PeopleError::RoleOfDesk | PeopleError::RoleOfClient | PeopleError::Program | PeopleError::Until => {
                Self::invalid(error.to_string())
            }
            PeopleError::Database(cause) => cause.into(),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotThere => Self::not_found(),
            TokenError::TooMany => Self::new(Code::Conflict, error.to_string()),
            TokenError::NoScope | TokenError::Days => Self::invalid(error.to_string()),
            TokenError::Database(cause) => cause.into(),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            // In the same words whatever is wrong with it.
            RefreshError::Refused(refusal) => {
                tracing::debug!("a session does not go on: {refusal}");
                Self::unauthenticated("this refresh token does not count: log in again")
            }
            RefreshError::Database(cause) => cause.into(),
        }
    }
}

impl<Refusal> From<ExecuteError<Refusal>> for Problem
where
    Refusal: std::error::Error + Into<Self> + 'static,
{
    fn from(error: ExecuteError<Refusal>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => refusal.into(),
            ExecuteError::Append(cause) => cause.into(),
            ExecuteError::Read(cause) => cause.into(),
        }
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Append(cause) => cause.into(),
            DeskError::Read(cause) => cause.into(),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { .. } => {
                Self::new(Code::Conflict, "it was changed at the same time: look again, then decide")
            }
            AppendError::Refused { reason, .. } => Self::invalid(reason),
            AppendError::Fault { .. } | AppendError::Unknown(_) | AppendError::Closed => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a command could not be kept");
                Self::unavailable()
            }
            AppendError::PartlyStored { .. } | AppendError::Stale { .. } => broken(&error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database { cause, .. } => cause.into(),
            ReadError::Corrupt(_) => broken(&error),
        }
    }
}

impl From<ProjectError> for Problem {
    fn from(error: ProjectError) -> Self {
        if error.is_transient() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a question could not be answered");
            Self::unavailable()
        } else {
            broken(&error)
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        ProjectError::from(error).into()
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "a request could not be answered");
    Problem::internal()
}
