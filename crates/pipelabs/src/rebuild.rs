//! `rebuild PROJECTION`: fill a read model anew beside the live one, compare every row, and put it in its place.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use projections::versions::{self, Comparison};
use store::{Login, read};

use crate::{progress::Progress, settings::Platform};

#[derive(Debug, Args)]
pub struct Rebuild {
    /// Which read model: pnl, portfolio, fills, orders, bots, clients or overview
    projection: String,
    /// Only compare; the live one stays
    #[arg(long)]
    verify: bool,
    /// Put the new one in place although rows differ: for a fold that was mended
    #[arg(long, conflicts_with = "verify")]
    accept_differences: bool,
}

impl Rebuild {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        let db = platform.pool(Login::Projector);
        let model = || projections::named(&db, &self.projection);
        let names: Vec<&str> = projections::all(&db).iter().map(|model| model.name()).collect();
        let unknown = || format!("there is no read model {:?}: use one of {}", self.projection, names.join(", "));
        let (mut new, mut live) = (model().with_context(unknown)?, model().with_context(unknown)?);
        let heads: u64 = read::heads_of_all(&db).await?.iter().map(|(_, head)| head).sum();
        let mut progress = Progress::new(&format!("filling {}", self.projection), heads);
        let found = versions::rebuild(&db, &mut *new, &mut *live, |events| progress.add(events)).await?;
        progress.end();
        let in_place = !self.verify && (found.differences.is_empty() || self.accept_differences);
        if in_place {
            versions::switch(&db, &*new, found.version).await?;
        } else {
            versions::discard(&db, &*new, found.version).await?;
        }
        println!("{}", said(&self.projection, &found, in_place));
        let as_meant = found.differences.is_empty() || in_place;
        Ok(if as_meant { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn said(projection: &str, found: &Comparison, in_place: bool) -> String {
    let mut text = match found.differences.as_slice() {
        _ if !found.same_shape => {
            format!("{projection}: filled by this build's fold; the live one was filled by another")
        }
        [] => format!("{projection}: equal byte for byte, {} clients", found.clients),
        some => some.iter().fold(format!("{projection}: rows differ"), |text, (client, table)| {
            format!("{text}\n  table {table} of client {client}")
        }),
    };
    match (in_place, found.differences.is_empty()) {
        (true, _) => text += &format!("\nversion {} is live now; the one before is kept", found.version),
        (false, true) => {}
        (false, false) => text += "\nthe live version stays; --accept-differences puts the new one in place",
    }
    text
}
