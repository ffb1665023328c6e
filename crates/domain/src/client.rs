//! A client with the desk: onboarded once, its accounts opened once each, offboarded once.

use std::collections::BTreeSet;

use events::{AccountName, Asset, Exchange, Slug, Time, client::ClientEvent};
use serde::{Deserialize, Serialize};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// What can be wanted of a client.
#[derive(Debug, Clone)]
pub enum ClientCommand {
    Onboard {
        slug: Slug,
        name: String,
        reporting_currency: Asset,
        at: Time,
    },
    OpenAccount {
        exchange: Exchange,
        account: AccountName,
        at: Time,
    },
    Rename {
        name: String,
        at: Time,
    },
    /// With `destroy_data_key` also later, of a client that has left without.
    Offboard {
        reason: String,
        destroy_data_key: bool,
        at: Time,
    },
    ConfirmDataKeyDestroyed {
        at: Time,
    },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    #[error("the client is onboarded already")]
    AlreadyOnboarded,
    #[error("the client is not onboarded yet")]
    NotOnboarded,
    #[error("the client has left the desk")]
    Offboarded,
    #[error("nobody asked for the client's data key to be destroyed")]
    NotAskedToDestroy,
    #[error("a reason is one line of 1 to {REASON_MAX} characters")]
    Reason,
    #[error("the client has an account on {0} already")]
    AccountOpen(Exchange),
    #[error("a client's name has 1 to 200 characters, this one {0}")]
    NameLength(usize),
    #[error("a client's name is one line that can be read: {0:?} is not")]
    Unreadable(String),
}

/// What a decision about a client must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    onboarded: bool,
    offboarded: bool,
    accounts: BTreeSet<Exchange>,
    data_key: DataKey,
}

/// What shall become of the key that a client's secrets are sealed under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum DataKey {
    #[default]
    Kept,
    ToBeDestroyed,
    Destroyed,
}

impl Client {
    /// Decides a command.
    pub fn decide(&self, command: ClientCommand) -> Result<Vec<ClientEvent>, ClientRefusal> {
        match command {
            ClientCommand::Onboard { slug, name, reporting_currency, at } => {
                self.onboard(slug, name, reporting_currency, at)
            }
            ClientCommand::OpenAccount { exchange, account, at } => self.open(exchange, account, at),
            ClientCommand::Rename { name, at } => {
                self.is_with_us()?;
                Ok(vec![ClientEvent::ClientRenamed { name: readable(name)?, at }])
            }
            ClientCommand::Offboard { reason, destroy_data_key, at } => self.offboard(reason, destroy_data_key, at),
            ClientCommand::ConfirmDataKeyDestroyed { at } => self.confirm_destroyed(at),
        }
    }

    fn open(&self, exchange: Exchange, account: AccountName, at: Time) -> Result<Vec<ClientEvent>, ClientRefusal> {
        self.is_with_us()?;
        match self.accounts.contains(&exchange) {
            true => Err(ClientRefusal::AccountOpen(exchange)),
            false => Ok(vec![ClientEvent::AccountOpened { exchange, account, at }]),
        }
    }

    fn offboard(&self, reason: String, destroy_data_key: bool, at: Time) -> Result<Vec<ClientEvent>, ClientRefusal> {
        if !(1..=REASON_MAX).contains(&reason.chars().count()) || reason.contains(char::is_control) {
            return Err(ClientRefusal::Reason);
        }
        let destroy = destroy_data_key && self.data_key == DataKey::Kept;
        let destroy = destroy.then_some(ClientEvent::DataKeyDestructionRequested { at });
        match self.is_with_us() {
            Ok(()) => Ok([ClientEvent::ClientOffboarded { reason, at }].into_iter().chain(destroy).collect()),
            Err(ClientRefusal::Offboarded) if destroy.is_some() => Ok(destroy.into_iter().collect()),
            Err(refusal) => Err(refusal),
        }
    }

    fn confirm_destroyed(&self, at: Time) -> Result<Vec<ClientEvent>, ClientRefusal> {
        match self.data_key {
            DataKey::Kept => Err(ClientRefusal::NotAskedToDestroy),
            DataKey::ToBeDestroyed => Ok(vec![ClientEvent::DataKeyDestroyed { at }]),
            // Told again by one who was killed before it could know.
            DataKey::Destroyed => Ok(Vec::new()),
        }
    }

    /// Whether its account on an exchange stands ready.
    pub fn has_account(&self, exchange: Exchange) -> bool {
        self.accounts.contains(&exchange)
    }

    /// Whether it has left, and its data key is still to be destroyed.
    pub fn awaits_destruction(&self) -> bool {
        self.offboarded && self.data_key == DataKey::ToBeDestroyed
    }

    fn onboard(
        &self,
        slug: Slug,
        name: String,
        reporting_currency: Asset,
        at: Time,
    ) -> Result<Vec<ClientEvent>, ClientRefusal> {
        if self.onboarded {
            return Err(ClientRefusal::AlreadyOnboarded);
        }
        Ok(vec![ClientEvent::ClientOnboarded { slug, name: readable(name)?, reporting_currency, at }])
    }

