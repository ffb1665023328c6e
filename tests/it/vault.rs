//! The vault: keys go in, every one opens again through whatever rotation, what was moved is refused, and nothing shows.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use events::{
    AggregateRef, ClientId, CommandId, Event, Exchange, Market, Time, Uuid,
    credential::{CredentialEvent, Misfit, Purpose},
    desk::DeskEvent,
};
use futures::{StreamExt, stream};
use secrecy::ExposeSecret;
use store::{Append, Cause, Login, Streams, read};
use tests::{Database, ENCRYPTION_KEY, NEWER_ENCRYPTION_KEY};
use vault::{BootError, Kept, OpenError, Place, Secrets, Vault};

use crate::facts::{append, client_id, client_with_bot, write};

const CREDENTIALS: usize = 10_000;
/// Of twelve that a client can have.
const A_CLIENT: usize = 10;

fn places() -> Vec<(Exchange, Market)> {
    Exchange::ALL.into_iter().flat_map(|exchange| Market::ALL.map(|market| (exchange, market))).collect()
}

/// A secret that is obviously none.
fn fake(client: ClientId, field: &str) -> String {
    format!("fake-{field}-of-{}", client.0.simple())
}

fn secrets(client: ClientId, exchange: Exchange, market: Market) -> Secrets {
    let fields = exchange.fields(market).iter().filter(|field| field.required);
    let given = fields.map(|field| (field.name.to_owned(), fake(client, field.name).into()));
    Secrets::parse(exchange, market, given.collect()).unwrap()
}

async fn boot(database: &Database, ring: &str) -> Result<Vault, BootError> {
    Vault::boot(database.pool(Login::Vault), ring.parse().unwrap(), database.streams()).await
}

async fn put(vault: &Vault, client: ClientId, exchange: Exchange, market: Market, key: &str) -> Kept {
    vault.put(client, &secrets(client, exchange, market), key, CommandId(Uuid::nil())).await.unwrap()
}

fn told(kept: &Kept, exchange: Exchange, market: Market) -> Append {
    let values = kept.values.clone();
    let event = CredentialEvent::CredentialStored { exchange, market, values, at: Time::now() };
    append(kept.place.client, AggregateRef::new("credential", kept.place.credential), event.into(), None)
}

/// Seals a credential and tells of it.
async fn stored(vault: &Vault, streams: &Streams, client: ClientId, exchange: Exchange, market: Market) -> Place {
    let kept = put(vault, client, exchange, market, "k").await;
    write(streams, vec![told(&kept, exchange, market)]).await;
    kept.place
}

async fn open(vault: &Vault, place: Place) -> Result<BTreeMap<String, String>, OpenError> {
    let opened = vault.open(place, Purpose::Connect, &Cause::system("test")).await?;
    Ok(opened.fields().map(|(name, secret)| (name.to_owned(), secret.expose_secret().to_owned())).collect())
}

/// Whether it opens, to what was put in.
async fn is_whole(vault: &Vault, place: Place) -> Result<(), String> {
    let fields = open(vault, place).await.map_err(|error| format!("{place}: {error}"))?;
    let right = fields.iter().all(|(name, secret)| {
        *secret == fake(place.client, name) || (name == "okx_registration_sub_domain" && secret == "www")
    });
    if right && fields.len() >= 2 { Ok(()) } else { Err(format!("{place}: other fields")) }
}

