//! The connection that hears: it is made again for ever, subscribes, and hands everything on in its order.

use events::Time;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Packet, Publish, QoS, SubAck, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Backoff, Epoch, Heard, Message,
    said::Said,
    topic::{self, Channel},
};

/// The reader is gone, so there is nobody to listen for.
struct NobodyListens;

struct Listening {
    heard: mpsc::Sender<Heard>,
    epoch: Epoch,
    /// Whether the broker confirmed this epoch's subscription.
    subscribed: bool,
    /// Whether the end of the last connection, or that there is none, was told.
    told_lost: bool,
    /// When this epoch last brought anything, if only a sign of life.
    last: Option<Time>,
    backoff: Backoff,
}

/// Listens until nobody reads any more. A reader that is slow is waited for.
pub(super) async fn listen(client: AsyncClient, mut events: EventLoop, heard: mpsc::Sender<Heard>) {
    let gone = heard.clone();
    let mut listening = Listening {
        heard,
        epoch: Epoch::default(),
        subscribed: false,
        told_lost: false,
        last: None,
        backoff: Backoff::default(),
    };
    tokio::select! {
        () = gone.closed() => {}
        NobodyListens = listening.run(&client, &mut events) => {}
    }
}

impl Listening {
    async fn run(&mut self, client: &AsyncClient, events: &mut EventLoop) -> NobodyListens {
        loop {
            let taken = match events.poll().await {
                Ok(Event::Incoming(packet)) => self.take(client, packet).await,
                Ok(Event::Outgoing(_)) => Ok(Ok(())),
                Err(cause) => Ok(Err(in_words(&cause))),
            };
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    if self.lost(events, why).await.is_err() {
                        return NobodyListens;
                    }
                    self.backoff.wait().await;
                }
                Err(NobodyListens) => return NobodyListens,
            }
        }
    }

    /// Takes a packet. The inner error is one of the connection, which is then given up.
    #[expect(clippy::wildcard_enum_match_arm, reason = "MQTT's packets, of which a listener is sent these")]
    async fn take(&mut self, client: &AsyncClient, packet: Packet) -> Result<Result<(), String>, NobodyListens> {
        if !matches!(packet, Packet::ConnAck(_)) {
            self.last = Some(Time::now());
        }
        match packet {
            Packet::ConnAck(_) => self.begin(client),
            Packet::SubAck(ack) => return self.confirmed(&ack).await,
            Packet::Publish(publish) => self.message(publish).await?,
            // Answers to what we sent, of which none says anything here.
            _ => {}
        }
        Ok(Ok(()))
    }

    fn begin(&mut self, client: &AsyncClient) {
        self.epoch.0 += 1;
        (self.subscribed, self.last) = (false, None);
        let filters = Channel::ALL.map(|channel| SubscribeFilter::new(channel.of_all_bots(), QoS::AtMostOnce));
        // The queue is empty: it was cleared when the connection before this one ended, and nothing else is sent here.
        client.try_subscribe_many(filters).expect("there is room for one subscription");
    }

    async fn confirmed(&mut self, ack: &SubAck) -> Result<Result<(), String>, NobodyListens> {
        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
            return Ok(Err("the broker does not let us read the bots' topics".to_owned()));
        }
        (self.subscribed, self.told_lost, self.backoff) = (true, false, Backoff::default());
        info!(epoch = self.epoch.0, "listening to the bots");
        self.tell(Heard::Connected { epoch: self.epoch, at: Time::now() }).await?;
        Ok(Ok(()))
    }

    async fn message(&mut self, publish: Publish) -> Result<(), NobodyListens> {
        let received = Time::now();
        let Some((bot, channel)) = topic::parts(&publish.topic) else {
            warn!(topic = publish.topic, "a message on a topic that can be no bot's of ours");
            return Ok(());
        };
        let said = Said::read(channel, &publish.payload);
        if let Said::Unreadable { why } = &said {
            warn!(bot = %bot, topic = publish.topic, "could not read what bot {bot} said: {why}");
        }
        let message = Message { epoch: self.epoch, bot, received, raw: publish.payload, said };
        self.tell(Heard::Message(Box::new(message))).await
    }

    /// Hands on what was read before the end, then tells of the end.
    async fn lost(&mut self, events: &mut EventLoop, why: String) -> Result<(), NobodyListens> {
        events.clean();
        events.pending.clear();
        while let Some(event) = events.state.events.pop_front() {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                self.message(publish).await?;
            }
        }
        if std::mem::replace(&mut self.told_lost, true) {
            return Ok(());
        }
        warn!(epoch = self.epoch.0, "lost the connection to the bots: {why}");
        self.tell(Heard::Lost { epoch: self.epoch, since: self.last, why }).await
    }

    async fn tell(&mut self, heard: Heard) -> Result<(), NobodyListens> {
        self.heard.send(heard).await.map_err(|_| NobodyListens)
    }
}

pub(super) fn in_words(cause: &ConnectionError) -> String {
    crate::fault::chain(cause)
}
