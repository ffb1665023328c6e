//! Somebody who works for a client: has a login, and asks the API over HTTP as anybody does.

use anyhow::{Context, ensure};
use events::{ClientId, Money, Slug, Time};
use reqwest::{Client as Http, Response, StatusCode, header::AUTHORIZATION};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

/// A user of the platform.
#[derive(Debug)]
pub struct Visitor {
    pub slug: Slug,
    pub client: ClientId,
    pub email: String,
    pub password: String,
    url: String,
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
        read(self.ask(&format!("/api/clients/portfolio{query}")).await?).await
    }

    /// Asks, and logs in again where the token has expired.
    async fn ask(&mut self, path: &str) -> anyhow::Result<Response> {
        let answer = self.get(path).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.log_in().await?;
        self.get(path).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Response> {
        let ask = self.http.get(format!("{}{path}", self.url));
        Ok(ask.header(AUTHORIZATION, format!("Bearer {}", self.token)).send().await?)
    }

    /// Five lines for a shell: log in, ask for P&L, have a bot made and deployed, see that event, and listen on.
    pub fn lines_to_paste(&self) -> String {
        let Self { url, email, password, .. } = self;
        let field = |name: &str, value: &str| format!(r#"sed -E 's/.*"{name}":"?({value}).*/\1/'"#);
        let (token, bot, seq) =
            (field("access_token", r#"[^"]+"#), field("bot_id", r#"[^"]+"#), field("client_seq", "[0-9]+"));
        let json = "-H 'content-type: application/json'";
        let config = r#"{"controller":"pmm_simple","venue":{"exchange":"binance","market":"spot","pair":"BTC-USDT"}}"#;
        [
            format!(
                r#"auth="authorization: Bearer $(curl -s {url}/api/auth/login {json} -d '{{"email":"{email}","password":"{password}"}}' | {token})""#
            ),
            format!(r#"curl -s -H "$auth" '{url}/api/pnl?group=bot'; echo"#),
            format!(
                r#"bot=$(curl -s -H "$auth" -H 'idempotency-key: try-1' {json} -d '{{"name":"try","config":{config}}}' {url}/api/bots | {bot}); seq=$(curl -s -H "$auth" -H 'idempotency-key: try-2' -X POST "{url}/api/bots/$bot/deploy" | {seq}); echo "bot $bot is asked to run by event $seq""#
            ),
            format!(r#"curl -s -H "$auth" "{url}/api/events?order=oldest&limit=1&after=$((seq - 1))"; echo"#),
            format!(r#"curl -sN -H "$auth" "{url}/api/stream?after=$((seq - 1))""#),
        ]
        .join("\n")
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
