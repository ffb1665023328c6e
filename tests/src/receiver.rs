//! What stands at the other end of webhooks, Slack and Telegram: takes what is posted, keeps it, and answers as it was told.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One thing that was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// A server on this machine.
#[derive(Debug)]
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    posted: Vec<Posted>,
    /// What is answered next, of each path; 200 where nothing is said.
    answers: HashMap<String, VecDeque<u16>>,
    /// Paths at which nobody is answered for now.
    held: HashSet<String>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { url, state, serving }
    }

    /// The next answers to what is posted to a path.
    pub fn will_answer(&self, path: &str, statuses: &[u16]) {
        lock(&self.state).answers.entry(path.to_owned()).or_default().extend(statuses);
    }

    /// Whether whoever posts to a path waits for the answer.
    pub fn holds(&self, path: &str, holds: bool) {
        let held = &mut lock(&self.state).held;
        let _ = if holds { held.insert(path.to_owned()) } else { held.remove(path) };
    }

    /// What was posted to a path so far.
    pub fn posted(&self, path: &str) -> Vec<Posted> {
        lock(&self.state).posted.iter().filter(|posted| posted.path == path).cloned().collect()
    }

    /// The same, once there is so much of it.
    pub async fn until(&self, path: &str, count: usize) -> Vec<Posted> {
        loop {
            let posted = self.posted(path);
            if posted.len() >= count {
                return posted;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

impl Posted {
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON is posted")
    }

    /// # Panics
    /// If there is no such header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name} is missing: {:?}", self.headers))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut socket: TcpStream, state: Arc<Mutex<State>>) {
    while let Ok(Some(posted)) = read(&mut socket).await {
        let (status, path) = {
            let mut state = lock(&state);
            let status = state.answers.get_mut(&posted.path).and_then(VecDeque::pop_front).unwrap_or(200);
            let path = posted.path.clone();
            state.posted.push(posted);
            (status, path)
        };
        while lock(&state).held.contains(&path) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: 2\r\n\r\nok");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request; none, when the connection is over.
async fn read(socket: &mut TcpStream) -> io::Result<Option<Posted>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(posted) = whole(&bytes) {
            return Ok(Some(posted));
        }
        let mut more = [0; 8_192];
        match socket.read(&mut more).await? {
            0 => return Ok(None),
            n => bytes.extend_from_slice(&more[..n]),
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Posted> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let (first, rest) = head.split_once("\r\n")?;
    let path = first.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = rest
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some(Posted { path, headers, body })
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
