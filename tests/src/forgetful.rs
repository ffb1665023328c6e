//! A line to Postgres on which logins `query` and `auth` forget whose rows they ask for: of every statement that they prepare, each
//! condition that a column `client_id` be what a parameter says is taken out, and holds for every row. What a transaction
//! was told about its client (`set_config('app.client_id', …)`) goes through as it is: row security is all that is left.
//!
//! It speaks the wire protocol, so that the binary is the one that is shipped. A statement's parameters stay as they were,
//! each with its type. Whatever brought a client's id to Postgres and kept its condition is remembered, as are the
//! statements of other logins to which one was brought.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::{Arc, LazyLock, Mutex},
};

use events::ClientId;
use regex::{Captures, Regex};
use store::Login;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// What opens a connection: a request for encryption (there is none on loopback), for the end of a query, or the start.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
const CANCEL: u32 = 80_877_102;

/// The one statement of theirs that may name a client: it is what the wall is built on.
const NAMES_THE_CLIENT: &str = "select set_config('app.client_id', $1, true)";

/// A line to a port of this machine.
#[derive(Debug)]
pub struct Forgetful {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What went over the line.
#[derive(Debug)]
struct Seen {
    client: ClientId,
    forgotten: BTreeMap<String, usize>,
    kept: BTreeSet<String>,
    of_others: BTreeSet<(String, String)>,
}

impl Forgetful {
    /// `client` is the one that asks: its id is watched for.
    pub async fn to(port: u16, client: ClientId) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let here = listener.local_addr().expect("it has an address").port();
        let seen = Seen { client, forgotten: BTreeMap::new(), kept: BTreeSet::new(), of_others: BTreeSet::new() };
        let seen = Arc::new(Mutex::new(seen));
        let task = tokio::spawn(carry(listener, port, Arc::clone(&seen)));
        Self { port: here, seen, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The statements that forgot whose rows they ask for, as they were written, and how many conditions each lost.
    pub fn forgotten(&self) -> BTreeMap<String, usize> {
        self.seen.lock().expect("nobody panics with it").forgotten.clone()
    }

    /// The statements of those logins to which a client's id was brought, and that still may ask for it.
    pub fn kept(&self) -> BTreeSet<String> {
        self.seen.lock().expect("nobody panics with it").kept.clone()
    }

    /// Statements of other logins to which a client's id was brought, each with its login's role.
    pub fn of_others(&self) -> BTreeSet<(String, String)> {
        self.seen.lock().expect("nobody panics with it").of_others.clone()
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(listener: TcpListener, port: u16, seen: Arc<Mutex<Seen>>) {
    while let Ok((here, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            // Either side may end the connection at any time.
            let _ = pass(here, port, seen).await;
        });
    }
}

async fn pass(mut here: TcpStream, port: u16, seen: Arc<Mutex<Seen>>) -> io::Result<()> {
    let opening = loop {
        let opening = message(&mut here).await?;
        match ENCRYPTION.contains(&number(&opening)) {
            true => here.write_all(b"N").await?,
            false => break opening,
        }
    };
    let mut there = TcpStream::connect(("127.0.0.1", port)).await?;
    there.write_all(&framed(&opening)).await?;
    if number(&opening) == CANCEL {
        return Ok(());
    }
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    let (from_us, mut to_us) = here.into_split();
    let (mut from_postgres, to_postgres) = there.into_split();
    let asked = Asked { login: user(&opening), statements: HashMap::new(), seen };
    tokio::select! {
        ended = asked.forward(from_us, to_postgres) => ended,
        ended = tokio::io::copy(&mut from_postgres, &mut to_us) => ended.map(drop),
    }
}

/// Who opens the connection.
fn user(opening: &[u8]) -> String {
    let words: Vec<&[u8]> = opening[4..].split(|byte| *byte == 0).collect();
    let named = words.chunks_exact(2).find(|pair| pair[0] == b"user").expect("a connection is opened by somebody");
    String::from_utf8_lossy(named[1]).into_owned()
}

/// The number that a message without a kind begins with.
fn number(message: &[u8]) -> u32 {
    u32::from_be_bytes(message[..4].try_into().expect("it has one"))
}

/// A message behind its length.
async fn message(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = vec![0; length.saturating_sub(4) as usize];
    from.read_exact(&mut body).await?;
    Ok(body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a message is short");
    [&length.to_be_bytes(), body].concat()
}

/// What is asked over one connection.
struct Asked {
    login: String,
    /// By the names that they were prepared under: their texts, and the parameters whose conditions were taken out.
    statements: HashMap<Vec<u8>, (String, BTreeSet<usize>)>,
    seen: Arc<Mutex<Seen>>,
}

impl Asked {
    async fn forward(mut self, from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut from = BufReader::new(from);
        loop {
            let kind = from.read_u8().await?;
            let body = message(&mut from).await?;
            let body = match kind {
                b'P' => self.prepare(body),
                b'B' => {
                    self.bind(&body);
                    body
                }
                b'Q' => {
                    self.at_once(&body);
                    body
                }
                _ => body,
            };
            to.write_all(&[&[kind], framed(&body).as_slice()].concat()).await?;
        }
    }

    /// Whether this login asks on clients' behalf.
    fn forgets(&self) -> bool {
        [Login::Query, Login::Auth].iter().any(|login| self.login == login.role())
    }

    /// A statement under a name, with the types of its parameters.
    fn prepare(&mut self, body: Vec<u8>) -> Vec<u8> {
        let mut parts = body.splitn(3, |byte| *byte == 0);
        let (name, text, types) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(text), Some(types)) = (name, text, types) else { return body };
        let text = String::from_utf8_lossy(text).into_owned();
        let (asked, conditions) = match self.forgets() {
            true => forget(&text),
            false => (text.clone(), Vec::new()),
        };
        if !conditions.is_empty() {
            let mut seen = self.seen.lock().expect("nobody panics with it");
            seen.forgotten.insert(text.clone(), conditions.len());
        }
        let changed = [name, &[0], asked.as_bytes(), &[0], types].concat();
        if self.forgets() && asks_for_a_client(&asked) {
            self.seen.lock().expect("nobody panics with it").kept.insert(text.clone());
        }
        self.statements.insert(name.to_vec(), (text, conditions.into_iter().collect()));
        changed
    }

    /// Values for a statement's parameters.
    fn bind(&self, body: &[u8]) {
        let Some((statement, values)) = bound(body) else { return };
        let Some((text, forgotten)) = self.statements.get(statement) else { return };
        let mut seen = self.seen.lock().expect("nobody panics with it");
        for (place, value) in (1..).zip(values) {
            if !names(value, seen.client) || forgotten.contains(&place) || text == NAMES_THE_CLIENT {
                continue;
            }
            if self.forgets() && !text.trim_start().starts_with("insert") {
                seen.kept.insert(text.clone());
            } else {
                seen.of_others.insert((self.login.clone(), text.clone()));
            }
        }
    }

    /// A statement without parameters: whatever it names is in its text.
    fn at_once(&self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        if self.forgets() && text.contains("client_id") {
            self.seen.lock().expect("nobody panics with it").kept.insert(text.trim_end_matches('\0').to_owned());
        }
    }
}

/// Whether a value is or holds a client's id, as bytes or as a text.
fn names(value: &[u8], client: ClientId) -> bool {
    let (bytes, text) = (client.0.as_bytes(), client.0.to_string());
    let plain = client.0.simple().to_string();
    [&bytes[..], text.as_bytes(), plain.as_bytes()].iter().any(|id| value.windows(id.len()).any(|part| part == *id))
}

/// The name of the statement and the values, nulls as nothing.
fn bound(body: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let mut parts = body.splitn(3, |byte| *byte == 0);
    let (_portal, statement, mut rest) = (parts.next()?, parts.next()?, parts.next()?);
    let formats = usize::from(u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?));
    take(&mut rest, formats * 2)?;
    let values = u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?);
    let values = (0..values).map(|_| {
        let length = i32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
        take(&mut rest, usize::try_from(length).unwrap_or(0))
    });
    let values: Option<Vec<&[u8]>> = values.collect();
    Some((statement, values?))
}

fn take<'a>(from: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(bytes)?;
    *from = rest;
    Some(taken)
}

