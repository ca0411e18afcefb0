//! What one writes in Rust: tokio-tungstenite, serde and rdkafka.
//!
//! Each message becomes two records, spliced and not printed anew: the event's own bytes, three fields appended.
//! Settings by environment, as the service's. Runs until SIGTERM; then what it has is delivered, its account is printed
//! as one line of JSON, and it ends with 0 if every record was delivered.
//!
//! One task on one thread reads, parses and hands over; rdkafka's `ThreadedProducer` polls for delivery reports on a
//! thread of its own, and librdkafka has its own threads for the brokers. A second worker for tokio only makes the
//! wake-ups dearer, since a connection is one task.

mod delivery;
mod message;

use std::{env, process::ExitCode, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::signal::unix::{signal, SignalKind};
use tokio_tungstenite::{connect_async_with_config, tungstenite::Message};

use crate::{delivery::Delivery, message::Continuity};

const FLUSH: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error>;

fn required(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// Subscribes, and turns messages into records until the connection ends.
async fn feed(delivery: &Delivery, continuity: &mut Option<Continuity>) -> Result<(), Failure> {
    let symbols = required("BINANCE_SYMBOLS")?.to_lowercase();
    let types = required("BINANCE_STREAM_TYPES")?;
    let streams: Vec<String> = symbols
        .split(',')
        .flat_map(|s| types.split(',').map(move |t| format!("{s}@{t}")))
        .collect();
    let subscribe = serde_json::to_string(&message::Subscribe {
        method: "SUBSCRIBE",
        params: streams,
        id: 1,
    })?;
    let url = required("BINANCE_WS_URL")? + "/stream";
    let (mut socket, _) = connect_async_with_config(url, None, true).await?;
    socket.send(Message::text(subscribe)).await?;
    let mut value = Vec::with_capacity(64 * 1024);
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            message::relay(&text, &mut value, continuity, delivery).await?;
        }
    }
    Err("the exchange has closed the connection".into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let delivery = Delivery::new()?;
    let mut continuity = env::var("CHECK_IDS")
        .is_ok_and(|it| it == "1")
        .then(Continuity::default);
    let mut stop = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = feed(&delivery, &mut continuity) => ended?,
        _ = stop.recv() => {}
    }
    let gaps = continuity.map_or(0, |it| it.gaps);
    Ok(if delivery.finish(FLUSH, gaps) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
