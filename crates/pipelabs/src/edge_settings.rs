//! What the surroundings may say of the edge. All of it may be left out: then it is reached directly, under any name, and
//! counts by itself.

use std::{str::FromStr, time::Duration};

use api::{CONNECTIONS_MAX, PublicUrl};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::{ExposeSecret, SecretString};

/// Settings of role api.
#[derive(Debug, Clone, Args)]
pub struct EdgeSettings {
    /// How people reach role api: https://desk.example; with it, requests for other hosts are refused
    #[arg(long, env = "PUBLIC_URL")]
    public_url: Option<String>,
    /// Further names that role api is reached under, comma separated; this machine's own always are
    #[arg(long, env = "ALLOWED_HOSTS", default_value = "")]
    allowed_hosts: String,
    /// Web pages elsewhere that may ask role api in their visitors' names: https://desk.example, comma separated
    #[arg(long, env = "CORS_ORIGINS", default_value = "")]
    cors_origins: String,
    /// Proxies that are believed what they say of where a request comes from: addresses and networks, comma separated
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "")]
    trusted_proxies: String,
    /// Where processes of role api count requests together: redis://host:port; each by itself, if left out
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<SecretString>,
    /// How often each may ask, in hundredths of what is usual
    #[arg(long, env = "RATE_LIMITS_PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate_limits_percent: u32,
    /// Roles whose people may do nothing dangerous without a second factor, comma separated; or none
    #[arg(long, env = "SECOND_FACTOR_FOR", default_value = "admin")]
    second_factor_for: String,
    /// For how many seconds a process that is told to end with SIGTERM goes on, so that balancers notice
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=300))]
    drain_seconds: u64,
}

/// Files that a process of ours has open beside its connections: those of pools, logs and whatever else.
const FILES_BESIDE: u64 = 512;

impl EdgeSettings {
    /// The edge that they describe, or all that is wrong with them.
    pub fn read(&self) -> Result<api::Settings, Vec<String>> {
        let mut problems = Vec::new();
        let public_url = match self.public_url.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => parsed::<PublicUrl>("PUBLIC_URL", text, &mut problems),
        };
        let hosts = parsed("ALLOWED_HOSTS", &self.allowed_hosts, &mut problems);
        let origins = parsed("CORS_ORIGINS", &self.cors_origins, &mut problems);
        let proxies = parsed("TRUSTED_PROXIES", &self.trusted_proxies, &mut problems);
        let redis = match self.redis_url.as_ref().map(ExposeSecret::expose_secret) {
            None | Some("") => None,
            Some(text) => parsed("REDIS_URL", text, &mut problems),
        };
        let second_factor_for = parsed("SECOND_FACTOR_FOR", &self.second_factor_for, &mut problems);
        match (hosts, origins, proxies, second_factor_for) {
            (Some(hosts), Some(origins), Some(proxies), Some(second_factor_for)) if problems.is_empty() => {
                Ok(api::Settings {
                    public_url,
                    hosts,
                    origins,
                    proxies,
                    redis,
                    limits_percent: self.rate_limits_percent,
                    connections_max: connections_max(),
                    second_factor_for,
                })
            }
            _ => Err(problems),
        }
    }

    /// How long a process goes on that is told to end.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

fn parsed<T: FromStr<Err = String>>(name: &str, text: &str, problems: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|problem| problems.push(format!("{name} will not do: {problem}"))).ok()
}

/// As many as there are files for: many systems give a process 1,024 of them unless it asks for more.
fn connections_max() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused, it is as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = files.saturating_sub(FILES_BESIDE).max(files / 2);
    usize::try_from(left).unwrap_or(usize::MAX).min(CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EdgeSettings {
        EdgeSettings {
            public_url: None,
            allowed_hosts: String::new(),
            cors_origins: String::new(),
            trusted_proxies: String::new(),
            redis_url: None,
            rate_limits_percent: 100,
            second_factor_for: "admin".into(),
            drain_seconds: 3,
        }
    }

    #[test]
    fn everything_may_be_left_out_or_empty() {
        let empty = EdgeSettings { public_url: Some(" ".into()), redis_url: Some("".into()), ..settings() };
        for settings in [settings(), empty] {
            let edge = settings.read().unwrap();
            assert!(edge.public_url.is_none() && edge.redis.is_none() && edge.connections_max > 0);
        }
    }

    #[test]
    fn every_problem_is_told_at_once_and_no_secret_is_repeated() {
        let bad = EdgeSettings {
            public_url: Some("desk.example".into()),
            allowed_hosts: "*".into(),
            cors_origins: "https://a/b".into(),
            trusted_proxies: "10.0.0.0/40".into(),
            redis_url: Some("rediss://u:hunter22@[bad".into()),
            second_factor_for: "admins".into(),
            ..settings()
        };
        let told = bad.read().unwrap_err().join("\n");
        for name in ["PUBLIC_URL", "ALLOWED_HOSTS", "CORS_ORIGINS", "TRUSTED_PROXIES", "REDIS_URL", "SECOND_FACTOR_FOR"]
        {
            assert_eq!(told.matches(&format!("{name} will not do")).count(), 1, "{told}");
        }
        assert!(!told.contains("hunter22"), "{told}");
    }
}
