//! The connection that asks: each call has a topic of its own for its answer, so an answer can only be that call's.
//!
//! Hummingbot's own server names that topic by the millisecond, and two calls within one get each other's answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use events::Time;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS, SubAck, SubscribeReasonCode};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tracing::warn;
use uuid::Uuid;

use super::{Backoff, listen::in_words};
use crate::Why;

/// The calls that are under way, and whether the connection can carry another.
pub(super) struct Asking {
    client: AsyncClient,
    /// Under which the topics of our answers lie. No dot may be in it: the bots would write it as a slash.
    inbox: String,
    patience: Duration,
    ready: watch::Sender<bool>,
    open: Mutex<HashMap<String, oneshot::Sender<Result<Bytes, Why>>>>,
}

#[derive(Serialize)]
struct Request<'a, T> {
    header: Header<'a>,
    data: &'a T,
}

#[derive(Serialize)]
struct Header<'a> {
    timestamp: i64,
    reply_to: &'a str,
    msg_id: i64,
    node_id: &'static str,
    agent: &'static str,
    properties: Nothing,
}

#[derive(Serialize)]
struct Nothing {}

/// Forgets a call when whoever waited for it is gone.
struct Open<'a> {
    asking: &'a Asking,
    reply_to: String,
}

impl Asking {
    pub(super) fn new(client: AsyncClient, patience: Duration) -> Self {
        let inbox = format!("pipelabs/replies/{}", Uuid::new_v4().simple());
        Self { client, inbox, patience, ready: watch::Sender::new(false), open: Mutex::default() }
    }

    /// Publishes a request and waits for its answer.
    pub(super) async fn ask(&self, topic: &str, data: &impl Serialize) -> Result<Bytes, Why> {
        let answered = self.sent_and_answered(topic, data);
        tokio::time::timeout(self.patience, answered).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    async fn sent_and_answered(&self, topic: &str, data: &impl Serialize) -> Result<Bytes, Why> {
        let mut ready = self.ready.subscribe();
        loop {
            ready.wait_for(|ready| *ready).await.expect("the sender lives as long as we do");
            if let Some((answer, _open)) = self.send(topic, data)? {
                return answer.await.unwrap_or_else(|_| Err(Why::Broken("the connection ended".to_owned())));
            }
        }
    }

    /// Sends unless the connection was lost in this very moment. A command must not wait for the next one: it would be
    /// carried out when nobody waits for it any more.
    #[expect(clippy::type_complexity, reason = "an answer to come, and what forgets it")]
    fn send(
        &self,
        topic: &str,
        data: &impl Serialize,
    ) -> Result<Option<(oneshot::Receiver<Result<Bytes, Why>>, Open<'_>)>, Why> {
        let reply_to = format!("{}/{}", self.inbox, Uuid::new_v4().simple());
        let request = serde_json::to_vec(&Request { header: Header::now(&reply_to), data });
        let request = request.expect("a request has only texts as keys");
        let (answer, answered) = oneshot::channel();
        let mut open = self.open();
        if !*self.ready.borrow() {
            return Ok(None);
        }
        self.client
            .try_publish(topic, QoS::AtMostOnce, false, request)
            .map_err(|_| Why::NotSent("too many calls at once".to_owned()))?;
        open.insert(reply_to.clone(), answer);
        drop(open);
        Ok(Some((answered, Open { asking: self, reply_to })))
    }

    fn too_late(&self) -> Why {
        if *self.ready.borrow() {
            return Why::TimedOut(self.patience);
        }
        Why::Unreachable("the MQTT broker is away".to_owned())
    }

    fn answered(&self, topic: &str, payload: Bytes) {
        match self.open().remove(topic) {
            // Whoever asked may have stopped waiting in this moment.
            Some(call) => drop(call.send(Ok(payload))),
            None => warn!("an answer came after its call was given up"),
        }
    }

    /// No call that is open can be answered any more, and none that is queued may be sent later.
    fn lost(&self, events: &mut EventLoop, why: &str) {
        let mut open = self.open();
        self.ready.send_replace(false);
        events.clean();
        events.pending.clear();
        for (_, call) in open.drain() {
            drop(call.send(Err(Why::Broken(why.to_owned()))));
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Result<Bytes, Why>>>> {
        self.open.lock().expect("nothing panics while it holds the open calls")
    }
}

/// Keeps the connection and hands answers to their calls, for ever.
pub(super) async fn serve(asking: Arc<Asking>, mut events: EventLoop) {
    let mut backoff = Backoff::default();
    loop {
        let failed = match events.poll().await {
            Ok(Event::Incoming(packet)) => asking.take(packet, &mut backoff),
            Ok(Event::Outgoing(_)) => Ok(()),
            Err(cause) => Err(in_words(&cause)),
        };
        if let Err(why) = failed {
            asking.lost(&mut events, &why);
            backoff.wait().await;
        }
    }
}

impl Asking {
    #[expect(clippy::wildcard_enum_match_arm, reason = "MQTT's packets, of which one who asks is sent these")]
    fn take(&self, packet: Packet, backoff: &mut Backoff) -> Result<(), String> {
        match packet {
            Packet::ConnAck(_) => self
                .client
                .try_subscribe(format!("{}/+", self.inbox), QoS::AtMostOnce)
                .map_err(|cause| cause.to_string())?,
            Packet::SubAck(ack) => {
                self.confirmed(&ack)?;
                *backoff = Backoff::default();
            }
            Packet::Publish(publish) => self.answered(&publish.topic, publish.payload),
            // Answers to what we sent, of which none says anything here.
            _ => {}
        }
        Ok(())
    }

    fn confirmed(&self, ack: &SubAck) -> Result<(), String> {
        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
            return Err("the broker does not let us read our own answers".to_owned());
        }
        self.ready.send_replace(true);
        Ok(())
    }
}

impl Header<'_> {
    fn now(reply_to: &str) -> Header<'_> {
        let now = Time::now().millis();
        Header { timestamp: now, reply_to, msg_id: now, node_id: "pipelabs", agent: "pipelabs", properties: Nothing {} }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.asking.open().remove(&self.reply_to);
    }
}
