//! Somebody who works for a client: has a login, and asks the API over HTTP as anybody does.

use anyhow::{Context, ensure};
use events::{ClientId, Money, Slug, Time};
use reqwest::{Client as Http, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A user of the platform.
#[derive(Debug)]
pub struct Visitor {
    pub slug: Slug,
    pub client: ClientId,
    pub email: String,
    pub password: String,
    pub url: String,
    http: Http,
    token: String,
}

/// P&L as the API answers it, as far as it is looked at here.
#[derive(Debug, Deserialize)]
pub struct Pnl {
    lines: Vec<Line>,
    /// Absent where there are no facts yet.
    pub to: Option<Time>,
    /// Absent where an asset has no rate.
    pub total_usdt: Option<Money>,
    /// Events that the answer does not know yet.
    #[serde(skip)]
    pub lag: u64,
}

#[derive(Debug, Deserialize)]
struct Line {
    fills: Option<i64>,
}

impl Pnl {
    pub fn fills(&self) -> i64 {
        self.lines.iter().filter_map(|line| line.fills).sum()
    }
}

/// What is held, as the API answers it, as far as it is looked at here.
#[derive(Debug, Deserialize)]
pub struct Portfolio {
    pub net_flows: Option<Money>,
}

#[derive(Deserialize)]
struct LoggedIn {
    access_token: String,
}

impl Visitor {
    /// With a password that nobody knows yet.
    pub fn new(url: &str, slug: Slug, client: ClientId) -> anyhow::Result<Self> {
        let password = hex::encode(rand::random::<[u8; 12]>());
        let email = format!("{slug}@example.com");
        // A proxy of the surroundings has no way to our loopback.
        let http = Http::builder().no_proxy().build()?;
        Ok(Self { slug, client, email, password, url: url.to_owned(), http, token: String::new() })
    }

    pub async fn log_in(&mut self) -> anyhow::Result<()> {
        let credentials = json!({ "email": self.email, "password": self.password });
        let login = self.http.post(format!("{}/api/auth/login", self.url)).json(&credentials).send().await?;
        self.token = read::<LoggedIn>(login).await?.access_token;
        Ok(())
    }

    /// P&L; `query` is empty or begins with a question mark.
    pub async fn pnl(&mut self, query: &str) -> anyhow::Result<Pnl> {
        let answer = self.ask(&format!("/api/pnl{query}")).await?;
        let lag = seq(&answer, "head-seq")?.saturating_sub(seq(&answer, "as-of-seq")?);
        Ok(Pnl { lag, ..read(answer).await? })
    }

    pub async fn portfolio(&mut self, query: &str) -> anyhow::Result<Portfolio> {
        self.get(&format!("/api/clients/portfolio{query}")).await
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        read(self.ask(path).await?).await
    }

    /// Wants something, under a key.
    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, key: &str, what: &Value) -> anyhow::Result<T> {
        read(self.send(|http, url| http.post(format!("{url}{path}")).header("idempotency-key", key).json(what)).await?)
            .await
    }

    async fn ask(&mut self, path: &str) -> anyhow::Result<Response> {
        self.send(|http, url| http.get(format!("{url}{path}"))).await
    }

    /// Sends, and logs in again where the token has expired.
    async fn send(&mut self, request: impl Fn(&Http, &str) -> RequestBuilder) -> anyhow::Result<Response> {
        let answer = request(&self.http, &self.url).bearer_auth(&self.token).send().await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.log_in().await?;
        Ok(request(&self.http, &self.url).bearer_auth(&self.token).send().await?)
    }
}

async fn read<T: DeserializeOwned>(answer: Response) -> anyhow::Result<T> {
    let (status, body) = (answer.status(), answer.bytes().await?);
    ensure!(status.is_success(), "the API answers {status}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).context("the API's answer cannot be read")
}

fn seq(answer: &Response, header: &str) -> anyhow::Result<u64> {
    let value = answer.headers().get(header).and_then(|value| value.to_str().ok()?.parse().ok());
    value.with_context(|| format!("the API answers {} without {header}", answer.status()))
}
