//! CHECK: is everything still there that ADD made?

use crate::config::NetworkConfig;
use crate::environment::Environment;
use crate::error::{CniError, Code};
use crate::namespace::Namespace;
use crate::protocol::Attachment;
use crate::state::Attachments;
use crate::wiring::{host_route, pod_routes};
use crate::{agent, result};
use std::collections::BTreeSet;

/// Looks at the record, both sides of the pair, and asks the agent.
pub fn check(config: &NetworkConfig, environment: &Environment) -> Result<(), CniError> {
    let name = &environment.attachment;
    let previous = config.prev_result.as_ref().ok_or_else(|| CniError::new(Code::InvalidConfig, "checking", "prevResult is missing"))?;
    let known = Attachments::new(&config.state_dir).get(name)?.ok_or_else(|| changed("the attachment is not known"))?;
    let told: BTreeSet<_> = result::addresses_of(previous).into_iter().collect();
    if told != known.addresses.iter().copied().collect() {
        return Err(changed("the addresses are not those that ADD returned"));
    }
    let path = environment.namespace.clone().unwrap_or_default();
    let pod = Namespace::open(&path)?;
    let pod = pod.ok_or_else(|| CniError::new(Code::UnknownContainer, "opening the pod's namespace", path.display()))?;
    let configuration = agent::configuration(&config.agent_socket)?;
    pod.enter(|netlink| {
        let link = netlink.known_link(&name.ifname)?;
        let addresses = netlink.addresses(link.index)?;
        if link.mac != known.pod_mac.0 || !link.is_up || !known.addresses.iter().all(|address| addresses.contains(address)) {
            return Err(changed("the pod's device is not as ADD left it"));
        }
        let routes = netlink.routes(link.index)?;
        match pod_routes(&known.addresses, &configuration.gateways, link.index).all(|route| routes.contains(&route)) {
            true => Ok(()),
            false => Err(changed("the pod's default route is gone")),
        }
    })?;
    check_host(&known)?;
    agent::check(&config.agent_socket, name)
}

fn check_host(known: &Attachment) -> Result<(), CniError> {
    Namespace::own()?.enter(|netlink| {
        let link = netlink.known_link(&known.host_ifname)?;
        if link.index != known.host_ifindex || link.mac != known.host_mac.0 || !link.is_up {
            return Err(changed("the host's device is not as ADD left it"));
        }
        let routes = netlink.routes(link.index)?;
        match known.addresses.iter().all(|address| routes.contains(&host_route(*address, link.index))) {
            true => Ok(()),
            false => Err(changed("the node's route to the pod is gone")),
        }
    })
}

fn changed(what: &str) -> CniError {
    CniError::new(Code::Changed, "checking the attachment", what)
}
