//! Schedules: what shall be done by the clock. That a run was taken up, and what came of it, are events; whoever acts for the
//! client brings them about.

use std::num::NonZeroU32;

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts as Head},
    response::{IntoResponse, Response},
};
use cqrs_es::Aggregate;
use domain::{
    bot::Bot,
    channel::Channel,
    schedule::{Schedule, ScheduleCommand},
    timetable::Timetable,
};
use events::{
    AggregateRef, ClientId, ScheduleId, Slug, Time,
    schedule::{Action, Missed, When},
};
use futures::FutureExt;
use projections::{
    projection::Projection,
    schedules::{self, Schedules},
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{OfClient, OwnClient, theirs},
    page::Limit,
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, Trade},
    why::WhyOver,
    wish::{Done, Wish},
};

/// Schedules of one client, those that ended aside.
const SCHEDULES_MAX: usize = 100;
/// Moments to come that are shown of each.
const SHOWN: NonZeroU32 = NonZeroU32::new(3).expect("it is not zero");

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(all, set))
        .routes(routes!(change, end))
        .routes(routes!(switch))
        .routes(routes!(runs))
}

/// A schedule of the client that is asked about, whatever became of it.
#[derive(Debug, Clone, Copy)]
pub struct OwnSchedule {
    client: ClientId,
    schedule: ScheduleId,
}

impl OfClient for OwnSchedule {
    fn client(&self) -> ClientId {
        self.client
    }
}

impl FromRequestParts<Parts> for OwnSchedule {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let schedule = theirs::<Schedule, _>(client, head, state).await?;
        Ok(Self { client, schedule })
    }
}

/// A schedule, and when its next runs are due.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduleWithRuns)]
struct Listed {
    #[serde(flatten)]
    schedule: schedules::Schedule,
    /// The next three moments of its clock; none where it rests or has ended.
    next: Vec<Time>,
}

/// Every schedule, those that ended among them, and when their next runs are due
#[utoipa::path(get, path = "/api/schedules", tag = "schedules", responses((status = 200, body = Vec<Listed>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer_anew(asked, client, Schedules::NAME, |db| {
            async move {
                let (all, now) = (schedules::of_client(db, client).await?, Time::now());
                let listed = all.into_iter().map(|schedule| {
                    let goes_on = schedule.state == schedules::State::On;
                    let next = if goes_on { to_come(&schedule.clock, now) } else { Vec::new() };
                    Listed { schedule, next }
                });
                Ok(Some(listed.collect::<Vec<_>>()))
            }
            .boxed()
        })
        .await
}

/// The next moments of a clock.
fn to_come(when: &When, now: Time) -> Vec<Time> {
    Timetable::of(when).map(|timetable| timetable.upcoming(now, SHOWN)).unwrap_or_default()
}

/// A schedule to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSchedule {
    /// What people call it. It can be given again once the schedule has ended.
    name: Slug,
    action: Action,
    when: When,
    missed: Missed,
}

/// What is done when, and what becomes of runs that were missed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScheduleWhat)]
struct What {
    action: Action,
    when: When,
    missed: Missed,
}

/// A schedule that is.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleKept {
    schedule_id: ScheduleId,
    #[serde(flatten)]
    done: Done,
    /// The first three moments of its clock.
    next: Vec<Time>,
}

/// Have something done by the clock
#[utoipa::path(post, path = "/api/schedules", tag = "schedules", request_body = NewSchedule,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = ScheduleKept)))]
async fn set(
    own: May<Trade, OwnClient>,
    State(streams): State<Streams>,
    State(views): State<Views>,
    wish: Wish<NewSchedule>,
) -> Result<Response, Problem> {
    let NewSchedule { name, action, when, missed } = wish.what.clone();
    let client = own.client();
    let schedule_id = ScheduleId::named(client, &name);
    is_its_own(&streams, client, &action).await?;
    has_room_for(&views, client, schedule_id).await?;
    let at = Time::now();
    let next = to_come(&when, at);
    let command = ScheduleCommand::Set { name, action, when, missed, at };
    let done = wish.carry_out::<Schedule>(&streams, &own, &schedule_id.to_string(), command).await?;
    let place = [(header::LOCATION, "/api/schedules")];
    Ok((StatusCode::CREATED, place, axum::Json(ScheduleKept { schedule_id, done, next })).into_response())
}

