//! `import --dir DIR`: fills, rates, funding and transfers from files into the streams of their clients.
//!
//! Every line is judged by itself: recorded, known already, or refused with its file, its number and the reason. What is
//! recorded once is never recorded again, so an import that was cut off is simply repeated.

mod lines;
mod marks;
mod parties;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, iter,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::Args;
use domain::ledger::{Fact, Verdict, above_zero, judge, possible};
use events::{AggregateRef, ClientId, Event, Time, ledger::LedgerEvent};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::{Append, AppendError, Cause, Draft, Expected, Login, Streams};

use self::{
    lines::{Line, Lines},
    marks::{Mark, Told},
    parties::{Needs, Parties},
    rows::{FillRow, FundingRow, OpeningRow, RateRow, TransferRow, assets_of, book},
};
use crate::{progress::Progress, settings::Platform};

/// Lines appended together.
const PAGE: usize = 500;
const AGAIN: &str = "the import was cut off; run it again, nothing is recorded twice";

#[derive(Debug, Args)]
pub struct Import {
    /// A folder with fills.jsonl and, as far as there are any, rates.jsonl, funding.jsonl, transfers.jsonl, opening.jsonl
    #[arg(long)]
    dir: PathBuf,
}

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub new: u64,
    pub duplicates: u64,
    pub refused: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "imported: {} new, {} duplicates, {} refused", self.new, self.duplicates, self.refused)
    }
}

