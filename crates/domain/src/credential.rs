//! A credential's life: stored, verified, active; rotated, failing; revoked. Asking comes first, the deed follows.
//!
//! There is one for each market of an exchange, under an id that follows from both. A rotation brings other values under
//! the same id, so that one decision knows them all: the old values stay in use until the new ones are active, and what
//! is told of values that were superseded meanwhile is refused. One that was revoked may be stored again.

use events::{
    Exchange, Market, SealedId, Time,
    credential::{CredentialEvent, Values},
};
use serde::{Deserialize, Serialize};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// What can be wanted of a credential, and what the operator tells of it.
#[derive(Debug, Clone)]
pub enum CredentialCommand {
    Store { exchange: Exchange, market: Market, values: Values, at: Time },
    Rotate { values: Values, at: Time },
    ConfirmVerified { sealed: SealedId, at: Time },
    ConfirmActive { sealed: SealedId, at: Time },
    ReportFailing { sealed: SealedId, reason: String, at: Time },
    Revoke { reason: String, at: Time },
    ConfirmRevoked { at: Time },
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Put these values into the Hummingbot API, which tries them at the exchange.
    Connect { sealed: SealedId },
    /// Take the credential out of the Hummingbot API and out of the vault.
    Withdraw,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    #[error("there is a credential for this market of the exchange already: rotate it, or revoke it first")]
    AlreadyStored,
    #[error("there is no such credential")]
    NotStored,
    #[error("these values were superseded by others")]
    Superseded,
    #[error("the values were not verified since they were stored or failed")]
    NotVerified,
    #[error("the credential is revoked, or about to be")]
    Revoked,
    #[error("nobody asked for the credential to be revoked")]
    NotAskedToRevoke,
    #[error("a reason is one line of at most {REASON_MAX} characters")]
    Reason,
}

/// Where the newest values are on their way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Absent,
    Stored,
    Verified,
    Active,
    Failing {
        reason: String,
    },
    Revoking,
    Revoked,
}

/// What a decision about a credential must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    phase: Phase,
    place: Option<(Exchange, Market)>,
    newest: Option<SealedId>,
    /// What the Hummingbot API trades with.
    active: Option<SealedId>,
}

impl Credential {
    /// Decides a command.
    pub fn decide(&self, command: CredentialCommand) -> Result<Vec<CredentialEvent>, CredentialRefusal> {
        match command {
            CredentialCommand::Store { exchange, market, values, at } => match self.phase {
                Phase::Absent | Phase::Revoked => {
                    Ok(vec![CredentialEvent::CredentialStored { exchange, market, values, at }])
                }
                Phase::Stored | Phase::Verified | Phase::Active | Phase::Failing { .. } | Phase::Revoking => {
                    Err(CredentialRefusal::AlreadyStored)
                }
            },
            CredentialCommand::Rotate { values, at } => {
                let supersedes = self.live()?;
                Ok(vec![CredentialEvent::CredentialRotated { supersedes, values, at }])
            }
            CredentialCommand::ConfirmVerified { sealed, at } => self.verified(sealed, at),
            CredentialCommand::ConfirmActive { sealed, at } => self.activated(sealed, at),
            CredentialCommand::ReportFailing { sealed, reason, at } => self.failing(sealed, reason, at),
            CredentialCommand::Revoke { reason, at } => {
                self.live()?;
                Ok(vec![CredentialEvent::CredentialRevokeRequested { reason: readable(reason)?, at }])
            }
            CredentialCommand::ConfirmRevoked { at } => match self.phase {
                Phase::Revoking => Ok(vec![CredentialEvent::CredentialRevoked { at }]),
                Phase::Revoked => Ok(Vec::new()),
                Phase::Absent | Phase::Stored | Phase::Verified | Phase::Active | Phase::Failing { .. } => {
                    Err(CredentialRefusal::NotAskedToRevoke)
                }
            },
        }
    }

