//! Where Hummingbot's figures differ from ours, and why: each cause by name, with how much it makes or can make at most.

use events::{Decimal, decimal::ArithmeticError};
use serde::Serialize;
use utoipa::ToSchema;

use super::deployment::{Deployment, Report};

/// A mark is recorded when it moved by a thousandth: Hummingbot values at its own price of the moment.
const MARK_PLACES: u32 = 3;

/// A figure that both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Compared)]
pub enum What {
    /// How many fills.
    Fills,
    /// Sum of price x amount.
    VolumeQuote,
    /// Realised and unrealised together, less fees: how it is split is each one's method.
    PnlQuote,
    FeesQuote,
}

/// Both sides of one figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    pub figure: What,
    /// Null: it needs a mark or a rate that is not known.
    pub ours: Option<Decimal>,
    /// Null: Hummingbot does not tell it.
    pub hummingbots: Option<Decimal>,
    /// Hummingbot's less ours; null where one of them is.
    pub difference: Option<Decimal>,
    /// What makes it, or can.
    pub because: Vec<Because>,
    /// What is left of the difference after all of that; null where nobody can say, because there is no difference to look at
    /// or a cause has no known bound.
    pub unexplained: Option<Decimal>,
}

/// One cause of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Because {
    pub cause: Cause,
    /// What it makes exactly; null: only its bound is known.
    pub amount: Option<Decimal>,
    /// What it can make at most, up or down; null beside a null amount: nobody knows.
    pub most: Option<Decimal>,
    /// For a person to read.
    pub words: String,
}

/// Why two figures of one thing differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Fills are known to six places of their price only.
    ProvisionalPrices,
    /// Fees were charged in an asset that is neither base nor quote, and each values them in its own way, or they are unknown.
    FeesInAnotherAsset,
    /// The two count different things by design.
    Method,
    /// The position is valued at two prices of nearly the same moment.
    Marks,
    /// Fills may not have reached us: a gap is open.
    FillsMissing,
    /// Another instance of the bot traded beside this one: its fills are ours, and no figure of this one's.
    AnotherInstance,
    /// A fill was corrected or voided after it was told exactly; Hummingbot does not know.
    CorrectedSince,
    /// Hummingbot has not told it, or fills happened just before it did.
    NotReportedYet,
    /// Hummingbot counts in binary fractions.
    Rounding,
}

impl Difference {
    /// Whether something is left that nothing explains.
    pub fn is_unexplained(&self) -> bool {
        self.unexplained.is_some_and(|left| !left.is_zero())
    }

    fn of(
        figure: What,
        ours: Option<Decimal>,
        hummingbots: Option<Decimal>,
        mut because: Vec<Because>,
    ) -> Result<Self, ArithmeticError> {
        let difference = ours.zip(hummingbots).map(|(ours, theirs)| theirs.minus(ours)).transpose()?;
        because.retain(|because| because.says_something());
        let unexplained = match difference {
            Some(difference) => left(difference, &because)?,
            None => None,
        };
        Ok(Self { figure, ours, hummingbots, difference, because, unexplained })
    }
}

impl Because {
    pub(super) fn exactly(cause: Cause, amount: Decimal, words: impl Into<String>) -> Self {
        Self { cause, amount: Some(amount), most: None, words: words.into() }
    }

    pub(super) fn at_most(cause: Cause, most: Decimal, words: impl Into<String>) -> Self {
        Self { cause, amount: None, most: Some(most.abs()), words: words.into() }
    }

    pub(super) fn unbounded(cause: Cause, words: impl Into<String>) -> Self {
        Self { cause, amount: None, most: None, words: words.into() }
    }

    pub(super) fn says_something(&self) -> bool {
        !self.amount.or(self.most).is_some_and(|value| value.is_zero())
    }
}

/// What causes leave of a difference, with its sign.
pub(super) fn left(difference: Decimal, because: &[Because]) -> Result<Option<Decimal>, ArithmeticError> {
    let (mut rest, mut most) = (difference, Decimal::ZERO);
    for one in because {
        rest = rest.minus(one.amount.unwrap_or_default())?;
        most = most.plus(one.most.unwrap_or_default())?;
    }
    if rest.abs() <= most {
        return Ok(Some(Decimal::ZERO));
    }
    if because.iter().any(|one| one.amount.is_none() && one.most.is_none()) {
        return Ok(None);
    }
    let left = rest.abs().minus(most)?;
    Ok(Some(if rest.is_negative() { Decimal::ZERO.minus(left)? } else { left }))
}

