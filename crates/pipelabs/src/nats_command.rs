//! `nats bootstrap|admin|follow`: the keys of a NATS with an account for each client, and a subscriber to try one with.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use async_nats::{
    ConnectOptions, ServerAddr,
    jetstream::{self, Context, consumer::PullConsumer},
};
use clap::{Args, Subcommand};
use futures::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    nats_keys::{NatsKeys, OFFLINE},
    report::print,
};

/// How long NATS may take to let somebody in who was just given a credential.
const LET_IN_WITHIN: Duration = Duration::from_secs(15);
const TRY_AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug, Subcommand)]
pub enum NatsCommand {
    /// Make every key of a NATS that has an account for each client, and what its servers have to be told
    Bootstrap(Bootstrap),
    /// Print credentials for our own account, for a person who has to look into it or remove a copy
    Admin(Admin),
    /// Follow a subscription: print each event once, in order, and acknowledge it
    Follow(Follow),
}

#[derive(Debug, Args)]
pub struct Bootstrap {
    /// Where the keys are written; nothing may be there yet
    #[arg(long)]
    dir: PathBuf,
    /// Where servers keep clients' accounts
    #[arg(long, default_value = "/data/accounts")]
    accounts_dir: String,
}

#[derive(Debug, Args)]
pub struct Admin {
    /// Where `nats bootstrap` wrote the keys, those that are kept offline among them
    #[arg(long)]
    dir: PathBuf,
    /// How long they count
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
}

#[derive(Debug, Args)]
pub struct Follow {
    /// The message server: nats://host:port
    #[arg(long)]
    server: ServerAddr,
    /// What POST /api/alerts/subscriptions answered; standard input, if left out
    #[arg(long)]
    answer: Option<PathBuf>,
    /// End after so many events
    #[arg(long)]
    count: Option<u64>,
}

impl NatsCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Bootstrap(bootstrap) => bootstrap.run()?,
            Self::Admin(admin) => {
                let creds = NatsKeys::at(admin.dir).admin(i64::from(admin.minutes) * 60_000_000)?;
                print(creds.expose_secret().trim_end())?;
            }
            Self::Follow(follow) => follow.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Bootstrap {
    fn run(self) -> anyhow::Result<()> {
        let keys = NatsKeys::at(self.dir);
        let dir = keys.dir.display();
        ensure!(!keys.exist(), "there are keys in {dir} already: what was signed with them would count no more");
        keys.make(&self.accounts_dir).with_context(|| format!("could not write keys below {dir}"))?;
        let place = |path: &Path| path.display().to_string();
        let told = [
            (
                place(&keys.dir.join(OFFLINE)),
                "move these three files to where no machine of the platform reaches: they open everything",
            ),
            (place(&keys.server()), "for nats-server: nats.conf includes it; no secret"),
            (
                place(&keys.relay()),
                "NATS_KEYS of role relay, or of one process with every role: this path, or the file's text",
            ),
            (place(&keys.api()), "NATS_KEYS of role api alone"),
        ];
        for (path, what) in told {
            eprintln!("{path}\n    {what}");
        }
        Ok(())
    }
}

/// As much of the API's answer as a subscriber needs.
#[derive(Deserialize)]
struct Answer {
    stream: String,
    consumer: String,
    api_prefix: String,
    inbox_prefix: String,
    creds: Option<SecretString>,
}

impl Follow {
    async fn run(self) -> anyhow::Result<()> {
        let answer: Answer =
            serde_json::from_str(&self.text()?).context("this is not what POST /api/alerts/subscriptions answers")?;
        let creds =
            answer.creds.as_ref().context("the answer has no credentials: they are told once, to whom asked first")?;
        let (jetstream, consumer) = self.come_in(&answer, creds).await?;
        let mut messages = consumer.messages().await?;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let message = messages.next().await.context("NATS ended the subscription")??;
            let seq = message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence;
            let kind =
                message.headers.as_ref().and_then(|headers| headers.get("ce-type")).map_or("?", |kind| kind.as_str());
            print(&format!("{seq} {kind} {}", String::from_utf8_lossy(&message.payload)))?;
            message.ack().await.map_err(anyhow::Error::from_boxed)?;
            left -= 1;
        }
        // An acknowledgement that is still on its way would be lost with the process.
        Ok(jetstream.client().flush().await?)
    }

    /// A credential is told as soon as it is on record, and NATS learns of it a moment later.
    async fn come_in(&self, answer: &Answer, creds: &SecretString) -> anyhow::Result<(Context, PullConsumer)> {
        let late = Instant::now() + LET_IN_WITHIN;
        loop {
            match self.try_to_come_in(answer, creds).await {
                Err(_) if Instant::now() < late => tokio::time::sleep(TRY_AGAIN).await,
                outcome => {
                    return outcome.context("NATS does not let this subscription in: see whether it is `active`");
                }
            }
        }
    }

    async fn try_to_come_in(&self, answer: &Answer, creds: &SecretString) -> anyhow::Result<(Context, PullConsumer)> {
        let options = ConnectOptions::with_credentials(creds.expose_secret())?;
        let client = options.custom_inbox_prefix(&answer.inbox_prefix).connect(self.server.clone()).await?;
        let jetstream = jetstream::with_prefix(client, &answer.api_prefix);
        let consumer = jetstream.get_consumer_from_stream(&answer.consumer, &answer.stream).await?;
        Ok((jetstream, consumer))
    }

    fn text(&self) -> anyhow::Result<String> {
        match &self.answer {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display())),
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("could not read standard input")?;
                Ok(text)
            }
        }
    }
}