    /// News that say nothing new are no facts worth keeping.
    fn verified(&self, sealed: SealedId, at: Time) -> Result<Vec<CredentialEvent>, CredentialRefusal> {
        self.is_newest(sealed)?;
        match self.phase {
            Phase::Verified | Phase::Active => Ok(Vec::new()),
            Phase::Absent | Phase::Stored | Phase::Failing { .. } | Phase::Revoking | Phase::Revoked => {
                Ok(vec![CredentialEvent::CredentialVerified { sealed, at }])
            }
        }
    }

    fn activated(&self, sealed: SealedId, at: Time) -> Result<Vec<CredentialEvent>, CredentialRefusal> {
        self.is_newest(sealed)?;
        match self.phase {
            Phase::Verified => Ok(vec![CredentialEvent::CredentialActive { sealed, at }]),
            Phase::Active => Ok(Vec::new()),
            Phase::Absent | Phase::Stored | Phase::Failing { .. } | Phase::Revoking | Phase::Revoked => {
                Err(CredentialRefusal::NotVerified)
            }
        }
    }

    fn failing(&self, sealed: SealedId, why: String, at: Time) -> Result<Vec<CredentialEvent>, CredentialRefusal> {
        self.is_newest(sealed)?;
        match &self.phase {
            Phase::Failing { reason } if *reason == why => Ok(Vec::new()),
            Phase::Absent
            | Phase::Stored
            | Phase::Verified
            | Phase::Active
            | Phase::Failing { .. }
            | Phase::Revoking
            | Phase::Revoked => Ok(vec![CredentialEvent::CredentialFailing { sealed, reason: readable(why)?, at }]),
        }
    }

    /// The newest values, while the credential is in use.
    fn live(&self) -> Result<SealedId, CredentialRefusal> {
        match self.phase {
            Phase::Absent => Err(CredentialRefusal::NotStored),
            Phase::Revoking | Phase::Revoked => Err(CredentialRefusal::Revoked),
            Phase::Stored | Phase::Verified | Phase::Active | Phase::Failing { .. } => {
                self.newest.ok_or(CredentialRefusal::NotStored)
            }
        }
    }

    fn is_newest(&self, sealed: SealedId) -> Result<(), CredentialRefusal> {
        if self.live()? == sealed { Ok(()) } else { Err(CredentialRefusal::Superseded) }
    }

    /// What is to be done next for it to be as it is wanted.
    pub fn task(&self) -> Option<Task> {
        match self.phase {
            Phase::Stored | Phase::Verified => self.newest.map(|sealed| Task::Connect { sealed }),
            Phase::Revoking => Some(Task::Withdraw),
            Phase::Absent | Phase::Active | Phase::Failing { .. } | Phase::Revoked => None,
        }
    }

    /// The market that it is for; absent: it was never stored.
    pub fn place(&self) -> Option<(Exchange, Market)> {
        self.place
    }

    /// Whether these values may still be needed: the newest, and those that are in use until the newest are active.
    pub fn holds(&self, sealed: SealedId) -> bool {
        [self.newest, self.active].contains(&Some(sealed))
    }

    /// Whether it is to be used.
    pub fn is_live(&self) -> bool {
        self.live().is_ok()
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: CredentialEvent) {
        if let CredentialEvent::CredentialStored { exchange, market, .. } = &event {
            self.place = Some((*exchange, *market));
        }
        match event {
            CredentialEvent::CredentialStored { values, .. } | CredentialEvent::CredentialRotated { values, .. } => {
                (self.phase, self.newest) = (Phase::Stored, Some(values.sealed));
            }
            CredentialEvent::CredentialVerified { .. } => self.phase = Phase::Verified,
            CredentialEvent::CredentialActive { sealed, .. } => {
                (self.phase, self.active) = (Phase::Active, Some(sealed));
            }
            CredentialEvent::CredentialFailing { reason, .. } => self.phase = Phase::Failing { reason },
            CredentialEvent::CredentialRevokeRequested { .. } => self.phase = Phase::Revoking,
            CredentialEvent::CredentialRevoked { .. } => {
                (self.phase, self.newest, self.active) = (Phase::Revoked, None, None);
            }
            CredentialEvent::CredentialOpened { .. } | CredentialEvent::CredentialRefused { .. } => {}
        }
    }
}

