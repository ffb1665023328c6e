//! A recorded market: best prices (`B`) and prints (`T`) as they came, read once and played in a circle.
//!
//! ```text
//! B,<ms>,<bid>,<its amount>,<ask>,<its amount>
//! T,<ms>,<price>,<amount>,<1 if the buyer rested>,<trade id>
//! ```

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use events::Decimal;
use flate2::read::MultiGzDecoder;

use super::book::Tick;

/// Where a market's lines come from, and which is next.
#[derive(Debug)]
pub(crate) struct Tape {
    /// Each with its milliseconds since the first.
    lines: Vec<(i64, Tick)>,
    next: usize,
    rounds: i64,
}

/// A tape that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum TapeFault {
    #[error("could not read the tape {path}")]
    Unread {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("line {line} of the tape {path} is neither a B nor a T line: {text:?}")]
    BadLine { path: PathBuf, line: usize, text: String },
    #[error("the tape {path} has no lines")]
    Empty { path: PathBuf },
}

impl Tape {
    /// Several files are played one after the other.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, TapeFault> {
        let mut lines = Vec::new();
        for path in paths {
            read_file(path, &mut lines)?;
        }
        let Some((first, _)) = lines.first().copied() else {
            return Err(TapeFault::Empty { path: paths.first().cloned().unwrap_or_default() });
        };
        let mut last = 0;
        for (ms, _) in &mut lines {
            // Prints are told some milliseconds after the prices that they made: time never runs back on a tape.
            last = (*ms - first).max(last);
            *ms = last;
        }
        Ok(Self { lines, next: 0, rounds: 0 })
    }

    pub(crate) fn first_price(&self) -> Decimal {
        match self.lines[0].1 {
            Tick::Best { bid: price, .. } | Tick::Print { price, .. } => price,
        }
    }

    /// The next line and its milliseconds since the tape began.
    pub(crate) fn next(&mut self) -> (i64, Tick) {
        if self.next == self.lines.len() {
            (self.next, self.rounds) = (0, self.rounds + 1);
        }
        let (ms, tick) = self.lines[self.next];
        self.next += 1;
        let round_ms = self.lines.last().map_or(0, |(ms, _)| *ms) + 1_000;
        (ms + self.rounds * round_ms, tick)
    }
}

fn read_file(path: &Path, lines: &mut Vec<(i64, Tick)>) -> Result<(), TapeFault> {
    let unread = |cause| TapeFault::Unread { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unread)?;
    for (at, line) in BufReader::new(MultiGzDecoder::new(file)).lines().enumerate() {
        let text = line.map_err(unread)?;
        let line = parse(&text).ok_or_else(|| TapeFault::BadLine {
            path: path.to_owned(),
            line: at + 1,
            text: text.clone(),
        })?;
        lines.push(line);
    }
    Ok(())
}

fn parse(line: &str) -> Option<(i64, Tick)> {
    let fields: Vec<&str> = line.split(',').collect();
    let exact = |at: usize| fields.get(at)?.parse::<Decimal>().ok();
    let ms = fields.get(1)?.parse().ok()?;
    let tick = match (*fields.first()?, fields.len()) {
        ("B", 6) => Tick::Best { bid: exact(2)?, ask: exact(4)? },
        ("T", 6) => Tick::Print { price: exact(2)?, amount: exact(3)? },
        _ => return None,
    };
    Some((ms, tick))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn tape(text: &str) -> Result<Tape, TapeFault> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small.tape.csv.gz");
        let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
        Tape::read(&[path])
    }

    #[test]
    fn a_tape_is_played_line_by_line_and_then_from_its_start_again() {
        let mut tape = tape("B,1000,9.9,1,10.1,2\nT,990,10.1,0.25,0,7\nT,1500,9.9,3,1,8\n").unwrap();
        let d = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(tape.next(), (0, Tick::Best { bid: d("9.9"), ask: d("10.1") }));
        assert_eq!(tape.next(), (0, Tick::Print { price: d("10.1"), amount: d("0.25") }));
        assert_eq!(tape.next(), (500, Tick::Print { price: d("9.9"), amount: d("3") }));
        assert_eq!(tape.next().0, 1_500);
    }

    #[test]
    fn a_line_of_another_kind_is_refused_with_its_number() {
        let fault = tape("B,1000,9.9,1,10.1,2\nX,1\n").unwrap_err().to_string();
        assert!(fault.starts_with("line 2 of the tape"), "{fault}");
        assert!(matches!(tape(""), Err(TapeFault::Empty { .. })));
    }
}
