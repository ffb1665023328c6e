//! Events as they happen, over SSE: each once and in order, resumed where the listener left off.
//!
//! The stream in Postgres is what is followed; a listener's place is the number of the last event that it got, so a lost
//! connection loses nothing and repeats nothing. An admin's place is one number a client, signed.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    time::Duration,
};

use access::{Caller, Gate};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use events::{ClientId, Slug, Time, Uuid, export::EventLine};
use futures::{Stream, stream};
use serde::Deserialize;
use sqlx::PgPool;
use store::{ReadError, read};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::WholeQuery,
    problem::Problem,
    standing::{Standing, Standings},
    who::{OfWhom, SignedIn},
};

/// Events of one client that are read at a time.
const BATCH: u64 = 200;
/// So that whatever stands between does not take the connection for dead.
const BEAT: Duration = Duration::from_secs(15);
/// A listener comes back so soon.
const RETRY: Duration = Duration::from_secs(1);
/// Told last by a process that ends: where the listener stood holds at any other.
const GOODBYE: &str = "reconnect";
/// After trouble with the database.
const PAUSE: Duration = Duration::from_millis(500);
/// What of the desk's own stream is heard.
const ALERT: &str = "alert";
/// What an admin's place is bound to.
const QUESTION: &str = "/api/stream";

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(listen))
}

/// Where listeners get their events from.
#[derive(Debug, Clone)]
pub struct Live {
    pub query: PgPool,
    pub desk: PgPool,
    pub standings: Standings,
    pub cursors: Cursors,
    pub gate: Gate,
    /// Listeners are let go when the process ends.
    pub stop: CancellationToken,
}

/// From where on, and of whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct From {
    /// Events that follow this number; only what is new, if left out. `Last-Event-ID` counts more.
    after: Option<u64>,
    /// For somebody of the desk: this client's events alone. Read by [`OfWhom`].
    #[serde(rename = "client")]
    _client: Option<Slug>,
}

/// Up to where somebody has heard.
#[derive(Debug, Clone)]
enum Place {
    Of(ClientId, u64),
    OfAll(BTreeMap<ClientId, u64>),
}

impl Place {
    /// Absent where it is of all.
    fn client(&self) -> Option<ClientId> {
        match self {
            Self::Of(client, _) => Some(*client),
            Self::OfAll(_) => None,
        }
    }
}

/// Events as they happen, over server-sent events
#[utoipa::path(get, path = "/api/stream", tag = "events", params(From, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, body = EventLine, content_type = "text/event-stream")))]
async fn listen(
    SignedIn { caller, .. }: SignedIn,
    OfWhom { client, until }: OfWhom,
    WholeQuery(From { after, .. }): WholeQuery<From>,
    headers: HeaderMap,
    State(live): State<Live>,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").to_owned());
    let place = match client {
        Some(client) => live.place_of(client, last.as_deref(), after).await?,
        None => live.place_of_all(last.as_deref(), after).await?,
    };
    let ready = VecDeque::from([Event::default().retry(RETRY)]);
    let listener = Listener { live, place, caller, until, ready, left: false };
    let beat = KeepAlive::new().interval(BEAT);
    let unbuffered = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((unbuffered, Sse::new(listener.events()).keep_alive(beat)).into_response())
}

impl Live {
    async fn place_of(&self, client: ClientId, last: Option<&str>, after: Option<u64>) -> Result<Place, Problem> {
        let told =
            last.map(|last| last.parse().map_err(|_| Problem::invalid("Last-Event-ID is not one of this stream")));
        let mut tx = self.query.begin().await?;
        read::for_client(&mut tx, client).await?;
        let head = read::head(&mut *tx, client).await?;
        match told.transpose()?.or(after) {
            Some(heard) if heard > head => {
                Err(Problem::invalid(format!("the stream ends with event {head}, before {heard}")))
            }
            Some(heard) => Ok(Place::Of(client, heard)),
            None => Ok(Place::Of(client, head)),
        }
    }

    async fn place_of_all(&self, last: Option<&str>, after: Option<u64>) -> Result<Place, Problem> {
        if let Some(last) = last {
            let place = self.cursors.open_bytes(ClientId::DESK, QUESTION, last)?;
            // Whoever listened to the build before this one has a longer form of it.
            let heard = read_numbers(&place).or_else(|| serde_json::from_slice(&place).ok());
            let not_ours = || Problem::invalid("Last-Event-ID is not one of this stream");
            return Ok(Place::OfAll(heard.ok_or_else(not_ours)?));
        }
        match after {
            Some(0) => return Ok(Place::OfAll(BTreeMap::new())),
            Some(_) => return Err(Problem::invalid("after is a number of one client's stream: name it, or take 0")),
            None => {}
        }
        Ok(Place::OfAll(read::heads_of_all(&self.desk).await?.into_iter().collect()))
    }

    /// What follows a number in a client's stream.
    async fn lines(&self, client: ClientId, heard: u64, of_all: bool) -> Result<Vec<EventLine>, ReadError> {
        let (first, last) = (heard + 1, heard + BATCH);
        if of_all {
            return read::lines(&self.desk, client, first, last).await;
        }
        let database = |cause| ReadError::Database { client, cause };
        let mut tx = self.query.begin().await.map_err(database)?;
        read::for_client(&mut tx, client).await.map_err(database)?;
        read::lines(&mut *tx, client, first, last).await
    }
}

/// Somebody who listens.
struct Listener {
    live: Live,
    place: Place,
    caller: Caller,
    /// The token counts no longer.
    until: Time,
    ready: VecDeque<Event>,
    /// It was told to come back.
    left: bool,
}