fn readable(reason: String) -> Result<String, CredentialRefusal> {
    let fine = reason.chars().count() <= REASON_MAX && !reason.contains(char::is_control);
    if fine { Ok(reason) } else { Err(CredentialRefusal::Reason) }
}

crate::aggregate!(Credential, "credential", CredentialCommand, CredentialEvent, CredentialRefusal);

#[cfg(test)]
mod tests {
    use events::{Uuid, credential::Fingerprint};
    use proptest::prelude::*;

    use super::*;

    const AT: Time = Time::EPOCH;

    fn check(
        given: impl IntoIterator<Item = CredentialEvent>,
        when: CredentialCommand,
        then: Result<Vec<CredentialEvent>, CredentialRefusal>,
    ) {
        let mut credential = Credential::default();
        given.into_iter().for_each(|event| credential.remember(event));
        assert_eq!(credential.decide(when), then);
    }

    fn sealed(n: u128) -> SealedId {
        SealedId(Uuid::from_u128(n))
    }

    fn values(n: u128) -> Values {
        Values { sealed: sealed(n), fingerprint: Fingerprint::of([7; 8]), last_four: None }
    }

    fn stored(n: u128) -> CredentialEvent {
        CredentialEvent::CredentialStored { exchange: Exchange::Okx, market: Market::Spot, values: values(n), at: AT }
    }

    fn rotated(from: u128, n: u128) -> CredentialEvent {
        CredentialEvent::CredentialRotated { supersedes: sealed(from), values: values(n), at: AT }
    }

    fn verified(n: u128) -> CredentialEvent {
        CredentialEvent::CredentialVerified { sealed: sealed(n), at: AT }
    }

    fn active(n: u128) -> CredentialEvent {
        CredentialEvent::CredentialActive { sealed: sealed(n), at: AT }
    }

    fn revoking() -> CredentialEvent {
        CredentialEvent::CredentialRevokeRequested { reason: "done".into(), at: AT }
    }

    fn store(n: u128) -> CredentialCommand {
        CredentialCommand::Store { exchange: Exchange::Okx, market: Market::Spot, values: values(n), at: AT }
    }

    fn rotate(n: u128) -> CredentialCommand {
        CredentialCommand::Rotate { values: values(n), at: AT }
    }

    fn confirm_verified(n: u128) -> CredentialCommand {
        CredentialCommand::ConfirmVerified { sealed: sealed(n), at: AT }
    }

    fn confirm_active(n: u128) -> CredentialCommand {
        CredentialCommand::ConfirmActive { sealed: sealed(n), at: AT }
    }

    fn revoke() -> CredentialCommand {
        CredentialCommand::Revoke { reason: "done".into(), at: AT }
    }

    #[test]
    fn a_market_has_one_credential_until_it_is_revoked() {
        check([], store(1), Ok(vec![stored(1)]));
        check([stored(1)], store(2), Err(CredentialRefusal::AlreadyStored));
        check([stored(1), revoking()], store(2), Err(CredentialRefusal::AlreadyStored));
        let gone = CredentialEvent::CredentialRevoked { at: AT };
        check([stored(1), revoking(), gone], store(2), Ok(vec![stored(2)]));
    }

    #[test]
    fn values_are_verified_before_they_are_active() {
        check([stored(1)], confirm_active(1), Err(CredentialRefusal::NotVerified));
        check([stored(1)], confirm_verified(1), Ok(vec![verified(1)]));
        check([stored(1), verified(1)], confirm_active(1), Ok(vec![active(1)]));
        check([stored(1), verified(1), active(1)], confirm_active(1), Ok(vec![]));
        check([stored(1), verified(1), active(1)], confirm_verified(1), Ok(vec![]));
    }

    #[test]
    fn news_of_values_that_were_superseded_say_nothing_of_the_new_ones() {
        let given = [stored(1), verified(1), active(1), rotated(1, 2)];
        check([stored(1)], rotate(2), Ok(vec![rotated(1, 2)]));
        check(given.clone(), confirm_verified(1), Err(CredentialRefusal::Superseded));
        check(given.clone(), confirm_active(2), Err(CredentialRefusal::NotVerified));
        check(given, confirm_verified(2), Ok(vec![verified(2)]));
    }

