//! Bot orchestration: deploys, commands, what the server believes of each bot, and the list of all runs.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    routing::{get, post},
};
use events::Time;
use serde_json::{Value, json};

use crate::{
    bot::words,
    floats,
    input::{Answer, Form, ok},
    server::Worlds,
    world::World,
};

/// What a deploy asks for.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub instance_name: String,
    pub account: String,
    pub configs: Vec<String>,
    pub is_script: bool,
    pub strategy: &'static str,
    pub headless: bool,
    pub image: String,
    max_global: Value,
    max_controller: Value,
}

/// A row of the server's list of runs.
#[derive(Debug)]
pub(crate) struct Run {
    id: usize,
    pub bot: String,
    deployed_at: Time,
    pub stopped_at: Option<Time>,
    strategy_type: &'static str,
    strategy_name: &'static str,
    account: String,
    image: String,
    pub deployment_status: &'static str,
    pub run_status: &'static str,
    deployment_config: String,
    pub final_status: Option<String>,
    pub error_message: Option<String>,
}

/// How long a command's way to a bot and back takes, in which another may be on its way.
const ROUND_TRIP: Duration = Duration::from_millis(20);

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/bot-orchestration/status", get(all_statuses))
        .route("/bot-orchestration/mqtt", get(mqtt))
        .route("/bot-orchestration/controller-performance-latest", get(performance_latest))
        .route("/bot-orchestration/controller-performance-history", get(performance_history))
        .route("/bot-orchestration/bot-runs", get(runs))
        .route("/bot-orchestration/{bot}/status", get(status))
        .route("/bot-orchestration/{bot}/history", get(history))
        .route("/bot-orchestration/start-bot", post(start))
        .route("/bot-orchestration/stop-bot", post(stop))
        .route("/bot-orchestration/stop-and-archive-bot/{bot}", post(stop_and_archive))
        .route("/bot-orchestration/deploy-v2-controllers", post(deploy_controllers))
        .route("/bot-orchestration/deploy-v2-script", post(deploy_script))
        .route("/docker/active-containers", get(containers))
}

impl Run {
    pub(crate) fn new(id: usize, bot: &str, deployment: &Deployment, at: Time) -> Self {
        let config = json!({
            "instance_name": bot,
            "credentials_profile": deployment.account,
            "controllers_config": deployment.configs,
            "max_global_drawdown_quote": deployment.max_global,
            "max_controller_drawdown_quote": deployment.max_controller,
            "image": deployment.image,
            "script_config": format!("{bot}.yml"),
            "headless": deployment.headless,
        });
        Self {
            id,
            bot: bot.to_owned(),
            deployed_at: at,
            stopped_at: None,
            strategy_type: if deployment.is_script { "script" } else { "controller" },
            strategy_name: deployment.strategy,
            account: deployment.account.clone(),
            image: deployment.image.clone(),
            deployment_status: "DEPLOYED",
            run_status: "CREATED",
            deployment_config: floats::dumps(&config),
            final_status: None,
            error_message: None,
        }
    }

    fn told(&self) -> Value {
        json!({
            "id": self.id,
            "bot_name": self.bot,
            "instance_name": self.bot,
            "deployed_at": floats::iso(self.deployed_at),
            "stopped_at": self.stopped_at.map(floats::iso),
            "strategy_type": self.strategy_type,
            "strategy_name": self.strategy_name,
            "config_name": format!("{}.yml", self.bot),
            "account_name": self.account,
            "image_version": self.image,
            "deployment_status": self.deployment_status,
            "run_status": self.run_status,
            "deployment_config": self.deployment_config,
            "final_status": self.final_status,
            "error_message": self.error_message,
        })
    }
}

impl World {
    /// Bots that the server hears of: those whose process is there, and those of whose death it knows nothing.
    fn heard_of(&self) -> Vec<String> {
        self.bots.values().filter(|bot| !bot.archived).map(|bot| bot.name.to_string()).collect()
    }
}

async fn all_statuses(State(worlds): State<Worlds>) -> Answer {
    let world = worlds.lock();
    let told = world.heard_of().into_iter().map(|name| {
        let mut status = world.bot_status(&name);
        status["source"] = json!("mqtt");
        (name, status)
    });
    let data = Value::Object(told.collect());
    ok(&json!({"status": "success", "data": data}))
}