/// `client_id = $1`, `x.client_id = any($2)`, `$3 = client_id`, `(x.client_id, y) = ($4, …)`, with casts.
static CONDITION: LazyLock<Regex> = LazyLock::new(|| {
    let column = r"(?:\b\w+\.)?\bclient_id\b(?:::uuid)?";
    let text = format!(
        r"(?ix) {column}\s*=\s*\$(?P<is>\d+)(?:::uuid)?
        | {column}\s*=\s*any\s*\(\s*\$(?P<any>\d+)(?:::uuid\[\])?\s*\)
        | \$(?P<turned>\d+)(?:::uuid)?\s*=\s*{column}
        | \(\s*{column}\s*,(?P<columns>[^()]*)\)\s*=\s*\(\s*\$(?P<row>\d+)(?:::uuid)?\s*,(?P<values>[^()]*)\)"
    );
    Regex::new(&text).expect("it is a pattern")
});

/// What may still be a condition on a client: the column, a comparison and a parameter, each alone, in a row or in a call.
static STILL: LazyLock<Regex> = LazyLock::new(|| {
    let column = r"(?:\b\w+\.)?\bclient_id\b(?:::\w+)?";
    let parameter = r"\$\d+(?:::\w+)?";
    let row_ends = r"\s*(?:(?:,[\s\w.,$:]*)?\))?\s*";
    let compared = r"(?:<>|!=|<=|>=|=|<|>|\b(?:not\s+)?in\b|\b(?:i?like)\b|\bdistinct\s+from\b|\bbetween\b)";
    let row_begins = r"\s*(?:\w*\s*\(\s*)*(?:[\w.$:]+\s*,\s*)*";
    let text = format!(
        r"(?ix) {column}{row_ends}(?:is\s+(?:not\s+)?)?{compared}{row_begins}{parameter}
        | {parameter}{row_ends}(?:is\s+(?:not\s+)?)?{compared}{row_begins}{column}"
    );
    Regex::new(&text).expect("it is a pattern")
});

