//! The demo's desk: a fresh database, every part of the platform, clients with a history, people who may log in.

use std::{net::SocketAddr, str::FromStr, sync::Arc};

use access::{AddUser, Register};
use anyhow::{Context, Error};
use async_nats::{ServerAddr, jetstream};
use ed25519_dalek::SigningKey;
use events::{Asset, ClientId, Slug, Time, desk::Role};
use relay::{Access, tenancy::keys::RelayKeys};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use store::{Cause, Login, Streams, read};

use super::{history, leaflet, outside::Outside, step, visitor::Visitor};
use crate::{
    report::print,
    serve::{self, Door, Parts, Role as Part},
    settings::Platform,
    stack::Stack,
};

/// The demo's own database; what it held before is thrown away.
const DATABASE: &str = "demo";
/// A client that has not traded yet.
const NEWCOMER: &str = "cygnus";
/// How long the demo may look into all that NATS holds.
const ADMIN_LIFE_US: i64 = 24 * 3_600 * 1_000_000;

/// Everything that runs, and who works with it.
#[derive(Debug)]
pub struct Desk {
    pub platform: Platform,
    /// Where the API answers.
    pub url: String,
    /// A user of each client.
    pub visitors: Vec<Visitor>,
    pub streams: Streams,
    pub outside: Outside,
    /// As somebody who may do anything there.
    pub nats: async_nats::Client,
    parts: Parts,
}

impl Desk {
    pub async fn open(stack: &Stack, port: u16, speed: u32) -> anyhow::Result<Self> {
        print(&format!("1. a private Postgres and NATS under {}, and a Hummingbot on paper", stack.dir.display()))?;
        let (mut platform, nats) = start(stack).await?;
        let outside = Outside::start(&stack.dir, speed).await?;
        platform.outside = Some(outside.settings()?);
        step(&format!("the paper Hummingbot answers at {}; its exchanges play a real tape", outside.url));
        print("\n2. two clients with their history, and one who has just come")?;
        let streams = platform.streams();
        seed(&platform, &streams, stack).await?;
        // Its admin is as old as the demo, and nobody has an authenticator at hand.
        let settings = api::Settings { second_factor_for: api::StrictRoles(Vec::new()), ..api::Settings::default() };
        let door = Door { at: SocketAddr::from(([127, 0, 0, 1], port)), settings };
        let parts = Parts::start(&platform, &streams, &Part::every(), door).await?;
        let url = parts.url.clone().context("the API has no address")?;
        let visitors = let_in(&platform, &streams, &url).await?;
        Ok(Self { platform, url, visitors, streams, outside, nats, parts })
    }

    /// What to try, for whoever watches.
    pub fn explain(&self) -> anyhow::Result<()> {
        let first = self.visitors.first().context("there are clients")?;
        print(&format!("\n   paste into another terminal:\n\n{}", leaflet::lines(first)))?;
        let nats = self.platform.nats.as_ref().context("the stack has NATS")?;
        let server = format!("nats://{}:{}", nats.host(), nats.port());
        print(&format!("\n   the same events on NATS:\n\n{}", leaflet::subscribe(&server)?))
    }

    /// The platform first: what is under way with Hummingbot is finished.
    pub async fn close(self) -> anyhow::Result<()> {
        self.parts.stop().await;
        self.outside.end().await
    }
}

