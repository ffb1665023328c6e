//! Controllers and scripts, and their configurations: global names, overwritten without a word.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Map, Value, json};

use crate::{
    bot::maker::exact,
    input::{Answer, Form, Refused, answer, ok},
    server::Worlds,
};

/// By name, whosever they are.
#[derive(Debug, Default)]
pub(crate) struct Configs {
    pub controllers: BTreeMap<String, Value>,
    pub scripts: BTreeMap<String, Value>,
}

const MARKET_MAKING: [&str; 2] = ["pmm_simple", "pmm_dynamic"];
const GENERIC: [&str; 2] = ["pmm_mister", "volume_taker"];
const SCRIPTS: [&str; 2] = ["v2_with_controllers", "volume_taker"];

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/controllers/", get(list))
        .route("/controllers/configs/", get(configs))
        .route("/controllers/configs/{name}", get(config).post(save).delete(delete))
        .route("/controllers/bots/{bot}/configs", get(live))
        .route("/controllers/bots/{bot}/{controller}/config", post(live_save))
        .route("/controllers/{kind}/{name}", get(source))
        .route("/controllers/{kind}/{name}/config/template", get(template))
        .route("/controllers/{kind}/{name}/config/validate", post(validate))
        .route("/scripts/", get(scripts))
        .route("/scripts/configs/", get(script_configs))
        .route("/scripts/configs/{name}", get(script_config).post(script_save).delete(script_delete))
        .route("/scripts/{name}", get(script))
        .route("/scripts/{name}/config/template", get(script_template))
}

fn saved(name: &str) -> Answer {
    Ok(answer(StatusCode::CREATED, &json!({"message": format!("Configuration '{name}' saved successfully")})))
}

fn no_config(name: &str) -> Refused {
    Refused::missing(format!("Configuration '{name}' not found"))
}

async fn list() -> Answer {
    ok(&json!({"directional_trading": [], "generic": GENERIC, "market_making": MARKET_MAKING}))
}

async fn configs(State(worlds): State<Worlds>) -> Answer {
    let all: Vec<Value> = worlds.lock().configs.controllers.values().cloned().collect();
    ok(&Value::Array(all))
}

async fn config(State(worlds): State<Worlds>, Path(name): Path<String>) -> Answer {
    let found = worlds.lock().configs.controllers.get(&name).cloned();
    ok(&found.ok_or_else(|| no_config(&name))?)
}

async fn save(State(worlds): State<Worlds>, Path(name): Path<String>, body: Bytes) -> Answer {
    let config = Value::Object(Form::body(&body)?.fields().clone());
    worlds.lock().configs.controllers.insert(name.clone(), config);
    saved(&name)
}

async fn delete(State(worlds): State<Worlds>, Path(name): Path<String>) -> Answer {
    worlds.lock().configs.controllers.remove(&name).ok_or_else(|| no_config(&name))?;
    ok(&json!({"message": format!("Configuration '{name}' deleted successfully")}))
}

fn no_bot(bot: &str) -> Refused {
    Refused::missing(format!("Bot '{bot}' not found"))
}

async fn live(State(worlds): State<Worlds>, Path(bot): Path<String>) -> Answer {
    let world = worlds.lock();
    let found = world.bots.get(&bot).filter(|bot| !bot.archived).ok_or_else(|| no_bot(&bot))?;
    let configs = found.controllers.iter().map(|controller| {
        let mut config = controller.config.clone();
        config["_config_name"] = json!(controller.id);
        config
    });
    ok(&configs.collect())
}

async fn live_save(State(worlds): State<Worlds>, Path((bot, name)): Path<(String, String)>, body: Bytes) -> Answer {
    let fields = Form::body(&body)?.fields().clone();
    let mut world = worlds.lock();
    let found = world.bots.get_mut(&bot).filter(|bot| !bot.archived).ok_or_else(|| no_bot(&bot))?;
    let controller = found.controllers.iter_mut().find(|controller| controller.id == name);
    let controller = controller
        .ok_or_else(|| Refused::missing(format!("Controller configuration '{name}' not found for bot '{bot}'")))?;
    if let Some(config) = controller.config.as_object_mut() {
        config.extend(fields);
    }
    ok(&json!({"message": format!("Controller configuration for bot '{bot}' updated successfully")}))
}

async fn source(Path((kind, name)): Path<(String, String)>) -> Answer {
    let known = match kind.as_str() {
        "market_making" => MARKET_MAKING.contains(&name.as_str()),
        "generic" => GENERIC.contains(&name.as_str()),
        _ => false,
    };
    if !known {
        return Err(Refused::missing(format!("Controller '{name}' not found in '{kind}'")));
    }
    ok(&json!({"name": name, "type": kind, "content": format!("# {name}: played by the paper server\n")}))
}

fn field(default: &Value, kind: &str, required: bool) -> Value {
    json!({"default": default, "type": kind, "required": required})
}