impl Listener {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        metrics::gauge!("pipelabs_listeners").increment(1.0);
        let gone = Gone;
        stream::unfold((self, gone), async |(mut listener, gone)| {
            listener.next().await.map(|event| (Ok(event), (listener, gone)))
        })
    }

    /// The next event; waits for it. None when the listener has to come back with a new token or to another process, or
    /// not at all.
    async fn next(&mut self) -> Option<Event> {
        let (live, caller, client) = (self.live.clone(), self.caller, self.place.client());
        loop {
            let left = self.until.micros() - Time::now().micros();
            if left <= 0 || self.left || !live.gate.lets_in(&caller, client) {
                return None;
            }
            if live.stop.is_cancelled() {
                self.left = true;
                return Some(Event::default().event(GOODBYE).retry(RETRY).data("this process ends: listen again"));
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.fill() => {}
                () = live.stop.cancelled() => {}
                () = live.gate.shut_for(caller, client) => {}
                () = tokio::time::sleep(Duration::from_micros(left.unsigned_abs())) => {}
            }
        }
    }

    /// Reads what is new, or waits until there may be something.
    async fn fill(&mut self) {
        let mut standings = self.live.standings.clone();
        let standing = standings.newest();
        match self.read(&standing).await {
            Ok(0) => standings.looked_at_again().await,
            Ok(_) => {}
            Err(cause) => {
                tracing::warn!(error = &cause as &dyn std::error::Error, "a listener waits for the database");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn read(&mut self, standing: &Standing) -> Result<usize, ReadError> {
        let behind: Vec<(ClientId, u64)> = match &self.place {
            Place::Of(client, heard) => {
                [(*client, *heard)].into_iter().filter(|(c, h)| standing.head(*c) > *h).collect()
            }
            Place::OfAll(heard) => standing
                .clients()
                .map(|client| (client, heard.get(&client).copied().unwrap_or_default()))
                .filter(|(client, heard)| standing.head(*client) > *heard)
                .chain([(ClientId::DESK, heard.get(&ClientId::DESK).copied().unwrap_or_default())])
                .collect(),
        };
        let mut read = 0;
        for (client, heard) in behind {
            // The rest comes when these are on their way: a listener of all clients does not hold all their histories.
            if self.ready.len() as u64 >= BATCH {
                break;
            }
            let lines = self.live.lines(client, heard, matches!(self.place, Place::OfAll(_))).await?;
            for (line, expected) in lines.iter().zip(heard + 1..) {
                assert_eq!(line.client_seq, expected, "the stream of client {client} has a gap before {expected}");
                let id = self.pass(client, expected);
                // Of the desk's own stream everybody who hears all hears the alerts, and nothing else.
                if client != ClientId::DESK || line.aggregate_type == ALERT {
                    self.ready.push_back(told(line, id));
                }
            }
            read += lines.len();
        }
        Ok(read)
    }

    /// Moves the place past an event; how the place is called then.
    fn pass(&mut self, client: ClientId, seq: u64) -> String {
        match &mut self.place {
            Place::Of(_, heard) => {
                *heard = seq;
                seq.to_string()
            }
            Place::OfAll(heard) => {
                heard.insert(client, seq);
                self.live.cursors.sign_bytes(ClientId::DESK, QUESTION, &numbers(heard))
            }
        }
    }
}

/// A number a client, as short as can be: a browser sends all of them in one header.
fn numbers(heard: &BTreeMap<ClientId, u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(heard.len() * 20);
    for (client, seq) in heard {
        bytes.extend(client.0.as_bytes());
        let length = (8 - seq.leading_zeros() / 8) as usize;
        bytes.push(length as u8);
        bytes.extend(&seq.to_be_bytes()[8 - length..]);
    }
    bytes
}

fn read_numbers(mut bytes: &[u8]) -> Option<BTreeMap<ClientId, u64>> {
    let mut heard = BTreeMap::new();
    while !bytes.is_empty() {
        let (client, rest) = bytes.split_first_chunk::<16>()?;
        let (length, rest) = rest.split_first()?;
        let (seq, rest) = rest.split_at_checked((*length).into()).filter(|_| *length <= 8)?;
        let seq = seq.iter().fold(0, |seq, byte| seq << 8 | u64::from(*byte));
        heard.insert(ClientId(Uuid::from_bytes(*client)), seq);
        bytes = rest;
    }
    Some(heard)
}

fn told(line: &EventLine, id: String) -> Event {
    let event = Event::default().id(id).event(&line.event_type);
    event.json_data(line).expect("a line has a JSON form")
}

/// Counts a listener out, however it ends.
struct Gone;

impl Drop for Gone {
    fn drop(&mut self) {
        metrics::gauge!("pipelabs_listeners").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_desk_of_five_hundred_clients_fits_into_a_header() {
        let heard: BTreeMap<ClientId, u64> = (0..500).map(|n| (ClientId::new(), n * n * n * n)).collect();
        let bytes = numbers(&heard);
        assert_eq!(read_numbers(&bytes), Some(heard));
        assert!(bytes.len() * 4 / 3 < 15_000, "{} bytes", bytes.len());
        let largest = BTreeMap::from([(ClientId::DESK, u64::MAX), (ClientId::new(), 0)]);
        assert_eq!(read_numbers(&numbers(&largest)), Some(largest));
        for bad in [&bytes[..bytes.len() - 1], &bytes[..10], &[&[0; 16][..], &[9], &[1; 9]].concat()] {
            assert_eq!(read_numbers(bad), None);
        }
    }
}
