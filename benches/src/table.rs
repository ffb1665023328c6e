//! The table: a row a figure, beside the plain baseline that it was held against in the same run.

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtLeast(u64),
    AtMost(u64),
    /// Only told.
    None,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    cells: [String; 5],
    met: Option<bool>,
}

impl Row {
    /// So many a second of ours for each of the baseline's; the target in hundredths.
    pub fn ratio(what: impl Into<String>, pair: Pair, at_least: Option<u64>) -> Self {
        let target = at_least.map_or_else(String::new, |least| format!(">= {}x", hundredths(least)));
        let value = format!("{}x", hundredths(pair.ratio()));
        let cells = [what.into(), rate(pair.subject), rate(pair.baseline), value, target];
        Self { cells, met: at_least.map(|least| pair.ratio() >= least) }
    }

    /// A figure by itself, with what it is counted in.
    pub fn value(what: impl Into<String>, value: u64, unit: &str, target: Target) -> Self {
        let (target, met) = match target {
            Target::AtLeast(least) => (format!(">= {least} {unit}"), Some(value >= least)),
            Target::AtMost(most) => (format!("<= {most} {unit}"), Some(value <= most)),
            Target::None => (String::new(), None),
        };
        Self { cells: [what.into(), format!("{value} {unit}"), String::new(), String::new(), target], met }
    }

    /// A time in microseconds, shown in milliseconds; the target in milliseconds.
    pub fn latency(what: impl Into<String>, micros: u64, at_most_ms: Option<u64>) -> Self {
        let shown = format!("{} ms", hundredths(micros / 10));
        let target = at_most_ms.map_or_else(String::new, |most| format!("<= {most} ms"));
        let met = at_most_ms.map(|most| micros <= most * 1_000);
        Self { cells: [what.into(), shown, String::new(), String::new(), target], met }
    }

    /// The same figure, its baseline beside it.
    pub fn against(mut self, pair: Pair) -> Self {
        self.cells[2] = rate(pair.baseline);
        self.cells[3] = format!("{}x", hundredths(pair.ratio()));
        self
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }
}

/// Ours and the baseline's, both a second, measured one right after the other.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub subject: u64,
    pub baseline: u64,
}

impl Pair {
    /// In hundredths.
    pub fn ratio(self) -> u64 {
        self.subject * 100 / self.baseline.max(1)
    }

    /// The one whose ratio is in the middle: neighbours on the machine disturb some rounds.
    pub fn median(mut rounds: Vec<Self>) -> Self {
        rounds.sort_by_key(|pair| pair.ratio());
        rounds[rounds.len() / 2]
    }
}

/// Prints the rows under their heads, as wide as they need.
pub fn print(rows: &[Row]) {
    let heads = ["what", "ours", "plain", "ratio", "target"].map(str::to_owned);
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| rows.iter().map(|row| &row.cells).chain([&heads]).map(|cells| cells[column].len()).max())
        .map(Option::unwrap_or_default)
        .collect();
    println!("{}", line(&heads, &widths, ""));
    for row in rows {
        println!("{}", line(&row.cells, &widths, row.verdict()));
    }
}

fn line(cells: &[String; 5], widths: &[usize], verdict: &str) -> String {
    let [what, numbers @ ..] = cells;
    let mut line = format!("{what:<width$}", width = widths[0]);
    for (number, width) in numbers.iter().zip(&widths[1..]) {
        line += &format!("  {number:>width$}");
    }
    format!("{line}  {verdict}").trim_end().to_owned()
}

fn rate(a_second: u64) -> String {
    format!("{a_second}/s")
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}
