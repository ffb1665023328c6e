//! `demo`: a desk to watch. Market makers of two clients trade through a Hummingbot on paper, whose exchanges play a real
//! tape; every part of the platform runs in this process, people can log in, and in the end all totals are checked.

mod checks;
mod desk;
mod history;
mod leaflet;
mod ledger;
mod makers;
mod outside;
mod tape;
mod visitor;

use std::{
    convert::Infallible, future::pending, net::TcpListener, path::PathBuf, pin::pin, process::ExitCode, time::Duration,
};

use anyhow::bail;
use clap::{Args, value_parser};
use events::Time;
use tokio::time::{Instant, interval_at, sleep};

use self::{desk::Desk, visitor::Visitor};
use crate::{report::print, serve, stack::Stack};

/// The first port that is tried, and how many after it.
const PORTS: std::ops::Range<u16> = 8080..8180;
/// How often it is told how things stand.
const TELL_EVERY: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct Demo {
    /// Where the private Postgres and NATS have their files
    #[arg(long, default_value = ".pipelabs")]
    dir: PathBuf,
    /// The port of the API, 0 for any that is free; 8080 or the next free one, if left out
    #[arg(long)]
    port: Option<u16>,
    /// So many times as fast as the market was, whose tape has eleven minutes and then begins again
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=100))]
    speed: u32,
    /// Trade for so long, then stop the bots, check every total and end: 30s, 2m, 45
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
}

/// A number of seconds, or of minutes with an `m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit_s) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse::<u32>().ok().filter(|number| *number > 0);
    let seconds = seconds.ok_or_else(|| "say it as 30s, 2m or 45".to_owned())?;
    Ok(Duration::from_secs(u64::from(seconds) * unit_s))
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = Stack::at(&self.dir);
        let ran_before = stack.status().both_run();
        let outcome = self.on(&stack).await;
        // What was running before goes on; what the demo started does not outlive it.
        if !ran_before {
            tokio::task::spawn_blocking(move || stack.down(&mut |text| step(text))).await??;
        }
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// From opening to closing, on servers that are stopped by the caller.
    async fn on(&self, stack: &Stack) -> anyhow::Result<()> {
        let mut told = pin!(serve::until_told_to_stop());
        let mut desk = tokio::select! {
            desk = Desk::open(stack, self.port(), self.speed) => desk?,
            told = &mut told => return told.and_then(|_| bail!("stopped by you before it served")),
        };
        let outcome = tokio::select! {
            outcome = self.show(&mut desk) => outcome,
            told = &mut told => told.and_then(|_| print("\nstopping: what is under way is finished")),
        };
        let closed = desk.close().await;
        outcome.and(closed)
    }

    fn port(&self) -> u16 {
        let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        self.port.unwrap_or_else(|| PORTS.into_iter().find(is_free).unwrap_or(0))
    }

    async fn show(&self, desk: &mut Desk) -> anyhow::Result<()> {
        checks::history(desk).await?;
        print("\n4. they give keys, and have market makers deployed")?;
        for visitor in &mut desk.visitors {
            makers::connect(visitor).await?;
            makers::deploy(visitor).await?;
        }
        desk.explain()?;
        let until = self.time.map_or("until you press Ctrl-C".to_owned(), |time| format!("for {} s", time.as_secs()));
        print(&format!("\n5. the market goes on at {}, {} times as fast as it was, {until}", desk.url, self.speed))?;
        tokio::select! {
            () = over(self.time) => {}
            never = tell(&mut desk.visitors) => match never? {},
        }
        print("\n6. the time is over: the bots are stopped and put away, and every total is checked")?;
        for visitor in &mut desk.visitors {
            let stopped = makers::stop(visitor, &desk.streams).await?;
            step(&format!("{}: {stopped} bots are stopped and archived", visitor.slug));
        }
        checks::all(desk).await
    }
}

/// Resolves when the time is over; without one, never.
async fn over(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

/// What is done, below what it is part of.
fn step(text: &str) {
    // Standard output may be gone; the servers have to be stopped all the same.
    let _ = print(&format!("  {text}"));
}

/// How things stand, again and again, as the API tells it to the clients.
async fn tell(visitors: &mut [Visitor]) -> anyhow::Result<Infallible> {
    let mut now_and_then = interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
    loop {
        now_and_then.tick().await;
        let (mut fills, mut lag, mut totals) = (0, 0, String::new());
        for visitor in visitors.iter_mut() {
            let told = match visitor.pnl("").await {
                Ok(pnl) => {
                    fills += pnl.fills();
                    lag += pnl.lag;
                    let total = pnl.total_usdt.map(|total| total.amount.rounded(2).to_string());
                    total.unwrap_or_else(|| if pnl.to.is_some() { "unknown" } else { "no trade yet" }.to_owned())
                }
                Err(cause) => format!("{cause:#}"),
            };
            totals += &format!("  {} {told}", visitor.slug);
        }
        let at = Time::now().to_string();
        print(&format!("  {at:.19}Z  {fills:>5} fills  P&L in USDT:{totals}  lag: {lag} events"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_seconds_or_minutes() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("45"), Ok(Duration::from_secs(45)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "0", "-1", "1h", "1.5m", "m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
