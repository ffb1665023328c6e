//! `user add`: people who may log in. The password comes from a prompt or standard input, never from an argument.

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use access::{AddUser, Email};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use events::{Slug, Time, desk::Role};
use secrecy::{ExposeSecret, SecretString};
use store::{Cause, Login};

use crate::{client, settings::Platform};

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a person; reads the password from a prompt, or from standard input
    Add(Add),
}

#[derive(Debug, Args)]
pub struct Add {
    #[arg(long)]
    email: Email,
    #[arg(long, value_enum)]
    role: RoleName,
    /// Whose a user of role `client` is
    #[arg(long)]
    client: Option<Slug>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Admin,
    Client,
}

impl UserCommand {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        let Self::Add(add) = self;
        let streams = platform.streams();
        let client = match &add.client {
            Some(slug) => Some(client::find(&streams, slug).await?),
            None => None,
        };
        let role = match add.role {
            RoleName::Admin => Role::Admin,
            RoleName::Client => Role::Client,
        };
        let user = AddUser { email: add.email, password: ask_password()?, role, client };
        let auth = platform.pool(Login::Auth);
        let id = access::add(&auth, &streams, user, Time::now(), &Cause::system("cli")).await?;
        println!("{id}");
        Ok(ExitCode::SUCCESS)
    }
}

fn ask_password() -> anyhow::Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        let mut text = String::new();
        std::io::stdin().take(4_096).read_to_string(&mut text).context("could not read the password")?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        ensure!(!line.contains('\n'), "the password is one line of standard input");
        return Ok(line.strip_suffix('\r').unwrap_or(line).into());
    }
    let first = SecretString::from(rpassword::prompt_password("password: ")?);
    let again = SecretString::from(rpassword::prompt_password("once more: ")?);
    if first.expose_secret() != again.expose_secret() {
        bail!("the two passwords differ: nobody was added");
    }
    Ok(first)
}
