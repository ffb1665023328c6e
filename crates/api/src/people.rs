//! Who may log in, as those see them who decide about it: an admin of the desk about everybody, an owner about the people
//! of its client. Nobody registers: somebody is asked to come, by a link that is good once.

use access::{
    Link, Reason, Register,
    people::{self, Invitation, Person, Whose},
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{Slug, Time, UserId, desk::Role};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    deciding::Deciding,
    input::{Json, NoQuery, Nothing, OnlyClient, Said},
    known::Known,
    own::{AnyPerson, OwnClient, OwnPerson},
    problem::Problem,
    who::{May, People, SeePeople, SeeTeam, SignedIn, Team},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(everybody, invite))
        .routes(routes!(new_link))
        .routes(routes!(change_role))
        .routes(routes!(bar))
        .routes(routes!(unbar))
        .routes(routes!(team, invite_to_team))
        .routes(routes!(new_link_of_team))
        .routes(routes!(change_role_in_team))
        .routes(routes!(bar_of_team))
        .routes(routes!(unbar_of_team))
}

/// A person to be asked to come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    #[schema(max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+\\.[!-?A-~]+$", example = "someone@acme.example")]
    email: String,
    role: Role,
    /// Whose a client's user shall be; left out for whoever belongs to the desk.
    client: Option<Slug>,
}

/// A person to be asked to come to a client.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewColleague {
    #[schema(max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+\\.[!-?A-~]+$", example = "someone@acme.example")]
    email: String,
    /// `client_owner` or `client_viewer`.
    role: Role,
}

/// What is handed over to whoever is asked to come. It is told once.
#[derive(Serialize, ToSchema)]
struct Invited {
    user_id: UserId,
    /// Chooses a password at `POST /api/auth/accept`, once.
    link: String,
    expires_at: Time,
}

/// What somebody is from now on, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
    /// For the record; 1 to 500 characters.
    #[schema(value_type = String)]
    reason: String,
}

/// Why, for the record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// 1 to 500 characters.
    reason: String,
}

impl Why {
    pub fn reason(&self) -> Result<Reason, Problem> {
        reason(&self.reason)
    }
}

fn reason(text: &str) -> Result<Reason, Problem> {
    text.parse().map_err(|error: &str| Problem::invalid(error))
}

/// Everybody who may log in, or is asked to come
#[utoipa::path(get, path = "/api/admin/users", tag = "people", responses((status = 200, body = Vec<Person>)))]
async fn everybody(
    _: May<SeePeople, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Person>>, Problem> {
    Ok(axum::Json(people::list(&register, Whose::Desk).await?))
}

/// Ask somebody to come; the link is told once
#[utoipa::path(post, path = "/api/admin/users", tag = "people", responses((status = 201, body = Invited)))]
async fn invite(
    who: May<People, SignedIn>,
    _: NoQuery,
    State(register): State<Register>,
    State(known): State<Known>,
    Json(new): Json<NewUser>,
) -> Result<Response, Problem> {
    let client = match &new.client {
        Some(slug) => {
            let unknown = || Problem::invalid(format!("client: there is no client {slug}"));
            Some(known.client_of(slug).await?.ok_or_else(unknown)?)
        }
        None => None,
    };
    let email = new.email.parse().map_err(Problem::invalid)?;
    invited(&register, Invitation { email, role: new.role, client }, who.caller.user()).await
}

async fn invited(register: &Register, invitation: Invitation, by: UserId) -> Result<Response, Problem> {
    let (user, link) = people::invite(register, invitation, by, Time::now()).await?;
    Ok((StatusCode::CREATED, axum::Json(Invited::with(user, &link))).into_response())
}

impl Invited {
    fn with(user_id: UserId, Link { text, expires_at }: &Link) -> Self {
        Self { user_id, link: text.expose_secret().to_owned(), expires_at: *expires_at }
    }
}

/// What is decided, whoever may.
impl<D, S> Deciding<D, S> {
    async fn link(self) -> Result<axum::Json<Invited>, Problem> {
        let link = people::link(&self.register, self.whose, self.about, self.by, Time::now()).await?;
        Ok(axum::Json(Invited::with(self.about, &link)))
    }

    async fn change_role(self, NewRole { role, reason: why }: NewRole) -> Result<StatusCode, Problem> {
        let Self { register, whose, about, by, .. } = self;
        people::change_role(&register, whose, about, role, reason(&why)?, by, Time::now()).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    async fn bar(self, why: Why) -> Result<StatusCode, Problem> {
        people::bar(&self.register, self.whose, self.about, why.reason()?, self.by, Time::now()).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    async fn unbar(self, why: Why) -> Result<StatusCode, Problem> {
        people::unbar(&self.register, self.whose, self.about, why.reason()?, self.by, Time::now()).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

/// A new link for somebody who lost its password, or its invitation; earlier ones count no more
#[utoipa::path(post, path = "/api/admin/users/{id}/link", tag = "people", params(("id" = UserId, Path)),
    responses((status = 200, body = Invited)))]
async fn new_link(of: Deciding<People, AnyPerson>, _: Said<Nothing>) -> Result<axum::Json<Invited>, Problem> {
    of.link().await
}

/// Give somebody another role
#[utoipa::path(post, path = "/api/admin/users/{id}/role", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn change_role(of: Deciding<People, AnyPerson>, Json(new): Json<NewRole>) -> Result<StatusCode, Problem> {
    of.change_role(new).await
}

/// Let somebody in no more; its sessions end
#[utoipa::path(post, path = "/api/admin/users/{id}/bar", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn bar(of: Deciding<People, AnyPerson>, Json(why): Json<Why>) -> Result<StatusCode, Problem> {
    of.bar(why).await
}

/// Let somebody in again
#[utoipa::path(post, path = "/api/admin/users/{id}/unbar", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn unbar(of: Deciding<People, AnyPerson>, Json(why): Json<Why>) -> Result<StatusCode, Problem> {
    of.unbar(why).await
}