async fn start(stack: &Stack) -> anyhow::Result<(Platform, async_nats::Client)> {
    let own = stack.clone();
    let running = tokio::task::spawn_blocking(move || own.up(&mut |text| step(text))).await??;
    let secrets = stack.env()?;
    let value = |name: &str| secrets.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let seed = hex::decode(value("AUDIT_SIGNING_KEY").context("the stack has no signing key")?)?;
    let seed: [u8; 32] = seed.try_into().ok().context("the stack's signing key is no Ed25519 seed")?;
    let (owner, server): (_, ServerAddr) =
        (PgConnectOptions::from_str(&running.database_url)?, running.nats_url.parse()?);
    let nats_keys = stack.nats_keys().context("the stack's NATS has accounts")?;
    let admin = async_nats::ConnectOptions::with_credentials(nats_keys.admin(ADMIN_LIFE_US)?.expose_secret())?;
    let nats = admin.connect(&server).await.context("NATS does not answer")?;
    forget_the_last(&owner, &nats).await?;
    let mut db = owner.connect().await?;
    db.execute(format!("drop database if exists {DATABASE} with (force)").as_str()).await?;
    db.execute(format!("create database {DATABASE}").as_str()).await?;
    db.close().await?;
    let secret = value("SECRET_KEY").context("the stack has no secret")?.into();
    let mut platform = Platform::new(owner.database(DATABASE), secret, Some(SigningKey::from_bytes(&seed)));
    let keys = RelayKeys::read(&std::fs::read_to_string(nats_keys.relay())?.into())?;
    (platform.nats, platform.nats_accounts) = (Some(server), Some(keys.accounts()));
    platform.nats_access = Access::Accounts(Arc::new(keys));
    platform.keys = Some(value("ENCRYPTION_KEY").context("the stack has no encryption key")?.parse()?);
    serve::migrate(&platform).await?;
    step("a fresh database, migrated");
    Ok((platform, nats))
}

/// What NATS holds of the clients of an earlier demo would stay for ever: nobody knows them any more.
async fn forget_the_last(owner: &PgConnectOptions, nats: &async_nats::Client) -> anyhow::Result<()> {
    let Ok(mut db) = owner.clone().database(DATABASE).connect().await else { return Ok(()) };
    // Without streams where that demo did not get to make them.
    let heads = read::heads_of_all(&mut db).await.unwrap_or_default();
    db.close().await?;
    let jetstream = jetstream::new(nats.clone());
    for (client, _) in heads {
        // Absent where its relay did not get to make it.
        let _ = jetstream.delete_stream(relay::stream_name(client)).await;
    }
    Ok(())
}

/// Onboards everybody, those with a history by what is known of them.
async fn seed(platform: &Platform, streams: &Streams, stack: &Stack) -> anyhow::Result<()> {
    history::record(platform, &stack.dir).await?;
    api::onboard(streams, &NEWCOMER.parse()?, "Cygnus, new here", &Asset::usdt(), &Cause::system("demo")).await?;
    step(&format!("{} and {NEWCOMER} are onboarded", history::CLIENTS.join(", ")));
    Ok(())
}

/// An admin and a user of each client, with passwords that are made now and told once.
async fn let_in(platform: &Platform, streams: &Streams, url: &str) -> anyhow::Result<Vec<Visitor>> {
    print(&format!("\n3. the API answers at {url}; these may log in"))?;
    let register = Register::new(platform.pool(Login::Auth), streams.clone());
    let admin = Visitor::new(url, "admin".parse()?, ClientId::DESK)?;
    add(&register, &admin, Role::Admin, None).await?;
    let mut visitors = Vec::new();
    for slug in history::CLIENTS.into_iter().chain([NEWCOMER]) {
        let slug: Slug = slug.parse()?;
        let client = streams.client_of(&slug).await?.with_context(|| format!("{slug} was not onboarded"))?;
        let mut visitor = Visitor::new(url, slug, client)?;
        add(&register, &visitor, Role::ClientOwner, Some(client)).await?;
        visitor.log_in().await?;
        visitors.push(visitor);
    }
    Ok(visitors)
}

async fn add(register: &Register, who: &Visitor, role: Role, client: Option<ClientId>) -> anyhow::Result<()> {
    let user =
        AddUser { email: who.email.parse().map_err(Error::msg)?, password: who.password.as_str().into(), role, client };
    access::add(register, user, Time::now(), &Cause::system("demo")).await?;
    step(&format!("{:<10} {:<22} {}", who.slug, who.email, who.password));
    Ok(())
}
