//! The records on their way into Kafka, every one of them counted when it is acknowledged.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    client::ClientContext,
    config::ClientConfig,
    error::KafkaError,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};

use crate::{required, Failure};

const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
const METADATA: Duration = Duration::from_secs(10);
const STAMP: &[u8] = b",\"x\":";

/// What became of the records; librdkafka's reports come on the polling thread.
#[derive(Default)]
struct Account {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Microseconds from the exchange's stamp to the report, when asked for.
    latencies_us: Mutex<Vec<u32>>,
}

impl ClientContext for Account {}

impl ProducerContext for Account {
    /// When the exchange sent the message, us since the epoch; 0 when nobody asked.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, sent_us: usize) {
        match report {
            Ok(_) => self.delivered.fetch_add(1, Relaxed),
            Err((error, _)) => {
                eprintln!("{error}");
                self.failed.fetch_add(1, Relaxed)
            }
        };
        if sent_us > 0 {
            self.latencies_us
                .lock()
                .unwrap()
                .push(now_us().saturating_sub(sent_us as u64) as u32);
        }
    }
}

pub struct Delivery {
    producer: ThreadedProducer<Account>,
    raw: String,
    trades: String,
    depth: String,
    timed: bool,
}

impl Delivery {
    pub fn new() -> Result<Self, Failure> {
        let producer: ThreadedProducer<Account> = ClientConfig::new()
            .set("bootstrap.servers", required("KAFKA_BOOTSTRAP_SERVERS")?)
            .set("compression.type", "snappy")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set(
                "linger.ms",
                env::var("KAFKA_PRODUCER_LINGER_MS").unwrap_or_else(|_| "5".into()),
            )
            .set("queue.buffering.max.messages", "1000000")
            .create_with_context(Account::default())?;
        let [raw, trades, depth] =
            ["RAW_EVENTS", "TRADES", "DEPTH"].map(|name| required(&format!("KAFKA_TOPIC_{name}")));
        let (raw, trades, depth) = (raw?, trades?, depth?);
        for topic in [&raw, &trades, &depth] {
            producer.client().fetch_metadata(Some(topic), METADATA)?;
        }
        let timed = env::var("TELL_LATENCY").is_ok_and(|it| it == "1");
        Ok(Self {
            producer,
            raw,
            trades,
            depth,
            timed,
        })
    }

    /// Hand over the two records of a message. A full queue is waited for.
    pub async fn send(
        &self,
        trade: bool,
        key: &str,
        value: &[u8],
        time_ms: i64,
    ) -> Result<(), Failure> {
        let sent_us = if self.timed { stamp_us(value) } else { 0 };
        for topic in [&self.raw, if trade { &self.trades } else { &self.depth }] {
            let mut record = BaseRecord::with_opaque_to(topic, sent_us)
                .key(key)
                .payload(value)
                .timestamp(time_ms);
            while let Err((error, refused)) = self.producer.send(record) {
                if !matches!(
                    error,
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
                ) {
                    return Err(error.into());
                }
                record = refused;
                tokio::time::sleep(QUEUE_FULL_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Wait until everything is acknowledged and print the account; whether nothing is missing.
    pub fn finish(&self, patience: Duration, gaps: u64) -> bool {
        let deadline = Instant::now() + patience;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            let _ = self.producer.flush(Duration::from_millis(100));
        }
        let account = self.producer.context();
        let (delivered, failed) = (
            account.delivered.load(Relaxed),
            account.failed.load(Relaxed),
        );
        let left = self.producer.in_flight_count();
        let mut latencies = std::mem::take(&mut *account.latencies_us.lock().unwrap());
        latencies.drain(..latencies.len() / 3); // fresh topics, cold caches
        latencies.sort_unstable();
        let at = |share: f64| {
            latencies
                .get(((latencies.len().max(1) - 1) as f64 * share) as usize)
                .copied()
                .unwrap_or(0)
        };
        println!(
            "{{\"delivered_records\":{delivered},\"failed_records\":{failed},\"left_records\":{left},\"gaps\":{gaps},\"ack_us\":[{},{},{}]}}",
            at(0.5), at(0.9), at(0.99)
        );
        failed == 0 && left == 0
    }
}

/// When the exchange says to have sent a message: a paced one ends its event with the field `x`, us since the epoch.
fn stamp_us(value: &[u8]) -> usize {
    let Some(at) = value
        .windows(STAMP.len())
        .rposition(|window| window == STAMP)
    else {
        return 0;
    };
    value[at + STAMP.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