fn asks_for_a_client(text: &str) -> bool {
    STILL.is_match(text)
}

/// The statement without its conditions on the client, and which parameters stood in them.
fn forget(text: &str) -> (String, Vec<usize>) {
    let mut parameters = Vec::new();
    let always = |found: &Captures<'_>| {
        let named = |name: &str| found.name(name).map(|group| group.as_str().to_owned());
        let of = |name: &str| named(name).map(|number| (number, "uuid"));
        let (number, kind) = of("is")
            .or_else(|| of("turned"))
            .or_else(|| of("row"))
            .or_else(|| named("any").map(|number| (number, "uuid[]")))
            .expect("one of them matched");
        parameters.push(number.parse().expect("it has digits alone"));
        let always = format!("(${number}::{kind} is not null)");
        match (named("columns"), named("values")) {
            (Some(columns), Some(values)) => format!("({always} and ({columns}) = ({values}))"),
            _ => always,
        }
    };
    let text: Cow<'_, str> = CONDITION.replace_all(text, always);
    (text.into_owned(), parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_on_a_client_holds_for_all_then_and_nothing_else_is_touched() {
        for (text, changed, parameters) in [
            ("select 1 from x where client_id = $1", "select 1 from x where ($1::uuid is not null)", vec![1]),
            ("where a=$1 and x.client_id=$12::uuid", "where a=$1 and ($12::uuid is not null)", vec![12]),
            ("where x.client_id = any($2)", "where ($2::uuid[] is not null)", vec![2]),
            ("where $3 = x.client_id and b", "where ($3::uuid is not null) and b", vec![3]),
            ("where (l.client_id, l.name) = ($1, $2)", "where (($1::uuid is not null) and ( l.name) = ( $2))", vec![1]),
            (
                "on c.client_id = $2 left join s on s.client_id = $2",
                "on ($2::uuid is not null) left join s on ($2::uuid is not null)",
                vec![2, 2],
            ),
        ] {
            assert_eq!(forget(text), (changed.to_owned(), parameters), "{text}");
            assert!(!asks_for_a_client(&forget(text).0), "{text}");
        }
        for text in [
            NAMES_THE_CLIENT,
            "select coalesce(s.client_id, $2) from s join c on c.client_id = s.client_id and c.version = $1",
            "select client_id from x where bot_id = $1",
            "select client_id, at from x where at <= $1",
        ] {
            assert_eq!(forget(text), (text.to_owned(), Vec::new()));
            assert!(!asks_for_a_client(text), "{text}");
        }
    }

    #[test]
    fn a_condition_of_a_form_that_is_not_known_is_told() {
        for text in [
            "where client_id <> $1",
            "where client_id in ($1, $2)",
            "where client_id is not distinct from $1",
            "where (client_id, a) > ($1, $2)",
            "where (a, client_id) = ($1, $2)",
            "where coalesce($2, a) = s.client_id",
            "where s.client_id = coalesce($2, s.client_id)",
            "where client_id::text = $1",
            "where client_id between $1 and $2",
        ] {
            assert!(asks_for_a_client(&forget(text).0), "{text}");
        }
    }

    #[test]
    fn values_are_found_behind_their_formats_and_lengths() {
        let client = ClientId::new();
        let values = [b"\x00\x00\x00\x02ab".as_slice(), b"\xff\xff\xff\xff", b"\x00\x00\x00\x10", client.0.as_bytes()];
        let body = [b"\0name\0\x00\x01\x00\x01\x00\x03".as_slice(), &values.concat(), b"\x00\x00"].concat();
        let (statement, values) = bound(&body).unwrap();
        assert_eq!((statement, values.len()), (b"name".as_slice(), 3));
        let named: Vec<bool> = values.iter().map(|value| names(value, client)).collect();
        assert_eq!(named, [false, false, true]);
    }
}
