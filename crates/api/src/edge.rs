//! What holds for every request, before a handler sees it and after: where it comes from and who asks, how often each may
//! and how much at once, its size and its time, what every answer carries, and the line that it leaves in the log.
//!
//! A request passes, in this order: its id and origin ([`passage`], [`address`]); whether it is for us ([`hosts`]) and may
//! come from that page ([`cors`]); its head's size; who asks; whether they may now ([`limits`], [`seats`]); its body
//! ([`arriving`]); the handler. Whatever refuses it, the answer leaves by the same door.

pub mod address;
mod arriving;
pub mod cors;
pub mod hosts;
pub mod limits;
mod passage;
pub mod seats;

use std::{any::Any, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use access::{NotLetIn, TokenRefusal};
use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    Parts,
    input::BODY_MAX,
    looks::Looking,
    problem::{Code, Problem},
    settings::{Ending, Settings},
    who::SignedIn,
};
use address::Proxies;
use cors::Origins;
use hosts::Hosts;
use limits::{Asker, KnownAsker, Limits, quota::Class};
use passage::{Passage, REQUEST_ID};
use seats::{Seat, Seats};

const HEADERS_MAX: usize = 16 * 1_024;
const URI_MAX: usize = 8 * 1_024;
/// Longer than a question waits for a read model.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Requests that are handled at once: with more, each would wait longer than it is worth.
const AT_ONCE_MAX: usize = 1_024;
/// Of those, of one user or one network.
const AT_ONCE_OF_ONE_MAX: usize = 256;
/// Streams of one user, and of all users of one client.
const STREAMS_OF_USER_MAX: usize = 16;
const STREAMS_OF_CLIENT_MAX: usize = 128;
/// Who comes when everything is full, or has too much open, comes back after that.
const COME_BACK: Duration = Duration::from_secs(1);
/// How long a refusal of one too many takes: whoever asks on regardless does so at this pace, and not at that at which
/// this process can refuse, which would take the time of everybody else. No two take the same time: many who were refused
/// at once do not come again at once.
const REFUSING: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(400);

/// What every answer carries that says nothing else of it.
const FIXED: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), \
         payment=(), usb=()",
    ),
];
/// A year, for browsers that have once come over TLS.
const ONLY_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// The edge of one process. Clones share it.
#[derive(Debug, Clone)]
pub struct Edge(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    hosts: Option<Hosts>,
    origins: Origins,
    proxies: Proxies,
    only_tls: bool,
    limits: Limits,
    at_once: Arc<Semaphore>,
    at_once_of: Seats<u128>,
    streams_of_user: Seats<u128>,
    streams_of_client: Seats<u128>,
    ending: Ending,
}

impl Edge {
    pub fn new(settings: &Settings, ending: Ending) -> Self {
        let public = settings.public_url.as_ref();
        Self(Arc::new(Rules {
            hosts: Hosts::of(public, &settings.hosts),
            origins: settings.origins.clone(),
            proxies: settings.proxies.clone(),
            only_tls: public.is_some_and(|public| public.https),
            limits: Limits::new(settings.limits_percent, settings.redis.clone(), &ending.now),
            at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            at_once_of: Seats::new(AT_ONCE_OF_ONE_MAX),
            streams_of_user: Seats::new(STREAMS_OF_USER_MAX),
            streams_of_client: Seats::new(STREAMS_OF_CLIENT_MAX),
            ending,
        }))
    }

    /// Whether this process is about to end.
    pub fn is_ending(&self) -> bool {
        self.0.ending.is_near()
    }

    /// Where requests are counted, for people.
    pub fn limits_state(&self) -> String {
        self.0.limits.state()
    }
}

/// Puts the edge around all routes: one layer, because each is passed by every request.
pub fn around(router: Router<Parts>, parts: Parts) -> Router {
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "this path knows other methods: see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(parts.clone(), pass))
        .with_state(parts)
}

async fn pass(State(parts): State<Parts>, request: Request, next: Next) -> Response {
    let Edge(rules) = &parts.0.edge;
    let (mut head, body) = request.into_parts();
    let asker = rules.asker(&mut head);
    let mut passage = Passage::begin(&head, asker);
    let allowed = rules.origins.allowed(&head.headers);
    let request = Request::from_parts(head, body);
    let mut response = match rules.answer(&parts, request, next, &mut passage).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    rules.dress(response.headers_mut(), &passage);
    rules.origins.tell(allowed, response.headers_mut());
    passage.with(response)
}

impl Rules {
    /// Where a request comes from. Whoever asks the request from now on is told that, and not which proxy brought it.
    fn asker(&self, head: &mut request::Parts) -> Asker {
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().expect("the server tells it").0;
        let address = self.proxies.origin(peer.ip(), &head.headers);
        head.extensions.insert(ConnectInfo(SocketAddr::new(address, peer.port())));
        Asker { address, known: None }
    }

