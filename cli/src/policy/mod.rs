//! `orknet policy list | show`: what policies say about pods, from the pinned maps of the nodes that are here, as rules in words and as map
//! entries. Names come from the API server if it can be reached; no agent is asked.

mod known;
mod list;

use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use crate::inspect::print::Column::{Number, Text};
use crate::inspect::print::{View, print};
use crate::inspect::{Inspect, nodes};
use crate::names::{self, unknown_policy};
use anyhow::{Context, Result, bail};
use known::{HeldRule, Known, Whereabouts};
use orknet_abi::{Address, PodKey, Rule, direction};
use orknet_compiler::MapImage;
use orknet_compiler::facts::{ObjectName, Uid};
use orknet_compiler::rows::{PodPolicyRow, action_name, rule_path};
use orknet_dataplane::Reader;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Directions of rules, by name and number.
const WAYS: [(&str, u32); 2] = [("ingress", direction::INGRESS), ("egress", direction::EGRESS)];
/// Addresses of a peer set that a table shows.
const SHOWN: usize = 4;

/// What policies say about pods, by the maps of their nodes.
#[derive(clap::Args)]
pub struct Policy {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Lists the pods of all nodes that are here, or of one: whether policies isolate them, and which hold for them.
    List {
        /// Only pods of this namespace.
        #[arg(long, short)]
        namespace: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// Shows the rules for a pod, in their order and as map entries.
    Show {
        /// `namespace/name`, `name`, or an address.
        pod: String,
        /// The namespace of a pod that is named without one.
        #[arg(long, short, default_value = "default")]
        namespace: String,
        #[command(flatten)]
        at: Where,
    },
}

#[derive(clap::Args)]
struct Where {
    #[command(flatten)]
    maps: Inspect,
    /// Where names are looked up (default: the local cluster, or as kubectl does).
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

/// Prints it.
pub fn run(options: Policy) -> Result<()> {
    match options.what {
        What::List { namespace, at } => {
            let (known, _) = known(&at);
            list::list(&at.maps, namespace.as_deref(), &known)
        }
        What::Show { pod, namespace, at } => {
            let (known, why_unknown) = known(&at);
            let wanted = wanted(&pod, &namespace);
            let addresses = addresses_of(&wanted, &known, why_unknown)?;
            let mut unread = Vec::new();
            for node in nodes(&at.maps)? {
                let read = Reader::open(&node.pin_dir).and_then(|reader| Ok((reader.pods()?, reader)));
                let (pods, reader) = match read {
                    Ok(read) => read,
                    Err(error) => {
                        unread.push(format!("the maps of {} cannot be read: {error}", node.name));
                        continue;
                    }
                };
                if let Some(address) = addresses.iter().find(|address| pods.contains_key(&PodKey { address: **address })) {
                    return print(&show(&node.name, *address, &reader.image()?, &known)?, at.maps.output);
                }
            }
            let whereabouts = if let Wanted::Named(name) = &wanted { known.whereabouts(name) } else { None };
            let at = whereabouts.and_then(|pod| pod.node.as_ref()).map(|node| format!(" (it is on {node})")).unwrap_or_default();
            let unread = unread.iter().map(|why| format!("; {why}")).collect::<String>();
            bail!("{pod} is a pod of none of these nodes, or has no network yet{at}{unread}")
        }
    }
}

/// A pod, as it was asked for.
enum Wanted {
    Address(Address),
    Named(ObjectName),
}

fn wanted(pod: &str, namespace: &str) -> Wanted {
    if let Ok(address) = pod.parse::<IpAddr>() {
        return Wanted::Address(address.into());
    }
    // As kubectl writes it, too.
    let pod = pod.strip_prefix("pod/").unwrap_or(pod);
    let (namespace, name) = pod.split_once('/').unwrap_or((namespace, pod));
    Wanted::Named(ObjectName { namespace: namespace.into(), name: name.into() })
}

/// What the API server knows; what keeps it from being asked is told, and goes for nothing.
fn known(at: &Where) -> (Known, Option<anyhow::Error>) {
    let cluster = Cluster::new(at.maps.name.as_deref().unwrap_or(DEFAULT_NAME)).ok().filter(|cluster| cluster.kubeconfig_path().exists());
    match Known::load(at.kubeconfig.clone(), cluster.filter(|_| at.maps.pin_dir.is_none()).as_ref()) {
        Ok(known) => (known, None),
        Err(error) => {
            eprintln!("orknet: names are not known: {error:#}");
            (Known::default(), Some(error))
        }
    }
}

fn addresses_of(pod: &Wanted, known: &Known, why_unknown: Option<anyhow::Error>) -> Result<Vec<Address>> {
    let name = match pod {
        Wanted::Address(address) => return Ok(vec![*address]),
        Wanted::Named(name) => name,
    };
    let text = full_name(name);
    match known.whereabouts(name) {
        Some(pod) if pod.is_on_host => bail!("pod {text} has the network of its node: no policy holds for it"),
        Some(Whereabouts { ended: Some(phase), .. }) => bail!("pod {text} has ended ({phase}): it has no network any more"),
        Some(Whereabouts { node: None, .. }) => bail!("pod {text} has no node yet, and no network"),
        _ => {}
    }
    match (known.addresses(name), why_unknown) {
        (Some([]), _) => bail!("pod {text} has no address yet"),
        (Some(addresses), _) => Ok(addresses.to_vec()),
        (None, Some(_)) => bail!("pod {text} cannot be looked up; give its address instead"),
        (None, None) if matches!(&*name.namespace, "service" | "svc") => {
            bail!("there is no pod {text}; policies hold for pods: name one behind the Service (kubectl get endpointslices)")
        }
        (None, None) => bail!("there is no pod {text}"),
    }
}

/// The policies that hold for a pod: by the API's word, where it knows the pod, else those of the rules that the maps speak of.
fn policies(row: &PodPolicyRow, pod: Option<&ObjectName>, way: u32, image: &MapImage, known: &Known) -> Vec<String> {
    let of_api: Vec<_> =
        pod.map(|pod| known.holding(pod, way)).unwrap_or_default().iter().map(|holding| holding.policy.to_string()).collect();
    if !of_api.is_empty() {
        return of_api;
    }
    let said = row.verdicts.iter().flat_map(|verdict| verdict.ports.iter().map(|port| port.said.rule).chain([verdict.otherwise.rule]));
    let by_uid: BTreeMap<[u8; 16], &Rule> = said.filter_map(|number| image.rules.get(&number)).map(|rule| (rule.policy, rule)).collect();
    let text = |rule: &Rule| known.policy_with(Uid(rule.policy)).map_or_else(|| unknown_policy(rule), |policy| policy.to_string());
    by_uid.into_values().map(text).collect()
}

/// A rule by its number: `NetworkPolicy default/web ingress[0]`, with its name if it has one.
fn rule_text(number: u32, image: &MapImage, known: &Known) -> String {
    match image.rules.get(&number) {
        Some(rule) => names::rule_text(rule, known.policy_with(Uid(rule.policy)).as_ref(), known.rule_name(rule)),
        None => format!("rule {number}"),
    }
}

/// One pod: who it is, its rules in words, and what the maps say.
fn show(node: &str, address: Address, image: &MapImage, known: &Known) -> Result<View> {
    let held = image.pods.get(&PodKey { address }).context("the pod has gone")?;
    let rows = image.pod_policy_rows(address).context("the pod has gone")?;
    let addresses: Vec<IpAddr> =
        image.pods.iter().filter(|(_, pod)| pod.ifindex == held.ifindex).map(|(key, _)| key.address.into()).collect();
    let pod = known.pod_at(address);
    let mut view = View::default();
    view.table([Text("POD"), Text("NODE"), Text("ADDRESSES"), Number("DEVICE (INDEX)"), Text("INGRESS"), Text("EGRESS")]);
    let state = |name: &str| if rows.iter().any(|row| row.direction == name && row.is_isolated()) { "isolated" } else { "open" }.to_owned();
    let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let name = pod.map_or_else(|| "-".to_owned(), full_name);
    view.line([name, node.to_owned(), shown, held.ifindex.to_string(), state("ingress"), state("egress")]);
    let mut value = json!({"pod": pod.map(full_name), "node": node, "addresses": addresses, "ifindex": held.ifindex, "directions": []});
    let rules = rules(pod, image, known, &mut view);
    if rows.iter().any(|row| row.set != 0) {
        entries(&rows, image, known, &mut view);
    }
    let of_row = |row: &PodPolicyRow| {
        let members: BTreeMap<String, Vec<String>> = row
            .verdicts
            .iter()
            .filter(|verdict| verdict.peers != 0)
            .map(|verdict| (verdict.peers.to_string(), image.members(verdict.peers)))
            .collect();
        json!({"direction": row.direction, "set": row.set, "isolated": row.is_isolated(), "rules": rules.get(row.direction),
            "verdicts": row.verdicts, "peers": members})
    };
    value["directions"] = rows.iter().map(of_row).collect();
    view.value(value);
    Ok(view)
}

/// The rules in the order in which they are asked, in words, for each direction.
fn rules(pod: Option<&ObjectName>, image: &MapImage, known: &Known, view: &mut View) -> BTreeMap<&'static str, Vec<Value>> {
    let mut found = BTreeMap::new();
    if pod.is_some_and(|pod| WAYS.iter().all(|(_, way)| known.holding(pod, *way).is_empty())) {
        view.table([Text("no policy holds for it: everybody is let in, and everywhere out")]);
        return found;
    }
    view.table([Text("DIRECTION"), Text("TIER"), Text("RULE"), Text("ACTION"), Text("OTHER END"), Text("PORTS"), Number("NUMBER")]);
    for (name, way) in WAYS {
        let mut values = Vec::new();
        for holding in pod.map(|pod| known.holding(pod, way)).unwrap_or_default() {
            if holding.rules.is_empty() {
                view.line([
                    name.into(),
                    holding.tier.into(),
                    holding.policy.to_string(),
                    "allow".into(),
                    "nobody".into(),
                    "none".into(),
                    "-".into(),
                ]);
            }
            for HeldRule { index, name: rule_name, action, facts: rule } in &holding.rules {
                let is_it = |(_, known): &(&u32, &orknet_abi::Rule)| {
                    known.policy == holding.uid.0 && known.index == *index && u32::from(known.direction) == way
                };
                let number = image.rules.iter().find(is_it).map(|(number, _)| *number);
                let (peers, ports) = (rule.peers_text(), rule.ports_text());
                let text = rule_path(&holding.policy, name, *index, rule_name);
                let shown = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
                view.line([name.into(), holding.tier.into(), text, action_name(*action).into(), peers.clone(), ports.clone(), shown]);
                values.push(json!({"policy": holding.policy.to_string(), "tier": holding.tier, "index": index, "name": rule_name,
                    "action": action_name(*action), "peers": peers, "ports": ports, "number": number}));
            }
        }
        found.insert(name, values);
    }
    found
}

/// What the maps say, an entry a line.
fn entries(rows: &[PodPolicyRow], image: &MapImage, known: &Known, view: &mut View) {
    view.table([Text("DIRECTION"), Number("SET"), Number("PEERS"), Text("WHO"), Number("TABLE"), Text("VERDICT")]);
    for row in rows.iter().filter(|row| row.set != 0) {
        for verdict in &row.verdicts {
            let who = if verdict.peers == 0 { "everybody else".to_owned() } else { who(&image.members(verdict.peers), known) };
            let words = verdict.words(&|number| rule_text(number, image, known));
            let table = if verdict.table == 0 { "-".to_owned() } else { verdict.table.to_string() };
            view.line([row.direction.into(), row.set.to_string(), verdict.peers.to_string(), who, table, words]);
        }
    }
}

/// A peer set's ranges; the pods' names for whole addresses.
fn who(members: &[String], known: &Known) -> String {
    let name = |range: &String| {
        let address = range.strip_suffix("/32").or_else(|| range.strip_suffix("/128")).and_then(|text| text.parse::<IpAddr>().ok());
        address.and_then(|address| known.pod_at(address.into())).map_or_else(|| range.clone(), full_name)
    };
    let mut shown: Vec<String> = Vec::new();
    members.iter().map(name).for_each(|name| {
        if !shown.contains(&name) && shown.len() <= SHOWN {
            shown.push(name)
        }
    });
    match shown.as_slice() {
        [] => "nobody now".to_owned(),
        [.., _] if shown.len() > SHOWN => format!("{} and others ({} ranges)", shown[..SHOWN].join(", "), members.len()),
        _ => shown.join(", "),
    }
}

fn full_name(name: &ObjectName) -> String {
    format!("{}/{}", name.namespace, name.name)
}