impl Import {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        let count = import(platform, &self.dir).await?;
        println!("{count}");
        Ok(if count.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Imports a folder.
pub async fn import(platform: &Platform, dir: &Path) -> anyhow::Result<Count> {
    let mut importer = Importer::new(platform.streams(), platform.pool(Login::Auditor));
    importer.read(dir).await?;
    importer.append_waiting().await?;
    Ok(importer.count)
}

const RATES: &str = "rates.jsonl";
const OPENING: &str = "opening.jsonl";
const FILLS: &str = "fills.jsonl";
const FUNDING: &str = "funding.jsonl";
const TRANSFERS: &str = "transfers.jsonl";
/// Rates first: what they price then comes in order.
const FILES: [&str; 5] = [RATES, OPENING, FILLS, FUNDING, TRANSFERS];

/// A row that tells a fact of a client's ledger.
trait Row: DeserializeOwned + Send {
    /// The fact, its client and account found or made.
    async fn fact(self, parties: &mut Parties, raw: &str) -> anyhow::Result<Result<(ClientId, Fact), String>>;
    /// Its client's slug and every asset that its figures need a rate of.
    fn needs(&self) -> (String, Vec<String>);
}

/// Which rates each client of the files needs, by slug.
fn needed_assets(dir: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut needed = BTreeMap::new();
    gather::<OpeningRow>(&dir.join(OPENING), &mut needed)?;
    gather::<FillRow>(&dir.join(FILLS), &mut needed)?;
    gather::<FundingRow>(&dir.join(FUNDING), &mut needed)?;
    gather::<TransferRow>(&dir.join(TRANSFERS), &mut needed)?;
    Ok(needed)
}

fn gather<R: Row>(path: &Path, needed: &mut BTreeMap<String, BTreeSet<String>>) -> anyhow::Result<()> {
    for line in open(path)?.into_iter().flatten() {
        let text = line.with_context(|| format!("could not read {}", path.display()))?.text;
        // What cannot be read is reported when its turn comes.
        if let Ok(row) = text.and_then(|text| parse::<R>(&text)) {
            let (client, assets) = row.needs();
            needed.entry(client).or_default().extend(assets);
        }
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<Option<Lines>> {
    Lines::open(path).with_context(|| format!("could not open {}", path.display()))
}

fn parse<R: DeserializeOwned>(text: &str) -> Result<R, String> {
    if text.starts_with('\u{feff}') {
        return Err("it begins with a byte order mark: save the file without one".to_owned());
    }
    if !text.trim_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let row = serde_path_to_error::deserialize(&mut json).map_err(|cause| {
        let path = cause.path().to_string();
        let at = if path == "." { String::new() } else { format!("{path}: ") };
        format!("{at}{}", without_place(cause.inner()))
    })?;
    json.end().map_err(|cause| without_place(&cause))?;
    Ok(row)
}

/// The line is named already; serde's own "at line 1" would only confuse.
fn without_place(cause: &serde_json::Error) -> String {
    let told = cause.to_string();
    told.split(" at line 1 column").next().unwrap_or(&told).to_owned()
}

/// From lines of files into the streams.
struct Importer {
    streams: Streams,
    parties: Parties,
    cause: Cause,
    count: Count,
    waiting: Vec<Waiting>,
}

/// What a line came to, before it is appended.
#[derive(Debug)]
struct Waiting {
    file: &'static str,
    number: u64,
    append: Append,
}

impl Waiting {
    fn is_rate(&self) -> bool {
        self.file == RATES
    }

    /// A rate counts where the desk keeps it; what its clients get are copies.
    fn is_copy(&self) -> bool {
        self.is_rate() && self.append.client != ClientId::DESK
    }
}

impl Importer {
    fn new(streams: Streams, auditor: PgPool) -> Self {
        let parties = Parties::new(streams.clone(), auditor);
        Self { streams, parties, cause: Cause::system("import"), count: Count::default(), waiting: Vec::new() }
    }

    /// Every file of a folder. Whom its lines speak of is onboarded; what they say is appended a page at a time, and the
    /// last page waits.
    async fn read(&mut self, dir: &Path) -> anyhow::Result<()> {
        let is_there = |name: &&str| dir.join(name).symlink_metadata().is_ok();
        ensure!(FILES.iter().any(is_there), "{} holds none of {}", dir.display(), FILES.join(", "));
        let needed = needed_assets(dir)?;
        self.rates(dir, needed).await?;
        self.facts::<OpeningRow>(dir, OPENING).await?;
        self.facts::<FillRow>(dir, FILLS).await?;
        self.facts::<FundingRow>(dir, FUNDING).await?;
        self.facts::<TransferRow>(dir, TRANSFERS).await
    }

    async fn append_waiting(&mut self) -> anyhow::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.append(waiting).await
    }

    async fn wait(&mut self, waiting: Waiting) -> anyhow::Result<()> {
        self.waiting.push(waiting);
        if self.waiting.len() >= PAGE { self.append_waiting().await } else { Ok(()) }
    }

    /// Every line of a file of facts.
    async fn facts<R: Row>(&mut self, dir: &Path, file: &'static str) -> anyhow::Result<()> {
        let path = dir.join(file);
        let Some(lines) = open(&path)? else { return Ok(()) };
        let mut progress = progress(&path)?;
        for line in lines {
            let Line { number, text, bytes } = line.with_context(|| format!("could not read {}", path.display()))?;
            match self.judge::<R>(text).await? {
                Ok(append) => self.wait(Waiting { file, number, append }).await?,
                Err(reason) => self.refuse(file, number, &reason),
            }
            progress.add(bytes);
        }
        progress.end();
        Ok(())
    }

    async fn judge<R: Row>(&mut self, text: Result<String, String>) -> anyhow::Result<Result<Append, String>> {
        let read = text.and_then(|text| parse::<R>(&text).map(|row| (row, text)));
        let (row, text) = match read {
            Ok(read) => read,
            Err(reason) => return Ok(Err(reason)),
        };
        let (client, fact) = match row.fact(&mut self.parties, &text).await? {
            Ok(told) => told,
            Err(reason) => return Ok(Err(reason)),
        };
        let key = fact.key(&client.into());
        Ok(match fact.decide(Time::now()) {
            Ok(event) => Ok(self.to_ledger(client, event, key)),
            Err(refusal) => Err(refusal.to_string()),
        })
    }

    fn to_ledger(&self, client: ClientId, event: LedgerEvent, key: String) -> Append {
        let events = vec![Draft { event: event.into(), key: Some(key) }];
        let aggregate = AggregateRef::ledger(client);
        Append { client, aggregate, expected: Expected::Any, events, cause: self.cause.clone() }
    }

    /// Appends lines; each one's outcome is its own.
    async fn append(&mut self, lines: Vec<Waiting>) -> anyhow::Result<()> {
        let appends = lines.iter().map(|line| line.append.clone()).collect();
        let outcomes = self.streams.committer().append_all(appends).await;
        let mut repeated: HashMap<ClientId, Vec<(u64, Waiting)>> = HashMap::new();
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) if line.is_copy() => {}
                Ok(receipt) if !receipt.repeated => self.count.new += 1,
                Ok(_) if line.is_rate() => self.count.duplicates += 1,
                Ok(receipt) => repeated.entry(line.append.client).or_default().push((receipt.first, line)),
                Err(refused @ AppendError::Refused { .. }) => self.refuse(line.file, line.number, &refused.to_string()),
                Err(fault) => return Err(fault).context(AGAIN),
            }
        }
        for (client, lines) in repeated {
            self.compare(client, lines).await?;
        }
        Ok(())
    }

