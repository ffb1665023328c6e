//! From where a request comes, for those who want to know who is logged in where.

use std::net::SocketAddr;

use access::Whence;
use axum::{
    RequestPartsExt,
    extract::{ConnectInfo, FromRequestParts},
    http::{header, request::Parts as Head},
};

use crate::{Parts, problem::Problem};

/// Address and program of whoever asks.
#[derive(Debug)]
pub struct FromWhere(pub Whence);

impl FromRequestParts<Parts> for FromWhere {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, _: &Parts) -> Result<Self, Problem> {
        let peer = head.extract::<ConnectInfo<SocketAddr>>().await;
        let ConnectInfo(peer) = peer.map_err(|_| Problem::internal())?;
        let agent = head.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Self(Whence::new(peer.ip(), agent.unwrap_or_default())))
    }
}
