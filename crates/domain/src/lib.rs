//! The decisions: state and a command in, events or a refusal out. No clock, no network, no database.

pub mod agreement;
pub mod alert;
pub mod alert_rule;
pub mod bot;
pub mod channel;
pub mod client;
pub mod credential;
pub mod ledger;
mod line;
pub mod manual;
pub mod risk;
pub mod schedule;
pub mod self_match;
pub mod silence;
pub mod subscription;
pub mod timetable;

/// Puts a pure decision behind cqrs-es: what is decided is written to the sink, which applies it.
macro_rules! aggregate {
    ($type:ty, $name:literal, $command:ty, $event:ty, $refusal:ty) => {
        impl cqrs_es::Aggregate for $type {
            const TYPE: &'static str = $name;
            type Command = $command;
            type Event = $event;
            type Error = $refusal;
            type Services = ();

            async fn handle(
                &mut self,
                command: $command,
                (): &(),
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), $refusal> {
                for event in self.decide(command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: $event) {
                self.remember(event);
            }
        }
    };
}

pub(crate) use aggregate;
