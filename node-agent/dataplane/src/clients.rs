//! Backends that clients keep by session affinity: they are kept for as long as the Service says, and forgotten then. Programs look at the
//! time only when the client comes back, so without this the entries of all others would take the room.

use crate::{
    Dataplane, Error,
    flows::monotonic_seconds,
    kernel::When,
    pace::{self, Pace, Rest, paced},
    table::Table,
};
use orknet_abi::{AffinityChoice, AffinityKey, Service, ServiceKey, scope, service_flags};
use std::collections::HashMap;

/// Seconds for which a client may keep its backend at most (`MaxClientIPServiceAffinitySeconds` in Kubernetes' validation of Services).
const LONGEST: u32 = 86_400;

impl Dataplane {
    /// Forgets the backends that clients have kept for longer than their Service says, or that have none to go by any more. How many.
    /// Reads the map, about 0.3 µs for each entry, at a `pace` as [`Self::end_lost_sockets`] does.
    ///
    /// # Errors
    /// A map that can't be read or written. What was done until then is done.
    pub fn forget_idle_clients(&self, pace: &mut Pace<'_>) -> Result<u64, Error> {
        let tables = self.reader().tables();
        let forget = |rest: &mut Rest<'_>| forget(&tables.affinity, &tables.services, monotonic_seconds(), rest);
        paced(pace, forget).unwrap_or(Ok(0))
    }
}

fn forget(
    affinity: &Table<AffinityKey, AffinityChoice>,
    services: &Table<ServiceKey, Service>,
    now: u32,
    rest: &mut Rest<'_>,
) -> Result<u64, Error> {
    /// Entries that are judged in one piece of work; one that goes takes some microseconds.
    const SOME: usize = 128;
    let mut kept = Vec::new();
    pace::read(affinity, rest, |key, choice| kept.push((key, choice)))?;
    let mut times: HashMap<ServiceKey, u32> = HashMap::new();
    let mut forgotten = 0;
    for (number, (key, choice)) in kept.into_iter().enumerate() {
        if number % SOME == SOME - 1 && !rest() {
            break;
        }
        let front = ServiceKey { address: key.address, port_be: key.port_be, protocol: key.protocol, scope: scope::INSIDE };
        let time = match times.get(&front) {
            Some(time) => *time,
            None => *times.entry(front).or_insert(time_of(services.get_single(&front)?)),
        };
        if !is_over(&choice, time, now) {
            continue;
        }
        match affinity.take(&key)? {
            Some(found) if !is_over(&found, time, now) => _ = affinity.put_when(&key, found, When::Absent)?,
            Some(_) => forgotten += 1,
            None => {}
        }
    }
    Ok(forgotten)
}

/// For how many seconds clients of a Service keep their backend. One that is not there may be about to be written again.
fn time_of(service: Option<Service>) -> u32 {
    service.map_or(LONGEST, |service| if service.flags & service_flags::AFFINITY == 0 { 0 } else { service.affinity_seconds })
}

/// As programs see it. Their clock may be a moment ahead.
fn is_over(choice: &AffinityChoice, time: u32, now: u32) -> bool {
    now.saturating_sub(choice.used_seconds) > time
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{AFFINITY, Address, SERVICES, client_kind, protocol::TCP};

    const NOW: u32 = 200_000;

    #[test]
    fn root_a_client_is_forgotten_when_its_time_is_over_and_not_before() {
        let (affinity, services) = (Table::create(&AFFINITY, AFFINITY.capacity), Table::create(&SERVICES, 64));
        let front =
            |port: u16| ServiceKey { address: Address::from_v4([10, 96, 0, 1]), port_be: port, protocol: TCP, scope: scope::INSIDE };
        let service = |flags, affinity_seconds| Service { flags, affinity_seconds, ..Service::default() };
        services.put_one(&front(1), service(service_flags::AFFINITY, 100)).unwrap();
        services.put_one(&front(2), service(service_flags::AFFINITY, 10_800)).unwrap();
        services.put_one(&front(3), service(0, 0)).unwrap();
        // Port, idle for so long, whether it stays; nobody serves port 4 now.
        let clients = [
            (1, 100, true),
            (1, 101, false),
            (2, 10_800, true),
            (2, 10_801, false),
            (3, 1, false),
            (4, LONGEST, true),
            (4, LONGEST + 1, false),
        ];
        let key = |number: usize| AffinityKey {
            client: Address::from_v4([10, 244, 0, number as u8]),
            address: front(0).address,
            port_be: clients[number].0,
            protocol: TCP,
            client_kind: client_kind::ADDRESS,
        };
        for (number, (_, idle, _)) in clients.iter().enumerate() {
            affinity.put_one(&key(number), AffinityChoice { used_seconds: NOW - idle, ..AffinityChoice::default() }).unwrap();
        }
        assert_eq!(forget(&affinity, &services, NOW, &mut || true).unwrap(), 4);
        for (number, (_, _, stays)) in clients.iter().enumerate() {
            assert_eq!(affinity.get_single(&key(number)).unwrap().is_some(), *stays, "{:?}", clients[number]);
        }
        assert_eq!(forget(&affinity, &services, NOW, &mut || true).unwrap(), 0);
    }
}
