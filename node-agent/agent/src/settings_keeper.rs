//! Tells the programmer what the Nodes mean for the programs: ranges of addresses, the node's own entry, the devices that lead to the
//! network. Level-triggered: looks at the kernel's side of it (addresses, ports) again every resync.

use crate::config::{Config, PortRange};
use crate::devices;
use crate::nodes::Outlook;
use crate::overlay::Routing;
use crate::programmer::Message;
use crate::settings::{self, DEFAULT_LOCAL_PORTS, free_ports, port_conflict};
use crate::sysctl;
use crate::watch::NodesView;
use orknet_abi::Node;
use orknet_compiler::Change;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch as latest};

const LOCAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Tells the programmer until nobody looks at the Nodes any more, or it is gone. `overlay` is the index of the overlay's device, 0
/// before there is one.
pub async fn keep_settings(
    mut config: Config,
    mut views: latest::Receiver<Arc<NodesView>>,
    mut overlay: latest::Receiver<u32>,
    messages: mpsc::Sender<Message>,
    resync: Duration,
) {
    let started = Instant::now();
    let mut said = Said::default();
    let service_cidrs = config.service_cidrs.clone();
    loop {
        let (view, device) = (Arc::clone(&views.borrow_and_update()), *overlay.borrow_and_update());
        // What a former run knew of the overlay is not forgotten before it can have been found again.
        let waits_for_overlay = config.routing == Routing::Vxlan && device == 0 && started.elapsed() < resync;
        if view.is_complete && !waits_for_overlay {
            config.service_cidrs = view.service_ranges(&service_cidrs);
            for message in tell(&view.nodes, &config, device, &mut said) {
                if messages.send(message).await.is_err() {
                    return;
                }
            }
        }
        let looked = tokio::select! {
            changed = views.changed() => changed,
            changed = overlay.changed() => changed,
            () = tokio::time::sleep(resync) => Ok(()),
        };
        if looked.is_err() {
            return;
        }
    }
}

/// What is wrong at the moment and has been logged.
#[derive(Default)]
struct Said {
    port_conflict: Option<String>,
    no_device: bool,
    closed_device: Option<String>,
}

/// Logs a trouble once as long as it stays the same.
fn say(trouble: Option<String>, said: &mut Option<String>) {
    if let Some(trouble) = trouble.as_ref().filter(|trouble| said.as_ref() != Some(trouble)) {
        tracing::warn!(trouble, "a device does not forward; what comes in there for a Service is lost");
    }
    *said = trouble;
}

/// Everything there is to tell.
fn tell(nodes: &Outlook, config: &Config, overlay: u32, said: &mut Said) -> Vec<Message> {
    let seen = Instant::now();
    let ports = ports(config, &mut said.port_conflict);
    let node = Node { namespace_cookie: namespace_cookie(), ..settings::node(&nodes.own, config, ports, overlay) };
    let changes = [Change::Ranges(settings::ranges(nodes, config)), Change::Settings(node)];
    let mut messages: Vec<_> = changes.into_iter().map(|change| Message::Change { change, seen, version: 0 }).collect();
    match devices::to_network(&config.devices, &nodes.own_addresses()) {
        Ok(mut found) => {
            found.extend(Some(overlay).filter(|device| *device != 0));
            if found.is_empty() && !said.no_device {
                tracing::warn!("no device has an address of this node; Services are not reached from outside");
            }
            said.no_device = found.is_empty();
            let failures = found.iter().filter_map(|index| devices::name(*index)).filter_map(|device| sysctl::forward(&device).err());
            say(failures.map(|error| error.to_string()).next(), &mut said.closed_device);
            messages.push(Message::Network(found));
        }
        Err(error) => tracing::warn!(%error, "cannot read the addresses of the devices"),
    }
    messages
}

/// By this number programs tell processes of the node from those of pods.
fn namespace_cookie() -> u64 {
    orknet_dataplane::namespace_cookie()
        .inspect_err(
            |error| tracing::warn!(%error, "node ports are not reached at loopback addresses: the network namespace has no number"),
        )
        .unwrap_or(0)
}

/// The ports of source NAT; says so when they are not as they should be, once.
fn ports(config: &Config, said: &mut Option<String>) -> PortRange {
    let local = std::fs::read_to_string(LOCAL_PORTS).ok().and_then(|text| local_ports(&text)).unwrap_or(DEFAULT_LOCAL_PORTS);
    let ports =
        config.nat_ports.or_else(|| free_ports([local, config.node_port_range])).unwrap_or(PortRange { first: 1_024, last: 29_999 });
    let conflict = port_conflict(ports, local, config.node_port_range);
    if *said != conflict
        && let Some(conflict) = &conflict
    {
        tracing::warn!(conflict, "source NAT can meet the node's own connections; set natPorts or net.ipv4.ip_local_port_range");
    }
    *said = conflict;
    ports
}

/// Two numbers with blanks between.
fn local_ports(text: &str) -> Option<PortRange> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(PortRange { first: numbers.next()?.ok()?, last: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(local_ports("32768\t60999\n"), Some(DEFAULT_LOCAL_PORTS));
        assert_eq!(local_ports(""), None);
    }
}
