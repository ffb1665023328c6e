//! `audit head|export|verify|recompute`: a client's history for someone who trusts nothing that he cannot recompute.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use alerts::replay::Replay;
use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use ed25519_dalek::VerifyingKey;
use events::{
    ClientId, Event, Recorded, Slug, Time,
    chain::canonical,
    export::{self, Expected, SignedHead},
};
use projections::pnl::Recomputed;
use sqlx::Connection;
use store::{Login, read};

use crate::{
    client, reached,
    report::{moment, print, table},
    settings::{Platform, Settings},
};

/// Events read at a time.
const PAGE: u64 = 2_000;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// The latest signed head of a client's stream
    Head(OfClient),
    /// A client's whole history, one event a line, ended by its signed head
    Export(Export),
    /// Check an export, offline: names the first bad line and why
    Verify(Verify),
    /// P&L from an export alone, offline: the same as `report pnl`
    Recompute(Recompute),
    /// Evaluate the rules of alerts over an export, offline: whether they say what is recorded, and nothing else
    Alerts(AlertsOf),
}

#[derive(Debug, Args)]
pub struct OfClient {
    #[arg(long)]
    client: Slug,
}

#[derive(Debug, Args)]
pub struct Export {
    #[arg(long)]
    client: Slug,
    /// Where to; standard output, if left out
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Verify {
    file: PathBuf,
    /// The desk's public key, 64 hex digits, learnt elsewhere than from the file
    #[arg(long)]
    pubkey: Option<String>,
    /// An event's number and chain hash, learnt elsewhere than from the file: SEQ:HASH
    #[arg(long)]
    head: Option<String>,
}

#[derive(Debug, Args)]
pub struct Recompute {
    file: PathBuf,
    /// Event time in milliseconds since 1970, inclusive
    #[arg(long, allow_negative_numbers = true)]
    as_of: Option<i64>,
    /// Events to leave out, by number: what the desk decided to skip stands in its own stream, not in the client's
    #[arg(long, value_delimiter = ',')]
    without: Vec<u64>,
    /// A table for a person in place of exact JSON
    #[arg(long)]
    table: bool,
}

#[derive(Debug, Args)]
pub struct AlertsOf {
    file: PathBuf,
}

impl AuditCommand {
    pub async fn run(self, settings: &Settings) -> anyhow::Result<ExitCode> {
        match self {
            Self::Head(head) => show_head(&reached(settings).await?, &head.client).await,
            Self::Export(export) => {
                let platform = reached(settings).await?;
                match &export.output {
                    Some(path) => export_to_file(&platform, &export.client, path).await?,
                    None => drop(self::export(&platform, &export.client, std::io::stdout().lock()).await?),
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify(verify) => verify.run(),
            Self::Recompute(recompute) => recompute.run(),
            Self::Alerts(alerts) => alerts.run(),
        }
    }
}

async fn show_head(platform: &Platform, slug: &Slug) -> anyhow::Result<ExitCode> {
    let client = client::find(&platform.streams(), slug).await?;
    let head = match &platform.signing_key {
        Some(key) => store::sign_head(&platform.pool(Login::Projector), client, key, Time::now()).await?,
        None => {
            let db = platform.pool(Login::Projector);
            store::latest_signed(&db, client).await?
        }
    };
    let head = head.with_context(|| format!("no head of {slug} was ever signed: set AUDIT_SIGNING_KEY"))?;
    println!("{}", canonical(&head));
    Ok(ExitCode::SUCCESS)
}

/// Whole or not at all: what stood there before stays until the new one is complete.
async fn export_to_file(platform: &Platform, slug: &Slug, path: &Path) -> anyhow::Result<()> {
    let could_not = || format!("could not write {}", path.display());
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let file = File::create(&part).with_context(could_not)?;
    let written = export(platform, slug, BufWriter::new(file)).await;
    match written {
        Ok(_) => std::fs::rename(&part, path).with_context(could_not),
        Err(error) => {
            std::fs::remove_file(&part).with_context(could_not)?;
            Err(error)
        }
    }
}

/// Writes a client's history: every event up to a signed head, and that head.
pub async fn export(platform: &Platform, slug: &Slug, mut out: impl Write) -> anyhow::Result<SignedHead> {
    let client = client::find(&platform.streams(), slug).await?;
    let head = signed_head(platform, client).await?;
    let mut auditor = platform.pool(Login::Auditor).acquire().await?;
    let mut first = 1;
    while first <= head.head.seq {
        let mut tx = auditor.begin().await?;
        read::for_client(&mut tx, client).await?;
        let last = head.head.seq.min(first + PAGE - 1);
        let lines = read::lines(&mut *tx, client, first, last).await?;
        if lines.len() as u64 != last - first + 1 {
            bail!("the stream of {slug} ends before its head {}: somebody's hand was in the database", head.head.seq);
        }
        for line in lines {
            writeln!(out, "{}", canonical(&line)).context("could not write the export")?;
        }
        first = last + 1;
    }
    writeln!(out, "{}", canonical(&head)).context("could not write the export")?;
    out.flush().context("could not write the export")?;
    Ok(head)
}

/// The present head, signed now; without a key the latest that was signed.
async fn signed_head(platform: &Platform, client: ClientId) -> anyhow::Result<SignedHead> {
    let db = platform.pool(Login::Projector);
    let head = match &platform.signing_key {
        Some(key) => store::sign_head(&db, client, key, Time::now()).await?,
        None => store::latest_signed(&db, client).await?,
    };
    head.context("an export ends with a signed head, and none was ever signed: set AUDIT_SIGNING_KEY")
}

impl Verify {
    fn run(self) -> anyhow::Result<ExitCode> {
        let expected = Expected {
            key: self.pubkey.as_deref().map(public_key).transpose()?,
            head: self.head.as_deref().map(pinned).transpose()?,
        };
        match export::verify(open(&self.file)?, &expected, drop) {
            Ok(found) => {
                let head = &found.head.head;
                println!(
                    "ok: {} events of client {}, head {}:{}",
                    found.events, head.client_id, head.seq, head.chain_hash
                );
                match found.signature_checked {
                    true => println!("the head is signed by the key that you gave"),
                    false => println!("the chain alone was checked: give --pubkey to check who vouches for it"),
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(bad) => {
                println!("{bad}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

impl AlertsOf {
    /// Twice through the file: when time was looked at is told by events that stand behind.
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut told = Vec::new();
        let keep = |event: Recorded| {
            if matches!(event.event, Event::Alert(_)) {
                told.push(event);
            }
        };
        let verified = export::verify(open(&self.file)?, &Expected::default(), keep);
        let client = match verified {
            Ok(found) => found.head.head.client_id,
            Err(bad) => {
                println!("{bad}");
                return Ok(ExitCode::FAILURE);
            }
        };
        let mut replay = Replay::new(client, &told);
        export::verify(open(&self.file)?, &Expected::default(), |event| replay.hear(&event))
            .map_err(|bad| anyhow!("the file changed while it was read: {bad}"))?;
        match replay.end() {
            Ok(transitions) => {
                println!("ok: {transitions} transitions follow from the events, and no other");
                Ok(ExitCode::SUCCESS)
            }
            Err(difference) => {
                println!("{difference}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

impl Recompute {
    fn run(self) -> anyhow::Result<ExitCode> {
        let as_of = moment(self.as_of)?;
        let mut recomputed = Recomputed::default();
        let verified = export::verify(open(&self.file)?, &Expected::default(), |event| {
            if !self.without.contains(&event.seq) {
                recomputed.read(&event);
            }
        });
        if let Err(bad) = verified {
            println!("{bad}");
            return Ok(ExitCode::FAILURE);
        }
        let report = recomputed.report(as_of)?;
        match self.table {
            true => print(&table(&report).to_string())?,
            false => print(&serde_json::to_string_pretty(&report)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(path: &PathBuf) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

/// A public key from the command line.
pub fn public_key(text: &str) -> anyhow::Result<VerifyingKey> {
    let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.context("--pubkey is 64 hex digits")?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| anyhow!("--pubkey is no Ed25519 key"))
}

fn pinned(text: &str) -> anyhow::Result<(u64, [u8; 32])> {
    let (seq, hash) = text.split_once(':').context("--head is written SEQ:HASH")?;
    let hash = hex::decode(hash).ok().and_then(|bytes| bytes.try_into().ok());
    let seq: u64 = seq.parse().context("--head is written SEQ:HASH")?;
    ensure!(seq > 0, "the first event is number 1: --head 0 pins nothing");
    Ok((seq, hash.context("the hash of --head is 64 hex digits")?))
}
