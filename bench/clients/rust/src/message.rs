//! One message of the exchange: what is looked at, and the record that it becomes.

use std::{
    collections::HashMap,
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{delivery::Delivery, Failure};

#[derive(Serialize)]
pub struct Subscribe {
    pub method: &'static str,
    pub params: Vec<String>,
    pub id: u32,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Only what routing needs; serde passes over the rest without looking into it.
#[derive(Deserialize)]
struct Event<'a> {
    e: &'a str,
    s: &'a str,
    #[serde(rename = "E")]
    time_ms: i64,
}

/// The ids of an aggregate trade (`a`) or of a depth update (`U` to `u`), whose `a` is a list of levels.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(borrow)]
    a: &'a RawValue,
    #[serde(rename = "U")]
    first: Option<u64>,
    u: Option<u64>,
}

/// The last id of each series, and how often the next did not follow.
#[derive(Default)]
pub struct Continuity {
    last: [HashMap<String, u64>; 2],
    pub gaps: u64,
}

impl Continuity {
    fn note(&mut self, event: &str, symbol: &str, trade: bool) -> Result<(), Failure> {
        let ids: Ids = serde_json::from_str(event)?;
        let (first, last) = match (ids.first, ids.u) {
            (Some(first), Some(last)) => (first, last),
            _ => ids.a.get().parse().map(|id: u64| (id, id))?,
        };
        let series = &mut self.last[usize::from(trade)];
        match series.get_mut(symbol) {
            Some(before) => {
                self.gaps += u64::from(first != *before + 1);
                *before = last;
            }
            None => {
                series.insert(symbol.into(), last);
            }
        }
        Ok(())
    }
}

/// Make the records of a message and hand them over; `value` is a buffer that is used again.
pub async fn relay(
    text: &str,
    value: &mut Vec<u8>,
    continuity: &mut Option<Continuity>,
    delivery: &Delivery,
) -> Result<(), Failure> {
    let Some(data) = serde_json::from_str::<Envelope>(text)?.data else {
        return Ok(()); // the answer to our subscription
    };
    let data = data.get();
    let event: Event = serde_json::from_str(data)?;
    let (trade, event_type) = match event.e {
        "aggTrade" => (true, "aggregate_trade"),
        "depthUpdate" => (false, "depth_update"),
        other => return Err(format!("an event of type {other}").into()),
    };
    if let Some(continuity) = continuity {
        continuity.note(data, event.s, trade)?;
    }
    let received_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    value.clear();
    value.extend_from_slice(&data.as_bytes()[..data.len() - 1]);
    write!(
        value,
        ",\"ingestion_timestamp\":{received_ms},\"source\":\"binance_websocket\",\"event_type\":\"{event_type}\"}}"
    )?;
    delivery.send(trade, event.s, value, event.time_ms).await
}