async fn mqtt(State(worlds): State<Worlds>) -> Answer {
    let up = worlds.broker.is_up();
    let bots = worlds.lock().heard_of();
    ok(&json!({
        "status": "success",
        "data": {
            "mqtt_connected": up,
            "discovered_bots": bots,
            "active_bots": bots,
            "broker_host": worlds.broker.addr.ip().to_string(),
            "broker_port": worlds.broker.addr.port(),
            "broker_username": "admin",
            "client_state": if up { "connected" } else { "disconnected" },
        },
    }))
}

fn performance_rows(world: &World, bot: Option<&str>) -> Vec<Value> {
    let wanted = world.heard_of().into_iter().filter(|name| bot.is_none_or(|bot| bot == name));
    let rows = wanted.flat_map(|name| {
        let figures = world.figures(&name, floats::number);
        let controllers = figures.as_object().cloned().unwrap_or_default();
        controllers.into_iter().map(move |(id, told)| (name.clone(), id, told)).collect::<Vec<_>>()
    });
    rows.map(|(name, id, told)| {
        json!({
            "timestamp": floats::iso(world.now),
            "bot_name": name,
            "controller_id": id,
            "status": "running",
            "performance": told["performance"],
            "custom_info": {},
        })
    })
    .collect()
}

async fn performance_latest(State(worlds): State<Worlds>, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let bot = Form::query(query).text_if("bot_name");
    ok(&json!({"status": "success", "data": performance_rows(&worlds.lock(), bot.as_deref())}))
}

async fn performance_history(State(worlds): State<Worlds>, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let mut form = Form::query(query);
    let (bot, limit) = (form.text_if("bot_name"), form.limit());
    let interval = form.text_or("interval", "5m");
    form.done()?;
    let mut rows = performance_rows(&worlds.lock(), bot.as_deref());
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row["timestamp"].clone());
    let pagination = json!({"next_cursor": next, "has_more": has_more, "limit": limit, "interval": interval});
    ok(&json!({"status": "success", "data": rows, "pagination": pagination}))
}

async fn runs(State(worlds): State<Worlds>, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let mut form = Form::query(query);
    let (bot, account) = (form.text_if("bot_name"), form.text_if("account_name"));
    let (run_status, deployment_status) = (form.text_if("run_status"), form.text_if("deployment_status"));
    let (limit, offset) = (form.limit(), form.whole("offset").unwrap_or_default());
    form.done()?;
    let world = worlds.lock();
    let is = |filter: &Option<String>, value: &str| filter.as_ref().is_none_or(|wanted| wanted == value);
    let wanted = world.runs.iter().rev().filter(|run| {
        is(&bot, &run.bot)
            && is(&account, &run.account)
            && is(&run_status, run.run_status)
            && is(&deployment_status, run.deployment_status)
    });
    let page = wanted.skip(usize::try_from(offset).unwrap_or_default()).take(limit);
    let rows: Vec<Value> = page.map(Run::told).collect();
    ok(&json!({"status": "success", "total": rows.len(), "data": rows, "limit": limit, "offset": offset}))
}

fn not_found(bot: &str) -> Value {
    json!({"status": "not_found", "message": format!("Bot {bot} not found")})
}

async fn status(State(worlds): State<Worlds>, Path(bot): Path<String>) -> Answer {
    let world = worlds.lock();
    let known = world.bots.get(&bot).is_some_and(|bot| !bot.archived);
    let data = if known { world.bot_status(&bot) } else { not_found(&bot) };
    ok(&json!({"status": "success", "data": data}))
}

async fn history(
    State(worlds): State<Worlds>,
    Path(bot): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let mut form = Form::query(query);
    let days = form.whole("days").unwrap_or_default();
    form.done()?;
    let failed = |message: String| json!({"status": "success", "response": {"success": false, "message": message}});
    // The reply topic is the millisecond of the call: a second call of the same one hears the first one's answer.
    let millisecond = Time::now().millis();
    let answering = {
        let mut world = worlds.lock();
        let mixed_up = world.dice.faults.wrong_bot_history;
        let first = world.history_calls.entry(millisecond).or_insert_with(|| bot.clone()).clone();
        if mixed_up { first } else { bot.clone() }
    };
    tokio::time::sleep(ROUND_TRIP).await;
    let mut world = worlds.lock();
    world.history_calls.remove(&millisecond);
    match world.command(&answering, "history", &json!({"days": days})) {
        Some(data) => {
            let data = words::reply(&data, world.now);
            ok(&json!({"status": "success", "response": {"success": true, "data": data}}))
        }
        None => ok(&failed(format!("Bot {bot} not found or did not answer"))),
    }
}