async fn events_of(database: &Database, client: ClientId) -> Vec<Event> {
    let events = read::after(&database.pool(Login::Projector), client, 0, 10_000).await.unwrap();
    events.into_iter().map(|event| event.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_credentials_are_rotated_under_load_and_every_one_still_opens() {
    let database = Database::new().await;
    let (old, streams) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), database.streams());
    let all = (0..CREDENTIALS).map(|n| (client_id((n / A_CLIENT) as u128), places()[n % A_CLIENT]));
    let kept: Vec<_> = stream::iter(all)
        .map(|(client, (exchange, market))| {
            let old = &old;
            async move { (put(old, client, exchange, market, "k").await, exchange, market) }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    write(&streams, kept.iter().map(|(kept, exchange, market)| told(kept, *exchange, *market)).collect()).await;
    let places: Arc<[Place]> = kept.iter().map(|(kept, ..)| kept.place).collect();

    // Two processes that know both keys, at work and both rotating.
    let ring = format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEY}");
    let vaults = [boot(&database, &ring).await.unwrap(), boot(&database, &ring).await.unwrap()];
    let (done, worked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..8)
        .map(|n| {
            let (vault, places, done, worked) =
                (vaults[n % 2].clone(), Arc::clone(&places), Arc::clone(&done), Arc::clone(&worked));
            tokio::spawn(async move {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    is_whole(&vault, places[(round * 7_919 + n * 1_237) % places.len()]).await.unwrap();
                    // Of a client that is there, and of a new one.
                    put(&vault, places[round % places.len()].client, Exchange::Okx, Market::Perp, &format!("l{n}"))
                        .await;
                    put(&vault, ClientId::new(), Exchange::Bybit, Market::Spot, "new").await;
                    worked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let cause = Cause::system("test");
    let (one, other) = tokio::join!(vaults[0].rotate(&cause), vaults[1].rotate(&cause));
    done.store(true, Ordering::Relaxed);
    for load in load {
        load.await.unwrap();
    }
    let rewrapped = one.unwrap().clients + other.unwrap().clients;
    assert_eq!(rewrapped, (CREDENTIALS / A_CLIENT) as u64);
    assert!(worked.load(Ordering::Relaxed) > 0);

    // The old key may go.
    let new = boot(&database, NEWER_ENCRYPTION_KEY).await.unwrap();
    let lost: Vec<String> = stream::iter(places.iter().copied())
        .map(|place| {
            let new = &new;
            async move { is_whole(new, place).await }
        })
        .buffer_unordered(64)
        .filter_map(|outcome| async { outcome.err() })
        .collect()
        .await;
    assert!(lost.is_empty(), "{} of {CREDENTIALS} do not open: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    let checked = new.check(&cause).await.unwrap();
    assert!(checked.unfit.is_empty() && checked.fine > CREDENTIALS as u64, "{checked:?}");
    let desk = events_of(&database, ClientId::DESK).await;
    let count = |is: fn(&DeskEvent) -> bool| {
        desk.iter().filter(|event| matches!(event, Event::Desk(event) if is(event))).count()
    };
    assert!(count(|event| matches!(event, DeskEvent::KeyRotationBegun { .. })) >= 1);
    assert!(count(|event| matches!(event, DeskEvent::KeyRotationDone { .. })) >= 1);
    assert!(matches!(boot(&database, ENCRYPTION_KEY).await, Err(BootError::Missing { .. })));
}

/// Exchanges what stands in two rows.
async fn swap(database: &Database, table: &str, column: &str, one: &str, other: &str) {
    let swap = format!(
        "update vault.{table} a set {column} = b.{column}
           from vault.{table} b where (a.{one} and b.{other}) or (a.{other} and b.{one})"
    );
    let swapped = sqlx::query(&swap).execute(&database.superuser()).await.unwrap();
    assert_eq!(swapped.rows_affected(), 2, "{swap}");
}

async fn refused(database: &Database, vault: &Vault, place: Place, misfit: Misfit) {
    match open(vault, place).await {
        Err(OpenError::Refused { misfit: found, .. }) => assert_eq!(found, misfit),
        other => panic!("{other:?}"),
    }
    let events = events_of(database, place.client).await;
    let [.., opened, refused] = events.as_slice() else { panic!("{events:?}") };
    assert!(matches!(opened, Event::Credential(CredentialEvent::CredentialOpened { .. })), "{opened:?}");
    assert!(
        matches!(refused, Event::Credential(CredentialEvent::CredentialRefused { misfit: told, .. }) if *told == misfit),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_moved_is_refused_and_the_stream_tells_it() {
    let database = Database::new().await;
    let (vault, streams) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), database.streams());
    let (one, other) = (client_id(1), client_id(2));
    let okx = stored(&vault, &streams, one, Exchange::Okx, Market::Spot).await;
    let bybit = stored(&vault, &streams, one, Exchange::Bybit, Market::Spot).await;
    let foreign = stored(&vault, &streams, other, Exchange::Okx, Market::Spot).await;
    for place in [okx, bybit, foreign] {
        is_whole(&vault, place).await.unwrap();
    }
    let row = |place: Place| format!("credential_id = '{}'", place.credential);
    let key = |client: ClientId| format!("client_id = '{client}'");

    swap(&database, "credentials", "ciphertext", &row(okx), &row(foreign)).await;
    refused(&database, &vault, okx, Misfit::Unreadable).await;
    refused(&database, &vault, foreign, Misfit::Unreadable).await;
    // With their keys the rows would open, if the keys did not say whose they are.
    swap(&database, "data_keys", "wrapped", &key(one), &key(other)).await;
    refused(&database, &vault, okx, Misfit::Client).await;
    let checked = database.run(&["vault", "check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!((checked.status.code(), said.matches("bad: ").count()), (Some(1), 3), "{said}");
    swap(&database, "data_keys", "wrapped", &key(one), &key(other)).await;
    swap(&database, "credentials", "ciphertext", &row(okx), &row(foreign)).await;

    swap(&database, "credentials", "ciphertext", &row(okx), &row(bybit)).await;
    refused(&database, &vault, okx, Misfit::Credential).await;
    refused(&database, &vault, bybit, Misfit::Credential).await;
    swap(&database, "credentials", "ciphertext", &row(okx), &row(bybit)).await;

    let newer = put(&vault, other, Exchange::Okx, Market::Spot, "another").await.place;
    let set = |place: Place| format!("sealed_id = '{}'", place.sealed);
    swap(&database, "credentials", "ciphertext", &set(foreign), &set(newer)).await;
    refused(&database, &vault, foreign, Misfit::Values).await;
    for place in [okx, bybit] {
        is_whole(&vault, place).await.unwrap();
    }
    crate::append::verified(&database, one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_right_keys_does_not_start_and_says_which_it_needs() {
    let database = Database::new().await;
    let id = |ring: &str| ring.parse::<vault::KeyRing>().unwrap().ids().next().unwrap().to_string();
    let start = |ring: &str| {
        let mut command = database.command(&["serve", "--roles", "api", "--port", "0"]);
        let output = command.env("ENCRYPTION_KEY", ring).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(!told.contains(&ring[..ring.len().min(20)]) || ring.len() < 8, "{told}");
        told
    };
    // The first process that has a key writes what the later ones are tried with.
    assert!(database.succeed(&["vault", "check"]).starts_with("0 sets of values open"));
    let told = start(NEWER_ENCRYPTION_KEY);
    assert!(told.contains(&format!("ENCRYPTION_KEY lacks key {}", id(ENCRYPTION_KEY))), "{told}");
    for (bad, why) in [
        ("changeme", "is not 32 bytes in url-safe base64"),
        ("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", "can be guessed"),
        ("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=", "can be guessed"),
    ] {
        assert!(start(bad).contains(why), "{}", start(bad));
    }
    let (vault, client) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), client_id(1));
    let place = stored(&vault, &database.streams(), client, Exchange::Okx, Market::Spot).await;
    let told = start(NEWER_ENCRYPTION_KEY);
    assert!(told.contains(&format!("key {} (1 clients' data keys)", id(ENCRYPTION_KEY))), "{told}");

    // A new key in front wraps nothing yet: the old one may not go, and the new one neither.
    let both = boot(&database, &format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEY}")).await.unwrap();
    is_whole(&both, place).await.unwrap();
    for ring in [ENCRYPTION_KEY, NEWER_ENCRYPTION_KEY] {
        assert!(matches!(boot(&database, ring).await, Err(BootError::Missing { .. })));
    }
    both.rotate(&Cause::system("test")).await.unwrap();
    is_whole(&boot(&database, NEWER_ENCRYPTION_KEY).await.unwrap(), place).await.unwrap();

    let damage = "update vault.canaries set sealed = 'gAAAAA'";
    sqlx::query(damage).execute(&database.superuser()).await.unwrap();
    assert!(matches!(boot(&database, NEWER_ENCRYPTION_KEY).await, Err(BootError::Wrong { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_half_way_is_finished_by_the_next() {
    const CLIENTS: u128 = 450;
    let database = Database::new().await;
    let (vault, streams) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), database.streams());
    let mut places = Vec::new();
    for n in 0..CLIENTS {
        places.push(stored(&vault, &streams, client_id(n), Exchange::Kucoin, Market::Spot).await);
    }
    let ring = format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEY}");
    // Somebody holds the last row, so that the rotation is on its way for as long as we want.
    let superuser = database.superuser();
    let mut hold = superuser.begin().await.unwrap();
    let last = "select client_id from vault.data_keys order by client_id desc limit 1 for update";
    sqlx::query(last).execute(&mut *hold).await.unwrap();
    let mut command = database.command(&["vault", "rotate"]);
    let mut rotation = command.env("ENCRYPTION_KEY", &ring).stdout(std::process::Stdio::null()).spawn().unwrap();
    let by_key = "select count(*) from vault.data_keys group by kek_id order by 1";
    let counts = async || sqlx::query_scalar::<_, i64>(by_key).fetch_all(&superuser).await.unwrap();
    let mut found = counts().await;
    while found != [50, 400] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        found = counts().await;
    }
    rotation.kill().unwrap();
    rotation.wait().unwrap();
    hold.rollback().await.unwrap();

    let between = boot(&database, &ring).await.unwrap();
    for place in [places[0], places[449]] {
        is_whole(&between, place).await.unwrap();
    }
    let mut command = database.command(&["vault", "rotate"]);
    let said = command.env("ENCRYPTION_KEY", &ring).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.starts_with("50 clients' data keys"), "{said}");
    let new = boot(&database, NEWER_ENCRYPTION_KEY).await.unwrap();
    for place in places {
        is_whole(&new, place).await.unwrap();
    }
    let desk = events_of(&database, ClientId::DESK).await;
    let begun: Vec<u64> = desk
        .iter()
        .filter_map(|event| {
            let Event::Desk(DeskEvent::KeyRotationBegun { clients, .. }) = event else { return None };
            Some(*clients)
        })
        .collect();
    assert_eq!(begun, [450, 50], "what the killed one left is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_event_tells_of_opens_to_nobody_and_is_swept_when_it_is_old() {
    let database = Database::new().await;
    let (vault, streams) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), database.streams());
    let (client, _) = client_with_bot(&streams, "acme").await;
    let orphan = put(&vault, client, Exchange::Okx, Market::Spot, "k").await.place;
    assert!(matches!(open(&vault, orphan).await, Err(OpenError::NotThere(_))));
    let told = stored(&vault, &streams, client, Exchange::Bybit, Market::Spot).await;
    assert_eq!(api::sweep(&vault, &streams).await.unwrap(), 0, "nobody takes away what somebody is at");
    let age = "update vault.credentials set sealed_at = sealed_at - interval '2 hours'";
    sqlx::query(age).execute(&database.superuser()).await.unwrap();
    // The same wish again: it is at work on it.
    put(&vault, client, Exchange::Okx, Market::Spot, "k").await;
    assert_eq!(api::sweep(&vault, &streams).await.unwrap(), 0);
    sqlx::query(age).execute(&database.superuser()).await.unwrap();
    assert_eq!(api::sweep(&vault, &streams).await.unwrap(), 1);
    is_whole(&vault, told).await.unwrap();
    assert!(vault.doubtful().await.unwrap().is_empty());
    // Superseded values go; those in use until the new ones are active do not.
    let newer = put(&vault, client, Exchange::Bybit, Market::Spot, "another").await;
    let (at, sealed) = (Time::now(), told.sealed);
    let rotated = CredentialEvent::CredentialRotated { supersedes: sealed, values: newer.values.clone(), at };
    let (new, was) = (newer.values.sealed, AggregateRef::new("credential", told.credential));
    let active = |sealed| CredentialEvent::CredentialActive { sealed, at };
    let tell = |event: CredentialEvent| vec![append(client, was.clone(), event.into(), None)];
    write(&streams, tell(active(sealed))).await;
    write(&streams, tell(rotated)).await;
    sqlx::query(age).execute(&database.superuser()).await.unwrap();
    assert_eq!(api::sweep(&vault, &streams).await.unwrap(), 0);
    write(&streams, tell(active(new))).await;
    assert_eq!(api::sweep(&vault, &streams).await.unwrap(), 1);
    is_whole(&vault, newer.place).await.unwrap();
    assert!(matches!(open(&vault, told).await, Err(OpenError::NotThere(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_opened() {
    let database = Database::new().await;
    let (vault, streams) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), database.streams());
    let place = stored(&vault, &streams, client_id(1), Exchange::Okx, Market::Spot).await;
    let superuser = database.superuser();
    let bare = "do $$ declare f regprocedure; begin
                  for f in select oid::regprocedure from pg_proc where pronamespace = 'es'::regnamespace and proname = 'append'
                  loop execute format('revoke execute on function %s from pipelabs_writer', f); end loop;
                end $$";
    sqlx::raw_sql(bare).execute(&superuser).await.unwrap();
    assert!(matches!(open(&vault, place).await, Err(OpenError::Record(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_login_sees_a_row_of_the_vault() {
    let database = Database::new().await;
    let (vault, streams) = (boot(&database, ENCRYPTION_KEY).await.unwrap(), database.streams());
    stored(&vault, &streams, client_id(1), Exchange::Okx, Market::Spot).await;
    for table in ["data_keys", "credentials", "canaries"] {
        let count = format!("select count(*) from vault.{table}");
        for login in Login::ALL {
            let seen: Result<i64, _> = sqlx::query_scalar(&count).fetch_one(&database.pool(login)).await;
            assert_eq!(seen.is_ok(), login == Login::Vault, "{login:?} and vault.{table}");
        }
        let mut owner = database.superuser().acquire().await.unwrap();
        sqlx::query("set role pipelabs_owner").execute(&mut *owner).await.unwrap();
        let seen: i64 = sqlx::query_scalar(&count).fetch_one(&mut *owner).await.unwrap();
        assert_eq!(seen, 0, "the owner of vault.{table} sees through its wall");
    }
    for elsewhere in ["es.events", "auth.users"] {
        let count = format!("select count(*) from {elsewhere}");
        assert!(sqlx::query(&count).execute(&database.pool(Login::Vault)).await.is_err(), "{elsewhere}");
    }
}
