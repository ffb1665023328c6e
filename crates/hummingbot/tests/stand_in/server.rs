//! A stand-in for the Hummingbot API on loopback: it answers as it is told and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, StatusCode, Uri},
    response::Response,
};
use hummingbot::{Hummingbot, Patience};

/// The password that the client sends: fake, and in no fault.
pub const PASSWORD: &str = "fake-password-of-the-test";

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Bytes,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub body: String,
}

type Play = dyn Fn(&Asked) -> Answer + Send + Sync;

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Answer {
    pub fn json(status: u16, body: impl ToString) -> Self {
        Self { status, kind: "application/json", body: body.to_string() }
    }
}

impl Server {
    pub async fn start(play: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let play: Arc<Play> = Arc::new(play);
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let handler = move |method: Method, uri: Uri, body: Bytes| {
            let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
            let one = Asked { method: method.to_string(), path, query, body };
            let answer = play(&one);
            noted.lock().unwrap().push(one);
            async move {
                let status = StatusCode::from_u16(answer.status).unwrap();
                Response::builder()
                    .status(status)
                    .header("content-type", answer.kind)
                    .body(Body::from(answer.body))
                    .unwrap()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
        Self { url, asked }
    }

    pub fn client(&self) -> Hummingbot {
        client(&self.url, Patience::default())
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

pub fn client(url: &str, patience: Patience) -> Hummingbot {
    Hummingbot::new(url, "desk", PASSWORD.into(), patience).unwrap()
}
