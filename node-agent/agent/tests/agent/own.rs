//! The way of the node's own packets to Services: devices, rules and routes, in a namespace of the test's own.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, ip, node, service, slice};
use crate::network::uplink;
use crate::whole::{Cgroup, CleanUp, RealAgent, config};
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Rules and routes for the node's own packets, one per line, sorted.
fn own_way() -> Vec<String> {
    let routes = [ip("-4 route show table all proto 79"), ip("-6 route show table all proto 79")].concat();
    let rules = [ip("-4 rule show"), ip("-6 rule show")].concat();
    let rules =
        rules.lines().filter(|rule| rule.contains("lookup 798")).map(|rule| rule.split("lookup").next().unwrap().replace('\t', " "));
    let routes = routes.lines().filter(|route| route.contains("table 798")).map(|route| route.split(" metric ").next().unwrap().to_owned());
    let mut lines: Vec<_> = routes.chain(rules).map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

fn index_of(device: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(device).ok()
}

const WHOLE: [&str; 14] = [
    "10.96.0.0/16 dev orknet0 table 7980 scope link src 192.0.2.1",
    "2001:db8:113::5 dev orknet0 table 7981 src 2001:db8::1",
    "203.0.113.5 dev orknet0 table 7981 scope link src 192.0.2.1",
    "32790: from all iif lo",
    "32790: from all iif lo",
    "7980: from all iif lo",
    "7980: from all iif lo",
    "7981: from all iif lo ipproto icmp",
    "7981: from all iif lo ipproto ipv6-icmp",
    "7981: from all iif lo ipproto sctp",
    "7981: from all iif lo ipproto sctp",
    "7982: from all fwmark 0x6e6b726f iif lo",
    "fd00:10:96::/112 dev orknet0 table 7980 src 2001:db8::1",
    "throw 10.96.7.7 table 7980",
];

#[test]
fn root_the_nodes_own_packets_to_services_have_a_way_that_is_repaired_and_removed() {
    in_namespace(|| async {
        uplink();
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1", "2001:db8::1"]));
        let mut balanced = service("balanced", "10.96.0.1");
        balanced["spec"]["type"] = "LoadBalancer".into();
        balanced["spec"]["clusterIPs"] = json!(["10.96.0.1", "fd00:10:96::1"]);
        // A node's address is not led away, whatever a Service says.
        balanced["spec"]["externalIPs"] = json!(["192.0.2.2"]);
        balanced["status"]["loadBalancer"]["ingress"] = json!([{ "ip": "203.0.113.5" }, { "ip": "2001:db8:113::5" }]);
        api.put(node("there", &[], &["192.0.2.2"]));
        let mut foreign = service("foreign", "10.96.7.7");
        foreign["metadata"]["labels"] = json!({ "service.kubernetes.io/service-proxy-name": "other" });
        api.put(balanced.clone());
        api.put(foreign);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let pins = folder.path().join("bpf");
        let agent = Agent::start_with(Arc::clone(&folder), &api, &dataplane, |config| {
            config.service_cidrs = ["10.96.0.0/16", "fd00:10:96::/112"].iter().map(|prefix| prefix.parse().unwrap()).collect();
            config.dataplane.pin_dir = pins;
        });
        eventually("the way", || (own_way() == WHOLE).then_some(())).await;
        let program = || *dataplane.own.lock().unwrap();
        assert_eq!(program(), index_of("orknet1"));
        let led = |to: &str| ip(&format!("route get {to}"));
        assert!(led("10.96.9.9").contains("dev orknet0") && led("10.96.9.9").contains("src 192.0.2.1"), "{}", led("10.96.9.9"));
        assert!(led("203.0.113.5").contains("dev orknet0"), "nothing else leads there");

        for (broken, how) in [
            ("the pair", "link del orknet0"),
            ("a device", "link set orknet0 down"),
            ("a rule", "rule del pref 7980"),
            ("a table", "-6 route flush table 7981"),
        ] {
            ip(how);
            assert_ne!(own_way(), WHOLE);
            eventually(&format!("{broken} to be there again"), || (own_way() == WHOLE && program() == index_of("orknet1")).then_some(()))
                .await;
        }
        // Another agent uses what it finds.
        let (near, config) = (index_of("orknet0"), agent.config.clone());
        let folder = agent.stop().await;
        assert_eq!(own_way(), WHOLE, "stopping takes nothing away");
        let agent = Agent::start_with(folder, &api, &dataplane, |other| *other = config.clone());
        balanced["status"]["loadBalancer"]["ingress"] = json!([{ "ip": "203.0.113.6" }]);
        api.put(balanced);
        eventually("the new address", || own_way().contains(&WHOLE[2].replace(".5", ".6")).then_some(())).await;
        assert_eq!(index_of("orknet0"), near);
        agent.stop().await;
        orknet_agent::cleanup(&config).await.unwrap();
        assert_eq!((own_way(), index_of("orknet0"), index_of("orknet1")), (vec![], None, None));
    });
}

/// One ping by a process of the node, answered within two seconds.
fn ping(address: &str) -> bool {
    let shown = Command::new("busybox").args(["ping", "-c", "1", "-W", "2", address]).output().unwrap();
    shown.status.success()
}

#[test]
fn root_services_answer_what_the_node_sends_past_its_sockets() {
    in_namespace(|| async {
        uplink();
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let mut config = config(folder.path(), &cgroup);
        config.service_cidrs = ["10.96.0.0/16", "fd00:10:96::/112"].iter().map(|prefix| prefix.parse().unwrap()).collect();
        let _clean_up = CleanUp(config.clone());
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24", "fd00:10:244:1::/64"], &["192.0.2.1", "2001:db8::1"]));
        let mut web = service("web", "10.96.0.1");
        web["spec"]["type"] = "LoadBalancer".into();
        web["spec"]["clusterIPs"] = json!(["10.96.0.1", "fd00:10:96::1"]);
        web["status"]["loadBalancer"]["ingress"] = json!([{ "ip": "203.0.113.5" }, { "ip": "2001:db8:113::5" }]);
        api.put(web);
        let agent = RealAgent::start(&config, &api);
        const FRONTS: [&str; 4] = ["10.96.0.1", "fd00:10:96::1", "203.0.113.5", "2001:db8:113::5"];
        let all_answer = || FRONTS.into_iter().all(ping).then_some(());
        eventually("pings to be answered without endpoints", all_answer).await;
        assert!(!ping("10.96.0.2"), "nobody has the address");
        // Where a default route would take them to the network, too.
        ip("route add default via 192.0.2.254");
        ip("-6 route add default via 2001:db8::fe");
        all_answer().unwrap();
        ip("route del default");
        ip("-6 route del default");
        // This process is outside of the hooks' cgroup: it is refused, not left waiting.
        let patience = Duration::from_secs(5);
        for front in ["10.96.0.1:80", "[fd00:10:96::1]:80", "10.96.0.1:81", "203.0.113.5:81", "[2001:db8:113::5]:81"] {
            let refused = TcpStream::connect_timeout(&front.parse().unwrap(), patience).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{front}");
        }
        // A backend on the node itself hears this process, and believes to hear the Service.
        let listener = TcpListener::bind("192.0.2.1:8080").unwrap();
        api.put(slice("web", &["192.0.2.1"]));
        for front in ["10.96.0.1:80", "203.0.113.5:80"] {
            let front: SocketAddr = front.parse().unwrap();
            let connect = || TcpStream::connect_timeout(&front, patience).ok();
            let stream = eventually(&format!("{front} to be reached"), connect).await;
            let (_, seen) = listener.accept().unwrap();
            assert_eq!((stream.peer_addr().unwrap(), seen.ip()), (front, front.ip()));
        }

        // What a stopped agent leaves works on, and the next one puts its program in its place.
        agent.stop().await;
        all_answer().unwrap();
        let agent = RealAgent::start(&config, &api);
        all_answer().unwrap();
        ip("link del orknet1");
        ip("rule del pref 7980");
        agent.stop().await;
        let agent = RealAgent::start(&config, &api);
        eventually("pings to be answered on a new device", all_answer).await;
        agent.stop().await;
        orknet_agent::cleanup(&config).await.unwrap();
        assert!(own_way().is_empty() && index_of("orknet0").is_none());
    });
}
