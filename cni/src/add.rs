//! ADD: from nothing to a pod that the node carries packets for.

use crate::allocate::Addresses;
use crate::config::NetworkConfig;
use crate::environment::Environment;
use crate::error::{CniError, Code};
use crate::namespace::Namespace;
use crate::protocol::{Attachment, HostPort, MacAddress, NodeConfiguration};
use crate::state::Attachments;
use crate::wiring::{self, host_name};
use crate::{agent, delete, result};

/// Gives the pod its device and returns when the agent has programmed it. If anything fails, nothing is left.
pub fn add(config: &NetworkConfig, environment: &Environment) -> Result<String, CniError> {
    let path = environment.namespace.clone().unwrap_or_default();
    let unknown = || CniError::new(Code::UnknownContainer, format!("opening the namespace {}", path.display()), "it is not there");
    let pod = Namespace::open(&path)?.ok_or_else(unknown)?;
    let ifname = &environment.attachment.ifname;
    if pod.enter(|netlink| netlink.link(ifname))?.is_some() {
        // What is there may carry a pod's traffic: the specification (1.1.0, section "ADD") wants an error, and nothing touched.
        let operation = format!("making {ifname} in {}", path.display());
        return Err(CniError::new(Code::Network, operation, "a device of that name is there already"));
    }
    let host_ports = config.host_ports()?;
    // Asked first: while the agent is down there is nothing to undo.
    let configuration = agent::configuration(&config.agent_socket)?;
    // Leftovers of an ADD that died would be in the way.
    delete::free_local(config, &environment.attachment)?;
    build(config, environment, &pod, &configuration, host_ports).inspect_err(|_| {
        // The first error is the one to report; what cannot be undone now is undone by DEL or GC.
        let _ = agent::detach(&config.agent_socket, &environment.attachment);
        let _ = delete::free_local(config, &environment.attachment);
    })
}

fn build(
    config: &NetworkConfig,
    environment: &Environment,
    pod: &Namespace,
    configuration: &NodeConfiguration,
    host_ports: Vec<HostPort>,
) -> Result<String, CniError> {
    let name = &environment.attachment;
    let mtu = config.mtu.unwrap_or(configuration.mtu);
    let addresses = Addresses::open(&config.state_dir)?.allocate(&configuration.pod_cidrs, name)?;
    let pair = wiring::wire(&Namespace::own()?, pod, name, &addresses, configuration, mtu)?;
    let attachment = Attachment {
        attachment: name.clone(),
        pod: environment.pod.clone(),
        netns: environment.namespace.as_deref().map(|path| path.display().to_string()).unwrap_or_default(),
        host_ifname: host_name(name),
        host_ifindex: pair.host.index,
        host_mac: MacAddress(pair.host.mac),
        pod_mac: MacAddress(pair.pod.mac),
        addresses,
        host_ports,
    };
    // On disk before the agent hears of it: an agent that restarts from here on finds it.
    Attachments::new(&config.state_dir).put(&attachment)?;
    agent::attach(&config.agent_socket, &attachment)?;
    Ok(result::added(&config.cni_version, &attachment, &configuration.gateways, mtu))
}
