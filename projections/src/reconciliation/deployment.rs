//! One deployment of a bot, as facts arrive: what is ours, and what Hummingbot told last.

use events::{
    BotId, ClientId, Time,
    bot::{BotEvent, Figures},
    decimal::ArithmeticError,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Difference, Ours, Reconciled, differences};
use crate::rates::Rates;

/// What happened so shortly before Hummingbot told its figures may not be in them yet.
const NEAR_US: i64 = 5_000_000;
/// Moments of fills between two counts that are remembered. Most exchanges tell whole seconds.
const UNCOUNTED_MAX: usize = 2_000;

/// One deployment of a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deployment {
    pub client_id: Uuid,
    pub bot_id: BotId,
    /// The event that began it.
    pub seq: u64,
    pub started_at: Time,
    /// Its name with Hummingbot; null while it was only asked for.
    pub instance: Option<String>,
    pub ended_at: Option<Time>,
    pub gap_open: bool,
    /// Instances that were found to trade beside it.
    pub strays: i64,
    pub ours: Ours,
    /// The newest fills, as far as they lie close together: those of one moment and one side together.
    pub near: Vec<Near>,
    /// When the fills happened that Hummingbot's last count may not know, and how many at each moment.
    pub uncounted: Vec<(Time, i64)>,
    pub report: Option<Report>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Near {
    pub at: Time,
    pub of: Ours,
}

/// What Hummingbot told last, and what we knew of the time until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub seq: u64,
    pub at: Time,
    pub source: String,
    pub figures: Figures,
    pub ours: Ours,
    /// Fills up to the moment up to which Hummingbot counted its own; null: too many came since.
    pub fills: Option<i64>,
    pub near: Vec<Ours>,
    pub marks: Rates,
}

impl Deployment {
    pub fn begun(client: ClientId, bot_id: BotId, seq: u64, started_at: Time, gap_open: bool) -> Self {
        Self {
            client_id: client.0,
            bot_id,
            seq,
            started_at,
            instance: None,
            ended_at: None,
            gap_open,
            strays: 0,
            ours: Ours::default(),
            near: Vec::new(),
            uncounted: Vec::new(),
            report: None,
        }
    }

    /// Whether these are its figures.
    pub fn tells(&self, told: &BotEvent) -> bool {
        matches!(told, BotEvent::BotFiguresReported { instance, .. } if self.instance.as_ref() == Some(instance))
    }

    /// Adds a fill, or takes it away.
    pub fn add(&mut self, of: &Ours, at: Time) -> Result<(), ArithmeticError> {
        self.ours.add(of)?;
        self.come_near(of, at)?;
        let newest = self.near.iter().map(|near| near.at).max();
        self.near.retain(|near| Some(near.at.plus_micros(NEAR_US)) >= newest);
        self.count_later(of.fills, at);
        match &mut self.report {
            // It was before Hummingbot counted, and reached us after.
            Some(report) if at <= report.at => report.add(of, at),
            Some(_) | None => Ok(()),
        }
    }

    fn come_near(&mut self, of: &Ours, at: Time) -> Result<(), ArithmeticError> {
        let is_sold = of.position.is_negative();
        match self.near.iter_mut().find(|near| near.at == at && near.of.position.is_negative() == is_sold) {
            Some(near) => near.of.add(of),
            None => {
                self.near.push(Near { at, of: of.clone() });
                Ok(())
            }
        }
    }

    fn count_later(&mut self, fills: i64, at: Time) {
        let place = self.uncounted.iter().position(|(moment, _)| *moment == at);
        match place {
            Some(place) => {
                self.uncounted[place].1 += fills;
                self.uncounted.retain(|(_, fills)| *fills > 0);
            }
            None if fills > 0 && self.uncounted.len() <= UNCOUNTED_MAX => self.uncounted.push((at, fills)),
            None => {}
        }
    }

    /// Whether it says something of the deployment.
    pub fn hear(&mut self, seq: u64, told: &BotEvent, marks: &Rates) -> bool {
        match told {
            BotEvent::BotDeployStarted { .. } => {}
            BotEvent::BotDeployed { instance, .. } => self.instance = Some(instance.clone()),
            BotEvent::BotStopped { at } | BotEvent::BotDeployFailed { at, .. } => self.ended_at = Some(*at),
            BotEvent::BotGapOpened { .. } => self.gap_open = true,
            BotEvent::BotGapHealed { .. } => self.gap_open = false,
            BotEvent::BotStrayFound { .. } => self.strays += 1,
            BotEvent::BotFiguresReported { figures, source, at, .. } => {
                let near = self.near.iter().filter(|near| near.at.plus_micros(NEAR_US) > *at);
                let fills = self.counted(figures.fills_until);
                self.report = Some(Report {
                    seq,
                    at: *at,
                    source: source.clone(),
                    figures: figures.clone(),
                    ours: self.ours.clone(),
                    fills,
                    near: near.map(|near| near.of.clone()).collect(),
                    marks: self.ours.marks_needed(marks),
                });
                if let Some(until) = figures.fills_until {
                    self.uncounted.retain(|(at, _)| *at > until);
                }
            }
            BotEvent::BotCreated { .. }
            | BotEvent::BotConfigChanged { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. }
            | BotEvent::BotDeployRequested { .. }
            | BotEvent::BotStopRequested { .. }
            | BotEvent::BotStopFailed { .. }
            | BotEvent::BotStateReported { .. }
            | BotEvent::BotSeenAlive { .. }
            | BotEvent::BotSilent { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotLimitBroken { .. }
            | BotEvent::BotLogged { .. } => return false,
        }
        true
    }

    /// How many of our fills happened up to a moment.
    fn counted(&self, until: Option<Time>) -> Option<i64> {
        let since: i64 = self.uncounted.iter().filter(|(at, _)| Some(*at) > until).map(|(_, fills)| fills).sum();
        (self.uncounted.len() <= UNCOUNTED_MAX).then(|| self.ours.fills - since)
    }

    /// Both sides, compared.
    pub fn reconciled(self) -> Result<Reconciled, ArithmeticError> {
        let differences = differences::of(&self)?;
        Ok(Reconciled {
            client_id: self.client_id,
            bot_id: self.bot_id,
            instance: self.instance,
            started_at: self.started_at,
            ended_at: self.ended_at,
            reported_at: self.report.as_ref().map(|report| report.at),
            reported: self.report.map(|report| report.figures),
            ours: self.ours,
            has_unexplained: differences.iter().any(Difference::is_unexplained),
            differences,
            gap_open: self.gap_open,
            strays: self.strays,
        })
    }
}

impl Report {
    fn add(&mut self, of: &Ours, at: Time) -> Result<(), ArithmeticError> {
        if self.figures.fills_until.is_some_and(|until| at <= until) {
            self.fills = self.fills.map(|fills| fills + of.fills);
        }
        self.ours.add(of)
    }
}
