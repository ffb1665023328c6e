//! Recorded requests and answers of the real server.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::server::Answer;

pub struct Recording {
    pub name: String,
    pub method: String,
    pub path: String,
    pub query: String,
    pub sent: Value,
    pub status: u16,
    kind: String,
    pub body: Value,
}

impl Recording {
    pub fn all(shared: &Path) -> Vec<Self> {
        let files = std::fs::read_dir(shared.join("recorded")).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        files.retain(|path| !path.ends_with("ws_samples.json"));
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (request, response) = (&file["request"], &file["response"]);
        let (path_asked, query) =
            request["path"].as_str().unwrap().split_once('?').unwrap_or((request["path"].as_str().unwrap(), ""));
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            method: request["method"].as_str().unwrap().to_owned(),
            path: path_asked.to_owned(),
            query: query.to_owned(),
            sent: request["body"].clone(),
            status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
            kind: response["headers"]["content-type"].as_str().unwrap().to_owned(),
            body: response["body"].clone(),
        }
    }

    pub fn answer(&self) -> Answer {
        let plain = self.kind.starts_with("text/plain");
        let body = if plain { self.body.as_str().unwrap().to_owned() } else { self.body.to_string() };
        Answer { status: self.status, kind: if plain { "text/plain" } else { "application/json" }, body }
    }

    pub fn text(&self, field: &str) -> &str {
        self.sent[field].as_str().unwrap_or("BTC-USDT")
    }
}