async fn start(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let bot = form.text("bot_name");
    form.done()?;
    let started = worlds.lock().command(&bot, "start", &json!({}));
    let response = match started {
        Some(data) if data["status"] == 200 => json!({"success": true}),
        Some(data) => json!({"success": false, "message": data["msg"]}),
        None => json!({"success": false, "message": format!("Bot {bot} not found")}),
    };
    ok(&json!({"status": "success", "response": response}))
}

async fn stop(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (bot, leave_orders) = (form.text("bot_name"), form.flag("skip_order_cancellation", false));
    form.done()?;
    let response = if worlds.lock().command_stop(&bot, leave_orders) {
        json!({"success": true})
    } else {
        json!({"success": false, "message": format!("Bot {bot} not found")})
    };
    ok(&json!({"status": "success", "response": response}))
}

async fn stop_and_archive(
    State(worlds): State<Worlds>,
    Path(bot): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let mut form = Form::query(query);
    let leave_orders = form.flag("skip_order_cancellation", true);
    form.done()?;
    let mut world = worlds.lock();
    if world.bots.get(&bot).is_none_or(|bot| bot.archived) {
        let known = world.heard_of();
        return ok(&json!({
            "status": "error",
            "message": format!("Bot '{bot}' not found in active bots. Active bots: {known:?}. Cannot perform graceful shutdown."),
        }));
    }
    world.command_archive(&bot, leave_orders);
    ok(&json!({
        "status": "success",
        "message": format!("Stop and archive process started for bot {bot}"),
        "details": {
            "input_name": bot,
            "actual_bot_name": bot,
            "container_name": bot,
            "process": "The bot will be gracefully stopped, archived, and removed in the background. \
                        This process typically takes 20-30 seconds.",
        },
    }))
}

const IMAGE: &str = "hummingbot/hummingbot:latest";

async fn deploy_controllers(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let drawdown = |value: Option<events::Decimal>| value.map_or(Value::Null, floats::number);
    let deployment = Deployment {
        instance_name: form.text("instance_name"),
        account: form.text("credentials_profile"),
        configs: form.texts_required("controllers_config"),
        is_script: false,
        strategy: "v2_with_controllers",
        max_global: drawdown(form.exact("max_global_drawdown_quote")),
        max_controller: drawdown(form.exact("max_controller_drawdown_quote")),
        image: form.text_or("image", IMAGE),
        headless: form.flag("headless", false),
    };
    form.done()?;
    let deployed = worlds.lock().deploy(&deployment);
    ok(&match deployed {
        Ok(name) => json!({
            "success": true,
            "message": format!("Instance {name} created successfully."),
            "script_config_generated": format!("{name}.yml"),
            "controllers_deployed": deployment.configs,
            "unique_instance_name": name,
        }),
        Err(message) => json!({"success": false, "message": message}),
    })
}

async fn deploy_script(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (instance_name, account) = (form.text("instance_name"), form.text("credentials_profile"));
    form.text_if("script");
    let config = form.text_if("script_config");
    let (image, headless) = (form.text_or("image", IMAGE), form.flag("headless", false));
    form.done()?;
    let configs = config.map(|name| name.trim_end_matches(".yml").to_owned()).into_iter().collect();
    let none = Value::Null;
    let (is_script, strategy) = (true, "volume_taker");
    let (max_global, max_controller) = (none.clone(), none);
    let deployment = Deployment {
        instance_name,
        account,
        configs,
        is_script,
        strategy,
        headless,
        image,
        max_global,
        max_controller,
    };
    let deployed = worlds.lock().deploy(&deployment);
    ok(&match deployed {
        Ok(name) => json!({
            "success": true,
            "message": format!("Instance {name} created successfully."),
            "unique_instance_name": name,
        }),
        Err(message) => json!({"success": false, "message": message}),
    })
}

async fn containers(State(worlds): State<Worlds>, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let filter = Form::query(query).text_if("name_filter").unwrap_or_default();
    let world = worlds.lock();
    let alive = world.bots.values().filter(|bot| bot.life != crate::bot::Life::Crashed && !bot.archived);
    let rows: Vec<Value> = alive
        .filter(|bot| bot.name.contains(&filter))
        .map(|bot| json!({"id": bot.mark(), "name": *bot.name, "status": "running", "image": IMAGE}))
        .collect();
    ok(&Value::Array(rows))
}