/// Every figure of a deployment; of one that nothing was told of, that.
pub(super) fn of(deployment: &Deployment) -> Result<Vec<Difference>, ArithmeticError> {
    let Some(report) = &deployment.report else {
        let words = "Hummingbot has told no figures of this deployment yet";
        let not_yet =
            |figure, ours| Difference::of(figure, ours, None, vec![Because::unbounded(Cause::NotReportedYet, words)]);
        let ours = &deployment.ours;
        return [
            not_yet(What::Fills, Some(Decimal::from_int(ours.fills))),
            not_yet(What::VolumeQuote, Some(ours.volume_quote)),
            not_yet(What::PnlQuote, None),
            not_yet(What::FeesQuote, Some(ours.fees()?)),
        ]
        .into_iter()
        .collect();
    };
    let sides = Sides { report, gap_open: deployment.gap_open, strays: deployment.strays };
    Ok(vec![sides.fills()?, sides.volume()?, sides.pnl()?, sides.fees()?])
}

/// What both said of the time until Hummingbot told its figures.
struct Sides<'a> {
    report: &'a Report,
    gap_open: bool,
    strays: i64,
}

impl Sides<'_> {
    fn fills(&self) -> Result<Difference, ArithmeticError> {
        let Report { figures, ours, fills, .. } = self.report;
        let theirs = figures.fills.and_then(|fills| i64::try_from(fills).ok()).map(Decimal::from_int);
        let mut because = self.always();
        because.extend(theirs.is_none().then(|| self.not_told("the count of its fills")));
        because.push(Because::at_most(Cause::CorrectedSince, Decimal::from_int(ours.corrected), self.corrected()));
        Difference::of(What::Fills, fills.map(Decimal::from_int), theirs, because)
    }

    fn volume(&self) -> Result<Difference, ArithmeticError> {
        let Report { figures, ours, near, .. } = self.report;
        let theirs = figures.volume_quote;
        let mut because = self.always();
        because.extend(theirs.is_none().then(|| self.not_told("its volume")));
        because.push(self.provisional(ours.provisional_most));
        because.push(Because::exactly(
            Cause::CorrectedSince,
            Decimal::ZERO.minus(ours.corrected_volume)?,
            self.corrected(),
        ));
        let near_volume = near.iter().try_fold(Decimal::ZERO, |sum, one| sum.plus(one.volume_quote.abs()))?;
        because.push(self.just_now(near_volume));
        because.push(self.rounding()?);
        Difference::of(What::VolumeQuote, Some(ours.volume_quote), theirs, because)
    }

    fn pnl(&self) -> Result<Difference, ArithmeticError> {
        let Report { figures, ours, near, marks, .. } = self.report;
        let sum = figures.realized_pnl_quote.zip(figures.unrealized_pnl_quote);
        let theirs = sum.map(|(realized, unrealized)| realized.plus(unrealized)).transpose()?;
        let mut because = self.always();
        because.extend(theirs.is_none().then(|| self.not_told("its P&L")));
        because.extend(self.method()?);
        because.push(self.provisional(ours.provisional_most));
        because.push(self.other_fees()?);
        because.push(self.corrected_pnl()?);
        because.push(self.marks()?);
        let mut near_pnl = Decimal::ZERO;
        for one in near {
            near_pnl = near_pnl.plus(one.pnl(marks)?.unwrap_or(one.volume_quote).abs())?;
        }
        because.push(self.just_now(near_pnl));
        because.push(self.rounding()?);
        Difference::of(What::PnlQuote, ours.pnl(marks)?, theirs, because)
    }

    fn fees(&self) -> Result<Difference, ArithmeticError> {
        let Report { figures, ours, near, .. } = self.report;
        let theirs = figures.fees_quote;
        let mut because = self.always();
        if theirs.is_none() {
            let words = "Hummingbot tells the fees of the positions that it holds, not those of trades that it closed";
            because.push(Because::unbounded(Cause::Method, words));
        }
        because.push(self.other_fees()?);
        because.push(self.provisional(ours.provisional_most));
        let near_fees = near.iter().try_fold(Decimal::ZERO, |sum, one| sum.plus(one.fees()?.abs()))?;
        because.push(self.just_now(near_fees));
        because.push(self.rounding()?);
        Difference::of(What::FeesQuote, Some(ours.fees()?), theirs, because)
    }

    /// Hummingbot leaves the fees of positions that it holds out of its P&L, and counts a fee in the base asset at the price of
    /// its fill, where ours has less of the asset.
    fn method(&self) -> Result<Vec<Because>, ArithmeticError> {
        let Report { figures, ours, marks, .. } = self.report;
        let held = match figures.held_fees_quote {
            Some(fees) => Because::exactly(
                Cause::Method,
                fees,
                "Hummingbot's P&L is before the fees of the positions that it holds",
            ),
            None => Because::unbounded(
                Cause::Method,
                "Hummingbot's P&L is before the fees of the positions that it holds, and it does not tell them",
            ),
        };
        let mark = ours.pair.as_ref().and_then(|pair| marks.of(pair));
        let drift = mark.map(|mark| ours.base_fees.times(mark.0)?.minus(ours.base_fees_quote)).transpose()?;
        let words = "Hummingbot values a fee in the base asset when it was charged, ours has been without it since";
        Ok(std::iter::once(held).chain(drift.map(|drift| Because::exactly(Cause::Method, drift, words))).collect())
    }

    fn other_fees(&self) -> Result<Because, ArithmeticError> {
        let Report { ours, marks, .. } = self.report;
        let named: Vec<String> = ours.other_fees.iter().map(|(asset, fee)| format!("{fee} {asset}")).collect();
        if ours.unknown_fees != 0 {
            let words = format!("the fees of {} fills are not known to us", ours.unknown_fees);
            return Ok(Because::unbounded(Cause::FeesInAnotherAsset, words));
        }
        let words = format!("fees of {} are in none of our sums here; Hummingbot converts them", named.join(", "));
        Ok(match ours.other_fees_worth(marks)? {
            // Hummingbot's rate is its own: up to twice of what ours would make.
            Some(worth) => Because::at_most(Cause::FeesInAnotherAsset, worth.plus(worth)?, words),
            None => Because::unbounded(Cause::FeesInAnotherAsset, words),
        })
    }

    fn corrected_pnl(&self) -> Result<Because, ArithmeticError> {
        let Report { ours, marks, .. } = self.report;
        let mark = ours.pair.as_ref().and_then(|pair| marks.of(pair));
        let worth = mark.map(|mark| ours.corrected_position.times(mark.0)).transpose()?.unwrap_or_default();
        let amount = Decimal::ZERO.minus(ours.corrected_money.plus(worth)?)?;
        Ok(Because::exactly(Cause::CorrectedSince, amount, self.corrected()))
    }

    fn marks(&self) -> Result<Because, ArithmeticError> {
        let Report { ours, marks, .. } = self.report;
        Ok(match ours.worth(marks)? {
            Some(worth) => Because::at_most(
                Cause::Marks,
                worth.times(Decimal::new(1, MARK_PLACES))?,
                "our mark is recorded when it moved by a thousandth, Hummingbot values at its own price of the moment",
            ),
            None => Because::unbounded(Cause::Marks, "no mark of the pair is known, so our P&L is not"),
        })
    }

    fn always(&self) -> Vec<Because> {
        let words = "a gap is open: fills may not have reached us yet";
        let missing = self.gap_open.then(|| Because::unbounded(Cause::FillsMissing, words));
        let words =
            format!("{} more instances traded beside it, and Hummingbot's figures are of one alone", self.strays);
        let strays = (self.strays > 0).then(|| Because::unbounded(Cause::AnotherInstance, words));
        missing.into_iter().chain(strays).collect()
    }

    fn not_told(&self, what: &str) -> Because {
        Because::unbounded(Cause::NotReportedYet, format!("Hummingbot has not told {what}"))
    }

    fn just_now(&self, most: Decimal) -> Because {
        let words = format!(
            "{} fills happened within the five seconds before Hummingbot told it",
            self.report.near.iter().map(|near| near.fills.abs()).sum::<i64>()
        );
        Because::at_most(Cause::NotReportedYet, most, words)
    }

    fn provisional(&self, most: Decimal) -> Because {
        let words = format!("the price of {} fills is known to six places only", self.report.ours.provisional);
        Because::at_most(Cause::ProvisionalPrices, most, words)
    }

    fn corrected(&self) -> String {
        format!("{} fills were corrected or voided since they were told", self.report.ours.corrected)
    }

    /// A double has 15 digits; sums of many lose some.
    fn rounding(&self) -> Result<Because, ArithmeticError> {
        let most = self.report.ours.volume_quote.abs().times(Decimal::new(1, 9))?;
        Ok(Because::at_most(Cause::Rounding, most, "Hummingbot counts in binary fractions"))
    }
}
