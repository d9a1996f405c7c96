//! Rule sets as kube-proxy 1.33 writes them for Services with node ports and external addresses: the chains and maps of its nftables and
//! of its iptables mode, for policy `Cluster` (pkg/proxy/nftables and pkg/proxy/iptables say which). Every Service has one endpoint; the
//! measured one stands in the middle of the others.
//!
//! Others have a cluster address and an external address each; as many as the default range of node ports has room for have one, too.

use anyhow::Result;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Services with node ports, at most: the default range has 2,768 numbers.
pub const MOST_NODE_PORTS: u32 = 2_500;
/// First of the others' node ports.
pub const FIRST_NODE_PORT: u16 = 30_000;
/// What the rules lack of the real ones, which therefore are never faster, for the report.
pub const LEFT_OUT: &str = "but for nfacct counters, which this kernel need not have";
const MARK: &str = "0x4000";
/// Whose packets to cluster addresses are not masqueraded.
const PODS: &str = "10.250.0.0/15";
/// Where Services have their cluster addresses.
const SERVICE_CIDR: &str = "10.96.0.0/12";
/// From so many endpoints on, iptables rules of endpoints have no comments.
const LARGE: u32 = 1_000;

/// The Service that traffic goes through.
pub struct Measured {
    /// Its ports, all of TCP: front, node port and endpoint have the same numbers.
    pub ports: [u16; 2],
    pub cluster: Ipv4Addr,
    pub external: Ipv4Addr,
    pub endpoint: Ipv4Addr,
    /// The node's address.
    pub node: Ipv4Addr,
}

/// One port of a Service.
struct Port {
    name: String,
    cluster: Ipv4Addr,
    external: Ipv4Addr,
    port: u16,
    node_port: Option<u16>,
    endpoint: Ipv4Addr,
    target: u16,
}

/// An external address of one of the other Services, by number.
pub fn external(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + number)
}

/// The node port of one of the other Services, if it has one.
pub fn node_port(number: u32) -> Option<u16> {
    (number < MOST_NODE_PORTS)
        .then(|| u16::try_from(number).map(|number| FIRST_NODE_PORT + number).ok())
        .flatten()
        .filter(|port| *port < 31_800)
}

fn ports(size: u32, measured: &Measured) -> Vec<Port> {
    let mut all = Vec::new();
    for number in 0..size {
        if number == size / 2 {
            all.extend(measured.ports.iter().map(|port| Port {
                name: format!("measured-{port}"),
                cluster: measured.cluster,
                external: measured.external,
                port: *port,
                node_port: Some(*port),
                endpoint: measured.endpoint,
                target: *port,
            }));
        } else {
            let cluster = Ipv4Addr::from(0x0a60_0000 + 256 + number);
            let (name, endpoint) = (format!("s{number}"), Ipv4Addr::from(0x0a80_0000 + number));
            all.push(Port { name, cluster, external: external(number), port: 80, node_port: node_port(number), endpoint, target: 8080 });
        }
    }
    all
}

/// For `nft -f -`.
pub fn nftables(size: u32, measured: &Measured) -> Result<String> {
    let mut text = String::from("table ip kube-proxy {\n");
    let (mut by_address, mut by_node_port, mut cluster) = (Vec::new(), Vec::new(), Vec::new());
    for port in ports(size, measured) {
        let Port { name, target, endpoint, .. } = &port;
        writeln!(
            text,
            "chain endpoint-{name} {{ ip saddr {endpoint} jump mark-for-masquerade; meta l4proto tcp dnat to {endpoint}:{target}; }}"
        )?;
        writeln!(
            text,
            "chain service-{name} {{ ip daddr {} tcp dport {} ip saddr != {PODS} jump mark-for-masquerade; numgen random mod 1 vmap {{ 0 : goto endpoint-{name} }}; }}",
            port.cluster, port.port
        )?;
        writeln!(text, "chain external-{name} {{ jump mark-for-masquerade; goto service-{name}; }}")?;
        cluster.push(port.cluster.to_string());
        by_address.push(format!("{} . tcp . {} : goto service-{name}", port.cluster, port.port));
        by_address.push(format!("{} . tcp . {} : goto external-{name}", port.external, port.port));
        by_node_port.extend(port.node_port.map(|number| format!("tcp . {number} : goto external-{name}")));
    }
    cluster.dedup();
    let list = |elements: &[String]| if elements.is_empty() { String::new() } else { format!("elements = {{ {} }};", elements.join(", ")) };
    write!(
        text,
        "set cluster-ips {{ type ipv4_addr; {cluster} }}
set nodeport-ips {{ type ipv4_addr; elements = {{ {node} }}; }}
map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; {by_address} }}
map service-nodeports {{ type inet_proto . inet_service : verdict; {by_node_port} }}
map firewall-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; }}
chain mark-for-masquerade {{ meta mark set meta mark or {MARK}; }}
chain masquerading {{ meta mark and {MARK} == 0 return; meta mark set meta mark xor {MARK}; masquerade fully-random; }}
chain services {{
  ip daddr . meta l4proto . th dport vmap @service-ips
  ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}}