    #[test]
    fn a_trouble_is_told_once_and_over_when_the_exchange_lets_it_in_again() {
        let report =
            |reason: &str| CredentialCommand::ReportFailing { sealed: sealed(1), reason: reason.into(), at: AT };
        let failing = CredentialEvent::CredentialFailing { sealed: sealed(1), reason: "no".into(), at: AT };
        check([stored(1)], report("no"), Ok(vec![failing.clone()]));
        check([stored(1), failing.clone()], report("no"), Ok(vec![]));
        check([stored(1), failing.clone()], confirm_active(1), Err(CredentialRefusal::NotVerified));
        check([stored(1), failing], confirm_verified(1), Ok(vec![verified(1)]));
        check([stored(1)], report("two\nlines"), Err(CredentialRefusal::Reason));
    }

    #[test]
    fn a_credential_is_revoked_only_when_somebody_asked() {
        let confirm = || CredentialCommand::ConfirmRevoked { at: AT };
        let gone = CredentialEvent::CredentialRevoked { at: AT };
        check([stored(1)], confirm(), Err(CredentialRefusal::NotAskedToRevoke));
        check([stored(1)], revoke(), Ok(vec![revoking()]));
        check([stored(1), revoking()], revoke(), Err(CredentialRefusal::Revoked));
        check([stored(1), revoking()], rotate(2), Err(CredentialRefusal::Revoked));
        check([stored(1), revoking()], confirm_verified(1), Err(CredentialRefusal::Revoked));
        check([stored(1), revoking()], confirm(), Ok(vec![gone.clone()]));
        check([stored(1), revoking(), gone], confirm(), Ok(vec![]));
        for command in [rotate(1), revoke(), confirm_verified(1)] {
            check([], command, Err(CredentialRefusal::NotStored));
        }
    }

    fn any_command() -> impl Strategy<Value = CredentialCommand> {
        (0..7, 0..4_u128).prop_map(|(which, n)| match which {
            0 => store(n),
            1 => rotate(n),
            2 => confirm_verified(n),
            3 => confirm_active(n),
            4 => CredentialCommand::ReportFailing { sealed: sealed(n), reason: format!("r{n}"), at: AT },
            5 => revoke(),
            _ => CredentialCommand::ConfirmRevoked { at: AT },
        })
    }

    proptest! {
        #[test]
        fn whatever_is_commanded_only_the_newest_verified_values_become_active(
            commands in proptest::collection::vec(any_command(), 0..60)
        ) {
            let (mut credential, mut told) = (Credential::default(), Vec::new());
            for command in commands {
                for event in credential.decide(command).unwrap_or_default() {
                    credential.remember(event.clone());
                    told.push(event);
                }
            }
            let mut replayed = Credential::default();
            told.iter().cloned().for_each(|event| replayed.remember(event));
            prop_assert_eq!(&replayed, &credential);
            let (mut newest, mut fine) = (None, false);
            for event in &told {
                match event {
                    CredentialEvent::CredentialStored { values, .. } => {
                        prop_assert!(newest.is_none());
                        (newest, fine) = (Some(values.sealed), false);
                    }
                    CredentialEvent::CredentialRotated { values, supersedes, .. } => {
                        prop_assert_eq!(newest, Some(*supersedes));
                        (newest, fine) = (Some(values.sealed), false);
                    }
                    CredentialEvent::CredentialVerified { sealed, .. } => {
                        prop_assert_eq!(newest, Some(*sealed));
                        fine = true;
                    }
                    CredentialEvent::CredentialActive { sealed, .. } => {
                        prop_assert!(fine && newest == Some(*sealed));
                    }
                    CredentialEvent::CredentialFailing { .. } => fine = false,
                    CredentialEvent::CredentialRevoked { .. } => newest = None,
                    CredentialEvent::CredentialRevokeRequested { .. }
                    | CredentialEvent::CredentialOpened { .. }
                    | CredentialEvent::CredentialRefused { .. } => {}
                }
            }
        }
    }
}
