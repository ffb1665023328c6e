//! What lies beyond the operator's door, on paper: Hummingbot, its bots, their broker and the exchanges, reached over
//! HTTP and MQTT alone.

use std::{collections::BTreeMap, process::Command};

use paper::{Paper, Settings};
use reqwest::Method;
use serde_json::Value;

use crate::{Database, served::caller};

const USER: &str = "desk";
const PASSWORD: &str = "only-for-tests";

/// A paper world of one test's own.
pub struct Outside {
    paper: Paper,
    http: reqwest::Client,
}

impl Outside {
    pub async fn start(settings: Settings) -> Self {
        let settings = Settings { username: USER.to_owned(), password: PASSWORD.into(), ..settings };
        let paper = Paper::start(settings).await.expect("the paper server starts");
        Self { paper, http: caller() }
    }

    /// A process of the platform that is to speak with it.
    pub fn served_by(&self, mut command: Command, patience_seconds: u64) -> Command {
        command
            .env("HUMMINGBOT_API_URL", format!("http://{}", self.paper.http))
            .env("HUMMINGBOT_API_USERNAME", USER)
            .env("HUMMINGBOT_API_PASSWORD", PASSWORD)
            .env("HUMMINGBOT_MQTT_URL", format!("mqtt://{}", self.paper.mqtt))
            .env("HUMMINGBOT_PATIENCE_SECONDS", patience_seconds.to_string());
        command
    }

    /// The platform's binary with these roles, outside included.
    pub fn serve(&self, database: &Database, roles: &str) -> Command {
        self.served_by(database.command(&["serve", "--roles", roles, "--port", "0"]), 3)
    }

    /// A control call.
    pub async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = self.http.request(method, format!("http://{}{path}", self.paper.http));
        let request = request.basic_auth(USER, Some(PASSWORD));
        let request = body.iter().fold(request, |request, body| request.json(body));
        let answer = request.send().await.expect("the paper server answers");
        let (status, text) = (answer.status(), answer.text().await.expect("it ends"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("it speaks JSON")
    }

    /// A call that the world's faults may spoil.
    pub async fn maybe(&self, method: Method, path: &str) -> Option<Value> {
        let request = self.http.request(method, format!("http://{}{path}", self.paper.http));
        let answer = request.basic_auth(USER, Some(PASSWORD)).send().await.ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }

    /// What really happened.
    pub async fn truth(&self) -> Value {
        self.control(Method::GET, "/paper/truth", None).await
    }

    /// The true fills of an account, by trade id and side.
    pub async fn true_fills(&self, account: &str) -> BTreeMap<(String, String), Value> {
        let truth = self.truth().await;
        let fills =
            truth["fills"].as_array().expect("there is a list").iter().filter(|fill| fill["account"] == account);
        let text = |value: &Value| value.as_str().expect("it is a text").to_owned();
        fills.map(|fill| ((text(&fill["exchange_trade_id"]), text(&fill["side"])), fill.clone())).collect()
    }

    pub fn password() -> &'static str {
        PASSWORD
    }

    pub async fn stop(self) {
        self.paper.stop().await;
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}
