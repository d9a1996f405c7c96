//! Flows that packets are translated for, both directions in a row.

use super::{names, protocol_name};
use orknet_abi::{Address, Flow, FlowKey, flow_state, flow_timeout};
use serde::Serialize;
use std::collections::HashMap;
use std::net::SocketAddr;

/// A flow: what the one who opened it sends, what that becomes, and the two directions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRow {
    pub protocol: String,
    /// Who opened it.
    pub client: SocketAddr,
    /// Whom it spoke to.
    pub destination: SocketAddr,
    /// As whom it arrives: the client, or an address of the node.
    pub arrives_from: SocketAddr,
    /// Where it arrives.
    pub backend: SocketAddr,
    /// It leads out of the cluster, not to a Service.
    pub masquerade: bool,
    /// `None` if the entry is missing.
    pub forward: Option<DirectionRow>,
    /// `None` if the entry is missing.
    pub answers: Option<DirectionRow>,
    /// Seconds until it is forgotten, unless a packet comes.
    pub seconds_left: u32,
}

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectionRow {
    /// `opened`, `confirmed`, `finished`, `reset`, `gone`.
    pub state: Vec<&'static str>,
    /// Seconds since its last packet.
    pub idle_seconds: u32,
}

/// The flows in the order of protocol and client. `now` is the time of the kernel's monotonic clock, in seconds.
pub fn flow_rows(flows: &[(FlowKey, Flow)], now: u32) -> Vec<FlowRow> {
    let by_key: HashMap<FlowKey, Flow> = flows.iter().copied().collect();
    let mut rows = Vec::new();
    for (key, flow) in flows {
        let is_forward = flow.state & flow_state::FORWARD != 0;
        let pair = flow.becomes.reversed();
        if is_forward {
            rows.push(row(*key, flow.becomes, Some(*flow), by_key.get(&pair).copied(), now));
        } else if !by_key.contains_key(&pair) {
            rows.push(row(pair, key.reversed(), None, Some(*flow), now));
        }
    }
    rows.sort_unstable();
    rows
}

const STATES: [(u32, &str); 6] = [
    (flow_state::OPENED, "opened"),
    (flow_state::CONFIRMED, "confirmed"),
    (flow_state::FINISHED, "finished"),
    (flow_state::RESET, "reset"),
    (flow_state::GONE, "gone"),
    (flow_state::PLAIN, "plain"),
];

fn row(key: FlowKey, becomes: FlowKey, forward: Option<Flow>, answers: Option<Flow>, now: u32) -> FlowRow {
    let both = [forward, answers];
    let state = |flow: &Option<Flow>| flow.map_or(0, |flow| flow.state);
    let idle = |flow: Flow| now.saturating_sub(flow.used_seconds);
    let timeout = flow_timeout(key.protocol, state(&forward) | state(&answers), state(&forward) & state(&answers));
    let direction = |flow: Flow| DirectionRow { state: names(flow.state, &STATES), idle_seconds: idle(flow) };
    FlowRow {
        protocol: protocol_name(key.protocol),
        client: socket(key.source, key.source_port_be),
        destination: socket(key.destination, key.destination_port_be),
        arrives_from: socket(becomes.source, becomes.source_port_be),
        backend: socket(becomes.destination, becomes.destination_port_be),
        masquerade: both.iter().any(|flow| state(flow) & flow_state::MASQUERADE != 0),
        forward: forward.map(direction),
        answers: answers.map(direction),
        seconds_left: timeout.saturating_sub(both.into_iter().flatten().map(idle).min().unwrap_or(0)),
    }
}

fn socket(address: Address, port_be: u16) -> SocketAddr {
    SocketAddr::new(address.into(), u16::from_be(port_be))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::protocol;

    fn key(source: &str, destination: &str) -> FlowKey {
        let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        FlowKey {
            source: source.ip().into(),
            destination: destination.ip().into(),
            source_port_be: source.port().to_be(),
            destination_port_be: destination.port().to_be(),
            protocol: protocol::TCP,
            reserved: [0; 3],
        }
    }

    #[test]
    fn both_directions_are_one_row_and_half_a_flow_is_one_too() {
        let (forward, inner) = (key("198.51.100.1:40000", "192.0.2.1:30080"), key("192.0.2.1:41000", "10.244.2.2:8080"));
        let opened = flow_state::OPENED;
        let there =
            Flow { becomes: inner, state: flow_state::FORWARD | opened | flow_state::CONFIRMED, used_seconds: 90, ..Flow::default() };
        let back = Flow { becomes: forward.reversed(), state: opened, used_seconds: 80, ..Flow::default() };
        let rows = flow_rows(&[(inner.reversed(), back), (forward, there)], 100);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.client.port(), row.destination.port(), row.arrives_from.port(), row.backend.port()), (40000, 30080, 41000, 8080));
        let idle = |row: &Option<DirectionRow>| row.as_ref().map(|row| row.idle_seconds);
        assert_eq!((idle(&row.forward), idle(&row.answers), row.seconds_left), (Some(10), Some(20), 7_430));
        let half = flow_rows(&[(inner.reversed(), back)], 100);
        assert_eq!((half[0].client, half[0].forward.is_none(), half[0].backend), (row.client, true, row.backend));
    }
}
