//! The real binary serving its edge, and what is asked of it over its socket.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::Value;

use crate::{Database, canaries, world::log};

/// A process that serves, until it is dropped.
#[derive(Debug)]
pub struct Served {
    /// Where role api is reached; empty without it.
    pub url: String,
    /// What it has to say, if nobody else reads that.
    log: Option<PathBuf>,
    process: Child,
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An event as a listener gets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    pub id: String,
    pub kind: String,
    pub data: String,
}

/// Somebody who listens to `/api/stream`.
#[derive(Debug)]
pub struct Listener {
    response: Response,
    text: Vec<u8>,
}

impl Served {
    /// The binary with these roles, on a free port.
    pub fn start(database: &Database, roles: &str) -> Self {
        Self::of(database.command(&["serve", "--roles", roles, "--port", "0"]))
    }

    /// A command that serves; returns once it is ready. What it has to say goes into a file.
    pub fn of(mut command: Command) -> Self {
        let (path, file) = log("serve");
        command.stderr(file);
        let mut served = Self::heard_elsewhere(command);
        served.log = Some(path);
        served
    }

    /// The same, of a command whose words go where its test wants to read them.
    pub fn heard_elsewhere(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary can be started");
        let mut line = String::new();
        let said = process.stdout.take().expect("its output is read");
        BufReader::new(said).read_line(&mut line).expect("it says when it is ready");
        assert!(line.starts_with("ready"), "it did not start: {line:?}");
        let url = line.trim().strip_prefix("ready: ").unwrap_or_default().to_owned();
        Self { url, log: None, process, http: caller() }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The address of its socket.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Any request.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A question of somebody.
    pub fn get(&self, token: &str, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth(token)
    }

    /// A command of somebody, under a key.
    pub fn command(&self, method: Method, token: &str, path: &str, key: &str, body: &Value) -> RequestBuilder {
        self.request(method, path).bearer_auth(token).header("idempotency-key", key).json(body)
    }

    /// Asks and reads the answer.
    pub async fn ask(&self, token: &str, path: &str) -> Answer {
        Answer::to(self.get(token, path)).await
    }

    /// Posts a command and reads the answer.
    pub async fn post(&self, token: &str, path: &str, key: &str, body: &Value) -> Answer {
        Answer::to(self.command(Method::POST, token, path, key, body)).await
    }

    /// Asks until the answer has this status.
    pub async fn until(&self, token: &str, path: &str, status: u16) -> Answer {
        for _ in 0..3_000 {
            let answer = self.ask(token, path).await;
            if answer.status == status {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{path} is never answered {status}");
    }

    /// Listens, from after the event with this id.
    pub async fn listen(&self, token: &str, path: &str, last: Option<&str>) -> Result<Listener, Answer> {
        let request = self.get(token, path);
        let request = last.iter().fold(request, |request, last| request.header("last-event-id", *last));
        let response = match request.send().await {
            Ok(response) => response,
            // Cut off before it could say anything.
            Err(error) => {
                let (headers, body) = (HeaderMap::new(), error.to_string().into_bytes());
                return Err(Answer { status: 0, headers, body });
            }
        };
        match response.status().as_u16() {
            200 => Ok(Listener::to(response)),
            _ => Err(Answer::of(response).await),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]).status();
        assert!(sent.expect("kill can be started").success(), "it is not there any more");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().expect("it can be waited for")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks over a new connection each time: one that was kept may be closed by the other side in the very moment it is used again.
///
/// # Panics
/// Never: it needs nothing that could be missing.
pub fn caller() -> reqwest::Client {
    reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("it needs nothing that could be missing")
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
        if let Some(log) = self.log.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("what the process said is in {}", log.display());
        }
    }
}

impl Answer {
    /// The answer to a request.
    pub async fn to(request: RequestBuilder) -> Self {
        Self::of(request.send().await.expect("it answers")).await
    }

    /// An answer whose head is there.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let path = response.url().path().to_owned();
        let body = response.bytes().await.expect("the answer has an end").to_vec();
        // A token is given to whoever logs in, asks for a credential of NATS, makes a service or asks somebody to come, and
        // shown by nothing else: no list is an object that begins so.
        let is_given = path.starts_with("/api/auth/")
            || path.starts_with("/api/alerts/subscriptions") && body.starts_with(br#"{"subscription_id""#)
            || path.contains("/services")
                && [&b"{\"service_id\""[..], b"{\"token_id\""].iter().any(|of| body.starts_with(of))
            || path.contains("/users") && body.starts_with(br#"{"user_id""#);
        let signs = path.contains("/alerts/channels") && body.starts_with(br#"{"channel_id""#);
        let may_show: &[&str] = match (path.as_str(), is_given) {
            (_, _) if signs => &["what webhooks are signed by"],
            ("/api/auth/second-factor", _) => &["the seed of a second factor"],
            (_, true) => &["a token"],
            (_, false) => &[],
        };
        canaries::none_in(&format!("the answer to {path}"), &body, may_show);
        canaries::none_in(&format!("the head of the answer to {path}"), format!("{headers:?}").as_bytes(), may_show);
        Self { status, headers, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What it says.
    ///
    /// # Panics
    /// If it is a problem, or no JSON.
    pub fn json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of ours is ASCII"))
    }

    /// A header that is a number.
    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name);
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}"))
    }

    /// Status and code of a problem, which has to have the form of one.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text());
        let told: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        let code = told["code"].as_str().expect("it has a code").to_owned();
        assert_eq!(told["type"], format!("urn:pipelabs:problem:{code}"));
        assert_eq!(told["status"], self.status);
        assert!(told["title"].as_str().is_some_and(|title| !title.is_empty()), "{told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{told}");
        assert_eq!(told.as_object().map(|fields| fields.len()), Some(5), "{told}");
        (self.status, code)
    }
}

impl Listener {
    /// To an answer that has begun.
    pub fn to(response: Response) -> Self {
        Self { response, text: Vec::new() }
    }

    /// All that comes up to the end, as it is sent.
    pub async fn rest(mut self) -> String {
        while let Ok(Some(more)) = self.response.chunk().await {
            self.text.extend(more);
        }
        String::from_utf8(self.text).expect("it is UTF-8")
    }

    /// The next event; none when the stream has ended or the connection broke.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let heard = Heard::read(&String::from_utf8(block).expect("it is UTF-8"));
                if !heard.id.is_empty() {
                    return Some(heard);
                }
            }
            self.text.extend(self.response.chunk().await.ok().flatten()?);
        }
    }
}

impl Heard {
    fn read(block: &str) -> Self {
        canaries::none_in("an event that is told", block.as_bytes(), &[]);
        let mut heard = Self::default();
        for (name, value) in block.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "id" => heard.id = value.to_owned(),
                "event" => heard.kind = value.to_owned(),
                "data" => heard.data = value.to_owned(),
                _ => {}
            }
        }
        heard
    }

    /// The event's line.
    pub fn line(&self) -> Value {
        serde_json::from_str(&self.data).expect("an event is told as JSON")
    }
}
