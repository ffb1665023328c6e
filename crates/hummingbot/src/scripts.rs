//! Scripts and their saved configs, whose names are shared by all accounts like those of controllers.

use crate::{Config, ConfigName, Fault, Hummingbot};

impl Hummingbot {
    /// The scripts that the server has.
    pub async fn scripts(&self) -> Result<Vec<String>, Fault> {
        self.get(&["scripts", ""], "list the scripts").unjudged().answer().await
    }

    /// Every saved config, of every tenant.
    pub async fn script_configs(&self) -> Result<Vec<Config>, Fault> {
        self.get(&["scripts", "configs", ""], "list the script configs").unjudged().answer().await
    }

    /// One saved config.
    pub async fn script_config(&self, config: &ConfigName) -> Result<Config, Fault> {
        let doing = format!("read script config {config}");
        self.get(&["scripts", "configs", config.as_str()], doing).unjudged().answer().await
    }

    /// Saves a config, over whatever has that name.
    pub async fn put_script_config(&self, name: &ConfigName, config: &Config) -> Result<(), Fault> {
        let doing = format!("save script config {name}");
        self.post(&["scripts", "configs", name.as_str()], doing).body(config).done().await
    }

    /// Removes a saved config.
    pub async fn delete_script_config(&self, config: &ConfigName) -> Result<(), Fault> {
        let doing = format!("delete script config {config}");
        self.delete(&["scripts", "configs", config.as_str()], doing).done().await
    }
}