    /// Lines whose key was known: the same content is a duplicate, another one a conflict that is kept aside.
    async fn compare(&mut self, client: ClientId, lines: Vec<(u64, Waiting)>) -> anyhow::Result<()> {
        let numbers: Vec<u64> = lines.iter().map(|(seq, _)| *seq).collect();
        let known = self.streams.numbered(client, &numbers).await?;
        let known: HashMap<u64, Event> = known.into_iter().map(|event| (event.seq, event.event)).collect();
        for (seq, Waiting { file, number, append }) in lines {
            let (Event::Ledger(told), Some(Event::Ledger(known))) = (&append.events[0].event, known.get(&seq)) else {
                self.refuse(file, number, &format!("its key belongs to event {seq}, which is no fact of the ledger"));
                continue;
            };
            match judge(told, known, seq, Time::now()) {
                Verdict::Duplicate => self.count.duplicates += 1,
                Verdict::Conflict { dispute, refusal } => {
                    if let Some(dispute) = dispute {
                        self.keep_aside(client, *dispute).await?;
                    }
                    self.refuse(file, number, &refusal.to_string());
                }
            }
        }
        Ok(())
    }

    async fn keep_aside(&self, client: ClientId, dispute: LedgerEvent) -> anyhow::Result<()> {
        let LedgerEvent::FillDisputed { recorded, fill, .. } = &dispute else { return Ok(()) };
        let key = format!("dispute:{recorded}:{}", fill.raw_hash.as_deref().unwrap_or_default());
        self.streams.committer().append(self.to_ledger(client, dispute, key)).await?;
        Ok(())
    }

    /// Every rate is kept once, in the desk's stream, and goes to each client whose figures need it, so that each stream
    /// explains itself: now, or when the client comes to need it.
    async fn rates(&mut self, dir: &Path, needed: BTreeMap<String, BTreeSet<String>>) -> anyhow::Result<()> {
        let needs = self.parties.needs(needed).await?;
        let path = dir.join(RATES);
        if let Some(lines) = open(&path)? {
            let mut progress = progress(&path)?;
            let mut told = Told::default();
            for line in lines {
                let Line { number, text, bytes } =
                    line.with_context(|| format!("could not read {}", path.display()))?;
                match text.and_then(|text| rate(&text)) {
                    Ok(row) => self.keep_mark(number, &told.mark(row.pair, row.price, row.ts.0), &needs).await?,
                    Err(reason) => self.refuse(RATES, number, &reason),
                }
                progress.add(bytes);
            }
            progress.end();
        }
        self.hand_out_older_marks(&needs).await
    }

    /// A mark into the desk's stream, and to the clients who have all earlier ones of its pair.
    async fn keep_mark(&mut self, number: u64, mark: &Mark, needs: &[Needs]) -> anyhow::Result<()> {
        let wanted = |client: &&Needs| client.needs(&mark.pair) && !client.lacks(&mark.pair);
        let clients = needs.iter().filter(wanted).map(|client| client.client);
        for to in iter::once(ClientId::DESK).chain(clients) {
            let append = mark.to(to, &self.cause);
            self.wait(Waiting { file: RATES, number, append }).await?;
        }
        Ok(())
    }

