//! Which hand listens to which instance: what a bot says goes to the hand of its client.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, RwLock},
};

use events::{BotId, ClientId, Time};
use hummingbot::{BotName, mqtt::Heard};
use tokio::sync::mpsc;

/// How long the part of an instance's name is that the server adds: `-20261123-141051`.
const SUFFIX: usize = 16;
/// What every instance of ours is called first.
const OURS: &str = "pl-";
/// As many digits of a client's id as tell it from every other. The last ones: the first ones are a time.
const CLIENT_DIGITS: usize = 12;
/// As many digits of a bot's id, a hash, as tell it from its client's others.
const BOT_DIGITS: usize = 8;

/// The lines from the broker to the hands of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switchboard {
    lines: Arc<RwLock<Lines>>,
}

/// By the digits of the client's id.
#[derive(Debug, Default)]
struct Lines {
    hands: HashMap<String, mpsc::Sender<Heard>>,
    clients: HashSet<String>,
}

/// Who should hear an instance.
#[derive(Debug)]
pub(crate) enum Listener {
    Hand(mpsc::Sender<Heard>),
    /// Its client is in another process' hands.
    Elsewhere,
    /// It is no instance of any client of ours.
    Nobody,
}

/// A name to ask for: whose it is, which bot, and when. With what the server adds it is not longer than a host's name may be.
pub(crate) fn new_name(client: ClientId, bot: BotId) -> String {
    format!("{}{:x}", beginning(client, bot), Time::now().millis())
}

/// Whether an instance is called as those are that were asked for as this bot.
pub(crate) fn is_named_for(client: ClientId, bot: BotId, instance: &BotName) -> bool {
    instance.as_str().starts_with(&beginning(client, bot))
}

fn beginning(client: ClientId, bot: BotId) -> String {
    format!("{OURS}{}-{}-", digits(client), &bot.0.simple().to_string()[..BOT_DIGITS])
}

/// What the name of an instance begins with: what it was asked for under.
pub(crate) fn asked_name(instance: &str) -> &str {
    let (name, suffix) = instance.split_at_checked(instance.len().saturating_sub(SUFFIX)).unwrap_or((instance, ""));
    let stamped = suffix.char_indices().all(|(at, c)| if at == 0 || at == 9 { c == '-' } else { c.is_ascii_digit() });
    if stamped && suffix.len() == SUFFIX { name } else { instance }
}

fn digits(client: ClientId) -> String {
    client.0.simple().to_string().split_off(32 - CLIENT_DIGITS)
}

impl Switchboard {
    /// A hand begins to listen.
    pub fn plug_in(&self, client: ClientId, hand: mpsc::Sender<Heard>) {
        self.lines.write().expect("nobody panics here").hands.insert(digits(client), hand);
    }

    /// A hand listens no longer.
    pub fn unplug(&self, client: ClientId) {
        self.lines.write().expect("nobody panics here").hands.remove(&digits(client));
    }

    /// These are all clients that there are.
    pub fn know(&self, clients: impl Iterator<Item = ClientId>) {
        self.lines.write().expect("nobody panics here").clients = clients.map(digits).collect();
    }

    /// Who should hear an instance.
    pub fn listener(&self, instance: &BotName) -> Listener {
        let of = instance.as_str().strip_prefix(OURS).and_then(|rest| rest.get(..CLIENT_DIGITS));
        let lines = self.lines.read().expect("nobody panics here");
        match of {
            Some(client) if lines.hands.contains_key(client) => Listener::Hand(lines.hands[client].clone()),
            Some(client) if lines.clients.contains(client) => Listener::Elsewhere,
            Some(_) | None => Listener::Nobody,
        }
    }

    /// Everyone who listens.
    pub fn hands(&self) -> Vec<mpsc::Sender<Heard>> {
        self.lines.read().expect("nobody panics here").hands.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use events::Uuid;

    use super::*;

    #[test]
    fn an_instance_is_known_by_what_it_was_asked_for_under() {
        assert_eq!(asked_name("pl-0a1b-x7-20261123-141051"), "pl-0a1b-x7");
        for whole in ["", "maker", "maker-2026112-141051x", "-20261123-14105", "é-20261123-1410"] {
            assert_eq!(asked_name(whole), whole);
        }
    }

    #[test]
    fn an_instance_is_heard_by_its_clients_hand_alone() {
        let (client, other) = (ClientId(Uuid::from_u128(0xabc)), ClientId(Uuid::from_u128(0xdef)));
        let instance = |client| -> BotName {
            format!("{}-20261123-141051", new_name(client, BotId(Uuid::from_u128(7)))).parse().unwrap()
        };
        assert!(instance(client).as_str().len() <= 63);
        assert!(is_named_for(client, BotId(Uuid::from_u128(7)), &instance(client)));
        assert!(!is_named_for(other, BotId(Uuid::from_u128(7)), &instance(client)));
        assert!(!is_named_for(client, BotId(Uuid::from_u128(7 << 96)), &instance(client)));
        let board = Switchboard::default();
        let (hand, _heard) = mpsc::channel(1);
        board.know([client, other].into_iter());
        board.plug_in(client, hand);
        assert!(matches!(board.listener(&instance(client)), Listener::Hand(_)));
        assert!(matches!(board.listener(&instance(other)), Listener::Elsewhere));
        assert!(matches!(board.listener(&"somebody-20261123-141051".parse().unwrap()), Listener::Nobody));
        board.unplug(client);
        assert!(matches!(board.listener(&instance(client)), Listener::Elsewhere));
    }
}
