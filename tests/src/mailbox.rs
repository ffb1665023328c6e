//! A mail server that takes everything in the order that RFC 5321 has, and keeps it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One mail.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
}

/// A server on this machine.
#[derive(Debug)]
pub struct Mailbox {
    pub url: String,
    mails: Arc<Mutex<Vec<Mail>>>,
    serving: JoinHandle<()>,
}

impl Mailbox {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let url = format!("smtp://{}", listener.local_addr().expect("it has an address"));
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let kept = Arc::clone(&mails);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&kept)));
            }
        });
        Self { url, mails, serving }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One connection: a command at a time, and no mail without its sender and somebody whom it is for.
async fn serve(socket: TcpStream, kept: Arc<Mutex<Vec<Mail>>>) -> Option<()> {
    let mut stream = BufReader::new(socket);
    let (mut mail, mut line) = (Mail::default(), String::new());
    stream.write_all(b"220 mail.example ready\r\n").await.ok()?;
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let said = line.trim_end();
        let verb = said.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-mail.example\r\n250 8BITMIME",
            "HELO" | "RSET" | "NOOP" => "250 fine",
            "MAIL" => {
                mail = Mail { from: said.to_owned(), ..Mail::default() };
                "250 fine"
            }
            "RCPT" if mail.from.is_empty() => "503 say first from whom",
            "RCPT" => {
                mail.to.push(said.to_owned());
                "250 fine"
            }
            "DATA" if mail.to.is_empty() => "503 say first for whom",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                mail.text = text(&mut stream).await?;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut mail));
                "250 taken"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await.ok()?;
                return Some(());
            }
            _ => "502 not here",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

/// All lines up to a lonely dot.
async fn text(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == ".\r\n" {
            return Some(text);
        }
        text.push_str(&line);
    }
}
