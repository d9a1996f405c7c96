//! What is under way: pods with their traffic, flows, how full the maps are, what was dropped.

use super::print::{
    Column::{Number, Text},
    View,
};
use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use orknet_abi::{Count, TrafficKey, direction};
use orknet_compiler::rows::{DirectionRow, flow_rows};
use orknet_dataplane::Reader;
use serde_json::json;

/// This node's pods, with their traffic.
pub fn endpoints(reader: &Reader) -> Result<View> {
    let traffic = reader.traffic()?;
    let count = |ifindex, direction| traffic.get(&TrafficKey { ifindex, direction }).copied().unwrap_or_default();
    let mut view = View::default();
    view.table([
        Text("ADDRESS"),
        Number("DEVICE (INDEX)"),
        Text("POD MAC"),
        Number("FROM POD (PACKETS)"),
        Number("(BYTES)"),
        Number("TO POD (PACKETS)"),
        Number("(BYTES)"),
    ]);
    for row in reader.image()?.pod_rows() {
        let (from, to) = (count(row.ifindex, direction::EGRESS), count(row.ifindex, direction::INGRESS));
        let numbers = [from.packets, from.bytes, to.packets, to.bytes].map(|number| number.to_string());
        let [from_packets, from_bytes, to_packets, to_bytes] = numbers;
        let cells = [row.address.to_string(), row.ifindex.to_string(), row.pod_mac.clone(), from_packets, from_bytes, to_packets, to_bytes];
        view.line(cells);
        view.value(json!({"address": row.address, "ifindex": row.ifindex, "podMac": row.pod_mac, "hostMac": row.host_mac,
            "fromPod": counted(from), "toPod": counted(to)}));
    }
    Ok(view)
}

/// How full the maps are, and what was dropped.
pub fn maps(reader: &Reader) -> Result<View> {
    let mut view = View::default();
    view.table([Text("MAP"), Number("ENTRIES"), Number("CAPACITY"), Number("USED (%)"), Text("WHEN FULL")]);
    for map in reader.maps().context("cannot count the entries")? {
        let percent = f64::from(map.entries) * 100.0 / f64::from(map.capacity.max(1));
        let when_full = if map.forgets { "forgets the oldest" } else { "refuses what is new" };
        let cells = [map.name.to_owned(), map.entries.to_string(), map.capacity.to_string(), format!("{percent:.1}"), when_full.to_owned()];
        view.line(cells);
        view.value(json!({"name": map.name, "entries": map.entries, "capacity": map.capacity, "forgets": map.forgets}));
    }
    view.table([Text("DROP REASON"), Number("PACKETS AND CALLS"), Number("BYTES"), Text("MEANING")]);
    for (reason, count) in reader.drops()? {
        if count.packets > 0 {
            let cells = [reason.name().to_owned(), count.packets.to_string(), count.bytes.to_string(), reason.explain().trim().to_owned()];
            view.line(cells);
        }
        view.value(json!({"reason": reason.name(), "drops": counted(count)}));
    }
    view.table([Text("LEFT TO THE STACK"), Number("FRAMES"), Number("BYTES")]);
    for (reason, count) in reader.left()?.into_iter().filter(|(_, count)| count.packets > 0) {
        view.line([reason.name().to_owned(), count.packets.to_string(), count.bytes.to_string()]);
        view.value(json!({"leftToStack": reason.name(), "frames": counted(count)}));
    }
    Ok(view)
}

fn counted(count: Count) -> serde_json::Value {
    json!({"packets": count.packets, "bytes": count.bytes})
}

/// The flows that packets are translated for, both directions in a line.
pub fn flows(reader: &Reader) -> Result<View> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).context("cannot read the monotonic clock")?;
    let mut view = View::default();
    view.table([
        Text("PROTOCOL"),
        Text("CLIENT"),
        Text("DESTINATION"),
        Text("ARRIVES FROM"),
        Text("BACKEND"),
        Text("STATE"),
        Text("ANSWERS' STATE"),
        Number("IDLE (S)"),
        Number("ANSWERS IDLE (S)"),
        Number("FORGOTTEN IN (S)"),
    ]);
    for row in flow_rows(&reader.flows()?, u32::try_from(now.tv_sec()).unwrap_or(u32::MAX)) {
        let state = |direction: &Option<DirectionRow>| match direction {
            None => "missing".to_owned(),
            Some(direction) if direction.state.is_empty() => "-".to_owned(),
            Some(direction) => direction.state.join(","),
        };
        let idle = |direction: &Option<DirectionRow>| direction.as_ref().map_or("-".to_owned(), |row| row.idle_seconds.to_string());
        view.line([
            row.protocol.clone(),
            row.client.to_string(),
            row.destination.to_string(),
            row.arrives_from.to_string(),
            row.backend.to_string(),
            state(&row.forward),
            state(&row.answers),
            idle(&row.forward),
            idle(&row.answers),
            row.seconds_left.to_string(),
        ]);
        view.value(json!(row));
    }
    Ok(view)
}
