//! A check of everything that is sealed: whether it opens and fits. Nothing is shown, and the desk's stream tells of it.

use events::{AggregateRef, ChannelId, ClientId, Time, credential::Misfit, desk::DeskEvent};
use store::{AppendError, Cause};

use crate::{kept, open::Locked, place::Place, ring::KekId, target::TargetError, vault::Vault};

/// Rows that are looked at together.
const PAGE: i64 = 500;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Sets of values, and targets of channels, that open and fit.
    pub fine: u64,
    /// Those that do not, and what is wrong.
    pub unfit: Vec<(Place, Misfit)>,
    /// Channels of which it is not known any more where they lead.
    pub unfit_targets: Vec<(ClientId, ChannelId)>,
}

/// Why it was not checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("ENCRYPTION_KEY lacks key {0}, which data keys are wrapped by")]
    Missing(KekId),
    #[error("the check could not be recorded, so nothing was opened")]
    Record(#[from] AppendError),
    #[error(transparent)]
    Targets(#[from] TargetError),
    #[error("the vault's tables could not be reached")]
    Database(#[from] sqlx::Error),
}

impl Vault {
    /// Tries every set of values.
    pub async fn check(&self, cause: &Cause) -> Result<Checked, CheckError> {
        let event = DeskEvent::VaultChecked { credentials: kept::count(&self.db).await?, at: Time::now() };
        self.streams.note(AggregateRef::new("desk", "vault"), event, None, cause).await?;
        let (mut checked, mut after) = (Checked::default(), None);
        loop {
            let rows = kept::after(&self.db, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.place);
            for row in &rows {
                match row.unlock(&self.ring) {
                    Ok(_) => checked.fine += 1,
                    Err(Locked::Misfit(misfit)) => checked.unfit.push((row.place, misfit)),
                    Err(Locked::Clock(_)) => checked.unfit.push((row.place, Misfit::Unreadable)),
                    Err(Locked::Missing(kek)) => return Err(CheckError::Missing(kek)),
                }
            }
        }
        let (fine, unfit_targets) = self.check_targets().await?;
        Ok(Checked { fine: checked.fine + fine, unfit_targets, ..checked })
    }
}
