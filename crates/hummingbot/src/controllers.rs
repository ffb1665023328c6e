//! Controllers' configs, saved on the server and live in a bot. Their names are shared by all accounts and saving one
//! writes over another without a word: each begins with its client's id.

use serde_json::{Map, Value};

use crate::{BotName, ConfigName, Fault, Hummingbot};

/// A config as Hummingbot's own JSON. Numbers keep their digits.
pub type Config = Map<String, Value>;

impl Hummingbot {
    /// Asks whether a controller would take a config; a refusal says what is wrong with it. The config itself names its
    /// controller.
    pub async fn validate_controller_config(&self, config: &Config) -> Result<(), Fault> {
        let (kind, name) = (word(config, "controller_type"), word(config, "controller_name"));
        let doing = format!("validate a config of controller {kind}/{name}");
        let nameless = kind.is_empty() || name.is_empty();
        let refusal = nameless.then(|| "it lacks controller_type or controller_name".to_owned());
        let call = self.ask(&["controllers", kind, name, "config", "validate"], doing);
        call.refuse(refusal).body(config).done().await
    }

    /// Every saved config, of every tenant.
    pub async fn controller_configs(&self) -> Result<Vec<Config>, Fault> {
        self.get(&["controllers", "configs", ""], "list the controller configs").unjudged().answer().await
    }

    /// One saved config.
    pub async fn controller_config(&self, config: &ConfigName) -> Result<Config, Fault> {
        let doing = format!("read controller config {config}");
        self.get(&["controllers", "configs", config.as_str()], doing).unjudged().answer().await
    }

    /// Saves a config, over whatever has that name.
    pub async fn put_controller_config(&self, name: &ConfigName, config: &Config) -> Result<(), Fault> {
        let doing = format!("save controller config {name}");
        self.post(&["controllers", "configs", name.as_str()], doing).body(config).done().await
    }

    /// Removes a saved config. A bot that runs goes on with its own copy.
    pub async fn delete_controller_config(&self, config: &ConfigName) -> Result<(), Fault> {
        let doing = format!("delete controller config {config}");
        self.delete(&["controllers", "configs", config.as_str()], doing).done().await
    }

    /// The configs that a bot runs with.
    pub async fn bot_configs(&self, bot: &BotName) -> Result<Vec<Config>, Fault> {
        let doing = format!("read the configs of bot {bot}");
        self.get(&["controllers", "bots", bot.as_str(), "configs"], doing).unjudged().answer().await
    }

    /// Changes a config in a running bot, which takes it up within seconds.
    pub async fn update_bot_config(&self, bot: &BotName, name: &ConfigName, config: &Config) -> Result<(), Fault> {
        let doing = format!("update config {name} of bot {bot}");
        let path = ["controllers", "bots", bot.as_str(), name.as_str(), "config"];
        self.post(&path, doing).body(config).done().await
    }
}

fn word<'a>(config: &'a Config, name: &str) -> &'a str {
    config.get(name).and_then(Value::as_str).unwrap_or_default()
}
