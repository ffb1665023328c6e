//! The same report from an export alone, without any database: what an auditor recomputes.

use std::collections::BTreeMap;

use events::{BotId, Recorded, Slug, Time};

use super::{
    books::{Books, Days},
    entry::{Change, Entry, Place},
    history::FoldError,
    report::{Named, Names, Report},
};

/// A client's history, read event by event.
#[derive(Debug, Default)]
pub struct Recomputed {
    client: Option<Slug>,
    bots: BTreeMap<BotId, Slug>,
    entries: BTreeMap<Place, Entry>,
}

impl Recomputed {
    /// Takes the next event in.
    pub fn read(&mut self, event: &Recorded) {
        match Change::of(event) {
            Some(Change::Put(place, entry)) => drop(self.entries.insert(place, entry)),
            Some(Change::Remove(place)) => drop(self.entries.remove(&place)),
            None => {}
        }
        match Named::by(event) {
            Some(Named::Client(slug)) => self.client = Some(slug),
            Some(Named::Bot(bot, name)) => drop(self.bots.insert(bot, name)),
            None => {}
        }
    }

    /// P&L at `as_of`: every entry in canonical order, once, with nothing remembered in between.
    pub fn report(self, as_of: Time) -> Result<Report, FoldError> {
        let (mut books, mut days) = (Books::default(), Days::new());
        let mut newest = Place::before(Time::BEGINNING);
        for (place, entry) in self.entries.range(..).filter(|(place, _)| place.at <= as_of) {
            let failed = |cause| FoldError { place: *place, cause };
            newest = *place;
            books.pass(place.at, &mut days).map_err(failed)?;
            books.take(*place, entry).map_err(failed)?;
        }
        let mut report = Report::new(as_of);
        if let Some(client) = self.client {
            let names = Names { client, bots: self.bots };
            report.add(&names, books, days, as_of).map_err(|cause| FoldError { place: newest, cause })?;
        }
        Ok(report)
    }
}
