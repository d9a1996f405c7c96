//! What kube-proxy's rule sets cost: nftables (dispatch by one map) and iptables (a chain of rules, one a Service port), loaded by hand
//! in one of two routers between two namespaces, with 1, 1,000 and 10,000 Services.

use crate::netperf::{METHOD, PORTS, TESTS, compare};
use crate::report::Section;
use crate::topology::{CLIENT, DIRECT, RULES, SERVER, Topology};
use crate::traffic::{SIZES, header, row};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// Pairs of runs.
const ROUNDS: usize = 12;

/// One rule set: how it is loaded and removed.
struct RuleSet {
    name: &'static str,
    load: fn(&Topology, u32) -> Result<()>,
    unload: fn(&Topology) -> Result<()>,
}

const RULE_SETS: [RuleSet; 2] = [
    RuleSet { name: "nftables", load: load_nftables, unload: unload_nftables },
    RuleSet { name: "iptables", load: load_iptables, unload: unload_iptables },
];

/// Measures each rule set at each size against the direct way.
pub fn measure() -> Result<Section> {
    Ok(Section {
        title: "Rule sets of kube-proxy's shape against direct",
        command: "cargo xtask bench rules",
        method: format!(
            "{METHOD} {ROUNDS} pairs, between two namespaces: through a router namespace that holds the rules, and directly through another one that holds none. One \
             endpoint for every Service, the measured Service in the middle of the others. The sets are the least that such a proxy needs: no rules \
             for connections' states and no filters, which the benchmark of services has."
        ),
        table: rows()?,
    })
}

fn rows() -> Result<Vec<Vec<String>>> {
    let topology = Topology::new()?;
    let mut rows = vec![header()];
    for rules in &RULE_SETS {
        for size in SIZES {
            (rules.load)(&topology, size).with_context(|| format!("cannot load {} Services as {}", size, rules.name))?;
            for test in TESTS {
                let (direct, service) = (DIRECT.parse()?, IpAddr::from(MEASURED));
                let comparison =
                    compare(PORTS, ROUNDS, test, direct, service, &|command| topology.run(CLIENT, command)).context(rules.name)?;
                rows.push(row(rules.name, size, "through a router", test, &comparison));
            }
            (rules.unload)(&topology)?;
        }
    }
    Ok(rows)
}

/// The measured Service's address, the same at every size: connections of an earlier rule set, still in the connection tracking
/// table, would clash with those of another address.
const MEASURED: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 200);

/// Service address of a number.
fn address(number: u32, size: u32) -> Ipv4Addr {
    if number == target(size) { MEASURED } else { Ipv4Addr::from(0x0a60_0000 + 256 + number) }
}

/// Which Service leads to the server.
fn target(size: u32) -> u32 {
    size / 2
}

/// Where a Service leads: the server, or nobody.
fn endpoint(number: u32, size: u32) -> Ipv4Addr {
    if number == target(size) { SERVER.parse().unwrap_or(Ipv4Addr::UNSPECIFIED) } else { Ipv4Addr::from(0x0a80_0000 + number) }
}

/// The ports of a Service: netperf's, or one.
fn ports(number: u32, size: u32) -> &'static [(&'static str, u16)] {
    if number == target(size) { &[("tcp", PORTS.control), ("tcp", PORTS.data), ("udp", PORTS.data)] } else { &[("tcp", 80)] }
}

fn load_nftables(topology: &Topology, size: u32) -> Result<()> {
    let mut text = String::from("table ip bench {\n");
    let mut elements = String::new();
    for number in 0..size {
        for (protocol, port) in ports(number, size) {
            let name = format!("{number}-{protocol}-{port}");
            writeln!(text, "chain endpoint-{name} {{ meta l4proto {protocol} dnat to {}:{port}; }}", endpoint(number, size))?;
            writeln!(text, "chain service-{name} {{ numgen random mod 1 vmap {{ 0 : goto endpoint-{name} }}; }}")?;
            write!(elements, "{} . {protocol} . {port} : goto service-{name}, ", address(number, size))?;
        }
    }
    let elements = elements.trim_end_matches(", ");
    writeln!(text, "map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; elements = {{ {elements} }}; }}")?;
    text.push_str("chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }\n");
    text.push_str("chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }\n");
    text.push_str(
        "chain postrouting { type nat hook postrouting priority srcnat; policy accept; meta mark & 0x4000 == 0x4000 masquerade; }\n}\n",
    );
    topology.feed(RULES, &["nft", "-f", "-"], &text)
}

fn unload_nftables(topology: &Topology) -> Result<()> {
    topology.run(RULES, &["nft", "delete", "table", "ip", "bench"]).map(|_| ())
}

fn load_iptables(topology: &Topology, size: u32) -> Result<()> {
    let mut chains = String::from("*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n");
    let mut rules = String::from(
        "-A PREROUTING -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A KUBE-POSTROUTING -j MASQUERADE\n",
    );
    for number in 0..size {
        for (protocol, port) in ports(number, size) {
            let name = format!("{number}-{protocol}-{port}");
            writeln!(chains, ":KUBE-SVC-{name} - [0:0]\n:KUBE-SEP-{name} - [0:0]")?;
            writeln!(
                rules,
                "-A KUBE-SERVICES -d {}/32 -p {protocol} -m {protocol} --dport {port} -j KUBE-SVC-{name}",
                address(number, size)
            )?;
            writeln!(rules, "-A KUBE-SVC-{name} -j KUBE-SEP-{name}")?;
            writeln!(rules, "-A KUBE-SEP-{name} -p {protocol} -m {protocol} -j DNAT --to-destination {}:{port}", endpoint(number, size))?;
        }
    }
    topology.feed(RULES, &["iptables-legacy-restore"], &format!("{chains}{rules}COMMIT\n"))
}

fn unload_iptables(topology: &Topology) -> Result<()> {
    topology.feed(RULES, &["iptables-legacy-restore"], "*nat\nCOMMIT\n")
}