    /// Refuses what is wanted of a client that never came or has left.
    pub fn is_with_us(&self) -> Result<(), ClientRefusal> {
        match (self.onboarded, self.offboarded) {
            (false, _) => Err(ClientRefusal::NotOnboarded),
            (true, true) => Err(ClientRefusal::Offboarded),
            (true, false) => Ok(()),
        }
    }

    pub(crate) fn remember(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::ClientOnboarded { .. } => self.onboarded = true,
            ClientEvent::AccountOpened { exchange, .. } => {
                self.accounts.insert(exchange);
            }
            ClientEvent::ClientOffboarded { .. } => self.offboarded = true,
            ClientEvent::DataKeyDestructionRequested { .. } => self.data_key = DataKey::ToBeDestroyed,
            ClientEvent::DataKeyDestroyed { .. } => self.data_key = DataKey::Destroyed,
            ClientEvent::ClientRenamed { .. } | ClientEvent::ReportingCurrencyChanged { .. } => {}
        }
    }
}

fn readable(name: String) -> Result<String, ClientRefusal> {
    match name.chars().count() {
        1..=200 if name.trim().is_empty() || name.contains(char::is_control) => Err(ClientRefusal::Unreadable(name)),
        1..=200 => Ok(name),
        length => Err(ClientRefusal::NameLength(length)),
    }
}

crate::aggregate!(Client, "client", ClientCommand, ClientEvent, ClientRefusal);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        given: impl IntoIterator<Item = ClientEvent>,
        when: ClientCommand,
        then: Result<Vec<ClientEvent>, ClientRefusal>,
    ) {
        let mut client = Client::default();
        given.into_iter().for_each(|event| client.remember(event));
        assert_eq!(client.decide(when), then);
    }

    const AT: Time = Time::EPOCH;

    fn onboarded() -> ClientEvent {
        let slug = "acme".parse().unwrap();
        ClientEvent::ClientOnboarded { slug, name: "Acme".into(), reporting_currency: Asset::usdt(), at: AT }
    }

    fn open() -> ClientCommand {
        ClientCommand::OpenAccount { exchange: Exchange::Okx, account: "a1".parse().unwrap(), at: AT }
    }

    fn opened() -> ClientEvent {
        ClientEvent::AccountOpened { exchange: Exchange::Okx, account: "a1".parse().unwrap(), at: AT }
    }

    #[test]
    fn a_client_is_onboarded_once() {
        let again = ClientCommand::Onboard {
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            reporting_currency: Asset::usdt(),
            at: AT,
        };
        check([], again.clone(), Ok(vec![onboarded()]));
        check([onboarded()], again, Err(ClientRefusal::AlreadyOnboarded));
    }

    #[test]
    fn an_account_is_opened_once_an_exchange_and_only_for_a_client_of_the_desk() {
        check([onboarded()], open(), Ok(vec![opened()]));
        check([onboarded(), opened()], open(), Err(ClientRefusal::AccountOpen(Exchange::Okx)));
        check([], open(), Err(ClientRefusal::NotOnboarded));
        let left = ClientEvent::ClientOffboarded { reason: "moved".into(), at: AT };
        check([onboarded(), left], open(), Err(ClientRefusal::Offboarded));
    }

    #[test]
    fn a_client_leaves_once_and_its_data_key_may_be_wished_away_later() {
        let leave = |destroy_data_key| ClientCommand::Offboard { reason: "moved".into(), destroy_data_key, at: AT };
        let left = || ClientEvent::ClientOffboarded { reason: "moved".into(), at: AT };
        let (wished, gone) =
            (ClientEvent::DataKeyDestructionRequested { at: AT }, ClientEvent::DataKeyDestroyed { at: AT });
        check([onboarded()], leave(false), Ok(vec![left()]));
        check([onboarded()], leave(true), Ok(vec![left(), wished.clone()]));
        check([onboarded(), left()], leave(false), Err(ClientRefusal::Offboarded));
        check([onboarded(), left()], leave(true), Ok(vec![wished.clone()]));
        check([onboarded(), left(), wished.clone()], leave(true), Err(ClientRefusal::Offboarded));
        check([], leave(true), Err(ClientRefusal::NotOnboarded));
        let confirm = || ClientCommand::ConfirmDataKeyDestroyed { at: AT };
        check([onboarded(), left()], confirm(), Err(ClientRefusal::NotAskedToDestroy));
        check([onboarded(), left(), wished.clone()], confirm(), Ok(vec![gone.clone()]));
        check([onboarded(), left(), wished, gone], confirm(), Ok(vec![]));
        for reason in [String::new(), "two\nlines".into(), "x".repeat(REASON_MAX + 1)] {
            let leave = ClientCommand::Offboard { reason, destroy_data_key: false, at: AT };
            check([onboarded()], leave, Err(ClientRefusal::Reason));
        }
    }

    #[test]
    fn a_name_without_a_character_is_refused() {
        check([onboarded()], ClientCommand::Rename { name: String::new(), at: AT }, Err(ClientRefusal::NameLength(0)));
        for name in ["  ", "two\nlines"] {
            let rename = ClientCommand::Rename { name: name.into(), at: AT };
            check([onboarded()], rename, Err(ClientRefusal::Unreadable(name.into())));
        }
    }
}