fn maker_template(kind: &str, name: &str) -> Value {
    json!({
        "id": field(&Value::Null, "str", true),
        "controller_name": field(&json!(name), "str", false),
        "controller_type": field(&json!(kind), "str", false),
        "connector_name": field(&json!("binance"), "str", false),
        "trading_pair": field(&json!("BTC-USDT"), "str", false),
        "total_amount_quote": field(&json!("100"), "Decimal", false),
        "buy_spreads": field(&json!([0.01, 0.02]), "List[float]", false),
        "sell_spreads": field(&json!([0.01, 0.02]), "List[float]", false),
        "buy_amounts_pct": field(&Value::Null, "List[Decimal]", false),
        "sell_amounts_pct": field(&Value::Null, "List[Decimal]", false),
        "executor_refresh_time": field(&json!(300), "int", false),
        "cooldown_time": field(&json!(15), "int", false),
        "leverage": field(&json!(20), "int", false),
        "position_mode": field(&json!("HEDGE"), "PositionMode", false),
        "stop_loss": field(&json!("0.03"), "Decimal", false),
        "take_profit": field(&json!("0.02"), "Decimal", false),
        "time_limit": field(&json!(2700), "int", false),
        "take_profit_order_type": field(&json!(2), "OrderType", false),
        "trailing_stop": field(&Value::Null, "TrailingStop", false),
        "manual_kill_switch": field(&json!(false), "bool", false),
    })
}

fn taker_template() -> Value {
    json!({
        "connector_name": field(&json!("binance"), "str", false),
        "trading_pair": field(&json!("BTC-USDT"), "str", false),
        "max_order_amount": field(&Value::Null, "Decimal", true),
        "order_interval": field(&json!(10), "int", false),
        "side": field(&Value::Null, "str", false),
    })
}

async fn template(Path((kind, name)): Path<(String, String)>) -> Answer {
    if name.contains("volume") || name.contains("taker") {
        return ok(&taker_template());
    }
    ok(&maker_template(&kind, &name))
}

async fn validate(Path((_, _)): Path<(String, String)>, body: Bytes) -> Answer {
    let form = Form::body(&body)?;
    match wrong_field(form.fields()) {
        Some((name, value)) => Err(Refused::bad(not_decimal(&name, &value))),
        None => ok(&json!({"message": "Configuration is valid"})),
    }
}

fn wrong_field(fields: &Map<String, Value>) -> Option<(String, Value)> {
    let decimals = ["total_amount_quote", "max_order_amount", "stop_loss", "take_profit"];
    let mut given = decimals.iter().filter_map(|name| fields.get(*name).map(|value| (*name, value)));
    let wrong = given.find(|(_, value)| !value.is_null() && exact(value).is_none());
    wrong.map(|(name, value)| (name.to_owned(), value.clone()))
}

/// Pydantic's words.
fn not_decimal(name: &str, value: &Value) -> String {
    let shown = value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"));
    format!(
        "1 validation error for MarketMakingControllerConfigBase\n{name}\n  Input should be a valid decimal \
         [type=decimal_parsing, input_value={shown}, input_type=str]\n    For further information visit \
         https://errors.pydantic.dev/2.14/v/decimal_parsing"
    )
}

async fn scripts() -> Answer {
    ok(&json!(SCRIPTS))
}

async fn script_configs(State(worlds): State<Worlds>) -> Answer {
    let all: Vec<Value> = worlds.lock().configs.scripts.values().cloned().collect();
    ok(&Value::Array(all))
}

async fn script_config(State(worlds): State<Worlds>, Path(name): Path<String>) -> Answer {
    let found = worlds.lock().configs.scripts.get(&name).cloned();
    ok(&found.ok_or_else(|| no_config(&name))?)
}

async fn script_save(State(worlds): State<Worlds>, Path(name): Path<String>, body: Bytes) -> Answer {
    let config = Value::Object(Form::body(&body)?.fields().clone());
    worlds.lock().configs.scripts.insert(name.clone(), config);
    saved(&name)
}

async fn script_delete(State(worlds): State<Worlds>, Path(name): Path<String>) -> Answer {
    worlds.lock().configs.scripts.remove(&name).ok_or_else(|| no_config(&name))?;
    ok(&json!({"message": format!("Configuration '{name}' deleted successfully")}))
}

fn known_script(name: &str) -> Result<(), Refused> {
    let known = SCRIPTS.contains(&name);
    if known { Ok(()) } else { Err(Refused::missing(format!("Script '{name}' not found"))) }
}

async fn script(Path(name): Path<String>) -> Answer {
    known_script(&name)?;
    ok(&json!({"name": name, "content": format!("# {name}: played by the paper server\n")}))
}

async fn script_template(Path(name): Path<String>) -> Answer {
    known_script(&name)?;
    ok(&taker_template())
}
