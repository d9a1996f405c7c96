//! `orknet policy list`: the pods of all nodes whose maps are on this host. Of nodes that cannot be looked into, why.

use super::known::Known;
use super::{WAYS, full_name, policies};
use crate::inspect::print::Column::Text;
use crate::inspect::print::{View, print};
use crate::inspect::{Inspect, nodes};
use anyhow::{Result, bail};
use orknet_abi::{Address, Node};
use orknet_compiler::MapImage;
use orknet_dataplane::Reader;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Prints it. Nodes that cannot be looked into are told of on standard error.
///
/// # Errors
/// When none of the nodes that were asked for can be looked into.
pub fn list(options: &Inspect, namespace: Option<&str>, known: &Known) -> Result<()> {
    let mut view = View::default();
    view.table([
        Text("NODE"),
        Text("POD"),
        Text("ADDRESSES"),
        Text("INGRESS"),
        Text("INGRESS POLICIES"),
        Text("EGRESS"),
        Text("EGRESS POLICIES"),
    ]);
    let (mut seen, mut unread) = (BTreeSet::new(), Vec::new());
    for node in nodes(options)? {
        let read = Reader::open(&node.pin_dir).and_then(|reader| Ok((reader.image()?, reader.node()?.unwrap_or_default())));
        match read {
            Ok((image, settings)) => {
                let name = known.node_at(&addresses_of(&settings)).map_or(node.name, str::to_owned);
                rows(&mut view, &name, namespace, &image, known);
                seen.insert(name);
            }
            Err(error) => {
                unread.push(format!("{}: its maps cannot be read: {error}", node.name));
                seen.insert(node.name);
            }
        }
    }
    if unread.len() == seen.len() {
        bail!("{}", unread.join("\n        "));
    }
    print(&view, options.output)?;
    unread.iter().for_each(|why| eprintln!("orknet: {why}"));
    if options.is_about_all() {
        known.nodes().filter(|node| !seen.contains(*node)).for_each(|node| {
            eprintln!("orknet: {node}: its maps are not on this host; ask there: orknet policy list");
        });
    }
    Ok(())
}

fn addresses_of(node: &Node) -> Vec<Address> {
    [node.v4, node.v6].into_iter().filter(|address| *address != Address::default()).collect()
}

/// The pods of a node, by device.
fn rows(view: &mut View, node: &str, namespace: Option<&str>, image: &MapImage, known: &Known) {
    let mut pods: BTreeMap<u32, Vec<Address>> = BTreeMap::new();
    image.pods.iter().for_each(|(key, pod)| pods.entry(pod.ifindex).or_default().push(key.address));
    for (device, addresses) in pods {
        let pod = addresses.iter().find_map(|address| known.pod_at(*address));
        if namespace.is_some_and(|wanted| pod.is_none_or(|pod| &*pod.namespace != wanted)) {
            continue;
        }
        let shown: Vec<IpAddr> = addresses.iter().map(|address| (*address).into()).collect();
        let rows = addresses.first().and_then(|address| image.pod_policy_rows(*address)).unwrap_or_default();
        let mut value = json!({"node": node, "pod": pod.map(full_name), "addresses": shown, "ifindex": device});
        let mut cells = Vec::new();
        for (name, way) in WAYS {
            let Some(row) = rows.iter().find(|row| row.direction == name) else { continue };
            let policies = policies(row, pod, way, image, known);
            let state = if row.is_isolated() { "isolated" } else { "open" };
            value[name] = json!({"set": row.set, "isolated": row.is_isolated(), "policies": policies});
            cells.push([state.to_owned(), if policies.is_empty() { "-".to_owned() } else { policies.join(", ") }]);
        }
        if let [ingress, egress] = cells.as_slice() {
            let pod = pod.map_or_else(|| format!("device {device}"), full_name);
            let addresses = shown.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            view.line([node.to_owned(), pod, addresses, ingress[0].clone(), ingress[1].clone(), egress[0].clone(), egress[1].clone()]);
        }
        view.value(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        maps: Inspect,
    }

    #[test]
    fn a_node_that_cannot_be_looked_into_is_told_with_the_reason() {
        let options = Options::parse_from(["list", "--pin-dir", "/nonexistent"]);
        let error = list(&options.maps, None, &Known::default()).unwrap_err().to_string();
        assert!(error.starts_with("this host: its maps cannot be read: "), "{error}");
    }
}
