//! A real MQTT broker on loopback, and a bot to speak there.

use std::{
    net::{SocketAddr, TcpListener as Std},
    time::Duration,
};

use hummingbot::mqtt::{Bots, Heard, Settings};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::sync::mpsc;

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
    std::thread::spawn(move || Broker::new(config).start().unwrap());
    listen
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
