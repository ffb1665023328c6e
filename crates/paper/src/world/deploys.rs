//! How bots come and go: deployed with the keys that the account has at that moment, stopped, archived, killed.

use std::collections::BTreeMap;

use events::Time;
use serde_json::{Value, json};

use super::{Due, World, ms};
use crate::{
    bot::{Bot, Controller, Life, Style},
    bots::{Deployment, Run},
    exchange::wallet::WalletKey,
    floats,
};

impl World {
    /// A new instance: its name, or why there is none.
    pub(crate) fn deploy(&mut self, deployment: &Deployment) -> Result<String, String> {
        let stamp = chrono::DateTime::<chrono::Utc>::from(self.now).format("%Y%m%d-%H%M%S");
        let mut name = format!("{}-{stamp}", deployment.instance_name);
        if self.bots.contains_key(&name) {
            if self.dice.faults.same_second_collision {
                return Err(format!(
                    "409 Client Error: Conflict (\"The container name \"/{name}\" is already in use by another container\")"
                ));
            }
            name = format!("{name}-{}", self.bots.len());
        }
        if !self.accounts.names.contains(&deployment.account) {
            return Err(format!("Credentials profile '{}' not found", deployment.account));
        }
        let mut bot = Bot::new(&name, &deployment.account, deployment.strategy, self.now, self.settings.seed);
        bot.controllers = self.controllers_of(deployment)?;
        bot.wallets = self.wallets_of(&deployment.account);
        bot.tells_events = !deployment.headless;
        self.bots.insert(name.clone(), bot);
        self.runs.push(Run::new(self.runs.len() + 1, &name, deployment, self.now));
        self.boot(&name);
        Ok(name)
    }

    fn controllers_of(&self, deployment: &Deployment) -> Result<Vec<Controller>, String> {
        let found = |name: &String| {
            let configs = if deployment.is_script { &self.configs.scripts } else { &self.configs.controllers };
            let config = configs.get(name).cloned().ok_or_else(|| format!("Config file {name}.yml not found"))?;
            let named = config.get("controller_name").and_then(Value::as_str).unwrap_or_default();
            // A script of ours takes liquidity, and so does a controller that says so in its name.
            let takes = deployment.is_script || named.contains("volume") || named.contains("taker");
            let id = config.get("id").and_then(Value::as_str).unwrap_or(name).to_owned();
            Ok(Controller::new(&id, config, if takes { Style::Taker } else { Style::Maker }))
        };
        deployment.configs.iter().map(found).collect()
    }

    fn wallets_of(&self, account: &str) -> BTreeMap<String, WalletKey> {
        let own = self.accounts.credentials.iter().filter(|((owner, _), _)| owner == account);
        own.map(|((_, connector), credential)| (connector.clone(), credential.wallet.clone())).collect()
    }

    fn run_of(&mut self, bot: &str) -> Option<&mut Run> {
        self.runs.iter_mut().rev().find(|run| run.bot == bot)
    }

    /// The stop command is published; whether anybody obeys is another matter. False where no such bot is known.
    pub(crate) fn command_stop(&mut self, bot: &str, leave_orders: bool) -> bool {
        if !self.bots.contains_key(bot) {
            return false;
        }
        let final_status = floats::dumps(&self.bot_status(bot));
        if self.dice.faults.stuck_runs {
            self.mark_stopped(bot);
        }
        if let Some(run) = self.run_of(bot) {
            run.final_status = Some(final_status);
        }
        self.after(ms(self.settings.stop_ms), Due::StopBot { bot: bot.to_owned(), leave_orders });
        true
    }

    pub(super) fn mark_stopped(&mut self, bot: &str) {
        let now = self.now;
        if let Some(run) = self.run_of(bot) {
            run.stopped_at.get_or_insert(now);
            run.run_status = "STOPPED";
        }
    }

    pub(crate) fn command_archive(&mut self, bot: &str, leave_orders: bool) {
        if self.command_stop(bot, leave_orders) {
            self.after(ms(self.settings.archive_ms), Due::Archive(bot.to_owned()));
        }
    }

    pub(super) fn archive(&mut self, name: &str) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        bot.archived = true;
        if bot.life == Life::Running {
            bot.life = Life::Stopped;
        }
        self.mark_stopped(name);
        if let Some(run) = self.run_of(name) {
            run.deployment_status = "ARCHIVED";
        }
    }

    /// The process dies as if its machine had: no word, its orders stay.
    pub(crate) fn kill(&mut self, name: &str) -> bool {
        let Some(bot) = self.bots.get_mut(name) else { return false };
        bot.life = Life::Crashed;
        if !self.dice.faults.stuck_runs
            && let Some(run) = self.run_of(name)
        {
            run.run_status = "ERROR";
            run.error_message = Some("The container exited".to_owned());
        }
        true
    }

    /// What the server believes of a bot. It never notices a crash.
    pub(crate) fn bot_status(&self, name: &str) -> Value {
        let bot = &self.bots[name];
        let believed_running = match bot.life {
            Life::Running => true,
            Life::Crashed => self.dice.faults.stuck_runs,
            Life::Stopped => false,
        };
        let performance = if believed_running { self.figures(name, floats::number) } else { json!({}) };
        let mut performance = performance;
        for controller in performance.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            controller["status"] = json!("running");
        }
        json!({
            "status": if believed_running { "running" } else { "stopped" },
            "performance": performance,
            "error_logs": bot.error_logs,
            "general_logs": bot.logs,
            "recently_active": bot.life == Life::Running || self.now.micros() - bot.ticked.micros() < 30_000_000,
        })
    }
}

/// Where the archive of a bot lies.
pub(crate) fn archive_path(bot: &str) -> String {
    format!("bots/archived/{bot}/data/{bot}.sqlite")
}

/// Whole seconds, in milliseconds, as a bot's database keeps them.
pub(crate) fn second_ms(at: Time) -> i64 {
    at.millis().div_euclid(1_000) * 1_000
}
