//! Whether maps that have seen many changes are as if everything were programmed at once: agents that are told of other sizes make other maps.

use crate::scene::NODES;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::{Cluster, Kubectl, eventually, programmed};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What holds policies.
const MAPS: [&str; 4] = ["PEERS", "VERDICTS", "PORTS", "RULES"];
/// Of a map that has nothing to do with them.
const OTHER_SIZE: (&str, u64) = ("AFFINITY", 70_001);

/// Programs everything anew, and compares what was with what is: the rules of these pods, and how many entries there are.
pub fn maps_are_as_fresh(cluster: &Cluster, kubectl: &Kubectl, pods: &[&str]) -> Result<()> {
    let before = (rules(cluster, pods)?, entries(cluster)?);
    let (map, size) = OTHER_SIZE;
    cluster.set_agents(json!({"dataplane": {"capacities": {map: size}}}))?;
    NODES.iter().try_for_each(|node| cluster.signal(node, "agent", Signal::SIGKILL))?;
    cluster.up_again(&["--bare"])?;
    for node in NODES {
        eventually("other maps to be at work", || {
            let maps = cluster.orknet(&["maps", "--node", node])?;
            let has_room = |line: &str| matches!(line.split_whitespace().collect::<Vec<_>>()[..], [name, _, room, ..] if name == map && room == size.to_string());
            ensure!(maps.lines().any(has_room), "{maps}");
            Ok(())
        })?;
    }
    programmed::settle(kubectl)?;
    let (rules, entries) = (rules(cluster, pods)?, entries(cluster)?);
    for (pod, fresh) in &rules {
        ensure!(before.0.get(pod) == Some(fresh), "{pod} has {:#}\nfresh {fresh:#}", json!(before.0.get(pod)));
    }
    ensure!(before.1 == entries, "entries: {:?}, fresh {entries:?}", before.1);
    Ok(())
}

/// By pod, what is in the maps for it, without the numbers that a node gives as it needs them.
fn rules(cluster: &Cluster, pods: &[&str]) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for pod in pods {
        let text = cluster.orknet(&["policy", "show", pod, "-o", "json"])?;
        let shown: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
        for one in shown {
            let directions: Vec<Value> = one["directions"].as_array().into_iter().flatten().map(without_numbers).collect();
            all.insert(format!("{pod} on {}", one["node"]), json!(directions));
        }
    }
    ensure!(all.values().any(|rules| rules.to_string().contains("otherwise")), "no pod has rules: {all:?}");
    Ok(all)
}

/// What holds for whom, by their addresses, and by which rule of which policy.
fn without_numbers(direction: &Value) -> Value {
    let rule = |said: &Value| {
        let rules = direction["rules"].as_array().into_iter().flatten();
        let known = rules.filter(|rule| rule["number"] == said["rule"]);
        let names: Vec<Value> = known.map(|rule| json!([rule["policy"], rule["index"]])).collect();
        json!([said["action"], names])
    };
    let verdict = |verdict: &Value| {
        let members = &direction["peers"][verdict["peers"].to_string()];
        let ports = verdict["ports"].as_array().into_iter().flatten();
        let ports: Vec<Value> = ports.map(|port| json!([port["protocol"], port["first"], port["last"], rule(&port["said"])])).collect();
        json!({"of": members, "ports": ports, "otherwise": rule(&verdict["otherwise"])})
    };
    let mut verdicts: Vec<Value> = direction["verdicts"].as_array().into_iter().flatten().map(verdict).collect();
    verdicts.sort_by_key(Value::to_string);
    json!({"direction": direction["direction"], "verdicts": verdicts})
}

/// By node and map, how many entries there are.
fn entries(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for node in NODES {
        let text = cluster.orknet(&["maps", "--node", node])?;
        for line in text.lines() {
            if let [name, used, ..] = line.split_whitespace().collect::<Vec<_>>()[..]
                && MAPS.contains(&name)
            {
                all.insert(format!("{node} {name}"), used.to_owned());
            }
        }
    }
    ensure!(all.len() == NODES.len() * MAPS.len(), "{all:?}");
    Ok(all)
}
