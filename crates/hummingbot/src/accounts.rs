//! Accounts and the credentials in them. An account is named by its client's id; there is one for each client.

use std::collections::BTreeMap;

use events::AccountName;
use secrecy::{ExposeSecret, SecretString};

use crate::{ConfigMap, ConnectorName, Fault, Hummingbot, Why};

/// What adding an account came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Added,
    /// It stood there before. It may hold credentials.
    AlreadyThere,
}

impl Hummingbot {
    /// The names of all accounts, other tenants' too: for checks by the operator, never for a client.
    pub async fn accounts(&self) -> Result<Vec<String>, Fault> {
        self.get(&["accounts", ""], "list the accounts").answer().await
    }

    /// Makes an account with nothing in it.
    pub async fn add_account(&self, account: &AccountName) -> Result<Added, Fault> {
        let call = self.post(&["accounts", "add-account"], format!("add account {account}"));
        match call.query("account_name", account).done().await {
            Ok(()) => Ok(Added::Added),
            Err(Fault { why: Why::Refused { reason, .. }, .. }) if reason.contains("already exists") => {
                Ok(Added::AlreadyThere)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Removes an account with all its credentials.
    pub async fn delete_account(&self, account: &AccountName) -> Result<(), Fault> {
        let call = self.post(&["accounts", "delete-account"], format!("delete account {account}"));
        call.query("account_name", account).done().await
    }

    /// The connectors that an account has credentials for.
    pub async fn credentials(&self, account: &AccountName) -> Result<Vec<ConnectorName>, Fault> {
        let doing = format!("list the credentials of account {account}");
        self.get(&["accounts", account.as_str(), "credentials"], doing).answer().await
    }

    /// Gives an account the credentials for a connector. The server logs in to the exchange with them and keeps them only
    /// if that works.
    ///
    /// `fields` must be exactly those of the connector's `config_map`, each with a value: the server fills a field that is
    /// not sent from the account that it served before, and one client's orders reach another's exchange account.
    pub async fn add_credential(
        &self,
        account: &AccountName,
        config_map: &ConfigMap,
        fields: &BTreeMap<String, SecretString>,
    ) -> Result<(), Fault> {
        let connector = &config_map.connector;
        let doing = format!("add a credential for {connector} to account {account}");
        let bare: BTreeMap<&str, &str> =
            fields.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        self.post(&["accounts", "add-credential", account.as_str(), connector.as_str()], doing)
            .refuse(incomplete(config_map, fields))
            .body(&bare)
            .hiding(fields.values().cloned())
            .patience(self.patience.credential)
            .done()
            .await
    }

    /// Removes an account's credentials for a connector.
    pub async fn delete_credential(&self, account: &AccountName, connector: &ConnectorName) -> Result<(), Fault> {
        let doing = format!("delete the credential for {connector} of account {account}");
        self.post(&["accounts", "delete-credential", account.as_str(), connector.as_str()], doing).done().await
    }
}

/// Why these fields must not be sent, if they must not.
fn incomplete(map: &ConfigMap, fields: &BTreeMap<String, SecretString>) -> Option<String> {
    if map.fields.is_empty() {
        return Some(format!("{} names no credential fields", map.connector));
    }
    if let Some(unknown) = fields.keys().find(|name| map.fields.iter().all(|field| field.name != **name)) {
        return Some(format!("{} has no field {unknown:?}", map.connector));
    }
    map.fields.iter().find_map(|field| {
        let value = fields.get(&field.name).map_or("", |value| value.expose_secret().trim());
        if value.is_empty() {
            return Some(format!("field {} is missing or empty: the server would take another account's", field.name));
        }
        let allowed = field.allowed_values.is_empty() || field.allowed_values.iter().any(|allowed| allowed == value);
        (!allowed).then(|| format!("field {} must be one of {}", field.name, field.allowed_values.join(", ")))
    })
}
