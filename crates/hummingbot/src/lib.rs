//! The client of the Hummingbot API and of its bots' MQTT, in its true wire format.
