//! Where the relay stands with each client, and whose turn it is.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::Duration,
};

use events::ClientId;
use tokio::time::Instant;

/// How long an agreement is trusted: somebody may have removed the copy of a client who has nothing new to publish.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const FAULT_PAUSE: Duration = Duration::from_millis(200);
const FAULT_PAUSE_MAX: Duration = Duration::from_secs(15);

/// One client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Where its stream stands.
    pub head: u64,
    /// The last event that NATS is known to hold.
    pub reached: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// NATS has to be asked, but not before this moment.
    Unknown { due: Instant, faults: u32 },
    /// Another relay is at work, and had come this far: it is left alone while it goes on.
    LeftTo { due: Instant, reached: u64 },
    /// NATS said so in this connection.
    Agreed { connects: u64, looked: Instant },
    /// Stopped; somebody may have removed the copy when this moment comes.
    Diverged { due: Instant },
    /// Somebody works on it.
    Taken,
}

impl Line {
    fn new(reached: u64) -> Self {
        Self { head: 0, reached, state: State::Unknown { due: Instant::now(), faults: 0 } }
    }

    /// Whether what NATS holds is known in this connection.
    pub fn is_agreed(&self, connects: u64) -> bool {
        match self.state {
            State::Agreed { connects: then, looked } => then == connects && looked.elapsed() < LOOK_AGAIN,
            State::Unknown { .. } | State::LeftTo { .. } | State::Diverged { .. } | State::Taken => false,
        }
    }

    pub fn agreed(&mut self, connects: u64, reached: u64) {
        self.reached = reached;
        self.state = State::Agreed { connects, looked: Instant::now() };
    }

    pub fn diverged(&mut self) {
        self.state = State::Diverged { due: Instant::now() + LOOK_AGAIN };
    }

    /// Another relay was there first: two at once would only do the work twice.
    pub fn leave_alone(&mut self, pause: Duration) {
        self.state = State::LeftTo { due: Instant::now() + pause, reached: self.reached };
    }

    /// Whether the other relay went on since then and has more to do.
    pub fn is_others(&self, reached: u64) -> bool {
        matches!(self.state, State::LeftTo { reached: then, .. } if then < reached && reached < self.head)
    }

    /// A fault ended its turn, which was the n-th in a row before `self` was taken.
    pub fn failed(&mut self, faults_before: u32) {
        let pause = FAULT_PAUSE.saturating_mul(1 << faults_before.min(8)).min(FAULT_PAUSE_MAX);
        self.state = State::Unknown { due: Instant::now() + pause, faults: faults_before + 1 };
    }

    /// Faults in a row.
    pub fn faults(&self) -> u32 {
        match self.state {
            State::Unknown { faults, .. } => faults,
            State::Agreed { .. } | State::LeftTo { .. } | State::Diverged { .. } | State::Taken => 0,
        }
    }

    fn is_due(&self, connects: u64, now: Instant) -> bool {
        match self.state {
            State::Unknown { due, .. } | State::LeftTo { due, .. } | State::Diverged { due } => due <= now,
            State::Agreed { .. } => self.head > self.reached || !self.is_agreed(connects),
            State::Taken => false,
        }
    }
}

/// All clients; the desk is none.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<ClientId, Line>,
    /// Whose turn came last.
    last: Option<ClientId>,
}

impl Lines {
    /// As far as they were known to have come.
    pub fn known(reached: HashMap<ClientId, u64>) -> Self {
        Self { lines: reached.into_iter().map(|(client, reached)| (client, Line::new(reached))).collect(), last: None }
    }

    /// Where the streams stand now.
    pub fn moved(&mut self, heads: &[(ClientId, u64)]) {
        for (client, head) in heads.iter().filter(|(client, _)| *client != ClientId::DESK) {
            self.lines.entry(*client).or_insert_with(|| Line::new(0)).head = *head;
        }
    }

    /// Takes whose turn it is next, in turn, `most` at most.
    pub fn take(&mut self, connects: u64, most: usize) -> Vec<(ClientId, Line)> {
        let now = Instant::now();
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let until = self.last.map_or(Bound::Unbounded, Bound::Included);
        let later = self.lines.range((from, Bound::Unbounded));
        let earlier = self.last.map(|_| self.lines.range((Bound::Unbounded, until))).into_iter().flatten();
        let due = later.chain(earlier).filter(|(_, line)| line.is_due(connects, now)).take(most);
        let taken: Vec<(ClientId, Line)> = due.map(|(client, line)| (*client, *line)).collect();
        for (client, _) in &taken {
            self.lines.get_mut(client).expect("it was just found").state = State::Taken;
            self.last = Some(*client);
        }
        taken
    }

    /// Puts one back after its turn.
    pub fn put(&mut self, client: ClientId, line: Line) {
        let head = self.lines.get(&client).map_or(line.head, |known| known.head.max(line.head));
        self.lines.insert(client, Line { head, ..line });
    }

    /// By how many events the client that is furthest behind is behind.
    pub fn lag_max(&self) -> u64 {
        self.lines.values().map(|line| line.head.saturating_sub(line.reached)).max().unwrap_or(0)
    }

    /// When somebody's pause ends next; what moves without one is woken for.
    pub fn next_due(&self) -> Option<Instant> {
        let due = |line: &Line| match line.state {
            State::Unknown { due, .. } | State::LeftTo { due, .. } | State::Diverged { due } => Some(due),
            State::Agreed { .. } | State::Taken => None,
        };
        self.lines.values().filter_map(due).min()
    }

    /// Clients that are stopped.
    pub fn diverged(&self) -> usize {
        self.lines.values().filter(|line| matches!(line.state, State::Diverged { .. })).count()
    }
}
