//! All rows of a stretch of time, although the server gives at most a page and its cursors lose rows: windows with closed
//! ends that overlap, halved while they come back full. A row seen twice is kept once, by its own key.

use std::{collections::BTreeMap, fmt::Display};

use events::Time;
use futures::future::BoxFuture;

use crate::{Fault, Why};

/// The most rows that the server gives at once.
pub const PAGE_MAX: usize = 1_000;

/// A stretch of time; both ends belong to it. The server knows whole milliseconds: the ends are moved outwards to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// What is narrowed when time alone cannot be any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Buys,
    Sells,
}

/// A row that can be placed in time and told from others.
pub(crate) trait Row {
    fn key(&self) -> String;
    fn at(&self) -> Time;
}

impl Window {
    /// From one moment to another.
    pub fn new(from: Time, to: Time) -> Self {
        let to_ms = to.millis() + i64::from(to.micros() % 1_000 != 0);
        Self { from_ms: from.millis(), to_ms }
    }

    /// The two halves, which share their middle; none, when it is a millisecond or less.
    fn halves(self) -> Option<[Self; 2]> {
        let middle = self.from_ms.midpoint(self.to_ms);
        let narrower = self.from_ms < middle && middle < self.to_ms;
        narrower.then_some([Self { to_ms: middle, ..self }, Self { from_ms: middle, ..self }])
    }

    fn holds(self, at: Time) -> bool {
        (self.from_ms..=self.to_ms).contains(&at.millis())
    }
}

/// Every row of the window, oldest first. `fetch` brings one page of at most `most` rows of a window; it is boxed so that
/// what waits for it can move between threads, which the compiler cannot see of an async closure that borrows.
///
/// A row that the server puts outside the window which it was asked for shows that it does not look at the time at all:
/// halving would then never end, and is given up.
pub(crate) async fn all<'f, R: Row>(
    doing: impl Display,
    window: Window,
    most: usize,
    splits_sides: bool,
    fetch: impl Fn(Window, Part) -> BoxFuture<'f, Result<Vec<R>, Fault>>,
) -> Result<Vec<R>, Fault> {
    let mut rows = BTreeMap::new();
    let mut open = vec![(window, Part::All)];
    while let Some((window, part)) = open.pop() {
        let page = fetch(window, part).await?;
        let full = page.len() >= most;
        let strayed = page.iter().any(|row| !window.holds(row.at()));
        rows.extend(page.into_iter().map(|row| (row.key(), row)));
        if !full {
            continue;
        }
        let narrower = if strayed { None } else { narrower(window, part, splits_sides) };
        let place = || format!("between {} and {} ms", window.from_ms, window.to_ms);
        open.extend(narrower.ok_or_else(|| Fault::new(&doing, Why::TooMany { most, place: place() }))?);
    }
    let mut rows: Vec<R> = rows.into_values().collect();
    rows.sort_by_key(Row::at);
    Ok(rows)
}

fn narrower(window: Window, part: Part, splits_sides: bool) -> Option<[(Window, Part); 2]> {
    if let Some([early, late]) = window.halves() {
        return Some([(late, part), (early, part)]);
    }
    let by_side = splits_sides && part == Part::All;
    by_side.then_some([(window, Part::Sells), (window, Part::Buys)])
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::ready};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Mark {
        us: i64,
        id: usize,
        buy: bool,
    }

    impl Row for Mark {
        fn key(&self) -> String {
            self.id.to_string()
        }

        fn at(&self) -> Time {
            Time::from_micros(self.us).unwrap()
        }
    }

    /// The server: newest first, closed ends by the microsecond, no more than a page.
    fn page(all: &[Mark], window: Window, part: Part, most: usize) -> Vec<Mark> {
        let within = |row: &&Mark| (window.from_ms * 1_000..=window.to_ms * 1_000).contains(&row.us);
        let asked = |row: &&Mark| part == Part::All || row.buy == (part == Part::Buys);
        let mut rows: Vec<Mark> = all.iter().filter(within).filter(asked).cloned().collect();
        rows.sort_by_key(|row| (-row.us, row.id));
        rows.truncate(most);
        rows
    }

    async fn fetched(all: &[Mark], most: usize) -> Result<Vec<Mark>, Fault> {
        let window = Window::new(Time::from_micros(0).unwrap(), Time::from_micros(10_000_000).unwrap());
        super::all("read", window, most, true, |window, part| ready(Ok(page(all, window, part, most))).boxed()).await
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn no_row_is_lost_and_none_comes_twice(
            moments in proptest::collection::vec((0_i64..=10_000_000, 1_usize..12, any::<bool>()), 0..60),
            most in 13_usize..40,
        ) {
            let marks: Vec<Mark> = moments
                .iter()
                .flat_map(|(us, n, buy)| std::iter::repeat_n((*us, *buy), *n))
                .enumerate()
                .map(|(id, (us, buy))| Mark { us, id, buy })
                .collect();
            match now(fetched(&marks, most)) {
                Ok(mut rows) => {
                    let mut wanted = marks.clone();
                    wanted.sort_by_key(|row| (row.us, row.id));
                    rows.sort_by_key(|row| (row.us, row.id));
                    prop_assert_eq!(rows, wanted);
                }
                // It may give up only where a millisecond really holds a page of one side.
                Err(fault) => {
                    let crowded = marks.iter().any(|one| {
                        let near = |row: &&Mark| (row.us - one.us).abs() <= 1_000 && row.buy == one.buy;
                        marks.iter().filter(near).count() >= most
                    });
                    prop_assert!(crowded, "{} although no millisecond is crowded", fault);
                }
            }
        }
    }

    #[test]
    fn as_many_in_one_instant_as_a_page_holds_of_each_side_are_all_fetched() {
        let marks: Vec<Mark> = (0..38).map(|id| Mark { us: 5_000_123, id, buy: id % 2 == 0 }).collect();
        assert_eq!(now(fetched(&marks, 20)).unwrap().len(), 38);
        let fault = now(fetched(&marks, 19)).unwrap_err();
        assert!(matches!(fault.why, Why::TooMany { most: 19, .. }), "{fault}");
    }

    #[test]
    fn a_server_that_does_not_look_at_the_time_is_found_out() {
        let window = Window::new(Time::from_micros(0).unwrap(), Time::from_micros(10_000_000).unwrap());
        let rows: Vec<Mark> = (0..5).map(|id| Mark { us: 20_000_000, id, buy: true }).collect();
        let fault = now(all("read", window, 5, true, |_, _| ready(Ok(rows.clone())).boxed())).unwrap_err();
        assert!(matches!(fault.why, Why::TooMany { .. }), "{fault}");
    }
}
