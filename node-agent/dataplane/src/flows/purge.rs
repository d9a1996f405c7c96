//! Flows of addresses that change hands: a pod must not answer for what another one with its address was allowed, nor be taken for who opened
//! its connections.

use crate::{Dataplane, Error, kernel::Walk, migrate, sockets::uncertain, table::Table};
use orknet_abi::{Address, Flow, FlowKey};
use std::collections::BTreeSet;

/// Entries that are read at once: some hundred kilobytes, for whoever waits.
const BATCH: usize = 4_096;

impl Dataplane {
    /// Forgets every flow that one of these addresses has a part in: as client, as server, as Service front, translated or not; also where
    /// programs of ours would find it as long as they take over from another version. How many entries (a flow has two). What programs write
    /// meanwhile may stay, so first the map of pods must say whose the addresses are now.
    ///
    /// Blocks for half a microsecond per entry of the map, or less, however many addresses there are; and while flows are carried over.
    ///
    /// # Errors
    /// A map that can't be read or written. What was done until then is done.
    pub fn forget_flows_of(&self, addresses: &BTreeSet<Address>) -> Result<u64, Error> {
        if addresses.is_empty() {
            return Ok(0);
        }
        let _carrying = self.carrying();
        let tables = self.reader().tables();
        uncertain::forget(&tables.uncertain, |key, _| addresses.contains(&key.address))?;
        // There first: what is looked up there meanwhile comes here.
        let mut forgotten = 0;
        for version in self.other_versions()? {
            forgotten += migrate::forget_flows(&version, tables, |key, flow| has_part(addresses, key, flow))?;
        }
        Ok(forgotten + purge(&tables.flows, addresses)?)
    }
}

/// Whether one of the addresses has a part in a flow.
fn has_part(addresses: &BTreeSet<Address>, key: &FlowKey, flow: &Flow) -> bool {
    let is_in = |key: &FlowKey| addresses.contains(&key.source) || addresses.contains(&key.destination);
    is_in(key) || is_in(&flow.becomes)
}

fn purge(table: &Table<FlowKey, Flow>, addresses: &BTreeSet<Address>) -> Result<u64, Error> {
    let (mut walk, mut forgotten, mut failure) = (Walk::new(BATCH), 0, None);
    while let Some((keys, flows)) = table.next_batch(&mut walk)? {
        let concerned = keys.iter().zip(flows).filter(|(key, flow)| has_part(addresses, key, flow));
        let concerned: Vec<FlowKey> = concerned.map(|(key, _)| *key).collect();
        table.delete(&concerned, |_, error| failure = Some(error));
        forgotten += concerned.len() as u64;
    }
    failure.map_or(Ok(forgotten), |error| Err(Error::map("delete from", table.name())(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{FLOWS, protocol};

    fn key(source: [u8; 4], source_port: u16, destination: [u8; 4], port: u16) -> FlowKey {
        FlowKey {
            source: Address::from_v4(source),
            destination: Address::from_v4(destination),
            source_port_be: source_port.to_be(),
            destination_port_be: port.to_be(),
            protocol: protocol::TCP,
            reserved: [0; 3],
        }
    }

    /// Both entries of a flow.
    fn put(table: &Table<FlowKey, Flow>, came: FlowKey, left: FlowKey) {
        table.put_one(&came, Flow { becomes: left, ..Flow::default() }).unwrap();
        table.put_one(&left.reversed(), Flow { becomes: came.reversed(), ..Flow::default() }).unwrap();
    }

    #[test]
    fn root_flows_that_name_an_address_anywhere_go_as_a_whole_and_others_stay() {
        const POD: [u8; 4] = [10, 244, 1, 2];
        const OTHER: [u8; 4] = [10, 244, 1, 3];
        const NODE: [u8; 4] = [192, 0, 2, 1];
        const FRONT: [u8; 4] = [10, 96, 0, 1];
        const FAR: [u8; 4] = [198, 51, 100, 7];
        let table = Table::create(&FLOWS, 64);
        let direct = |source, destination| (key(source, 40_000, destination, 80), key(source, 40_000, destination, 80));
        let concerned = [
            direct(POD, OTHER),
            direct(FAR, POD),
            // It opened a connection to a Service; it is the backend of one; the same with source NAT; it is masqueraded.
            (key(POD, 1, FRONT, 80), key(POD, 1, OTHER, 8_080)),
            (key(OTHER, 2, FRONT, 80), key(OTHER, 2, POD, 8_080)),
            (key(FAR, 3, NODE, 30_080), key(NODE, 1_024, POD, 8_080)),
            (key(POD, 4, FAR, 443), key(NODE, 1_025, FAR, 443)),
        ];
        let others = [direct(OTHER, FAR), (key(OTHER, 5, FRONT, 80), key(OTHER, 5, FAR, 8_080))];
        concerned.iter().chain(&others).for_each(|(came, left)| put(&table, *came, *left));
        assert_eq!(purge(&table, &BTreeSet::new()).unwrap(), 0);
        let addresses = BTreeSet::from([Address::from_v4(POD), Address::from_v4([10, 244, 1, 9])]);
        assert_eq!(purge(&table, &addresses).unwrap(), 2 * concerned.len() as u64);
        let mut left = BTreeSet::new();
        table.read_single(|key, _| _ = left.insert(key)).unwrap();
        let expected: BTreeSet<_> = others.iter().flat_map(|(came, left)| [*came, left.reversed()]).collect();
        assert_eq!(left, expected);
        assert_eq!(purge(&table, &addresses).unwrap(), 0);
    }

    #[test]
    fn root_all_flows_of_some_addresses_among_many_go_in_one_pass() {
        let table = Table::create(&FLOWS, 60_000);
        for number in 0..25_000_u32 {
            let [_, a, b, c] = number.to_be_bytes();
            let came = key([10, a, b, c], 40_000, [10, 96, 0, 1], 80);
            put(&table, came, key([10, a, b, c], 40_000, [10, 244, 1, (number % 250) as u8], 8_080));
        }
        // Each of the 250 addresses has a hundred flows, of two entries.
        for (addresses, forgotten) in [(1, 200), (100, 99 * 200)] {
            let gone = (0..addresses).map(|last| Address::from_v4([10, 244, 1, last])).collect();
            assert_eq!(purge(&table, &gone).unwrap(), forgotten);
        }
        assert_eq!(table.entries().unwrap(), 50_000 - 100 * 200);
    }
}