/// Have something else done, or at other times; all of the schedule but its name
#[utoipa::path(put, path = "/api/schedules/{id}", tag = "schedules", request_body = What,
    params(("id" = ScheduleId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn change(
    own: May<Trade, OwnSchedule>,
    State(streams): State<Streams>,
    wish: Wish<What>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let What { action, when, missed } = wish.what.clone();
    is_its_own(&streams, own.client(), &action).await?;
    own.want(&streams, &wish, ScheduleCommand::Change { action, when, missed, at: Time::now() }).await
}

/// Whether it goes on.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OnOrOff {
    on: bool,
}

/// Let a schedule rest, or go on; what would have been due while it rested is not made up for
#[utoipa::path(post, path = "/api/schedules/{id}/switch", tag = "schedules", request_body = OnOrOff,
    params(("id" = ScheduleId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn switch(
    own: May<Trade, OwnSchedule>,
    State(streams): State<Streams>,
    wish: Wish<OnOrOff>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    own.want(&streams, &wish, ScheduleCommand::Switch { on: wish.what.on, at: Time::now() }).await
}

/// Have it done no more
#[utoipa::path(delete, path = "/api/schedules/{id}", tag = "schedules", request_body = WhyOver,
    params(("id" = ScheduleId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn end(
    own: May<Trade, OwnSchedule>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    own.want(&streams, &wish, ScheduleCommand::End { reason: wish.what.reason.clone(), at: Time::now() }).await
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Those that were due before this moment: the `due` of the last one that was shown.
    before: Option<Time>,
    #[serde(default)]
    limit: Limit,
}

/// What came of each run of a schedule, the last first
#[utoipa::path(get, path = "/api/schedules/{id}/runs", tag = "schedules",
    params(("id" = ScheduleId, Path), Which), responses((status = 200, body = Vec<schedules::Run>)))]
async fn runs(
    own: OwnSchedule,
    asked: Asked,
    Query(Which { before, limit }): Query<Which>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    let OwnSchedule { client, schedule } = own;
    views
        .answer(asked, client, Schedules::NAME, |db| {
            async move { Ok(Some(schedules::runs(db, client, schedule, before, limit.items()).await?)) }.boxed()
        })
        .await
}

impl May<Trade, OwnSchedule> {
    async fn want<T>(
        &self,
        streams: &Streams,
        wish: &Wish<T>,
        command: ScheduleCommand,
    ) -> Result<(StatusCode, axum::Json<Done>), Problem> {
        let done = wish.carry_out::<Schedule>(streams, self, &self.schedule.to_string(), command).await?;
        Ok((StatusCode::ACCEPTED, axum::Json(done)))
    }
}

/// What is another's is told as what nobody has.
async fn is_its_own(streams: &Streams, client: ClientId, action: &Action) -> Result<(), Problem> {
    let (of, what) = match action {
        Action::Start { bot } | Action::Stop { bot } | Action::Configure { bot, .. } => {
            (AggregateRef::new(Bot::TYPE, bot), "bot")
        }
        Action::Report { channel, .. } => (AggregateRef::new(Channel::TYPE, channel), "channel"),
    };
    match streams.knows(client, &of).await? {
        true => Ok(()),
        false => Err(Problem::invalid(format!("action: there is no such {what}"))),
    }
}

async fn has_room_for(views: &Views, client: ClientId, schedule: ScheduleId) -> Result<(), Problem> {
    let all = views.read(client, |db| schedules::of_client(db, client).boxed()).await?;
    let others = all.iter().filter(|one| one.schedule_id != schedule && one.state != schedules::State::Ended);
    if others.count() >= SCHEDULES_MAX {
        let detail = format!("a client has at most {SCHEDULES_MAX} schedules: end one first");
        return Err(Problem::new(Code::Conflict, detail));
    }
    Ok(())
}