    async fn answer(
        &self,
        parts: &Parts,
        request: Request,
        next: Next,
        passage: &mut Passage,
    ) -> Result<Response, Problem> {
        too_large(&request)?;
        let Some(class) = Class::of(request.method(), &passage.route) else {
            return run(parts, next, request, passage).await;
        };
        let (mut head, body) = request.into_parts();
        self.is_for_us(&head)?;
        if let Some(answer) = self.origins.preflight(&head) {
            return Ok(answer);
        }
        passage.asker.known = recognise(&mut head, parts).await;
        if let Err(refusal) = self.may_now(class, passage).await {
            tokio::join!(arriving::let_pass(body), tokio::time::sleep(rand::random_range(REFUSING)));
            return Err(refusal);
        }
        let request = arriving::whole(Request::from_parts(head, body)).await?;
        if request.extensions().get::<SignedIn>().is_some_and(|who| !who.still_counts(&parts.0.gate)) {
            return Err(NotLetIn::from(TokenRefusal::Revoked).into());
        }
        let _place = self.place()?;
        run(parts, next, request, passage).await
    }

    fn is_for_us(&self, head: &request::Parts) -> Result<(), Problem> {
        match &self.hosts {
            Some(hosts) if !hosts.know(&head.uri, &head.headers) => {
                Err(Problem::new(Code::WrongHost, "nothing is served under this name: ask for it under its own"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How often, and how much at once.
    async fn may_now(&self, class: Class, passage: &mut Passage) -> Result<(), Problem> {
        let verdict = self.limits.take(class, &passage.asker).await;
        let refusal = verdict.refusal();
        passage.verdict = Some(verdict);
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let (asker, held) = (&passage.asker, &mut passage.held);
        if class != Class::Stream {
            held.push(seat(&self.at_once_of, asker.key(), "requests under way")?);
            return Ok(());
        }
        held.push(seat(&self.streams_of_user, asker.key(), "streams open")?);
        if let Some(client) = asker.client_key() {
            held.push(seat(&self.streams_of_client, client, "streams open")?);
        }
        Ok(())
    }

    /// Of those that are handled at once.
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.at_once).try_acquire_owned().map_err(|_| {
            let detail =
                "more is asked than can be answered in time: send the same again; a command with its key is done once";
            Problem::new(Code::Overloaded, detail).retry_after(COME_BACK)
        })
    }

    fn dress(&self, headers: &mut HeaderMap, passage: &Passage) {
        for (name, value) in FIXED {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if self.only_tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, ONLY_TLS);
        }
        if self.ending.is_near() {
            // Connections that are kept would be closed between two requests of somebody who does not expect it.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(verdict) = &passage.verdict {
            verdict.tell(headers);
        }
        let id = HeaderValue::from_str(&passage.id).expect("an id is plain ASCII");
        headers.insert(REQUEST_ID, id);
    }
}

/// Who asks, found out once: handlers find it in the request.
async fn recognise(head: &mut request::Parts, parts: &Parts) -> Option<KnownAsker> {
    let who = SignedIn::from_request_parts(head, parts).await.ok()?;
    Some(KnownAsker { user: who.caller.user(), client: who.caller.client(), role: who.caller.role() })
}

fn seat(seats: &Seats<u128>, of: u128, what: &str) -> Result<Seat<u128>, Problem> {
    seats.take(of).ok_or_else(|| {
        let detail = format!("you have too many {what} at once: end one, or wait");
        Problem::new(Code::RateLimited, detail).retry_after(COME_BACK)
    })
}

/// The handler, as long as an answer is worth waiting for.
async fn run(parts: &Parts, next: Next, mut request: Request, passage: &Passage) -> Result<Response, Problem> {
    let looking = Looking::default();
    request.extensions_mut().insert(looking.clone());
    let span = tracing::info_span!(target: "pipelabs::request", "request", request.id = passage.id);
    let answer = tokio::time::timeout(ANSWER_MAX, next.run(request).instrument(span)).await;
    let answer = answer.map_err(|_| Problem::unavailable())?;
    looking.note(answer.status(), parts).await;
    Ok(answer)
}

fn too_large(request: &Request) -> Result<(), Problem> {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    let told = |what: &str, most| Err(Problem::new(Code::TooLarge, format!("{what} have at most {most} bytes")));
    match (headers > HEADERS_MAX, uri > URI_MAX) {
        (true, _) => told("headers", HEADERS_MAX),
        (_, true) => told("path and query", URI_MAX),
        (false, false) => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!("a handler broke: {}", said.unwrap_or("it panicked"));
    Problem::internal().into_response()
}
