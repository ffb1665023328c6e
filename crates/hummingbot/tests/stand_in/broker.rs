//! A real MQTT broker on loopback, a gate before it that can be shut like a broker that restarts, and a bot to speak.

use std::{
    net::{SocketAddr, TcpListener as Std},
    time::Duration,
};

use hummingbot::mqtt::{Bots, Heard, Settings};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// Starts a broker that lives as long as the test and tells where it listens.
pub fn broker() -> SocketAddr {
    let listen = Std::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 32 << 20,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings { name: "v4".to_owned(), listen, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 2_000,
        max_segment_size: 32 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config { router, v4: Some([("1".to_owned(), server)].into()), ..Config::default() };
    std::thread::spawn(move || Broker::new(config).start());
    listen
}

/// A way to the broker that can be shut: every connection through it ends and none is let in, until it is opened again.
pub struct Gate {
    pub listen: SocketAddr,
    broker: SocketAddr,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Gate {
    pub async fn before(broker: SocketAddr) -> Self {
        let listen = Std::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut gate = Self { listen, broker, task: None };
        gate.open().await;
        gate
    }

    pub async fn open(&mut self) {
        let listener = until(async || TcpListener::bind(self.listen).await.ok()).await;
        let broker = self.broker;
        self.task = Some(tokio::spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                pipes.spawn(async move {
                    // Either end may end it.
                    if let Ok(mut far) = TcpStream::connect(broker).await {
                        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                    }
                });
            }
        }));
    }

    pub async fn shut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        // It is gone with all its connections once it can be waited for.
        drop(task.await);
    }
}

/// Somebody at the broker: a bot, or whoever plays one.
pub struct Peer {
    pub client: AsyncClient,
    pub heard: mpsc::UnboundedReceiver<Publish>,
}

impl Peer {
    /// Joins and listens to some topics.
    pub async fn at(broker: SocketAddr, name: &str, topics: &[&str]) -> Self {
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(32 << 20, 32 << 20);
        let (client, mut events) = AsyncClient::new(options, 1_000);
        let (tell, heard) = mpsc::unbounded_channel();
        let (subscribed, mut acks) = mpsc::unbounded_channel();
        let wanted: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let subscriber = client.clone();
        tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        for topic in &wanted {
                            subscriber.try_subscribe(topic, QoS::AtMostOnce).unwrap();
                        }
                        subscribed.send(()).ok();
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(subscribed.send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => drop(tell.send(publish)),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        for _ in 0..=topics.len() {
            acks.recv().await.unwrap();
        }
        Self { client, heard }
    }

    pub async fn say(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtMostOnce, false, payload).await.unwrap();
    }

    /// The next request that was heard, and where its answer goes.
    pub async fn request(&mut self) -> (serde_json::Value, String) {
        let publish = self.heard.recv().await.unwrap();
        let request: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
        let reply_to = request["header"]["reply_to"].as_str().unwrap().to_owned();
        (request, reply_to)
    }
}

pub fn settings(at: SocketAddr, answer: Duration) -> Settings {
    Settings { url: format!("mqtt://{at}"), username: None, password: None, answer, waiting_max: 1_000 }
}

/// Connects and waits until everything is heard.
pub async fn connected(at: SocketAddr, answer: Duration) -> (Bots, mpsc::Receiver<Heard>) {
    let (bots, mut heard) = Bots::connect(settings(at, answer)).unwrap();
    loop {
        match heard.recv().await.unwrap() {
            Heard::Connected { .. } => return (bots, heard),
            Heard::Lost { .. } => {}
            Heard::Message(message) => panic!("{message:?} before anything was said"),
        }
    }
}

/// Asks again until there is something.
pub async fn until<T>(mut there: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = there().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
