//! What bots say of themselves over MQTT.
