//! netperf from outside of the cluster: through a node port and a load balancer's address, beside nodes that do the same by kube-proxy's
//! rules, and one that only forwards; with few Services and with many.

use crate::arena::{self, Arena};
use crate::contest::METHOD;
use crate::proxy_rules;
use crate::report::Section;
use crate::rival::Endpoint;
use crate::services::{self, Fronts};
use crate::traffic::{SIZES, eventually_counted};
use anyhow::{Context, Result};
use orknet_tests::outside::node_addresses;
use std::net::Ipv4Addr;

/// Endpoints of each Service but the measured one.
const ENDPOINTS: u32 = 1;
/// Entries that each of them has at least: its cluster address with and without port, its external address so and from outside.
const FRONTS: u32 = 5;
const TESTS: [&str; 2] = ["TCP_CRR", "TCP_RR"];
/// The load balancer's address that leads to the cluster.
const BALANCED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const NODE: &str = "node1";

/// Measures every size, one after the other; inside a size all ways take turns.
pub fn measure() -> Result<Section> {
    let sizes = match std::env::var("ORKNET_BENCH_SIZES") {
        Ok(text) => {
            text.split(',').map(|size| size.parse().context("ORKNET_BENCH_SIZES is a list of numbers")).collect::<Result<Vec<u32>>>()?
        }
        Err(_) => SIZES.to_vec(),
    };
    Ok(Section {
        title: "Node ports and load-balancer addresses from outside",
        command: "cargo xtask bench services",
        method: format!(
            "{METHOD} From a namespace outside of the cluster: through a cluster's node to a pod on it, and through nodes of another make on the same bridge (namespaces \
             with the same devices), which find a pod behind them by the rules that kube-proxy 1.33 writes ({}), or only forward to the pod's own address (no rules). These \
             are made anew for every cell, with empty connection tracking. Every Service has a cluster address and an external address, up to {} of them have a node port; \
             every Service has one endpoint. A way's figure at the largest size against that at the smallest is told by its ratios to the way without rules, measured beside \
             it.",
            proxy_rules::LEFT_OUT,
            proxy_rules::MOST_NODE_PORTS
        ),
        table: rows(&sizes)?,
    })
}

fn rows(sizes: &[u32]) -> Result<Vec<Vec<String>>> {
    let mut arena = Arena::new("bn", 1)?;
    let kubectl = arena.kubectl();
    kubectl.run(&["create", "namespace", services::NAMESPACE])?;
    arena.serve("server", NODE, "type: LoadBalancer, ")?;
    let ingress = serde_json::json!({"status": {"loadBalancer": {"ingress": [{"ip": BALANCED}]}}}).to_string();
    kubectl.run(&["patch", "service", "server", "--subresource=status", "--type=merge", "-p", &ingress])?;
    arena.outside.route(&BALANCED.to_string(), NODE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(services::client(&arena.cluster))?;

    let [node, _] = node_addresses(NODE)?;
    let mut rows = vec![arena::header(&["Services", "through", "test"])];
    // By front and test: every way's ratio to the one without rules, at the sizes.
    let mut flat: Vec<(String, Vec<[f64; 3]>)> = Vec::new();
    let mut others = 0;
    for &size in sizes {
        if size - 1 > others {
            runtime.block_on(services::make(&client, others..size - 1, ENDPOINTS, Fronts::Outer))?;
            others = size - 1;
            eventually_counted(&arena.cluster, &[NODE], others * FRONTS)?;
        }
        for front in ["node port", "load balancer"] {
            let rivals = arena.rivals(size, Endpoint::Near).with_context(|| format!("rivals of {size} Services"))?;
            let [plain, nftables, iptables] = &rivals;
            let targets = match front {
                "node port" => [plain.pod().into(), nftables.node().into(), iptables.node().into(), node],
                _ => [plain.pod().into(), nftables.balanced().into(), iptables.balanced().into(), BALANCED.into()],
            };
            for test in TESTS {
                let outcome = arena::contest(test, &targets.map(|address| arena.outside_to(address)))
                    .with_context(|| format!("{size} Services, {front}"))?;
                rows.push(arena::row(&[&size.to_string(), front, test], test, &outcome));
                let about = format!("{front}, {test}");
                let ratios = [1, 2, 3].map(|way| outcome.ratio(way, 0).median);
                match flat.iter_mut().find(|(known, _)| *known == about) {
                    Some((_, known)) => known.push(ratios),
                    None => flat.push((about, vec![ratios])),
                }
            }
        }
    }
    rows.extend(flat.iter().filter_map(|(about, ratios)| flatness(about, sizes, ratios)));
    Ok(rows)
}

/// What is left at the largest size of each way's figure at the smallest.
fn flatness(about: &str, sizes: &[u32], ratios: &[[f64; 3]]) -> Option<Vec<String>> {
    let ([first, .., last], [at_first, .., at_last]) = (sizes, ratios) else { return None };
    let (front, test) = about.split_once(", ")?;
    let kept = at_last.iter().zip(at_first).map(|(last, first)| format!("× {:.3}", last / first));
    let mut row = vec![format!("{last} ÷ {first}"), front.to_owned(), test.to_owned(), "× 1".to_owned()];
    row.extend(kept);
    row.extend([(); 3].map(|()| String::new()));
    eprintln!("{}", row.join(", "));
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flatness_is_told_of_the_first_and_the_last_size() {
        let row = flatness("node port, TCP_RR", &[1, 10, 100], &[[0.5, 0.8, 1.0], [9.0; 3], [0.5, 0.4, 1.1]]).unwrap();
        assert_eq!(row[..7], ["100 ÷ 1", "node port", "TCP_RR", "× 1", "× 1.000", "× 0.500", "× 1.100"]);
        assert_eq!(row.len(), arena::header(&["Services", "through", "test"]).len());
        assert_eq!(flatness("node port, TCP_RR", &[1], &[[0.5; 3]]), None);
    }
}