/// The people of a client
#[utoipa::path(get, path = "/api/clients/users", tag = "people", responses((status = 200, body = Vec<Person>)))]
async fn team(
    own: May<SeeTeam, OwnClient>,
    _: OnlyClient,
    State(register): State<Register>,
) -> Result<axum::Json<Vec<Person>>, Problem> {
    Ok(axum::Json(people::list(&register, Whose::Of(own.0)).await?))
}

/// Ask somebody to come to a client; the link is told once
#[utoipa::path(post, path = "/api/clients/users", tag = "people", responses((status = 201, body = Invited)))]
async fn invite_to_team(
    own: May<Team, OwnClient>,
    who: SignedIn,
    _: OnlyClient,
    State(register): State<Register>,
    Json(new): Json<NewColleague>,
) -> Result<Response, Problem> {
    let email = new.email.parse().map_err(Problem::invalid)?;
    invited(&register, Invitation { email, role: new.role, client: Some(own.0) }, who.caller.user()).await
}

/// A new link for somebody who has not come yet; earlier ones count no more
#[utoipa::path(post, path = "/api/clients/users/{id}/link", tag = "people", params(("id" = UserId, Path)),
    responses((status = 200, body = Invited)))]
async fn new_link_of_team(of: Deciding<Team, OwnPerson>, _: Said<Nothing>) -> Result<axum::Json<Invited>, Problem> {
    of.link().await
}

/// Give one of a client's people another role
#[utoipa::path(post, path = "/api/clients/users/{id}/role", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn change_role_in_team(of: Deciding<Team, OwnPerson>, Json(new): Json<NewRole>) -> Result<StatusCode, Problem> {
    of.change_role(new).await
}

/// Let one of a client's people in no more; its sessions end
#[utoipa::path(post, path = "/api/clients/users/{id}/bar", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn bar_of_team(of: Deciding<Team, OwnPerson>, Json(why): Json<Why>) -> Result<StatusCode, Problem> {
    of.bar(why).await
}

/// Let one of a client's people in again
#[utoipa::path(post, path = "/api/clients/users/{id}/unbar", tag = "people", params(("id" = UserId, Path)),
    responses((status = 204)))]
async fn unbar_of_team(of: Deciding<Team, OwnPerson>, Json(why): Json<Why>) -> Result<StatusCode, Problem> {
    of.unbar(why).await
}
