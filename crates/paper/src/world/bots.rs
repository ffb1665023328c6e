//! What the running bots do in the world: tick, order, see fills, tell of them.

use std::{sync::Arc, time::Duration};

use events::Time;
use serde_json::{Value, json};

use super::{Due, World, ms};
use crate::{
    bot::{
        Level, Life, Seen, Style, Wish,
        maker::Maker,
        taker::Taker,
        words::{self, Message},
    },
    exchange::{OrderNo, Owner, Status, side_name},
    floats,
    truth::FillNo,
};

const DAY: Duration = Duration::from_hours(24);
/// Further back than that is everything.
const DAYS_MAX: f64 = 10_000.0;
const SECOND_US: i64 = 1_000_000;
/// From an order's placing until the bot says so: fills may be told before.
const TOLD_US: i64 = 30_000;
const TRACKER: &str = "hummingbot.connector.client_order_tracker";
const CONTROLLER: &str = "hummingbot.strategy_v2.controllers.controller_base";

impl World {
    /// Its process is up.
    pub(crate) fn boot(&mut self, name: &str) {
        let Some(name) = self.bots.get(name).map(|bot| bot.name.clone()) else { return };
        self.publish(Message::of(&name, "hb", words::heartbeat(self.now)));
        self.after(ms(self.settings.heartbeat_ms), Due::Heartbeat(name.clone()));
        self.begin(&name);
    }

    /// Its strategy runs.
    fn begin(&mut self, name: &str) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        bot.life = Life::Running;
        bot.starts += 1;
        let (name, start) = (bot.name.clone(), bot.starts);
        let online = words::availability(self.now, true);
        self.publish(Message::of(&name, "status_updates", online));
        // Bots do not tick in step: each has its own part of the second.
        let offset = i64::from(name.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
        self.after(offset % 997 * 1_000, Due::BotTick(name.clone(), start));
        self.after(ms(self.settings.performance_ms), Due::Performance(name, start));
    }

    fn lives(&self, name: &str) -> bool {
        self.bots.get(name).is_some_and(|bot| bot.life == Life::Running)
    }

    fn runs(&self, name: &str, start: u32) -> bool {
        self.bots.get(name).is_some_and(|bot| bot.life == Life::Running && bot.starts == start)
    }

    pub(super) fn heartbeat(&mut self, name: &Arc<str>) {
        let alive = self.bots.get(&**name).is_some_and(|bot| bot.life != Life::Crashed && !bot.archived);
        if alive {
            self.publish(Message::of(name, "hb", words::heartbeat(self.now)));
            self.after(ms(self.settings.heartbeat_ms), Due::Heartbeat(name.clone()));
        }
    }

    pub(super) fn performance(&mut self, name: &Arc<str>, start: u32) {
        if self.runs(name, start) {
            let told = self.figures(name, |value| {
                Value::Number(serde_json::from_str(&floats::bot(value)).expect("a double that is written is JSON"))
            });
            self.publish(Message::of(name, "performance", told.to_string()));
            self.after(ms(self.settings.performance_ms), Due::Performance(name.clone(), start));
        }
    }

    /// By controller, as the bot reports it.
    pub(crate) fn figures(&self, name: &str, number: fn(events::Decimal) -> Value) -> Value {
        let Some(bot) = self.bots.get(name) else { return json!({}) };
        let told = bot.controllers.iter().map(|controller| {
            let text = |field: &str| controller.config.get(field).and_then(Value::as_str).unwrap_or_default();
            let standing = crate::bot::maker::venue(&controller.config)
                .ok()
                .and_then(|venue| self.exchanges.standings.get(&venue));
            let mid = standing.map_or(events::Decimal::ZERO, |standing| standing.mid());
            let figures = controller.figures.told(text("connector_name"), text("trading_pair"), mid, number);
            (controller.id.clone(), json!({"performance": figures, "custom_info": {}}))
        });
        Value::Object(told.collect())
    }

    pub(super) fn bot_tick(&mut self, name: &Arc<str>, start: u32) {
        if !self.runs(name, start) {
            return;
        }
        let Some(bot) = self.bots.get_mut(&**name) else { return };
        bot.ticked = self.now;
        let styles: Vec<Style> = bot.controllers.iter().map(|controller| controller.style).collect();
        for (controller, style) in styles.into_iter().enumerate() {
            let done = match style {
                Style::Maker => self.make(name, controller),
                Style::Taker => self.take(name, controller),
            };
            if let Err(reason) = done {
                self.log(name, true, &reason, CONTROLLER);
            }
        }
        self.after(SECOND_US, Due::BotTick(name.clone(), start));
    }

    fn make(&mut self, name: &str, controller: usize) -> Result<(), String> {
        let maker = Maker::read(&self.bots[name].controllers[controller].config)?;
        self.open(&maker.venue);
        let keys: Vec<_> = if maker.killed { Vec::new() } else { maker.levels().collect() };
        let dropped: Vec<_> =
            self.bots[name].controllers[controller].levels.keys().filter(|key| !keys.contains(key)).copied().collect();
        for key in dropped {
            let level = self.bots.get_mut(name).and_then(|bot| bot.controllers[controller].levels.remove(&key));
            if let Some(no) = level.and_then(|level| level.order) {
                self.cancel_for(name, no);
            }
        }
        for key in keys {
            self.make_level(name, controller, &maker, key);
        }
        Ok(())
    }

