//! Settings of the node's network stack that pods and Services need: forwarding in both families, also on each device that leads to the
//! network, and a reverse-path filter that lets pass what comes back by another device.
//!
//! Nothing more is needed. Packets that the programs translate go on from there, so the stack never takes one with a local source for
//! forged (`accept_local`); processes that use a node port at a loopback address have their sockets translated, so no packet with such
//! an address is ever routed (`route_localnet`).

use crate::error::Error;
use std::io::ErrorKind;
use std::path::Path;

const CONF: &str = "/proc/sys/net";

/// Sets what is not set. Files of a family that the kernel lacks are passed over.
pub fn apply() -> Result<(), Error> {
    // With forwarding on, the kernel ignores router advertisements unless told otherwise; a host that lives by them must go on to.
    keep_router_advertisements();
    set("ipv4/ip_forward", "1")?;
    set("ipv6/conf/all/forwarding", "1")?;
    set("ipv6/conf/default/forwarding", "1")?;
    // The effective value is the larger one of "all" and the device: 2 (loose) rules, whatever a device says.
    set("ipv4/conf/all/rp_filter", "2")?;
    set("ipv4/conf/default/rp_filter", "2")
}

/// Has a device that leads to the network forward in both families. The switches for all devices reach only those that follow them,
/// and the look-up of routes that the programs do asks the device that the packet came in on. Files that are not there are passed over.
pub fn forward(device: &str) -> Result<(), Error> {
    keep_advertisements_of(&Path::new(CONF).join("ipv6/conf").join(device));
    set(&format!("ipv4/conf/{device}/forwarding"), "1")?;
    set(&format!("ipv6/conf/{device}/forwarding"), "1")
}

/// Has the check of sources go by the marks of packets that come in on a device, too.
pub fn check_marks(device: &str) -> Result<(), Error> {
    set(&format!("ipv4/conf/{device}/src_valid_mark"), "1")
}

fn set(name: &str, value: &'static str) -> Result<(), Error> {
    let path = format!("{CONF}/{name}");
    match std::fs::read_to_string(&path) {
        Ok(current) if current.trim() == value => return Ok(()),
        Ok(current) => tracing::info!(path, from = current.trim(), to = value, "setting"),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    std::fs::write(&path, value).map_err(|source| Error::Sysctl { path, value, source })
}

fn keep_router_advertisements() {
    let Ok(devices) = std::fs::read_dir(Path::new(CONF).join("ipv6/conf")) else { return };
    devices.flatten().for_each(|device| keep_advertisements_of(&device.path()));
}

fn keep_advertisements_of(device: &Path) {
    let path = device.join("accept_ra");
    let is_on = std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1");
    let forwards = std::fs::read_to_string(device.join("forwarding")).is_ok_and(|value| value.trim() == "1");
    if !is_on || forwards {
        return;
    }
    if let Err(error) = std::fs::write(&path, "2") {
        tracing::warn!(path = %path.display(), %error, "cannot keep router advertisements");
    }
}
