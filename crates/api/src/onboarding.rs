//! A new client: its slug first, for ever, then its own stream.

use domain::client::{Client, ClientCommand, ClientRefusal};
use events::{Asset, ClientId, Slug, Time};
use store::{Cause, DeskError, ExecuteError, Receipt, Streams};

use crate::problem::Problem;

/// Why a client was not onboarded.
#[derive(Debug, thiserror::Error)]
pub enum OnboardError {
    #[error("could not onboard {slug}")]
    Client {
        slug: Slug,
        #[source]
        cause: ExecuteError<ClientRefusal>,
    },
    #[error("could not register {slug}")]
    Register {
        slug: Slug,
        #[source]
        cause: DeskError,
    },
}

/// Registers and onboards a client, or finds it: its id, and where its first event stands. A crash between the two is
/// mended by the next call.
pub async fn onboard(
    streams: &Streams,
    slug: &Slug,
    name: &str,
    reporting_currency: &Asset,
    cause: &Cause,
) -> Result<(ClientId, Option<Receipt>), OnboardError> {
    let at = Time::now();
    let (name, reporting_currency) = (name.to_owned(), reporting_currency.clone());
    let command = ClientCommand::Onboard { slug: slug.clone(), name, reporting_currency, at };
    let client_error = |cause| OnboardError::Client { slug: slug.clone(), cause };
    // A slug is given for ever, so it is not given to a client that would be refused.
    Client::default().decide(command.clone()).map_err(|refusal| client_error(ExecuteError::Refused(refusal)))?;
    let client = streams.register(slug, at, cause).await;
    let client = client.map_err(|cause| OnboardError::Register { slug: slug.clone(), cause })?;
    let (id, key) = (client.to_string(), Some("onboard".to_owned()));
    let receipt = streams.execute::<Client>(client, &id, command, key, cause).await.map_err(client_error)?;
    Ok((client, receipt))
}

impl From<OnboardError> for Problem {
    fn from(error: OnboardError) -> Self {
        match error {
            OnboardError::Client { cause, .. } => cause.into(),
            OnboardError::Register { cause, .. } => cause.into(),
        }
    }
}
