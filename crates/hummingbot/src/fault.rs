//! What can go wrong with a call: what we were doing, to what, and why it failed.

use std::{error::Error, fmt, time::Duration};

use events::AccountName;

/// A call that brought no good answer.
///
/// No fault holds a secret: what the server wrote is cleared of every value that we sent before it gets in here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not {doing}: {why}")]
pub struct Fault {
    /// What we were doing and to what: `add a credential for binance to account c1`.
    pub doing: String,
    /// Why that failed.
    pub why: Why,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It was not sent: what we were asked to send would do harm.
    #[error("not sent: {0}")]
    NotSent(String),
    /// No connection, so nothing was sent.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection ended before the answer did.
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the user or password was not accepted")]
    Unauthorised,
    #[error("not found: {0}")]
    NotFound(String),
    /// The server did not understand the request; the fields that it named.
    #[error("the request was not accepted: {}", in_words(.0))]
    Invalid(Vec<FieldFault>),
    /// The server understood and said no, perhaps with status 200.
    #[error("refused (status {status}): {reason}")]
    Refused { status: u16, reason: String },
    /// The server broke on the way.
    #[error("the server failed (status {status}): {text}")]
    Failed { status: u16, text: String },
    #[error("answered with a redirect (status {0}), which is not followed")]
    Redirected(u16),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer could not be read: {0}")]
    Unreadable(String),
    /// Rows of another account came back: none of them is used.
    #[error("the answer holds rows of account {0}")]
    OtherAccount(AccountName),
    /// More rows than one page holds lie where they cannot be told apart any further.
    #[error("more than {most} rows {place}: they cannot all be fetched")]
    TooMany { most: usize, place: String },
}

/// One field that the server did not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// Where it stands: `body.limit`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(doing: impl fmt::Display, why: Why) -> Self {
        Self { doing: doing.to_string(), why }
    }

    /// Whether the server says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.why, Why::NotFound(_))
    }

    /// Whether the call may have been carried out although no good answer came: it must then be looked up, not repeated.
    pub fn may_have_happened(&self) -> bool {
        match self.why {
            Why::Broken(_) | Why::TimedOut(_) | Why::Failed { .. } | Why::TooLarge(_) | Why::Unreadable(_) => true,
            // The rows are wrong, but there are rows: whatever was asked was done.
            Why::OtherAccount(_) | Why::TooMany { .. } => true,
            Why::NotSent(_) | Why::Unreachable(_) | Why::Unauthorised | Why::NotFound(_) => false,
            Why::Invalid(_) | Why::Refused { .. } | Why::Redirected(_) => false,
        }
    }

    /// Whether it was understood and not done, and will not be however often it is asked: an answer for whoever wanted it.
    pub fn is_refusal(&self) -> bool {
        matches!(self.why, Why::NotSent(_) | Why::Invalid(_) | Why::Refused { .. })
    }

    /// Whether the same read may bring an answer when it is asked again at once.
    pub(crate) fn is_passing(&self) -> bool {
        match self.why {
            Why::Unreachable(_) | Why::Broken(_) | Why::TimedOut(_) => true,
            // What a proxy in front says while the server restarts. 500 and 504 are the server's own, and stay.
            Why::Failed { status, .. } => matches!(status, 502 | 503),
            Why::TooLarge(_) | Why::Unreadable(_) | Why::OtherAccount(_) | Why::TooMany { .. } => false,
            Why::NotSent(_) | Why::Unauthorised | Why::NotFound(_) => false,
            Why::Invalid(_) | Why::Refused { .. } | Why::Redirected(_) => false,
        }
    }
}

fn in_words(fields: &[FieldFault]) -> String {
    fields.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect::<Vec<_>>().join("; ")
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