    fn make_level(&mut self, name: &str, controller: usize, maker: &Maker, key: (bool, usize)) {
        let free = Level { order: None, placed: self.now, free: self.now };
        let mut level = *self.bots[name].controllers[controller].levels.get(&key).unwrap_or(&free);
        if let Some(no) = level.order {
            let age_us = self.now.micros() - level.placed.micros();
            if !self.exchanges.orders[no].is_open() {
                let cooled = self.now.plus_micros(maker.cooldown_s.saturating_mul(SECOND_US));
                level = Level { order: None, free: cooled, ..level };
            } else if age_us >= maker.refresh_s.saturating_mul(SECOND_US) {
                self.cancel_for(name, no);
                level = free;
            }
        }
        if level.order.is_none() && level.free <= self.now {
            let wish = self.exchanges.standings.get(&maker.venue).and_then(|standing| maker.wish(key, standing));
            level.order = wish.and_then(|wish| self.order(name, controller, wish));
            (level.placed, level.free) = (self.now, self.now);
        }
        if let Some(bot) = self.bots.get_mut(name) {
            bot.controllers[controller].levels.insert(key, level);
        }
    }

    fn take(&mut self, name: &str, controller: usize) -> Result<(), String> {
        let taker = Taker::read(&self.bots[name].controllers[controller].config)?;
        self.open(&taker.venue);
        let now = self.now;
        let Some(bot) = self.bots.get_mut(name) else { return Ok(()) };
        let taken = bot.controllers[controller].taken;
        let rests = taken.is_some_and(|taken| taken.plus_micros(taker.interval_s.saturating_mul(SECOND_US)) > now);
        if taker.killed || rests {
            return Ok(());
        }
        bot.controllers[controller].taken = Some(now);
        let standing = self.exchanges.standings.get(&taker.venue);
        let wish = standing.and_then(|standing| taker.wish(standing, &mut bot.rng));
        if let Some(wish) = wish {
            self.order(name, controller, wish);
        }
        Ok(())
    }

    /// Places an order; none if the exchange refused it.
    fn order(&mut self, name: &str, controller: usize, wish: Wish) -> Option<OrderNo> {
        let bot = self.bots.get(name)?;
        let connector = wish.venue.exchange.connector(wish.venue.market);
        let Some(wallet) = bot.wallets.get(&connector).cloned() else {
            self.log(name, true, &format!("No credentials for connector {connector}"), CONTROLLER);
            return None;
        };
        let (account, mark) = (bot.account.clone(), bot.mark());
        let owner = Owner::Bot { bot: name.to_owned(), controller };
        let order = self.new_order(wallet, &account, owner, wish);
        let no = self.send(order, &mark);
        self.bots.get_mut(name)?.orders.push(no);
        self.accept(no);
        match self.exchanges.orders[no].status.clone() {
            Status::Rejected(reason) => {
                self.log(name, true, &format!("Error submitting order: {reason}"), TRACKER);
                None
            }
            Status::Submitted | Status::Open | Status::Filled | Status::Cancelled => {
                self.after(TOLD_US, Due::Created(no));
                Some(no)
            }
        }
    }

    fn cancel_for(&mut self, name: &str, no: OrderNo) {
        if self.cancel(no) {
            let event = words::cancelled(&self.exchanges.orders[no], self.now);
            self.tell_event(name, event);
        }
    }

    /// Bots deployed headless keep their events to themselves.
    fn tell_event(&self, name: &str, event: String) {
        if self.bots.get(name).is_some_and(|bot| bot.tells_events) {
            self.publish(Message::of(name, "events", event));
        }
    }

    fn log(&mut self, name: &str, error: bool, message: &str, logger: &str) {
        let now = self.now;
        if let Some(bot) = self.bots.get_mut(name) {
            let line = bot.log(error, message, logger, now).to_string();
            self.publish(Message::of(name, "log", line));
        }
    }

    pub(super) fn bot_filled(&mut self, name: &str, controller: usize, fill: FillNo) {
        let (seen, order_no) = (&self.exchanges.truth.fills[fill], self.exchanges.truth.fills[fill].order);
        let order = &self.exchanges.orders[order_no];
        let Some(bot) = self.bots.get_mut(name).filter(|bot| bot.life == Life::Running) else { return };
        let ticked = whole_second(bot.ticked);
        bot.fills.push(Seen { fill, ticked });
        let fee = words::fee_in_quote(order, seen);
        bot.controllers[controller].figures.trade(order.side, seen.price, seen.amount, fee);
        if bot.tells_events {
            let message = Message::of(name, "events", words::filled(order, seen, ticked));
            for late_ms in self.dice.travel() {
                self.after(late_ms * 1_000, Due::Publish(message.clone()));
            }
        }
        if self.exchanges.orders[order_no].status == Status::Filled {
            self.after(TOLD_US + 5_000, Due::Completed(order_no));
        }
    }