    /// Clients who come to need a pair get all that the desk knows of it, in its order.
    async fn hand_out_older_marks(&mut self, needs: &[Needs]) -> anyhow::Result<()> {
        if !needs.iter().any(Needs::lacks_any) {
            return Ok(());
        }
        self.append_waiting().await?;
        let (mut told, mut reached) = (Told::default(), 0);
        while let Some((last, marks)) = self.parties.marks_of_the_desk(reached).await? {
            reached = last;
            let mut copies = Vec::new();
            for (pair, price, at) in marks {
                let mark = told.mark(pair, price, at);
                let lacking = needs.iter().filter(|client| client.lacks(&mark.pair));
                copies.extend(lacking.map(|client| mark.to(client.client, &self.cause)));
            }
            for outcome in self.streams.committer().append_all(copies).await {
                outcome.context(AGAIN)?;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, file: &str, number: u64, reason: &str) {
        self.count.refused += 1;
        eprintln!("{file} line {number} refused: {reason}");
    }
}

fn rate(text: &str) -> Result<RateRow, String> {
    let row: RateRow = parse(text)?;
    above_zero("price", row.price.0).map_err(|refusal| refusal.to_string())?;
    possible(row.ts.0, Time::now()).map_err(|refusal| refusal.to_string())?;
    Ok(row)
}

fn progress(path: &Path) -> anyhow::Result<Progress> {
    let length = std::fs::metadata(path).with_context(|| format!("could not read {}", path.display()))?.len();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(Progress::new(&format!("{name}, bytes"), length))
}

impl Row for FillRow {
    async fn fact(self, parties: &mut Parties, raw: &str) -> anyhow::Result<Result<(ClientId, Fact), String>> {
        let client = parties.client(&self.client).await?;
        parties.account(client, self.exchange).await?;
        let bot = parties.bot(client, &self.bot).await?;
        let fill = self.fill(bot, client.into(), hex::encode(Sha256::digest(raw)));
        Ok(fill.map(|fill| (client, Fact::Fill(Box::new(fill)))))
    }

    fn needs(&self) -> (String, Vec<String>) {
        (self.client.to_string(), self.assets().collect())
    }
}

impl Row for FundingRow {
    async fn fact(self, parties: &mut Parties, _: &str) -> anyhow::Result<Result<(ClientId, Fact), String>> {
        let client = parties.client(&self.client).await?;
        parties.account(client, self.exchange).await?;
        let bot = parties.bot(client, &self.bot).await?;
        let book = book(bot, self.exchange, self.market, self.pair);
        let (amount, asset, funding, at) = (self.amount, self.asset, self.funding_id, self.ts.0);
        Ok(Ok((client, Fact::Funding { book, amount, asset, funding, at })))
    }

    fn needs(&self) -> (String, Vec<String>) {
        (self.client.to_string(), assets_of(&self.pair).chain([self.asset.to_string()]).collect())
    }
}

impl Row for TransferRow {
    async fn fact(self, parties: &mut Parties, _: &str) -> anyhow::Result<Result<(ClientId, Fact), String>> {
        let client = parties.client(&self.client).await?;
        parties.account(client, self.exchange).await?;
        let (exchange, asset, amount, at) = (self.exchange, self.asset, self.amount, self.ts.0);
        let fact = Fact::Transfer { exchange, account: client.into(), asset, amount, transfer: self.transfer_id, at };
        Ok(Ok((client, fact)))
    }

    fn needs(&self) -> (String, Vec<String>) {
        (self.client.to_string(), vec![self.asset.to_string()])
    }
}

impl Row for OpeningRow {
    async fn fact(self, parties: &mut Parties, _: &str) -> anyhow::Result<Result<(ClientId, Fact), String>> {
        let client = parties.client(&self.client).await?;
        parties.account(client, self.exchange).await?;
        let bot = parties.bot(client, &self.bot).await?;
        let book = book(bot, self.exchange, self.market, self.pair);
        Ok(Ok((client, Fact::Opening { book, position: self.position, cost: self.cost, at: self.ts.0 })))
    }

    fn needs(&self) -> (String, Vec<String>) {
        (self.client.to_string(), assets_of(&self.pair).collect())
    }
}
