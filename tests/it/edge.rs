//! A desk with two clients, served: what the tests of the edge start from.

use std::process::Command;

use events::{BotId, ClientId};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Login, Streams, read};
use tests::{Answer, Database, Served, token};

use crate::facts::client_with_bot;

/// Two clients with one bot each, an admin, and a process that serves them.
pub struct Edge {
    pub database: Database,
    pub streams: Streams,
    pub served: Served,
    pub acme: Party,
    pub borealis: Party,
    pub admin: String,
}

/// A client, and the token of a user of it.
#[derive(Clone)]
pub struct Party {
    pub client: ClientId,
    pub slug: &'static str,
    pub bot: BotId,
    pub token: String,
}

impl Edge {
    pub async fn new(roles: &str) -> Self {
        Self::on(Database::new().await, roles).await
    }

    pub async fn on(database: Database, roles: &str) -> Self {
        Self::served(database, |database| database.command(&["serve", "--roles", roles, "--port", "0"])).await
    }

    /// Served by a process of its own kind.
    pub async fn served(database: Database, by: impl FnOnce(&Database) -> Command) -> Self {
        let streams = database.streams();
        let acme = Party::new(&database, &streams, "acme").await;
        let borealis = Party::new(&database, &streams, "borealis").await;
        let (admin, served) = (token(&database, None), Served::of(by(&database)));
        Self { database, streams, served, acme, borealis, admin }
    }

    /// Changes a parameter of a bot; where that stands.
    pub async fn set(&self, of: &Party, key: &str, value: &str) -> u64 {
        let (path, change) = (of.path("/config"), json!({"parameters": {"n": value}}));
        let request = self.served.command(Method::PATCH, &of.token, &path, key, &change);
        seq(&Answer::to(request).await.json())
    }

    /// How far every stream has come; of the desk's, how much it tells of beside who looked at what.
    pub async fn heads(&self) -> Vec<(ClientId, u64)> {
        let db = self.database.pool(Login::Projector);
        let looks = "select count(*) from es.events where event_type = 'ClientAccessed'";
        let looks: i64 = sqlx::query_scalar(looks).fetch_one(&db).await.unwrap();
        let mut heads = read::heads_of_all(&db).await.unwrap();
        for (_, head) in heads.iter_mut().filter(|(client, _)| *client == ClientId::DESK) {
            *head -= looks.unsigned_abs();
        }
        heads
    }
}

impl Party {
    async fn new(database: &Database, streams: &Streams, slug: &'static str) -> Self {
        let (client, bot) = client_with_bot(streams, slug).await;
        Self { client, slug, bot, token: token(database, Some(client)) }
    }

    /// A path of its bot.
    pub fn path(&self, of: &str) -> String {
        format!("/api/bots/{}{of}", self.bot)
    }
}

/// Where a command's event stands.
pub fn seq(done: &Value) -> u64 {
    done["client_seq"].as_u64().unwrap_or_else(|| panic!("{done}"))
}
