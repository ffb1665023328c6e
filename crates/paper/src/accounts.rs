//! Accounts of the Hummingbot API and the exchange keys that they hold. One global user owns them all.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    connectors::{class_missing, fields_of, key_field},
    exchange::{from_connector, wallet::WalletKey},
    input::{Answer, Form, Refused, answer, ok},
    server::Worlds,
    world::World,
};

#[derive(Debug)]
pub(crate) struct Accounts {
    pub names: Vec<String>,
    /// By account and connector.
    pub credentials: BTreeMap<(String, String), Credential>,
    /// What was sent last for a connector, whosever it was: the real server keeps one configuration for all accounts.
    last: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub wallet: WalletKey,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { names: vec!["master_account".to_owned()], credentials: BTreeMap::new(), last: BTreeMap::new() }
    }
}

impl Accounts {
    pub(crate) fn wallet(&self, account: &str, connector: &str) -> Option<WalletKey> {
        let credential = self.credentials.get(&(account.to_owned(), connector.to_owned()));
        credential.map(|credential| credential.wallet.clone())
    }

    fn connectors(&self, account: &str) -> Vec<&str> {
        let own = self.credentials.keys().filter(|(owner, _)| owner == account);
        own.map(|(_, connector)| connector.as_str()).collect()
    }
}

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/accounts/", get(list))
        .route("/accounts/{account}/credentials", get(credentials))
        .route("/accounts/add-account", post(add))
        .route("/accounts/delete-account", post(delete))
        .route("/accounts/add-credential/{account}/{connector}", post(add_credential))
        .route("/accounts/delete-credential/{account}/{connector}", post(delete_credential))
}

async fn list(State(worlds): State<Worlds>) -> Answer {
    ok(&json!(worlds.lock().accounts.names))
}

async fn credentials(State(worlds): State<Worlds>, Path(account): Path<String>) -> Answer {
    let world = worlds.lock();
    if !world.accounts.names.contains(&account) {
        return Err(Refused::missing(format!("Directory 'credentials/{account}/connectors' not found")));
    }
    ok(&json!(world.accounts.connectors(&account)))
}

fn account_name(query: Vec<(String, String)>) -> Result<String, Refused> {
    let mut form = Form::query(query);
    let name = form.text("account_name");
    form.done()?;
    Ok(name)
}

async fn add(State(worlds): State<Worlds>, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let name = account_name(query)?;
    let mut world = worlds.lock();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        let rule = "Only letters, numbers, underscores and hyphens are allowed.";
        return Err(Refused::bad(format!("Invalid account name: '{name}'. {rule}")));
    }
    if world.accounts.names.contains(&name) {
        return Err(Refused::bad("Account already exists."));
    }
    world.accounts.names.push(name);
    Ok(answer(StatusCode::CREATED, &json!({"message": "Account added successfully."})))
}

async fn delete(State(worlds): State<Worlds>, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let name = account_name(query)?;
    let mut world = worlds.lock();
    if name == "master_account" {
        return Err(Refused::bad("Cannot delete master account."));
    }
    let accounts = &mut world.accounts;
    if !accounts.names.contains(&name) {
        return Err(Refused::missing("Account not found."));
    }
    accounts.names.retain(|other| *other != name);
    accounts.credentials.retain(|(owner, _), _| *owner != name);
    ok(&json!({"message": "Account deleted successfully."}))
}

async fn add_credential(
    State(worlds): State<Worlds>,
    Path((account, connector)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let form = Form::body(&body)?;
    worlds.lock().add_credential(&account, &connector, form.fields())?;
    Ok(answer(StatusCode::CREATED, &json!({"message": "Connector credentials added successfully."})))
}

async fn delete_credential(State(worlds): State<Worlds>, Path((account, connector)): Path<(String, String)>) -> Answer {
    let gone = worlds.lock().accounts.credentials.remove(&(account, connector));
    match gone {
        Some(_) => ok(&json!({"message": "Credential deleted successfully."})),
        None => Err(Refused::missing("File not found.")),
    }
}

impl World {
    fn add_credential(
        &mut self,
        account: &str,
        connector: &str,
        sent: &serde_json::Map<String, Value>,
    ) -> Result<(), Refused> {
        if !self.accounts.names.iter().any(|name| name == account) {
            return Err(Refused::missing(format!("Account '{account}' not found")));
        }
        let (exchange, market) = from_connector(connector).ok_or(Refused::Plain500)?;
        let known = fields_of(exchange, market);
        if let Some(unknown) = sent.keys().find(|name| !known.iter().any(|(field, _)| field == name)) {
            return Err(Refused::bad(format!("Object has no attribute '{unknown}'")));
        }
        let fields = self.merged(connector, sent);
        let missing: Vec<&str> = known
            .iter()
            .filter(|(name, required)| *required && fields.get(*name).is_none_or(String::is_empty))
            .map(|(name, _)| *name)
            .collect();
        if !missing.is_empty() {
            return Err(Refused::bad(class_missing(exchange, market, &missing)));
        }
        let key = fields[key_field(exchange, market)].clone();
        let wallet = WalletKey { exchange, market, key };
        if !self.log_in(&wallet) {
            let error = r#"Error: {"code": -2014, "msg": "API-key format invalid."}"#;
            let place = "http://127.0.0.1/api/v3/account";
            return Err(Refused::bad(format!("Error executing request GET {place}. HTTP status is 401. {error}")));
        }
        self.accounts.last.insert(connector.to_owned(), fields);
        self.accounts.credentials.insert((account.to_owned(), connector.to_owned()), Credential { wallet });
        Ok(())
    }

    /// What is sent, over what was sent before for this connector.
    fn merged(&self, connector: &str, sent: &serde_json::Map<String, Value>) -> BTreeMap<String, String> {
        let inherited = self.accounts.last.get(connector).filter(|_| self.dice.faults.inherited_credentials);
        let mut fields = inherited.cloned().unwrap_or_default();
        for (name, value) in sent {
            fields.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        fields
    }
}
