use clap::Args;
#[derive(Debug, Args)]
pub struct Demo {}
impl Demo { pub async fn run(self) -> anyhow::Result<std::process::ExitCode> { Ok(std::process::ExitCode::SUCCESS) } }