chain firewall-check {{ ip daddr . meta l4proto . th dport vmap @firewall-ips; }}
chain service-endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
chain nodeport-endpoints-check {{ ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }}
chain cluster-ips-check {{ ip daddr @cluster-ips reject; ip daddr {{ {SERVICE_CIDR} }} drop; }}
chain reject-chain {{ reject; }}
chain filter-prerouting-pre-dnat {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
chain filter-output-pre-dnat {{ type filter hook output priority -110; ct state new jump firewall-check; }}
chain filter-input {{ type filter hook input priority 0; ct state new jump nodeport-endpoints-check; ct state new jump service-endpoints-check; }}
chain filter-forward {{ type filter hook forward priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }}
chain filter-output {{ type filter hook output priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }}
chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
chain nat-output {{ type nat hook output priority -100; jump services; }}
chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
}}
",
        cluster = list(&cluster),
        node = measured.node,
        by_address = list(&by_address),
        by_node_port = list(&by_node_port),
    )?;
    Ok(text)
}

/// For `iptables-legacy-restore`.
pub fn iptables(size: u32, measured: &Measured) -> Result<String> {
    let filter = "*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"firewall\" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment \"health checks\" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"external\" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"firewall\" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment \"forwarding\" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"portals\" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"external\" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"firewall\" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"portals\" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"marked\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"answers\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";
    let mut chains =
        String::from("*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n");
    let mut rules = format!(
        "-A PREROUTING -m comment --comment \"portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"postrouting\" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark {MARK}
-A KUBE-POSTROUTING -m comment --comment \"needs NAT\" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark {MARK}
"
    );
    for port in ports(size, measured) {
        let Port { name, target, endpoint, .. } = &port;
        let comment = |what: &str| format!("-m comment --comment \"many/{name}{what}\"");
        let of_endpoint = if size < LARGE { comment("") } else { String::new() };
        writeln!(chains, ":KUBE-SVC-{name} - [0:0]\n:KUBE-EXT-{name} - [0:0]\n:KUBE-SEP-{name} - [0:0]")?;
        for (address, chain, what) in [(port.cluster, "SVC", " cluster IP"), (port.external, "EXT", " external IP")] {
            let (comment, number) = (comment(what), port.port);
            writeln!(rules, "-A KUBE-SERVICES {comment} -m tcp -p tcp -d {address}/32 --dport {number} -j KUBE-{chain}-{name}")?;
        }
        if let Some(number) = port.node_port {
            writeln!(rules, "-A KUBE-NODEPORTS {} -m tcp -p tcp --dport {number} -j KUBE-EXT-{name}", comment(""))?;
        }
        writeln!(rules, "-A KUBE-EXT-{name} {} -j KUBE-MARK-MASQ\n-A KUBE-EXT-{name} -j KUBE-SVC-{name}", comment(" from outside"))?;
        let (cluster, number, of_cluster) = (port.cluster, port.port, comment(" cluster IP"));
        writeln!(rules, "-A KUBE-SVC-{name} {of_cluster} -m tcp -p tcp -d {cluster}/32 --dport {number} ! -s {PODS} -j KUBE-MARK-MASQ")?;
        writeln!(rules, "-A KUBE-SVC-{name} {of_endpoint} -j KUBE-SEP-{name}")?;
        writeln!(rules, "-A KUBE-SEP-{name} {of_endpoint} -s {endpoint}/32 -j KUBE-MARK-MASQ")?;
        writeln!(rules, "-A KUBE-SEP-{name} {of_endpoint} -m tcp -p tcp -j DNAT --to-destination {endpoint}:{target}")?;
    }
    // The last rule of its chain, as kube-proxy has it.
    rules.push_str("-A KUBE-SERVICES -m comment --comment \"node ports\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
    Ok(format!("{filter}{chains}{rules}COMMIT\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Measured = Measured {
        ports: [31_865, 31_866],
        cluster: Ipv4Addr::new(10, 96, 0, 200),
        external: Ipv4Addr::new(198, 51, 100, 10),
        endpoint: Ipv4Addr::new(10, 250, 1, 2),
        node: Ipv4Addr::new(10, 224, 201, 1),
    };

    #[test]
    fn every_size_has_the_measured_service_once_and_no_number_twice() {
        for size in [1, 2, 10_000] {
            let all = ports(size, &MEASURED);
            assert_eq!(all.len(), size as usize + 1, "the measured one has two ports");
            assert_eq!(all.iter().filter(|port| port.endpoint == MEASURED.endpoint).count(), 2);
            let mut numbers: Vec<u16> = all.iter().filter_map(|port| port.node_port).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count);
        }
    }

    #[test]
    fn rule_sets_lead_from_node_port_and_external_address_to_the_endpoint_and_mark_for_masquerade() {
        let text = nftables(1, &MEASURED).unwrap();
        for part in [
            "tcp . 31865 : goto external-measured-31865",
            "198.51.100.10 . tcp . 31866 : goto external-measured-31866",
            "dnat to 10.250.1.2:31865",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let text = iptables(1, &MEASURED).unwrap();
        for part in [
            "-p tcp --dport 31865 -j KUBE-EXT-measured-31865",
            "-p tcp -d 198.51.100.10/32 --dport 31866 -j KUBE-EXT-measured-31866",
            "-p tcp -d 10.96.0.200/32 --dport 31866 -j KUBE-SVC-measured-31866",
            "-p tcp -j DNAT --to-destination 10.250.1.2:31865",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
