//! An event from the bytes that lie in the ring. Field by field, so that no bytes are taken on trust.

use orknet_abi::{Address, EVENT_BYTES, Event, FlowKey};
use std::mem::offset_of;

/// `None` for bytes that are no event.
pub(super) fn event(bytes: &[u8]) -> Option<Event> {
    if bytes.len() != size_of::<Event>() {
        return None;
    }
    let number = |at: usize| Some(u32::from_ne_bytes(array(bytes, at)?));
    Some(Event {
        time: u64::from_ne_bytes(array(bytes, offset_of!(Event, time))?),
        cookie: u64::from_ne_bytes(array(bytes, offset_of!(Event, cookie))?),
        kind: number(offset_of!(Event, kind))?,
        reason: number(offset_of!(Event, reason))?,
        rule: number(offset_of!(Event, rule))?,
        egress_rule: number(offset_of!(Event, egress_rule))?,
        set: number(offset_of!(Event, set))?,
        peers: number(offset_of!(Event, peers))?,
        direction: number(offset_of!(Event, direction))?,
        device: number(offset_of!(Event, device))?,
        bytes: number(offset_of!(Event, bytes))?,
        becomes: flow_key(bytes.get(offset_of!(Event, becomes)..)?)?,
        head_bytes: number(offset_of!(Event, head_bytes))?,
        head: array::<EVENT_BYTES>(bytes, offset_of!(Event, head))?,
    })
}

fn flow_key(bytes: &[u8]) -> Option<FlowKey> {
    Some(FlowKey {
        source: Address(array(bytes, offset_of!(FlowKey, source))?),
        destination: Address(array(bytes, offset_of!(FlowKey, destination))?),
        source_port_be: u16::from_ne_bytes(array(bytes, offset_of!(FlowKey, source_port_be))?),
        destination_port_be: u16::from_ne_bytes(array(bytes, offset_of!(FlowKey, destination_port_be))?),
        protocol: *bytes.get(offset_of!(FlowKey, protocol))?,
        reserved: [0; 3],
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_from_its_place() {
        // Bytes that all differ from their neighbours, so that two fields cannot be mistaken for each other.
        let bytes: Vec<u8> = (0..size_of::<Event>()).map(|at| (at * 7 + 1) as u8).collect();
        let read = event(&bytes).unwrap();
        let mut fields = vec![0; size_of::<Event>()];
        let mut put = |at: usize, field: &[u8]| fields[at..at + field.len()].copy_from_slice(field);
        put(0, &read.time.to_ne_bytes());
        put(8, &read.cookie.to_ne_bytes());
        let numbers = [read.kind, read.reason, read.rule, read.egress_rule, read.set, read.peers, read.direction, read.device, read.bytes];
        (4..).zip(numbers).for_each(|(word, number)| put(word * 4, &number.to_ne_bytes()));
        put(52, &read.becomes.source.0);
        put(68, &read.becomes.destination.0);
        put(84, &read.becomes.source_port_be.to_ne_bytes());
        put(86, &read.becomes.destination_port_be.to_ne_bytes());
        put(88, &[read.becomes.protocol]);
        put(92, &read.head_bytes.to_ne_bytes());
        put(96, &read.head);
        fields[89..92].copy_from_slice(&bytes[89..92]);
        assert_eq!(fields, bytes);
        assert_eq!(event(&bytes[1..]), None);
    }
}
