//! `user`: people who may log in, from the machine itself: the first admin, and whoever has locked everybody out. A
//! password comes from a prompt or standard input, never from an argument.

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use access::{AddUser, Email, Register, SecondFactors};
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
    /// Take away the second factor of somebody who has lost it, where no other admin can
    DropSecondFactor {
        #[arg(long)]
        email: Email,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    #[arg(long)]
    email: Email,
    #[arg(long, value_enum)]
    role: RoleName,
    /// Whose a client's user is
    #[arg(long)]
    client: Option<Slug>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum RoleName {
    /// Sees and does everything, and decides who else may
    Admin,
    /// Works for all clients; decides about no user
    Operator,
    /// Reads the clients that an admin grants
    Auditor,
    /// Acts for its client and decides about its users
    #[value(alias = "client")]
    ClientOwner,
    /// Sees what its client has
    ClientViewer,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Operator => Self::Operator,
            RoleName::Auditor => Self::Auditor,
            RoleName::ClientOwner => Self::ClientOwner,
            RoleName::ClientViewer => Self::ClientViewer,
        }
    }
}

impl UserCommand {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        let streams = platform.streams();
        let register = Register::new(platform.pool(Login::Auth), streams.clone());
        match self {
            Self::Add(add) => {
                let client = match &add.client {
                    Some(slug) => Some(client::find(&streams, slug).await?),
                    None => None,
                };
                let user = AddUser { email: add.email, password: ask_password()?, role: add.role.into(), client };
                let id = access::add(&register, user, Time::now(), &Cause::system("cli")).await?;
                println!("{id}");
            }
            Self::DropSecondFactor { email } => {
                let user = access::id_of(&register, &email).await?.context("nobody logs in with this address")?;
                let factors = SecondFactors::new(register, &platform.secret);
                factors.remove(user, None, Time::now()).await?;
                println!("{user} logs in with the password alone again; its sessions have ended");
            }
        }
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