    pub(super) fn tell_created(&mut self, no: OrderNo) {
        let order = &self.exchanges.orders[no];
        let Some(name) = order.bot().map(str::to_owned).filter(|name| self.lives(name)) else { return };
        self.tell_event(&name, words::created(order, whole_second(order.created)));
        let price = order.price.map_or_else(|| "NaN".to_owned(), |price| price.to_string());
        let line = format!(
            "Created {} {} order {} for {} {} at {price}.",
            order.kind.name(),
            side_name(order.side),
            order.id,
            order.amount,
            order.venue.pair
        );
        self.log(&name, false, &line, TRACKER);
    }

    pub(super) fn tell_completed(&mut self, no: OrderNo) {
        let order = &self.exchanges.orders[no];
        let Some(name) = order.bot().map(str::to_owned).filter(|name| self.lives(name)) else { return };
        let ticked = self.bots[&name].ticked;
        self.tell_event(&name, words::completed(order, whole_second(ticked)));
        let line = format!("{} order {} completely filled.", side_name(order.side), order.id);
        self.log(&name, false, &line, TRACKER);
    }

    pub(super) fn stop_bot(&mut self, name: &str, leave_orders: bool) {
        if !self.lives(name) {
            return;
        }
        let open = self.bots[name].orders.iter().copied().filter(|no| self.exchanges.orders[*no].is_open());
        let open: Vec<OrderNo> = open.collect();
        for no in open.into_iter().filter(|_| !leave_orders) {
            self.cancel_for(name, no);
        }
        if let Some(bot) = self.bots.get_mut(name) {
            bot.life = Life::Stopped;
        }
        self.publish(Message::of(name, "status_updates", words::availability(self.now, false)));
        self.mark_stopped(name);
    }

    /// The trades in the bot's database since so many days, or all of them for zero, as the history call sorts them.
    fn history(&self, name: &str, days: &Value) -> Value {
        let Some(bot) = self.bots.get(name) else { return json!({"status": 404, "msg": "", "trades": []}) };
        let since = back(days).map(|back| self.now.plus_micros(-i64::try_from(back.as_micros()).unwrap_or(i64::MAX)));
        // A bot ticks after what it saw before, so its fills stand by their ticks.
        let from = since.map_or(0, |since| bot.fills.partition_point(|seen| seen.ticked < since));
        let mut seen: Vec<&Seen> = bot.fills[from..].iter().collect();
        seen.sort_by(|left, right| left.ticked.cmp(&right.ticked).then(right.fill.cmp(&left.fill)));
        let trade = |seen: &Seen| {
            let fill = &self.exchanges.truth.fills[seen.fill];
            words::history_trade(&self.exchanges.orders[fill.order], fill, seen.ticked)
        };
        json!({"status": 200, "msg": "", "trades": seen.into_iter().map(trade).collect::<Vec<_>>()})
    }

    /// A command over MQTT; absent where nobody is there to answer.
    pub(crate) fn command(&mut self, name: &str, command: &str, data: &Value) -> Option<Value> {
        let life = self.bots.get(name).filter(|bot| !bot.archived)?.life;
        let fine = json!({"status": 200, "msg": ""});
        match (command, life) {
            (_, Life::Crashed) => None,
            ("history", Life::Running | Life::Stopped) => Some(self.history(name, &data["days"])),
            ("start", Life::Running) => Some(json!({"status": 400, "msg": "The bot is already running"})),
            ("start", Life::Stopped) => {
                self.begin(name);
                Some(fine)
            }
            ("stop", Life::Running) => {
                let leave_orders = data["skip_order_cancellation"].as_bool().unwrap_or_default();
                self.stop_bot(name, leave_orders);
                Some(fine)
            }
            ("stop", Life::Stopped) => Some(json!({"status": 400, "msg": "'NoneType' object is not callable"})),
            ("config", Life::Running | Life::Stopped) => Some(self.reconfigure(name, data)),
            (_, Life::Running | Life::Stopped) => None,
        }
    }

    /// `params` is a list of `[name, value]` for the first controller.
    fn reconfigure(&mut self, name: &str, data: &Value) -> Value {
        let params = data["params"].as_array().cloned().unwrap_or_default();
        let controller = self.bots.get_mut(name).and_then(|bot| bot.controllers.first_mut());
        if let Some(config) = controller.and_then(|controller| controller.config.as_object_mut()) {
            for param in &params {
                if let Some(field) = param[0].as_str() {
                    config.insert(field.to_owned(), param[1].clone());
                }
            }
        }
        json!({"status": 200, "msg": "", "changes": params, "config": {}})
    }
}

/// How far days and parts of a day go back; absent for zero, which is no limit.
fn back(days: &Value) -> Option<Duration> {
    let days = days.as_f64().filter(|days| (0.0..=DAYS_MAX).contains(days))?;
    Some(DAY.mul_f64(days)).filter(|back| !back.is_zero())
}

fn whole_second(at: Time) -> Time {
    at.plus_micros(-at.micros().rem_euclid(SECOND_US))
}
