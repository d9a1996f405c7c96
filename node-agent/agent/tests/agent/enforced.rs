//! Policies with everything real but the API: what becomes of connections that are open when a pod gets its first rules, and of those of a
//! pod whose address another one gets.
//!
//! ```text
//!   pod a ── veth ── node's namespace ── veth ── pod b      ┄ then, with a's address ┄ pod c
//! ```

use crate::harness::{FakeApi, eventually, in_namespace, node};
use crate::whole::{Cgroup, CleanUp, PodNamespace, RealAgent, accept, config, plugin_for};
use orknet_abi::{Address, DropReason, Flow, FlowKey, PodKey};
use orknet_agent::config::Policy;
use orknet_agent::{Config, cleanup};
use orknet_dataplane::Reader;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// The uid of the pod of that name.
fn uid(name: &str) -> String {
    format!("00000000-0000-0000-0000-00000000000{name}")
}

fn namespace() -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "shop", "uid": uid(name), "labels": { "app": name } },
        "spec": { "nodeName": "here", "containers": [{ "name": "x" }] },
    })
}

/// A policy for the pod of that name.
fn policy(app: &str, spec: Value) -> Value {
    let mut policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": app, "namespace": "shop", "uid": uid("f") },
        "spec": spec,
    });
    policy["spec"]["podSelector"] = json!({ "matchLabels": { "app": app } });
    policy
}

/// ADD for a pod of the API; its address.
async fn add(config: &Config, name: &'static str, pod: &PodNamespace) -> IpAddr {
    let args = format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};K8S_POD_UID={}", uid(name));
    let mut result = plugin_for(config, "ADD", name, pod, Some(args.clone())).await;
    while result.as_ref().is_err_and(|error| error.contains("is the agent running") || error.contains("has not yet seen all")) {
        tokio::time::sleep(Duration::from_millis(2)).await;
        result = plugin_for(config, "ADD", name, pod, Some(args.clone())).await;
    }
    result.unwrap()["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()
}

fn reader(config: &Config) -> Reader {
    Reader::open(&config.dataplane.pin_dir).unwrap()
}

/// What a pod's rules in this direction are called.
fn egress_of(config: &Config, address: IpAddr) -> Option<u32> {
    reader(config).pods().unwrap().get(&PodKey { address: address.into() }).map(|pod| pod.egress)
}

fn refused(config: &Config, reason: DropReason) -> u64 {
    reader(config).drops().unwrap().iter().find(|(found, _)| *found == reason).map_or(0, |(_, count)| count.packets)
}

fn flows_of(config: &Config, address: IpAddr) -> Vec<(FlowKey, Flow)> {
    let address = Address::from(address);
    let names = |key: &FlowKey| key.source == address || key.destination == address;
    reader(config).flows().unwrap().into_iter().filter(|(key, flow)| names(key) || names(&flow.becomes)).collect()
}

/// One byte.
fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    from.write_all(b"x").unwrap();
    match to.read_exact(&mut [0]) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A connection from a pod to another, at both ends.
fn connect(client: &PodNamespace, server: &PodNamespace, address: IpAddr) -> (TcpStream, TcpStream) {
    let listener = server.listen(address);
    let client = client.run(|| TcpStream::connect(SocketAddr::new(address, 8080)).unwrap());
    // The listener goes on listening, by a copy of it: so it is known who was asked.
    std::mem::forget(listener.try_clone().unwrap());
    (client, accept(&listener))
}

#[test]
fn root_connections_that_are_open_when_a_pod_gets_its_first_rules_are_judged_by_who_opened_them() {
    for mode in [Policy::Strict, Policy::Lenient] {
        in_namespace(|| async move {
            let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
            let config = Config { policy: mode, ..config(folder.path(), &cgroup) };
            let _clean_up = CleanUp(config.clone());
            let api = FakeApi::new();
            api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
            api.put(namespace());
            ["a", "b"].into_iter().for_each(|name| api.put(pod(name)));
            let agent = RealAgent::start(&config, &api);
            let (a, b) = (PodNamespace::new(), PodNamespace::new());
            let (address_a, address_b) = (add(&config, "a", &a).await, add(&config, "b", &b).await);
            assert_eq!(egress_of(&config, address_b), Some(0));
            let (mut asks, mut answers) = connect(&a, &b, address_b);
            let (mut calls, mut called) = connect(&b, &a, address_a);
            assert!(passes(&mut asks, &mut answers) && passes(&mut answers, &mut asks), "{mode:?}");
            assert!(passes(&mut calls, &mut called) && passes(&mut called, &mut calls), "{mode:?}");
            assert_eq!(reader(&config).flows().unwrap(), [], "nobody takes note of pods without rules");

            // It may not open connections any more; what others open to it, it may answer.
            api.put(policy("b", json!({ "policyTypes": ["Egress"] })));
            eventually("it has rules", || egress_of(&config, address_b).filter(|set| *set != 0)).await;
            assert!(passes(&mut answers, &mut asks) && passes(&mut asks, &mut answers), "{mode:?}: an answer is one");
            assert_eq!(refused(&config, DropReason::PolicyEgress), 0, "{mode:?}");
            assert_eq!(passes(&mut calls, &mut called), mode == Policy::Lenient, "{mode:?}: a connection of its own");
            assert_eq!(refused(&config, DropReason::PolicyEgress) > 0, mode == Policy::Strict);
            let again = b.run(|| TcpStream::connect_timeout(&SocketAddr::new(address_a, 8080), Duration::from_millis(300)).map(drop));
            assert!(again.is_err(), "{mode:?}: a new one");
            agent.stop().await;
            cleanup(&config).await.unwrap();
        });
    }
}

#[test]
fn root_a_pod_gets_an_address_without_the_flows_of_the_last_one() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        let api = FakeApi::new();
        // Five addresses.
        api.put(node("here", &["10.244.1.0/29"], &["192.0.2.1"]));
        api.put(namespace());
        ["a", "b", "c"].into_iter().for_each(|name| api.put(pod(name)));
        // The server takes from the first pod alone; the rule for what it may open itself has its flows remembered.
        let from_a = json!([{ "from": [{ "podSelector": { "matchLabels": { "app": "a" } } }] }]);
        api.put(policy("b", json!({ "ingress": from_a, "policyTypes": ["Ingress", "Egress"] })));
        let agent = RealAgent::start(&config, &api);
        let (a, b, c) = (PodNamespace::new(), PodNamespace::new(), PodNamespace::new());
        let (address, address_b) = (add(&config, "a", &a).await, add(&config, "b", &b).await);
        let others = ["x", "y", "z"].map(|name| (name, PodNamespace::new()));
        for (name, namespace) in &others {
            plugin_for(&config, "ADD", name, namespace, None).await.unwrap();
        }
        let (mut asks, mut answers) = connect(&a, &b, address_b);
        assert!(passes(&mut asks, &mut answers) && passes(&mut answers, &mut asks));
        assert_ne!(flows_of(&config, address), []);
        plugin_for(&config, "DEL", "a", &a, None).await.unwrap();
        assert_ne!(flows_of(&config, address), []);
        assert_eq!(add(&config, "c", &c).await, address, "the only address that is free");
        assert_eq!(flows_of(&config, address), []);
        // Nor has it the rights of the last one.
        let asked = c.run(|| TcpStream::connect_timeout(&SocketAddr::new(address_b, 8080), Duration::from_millis(300)).map(drop));
        assert!(asked.is_err());
        assert!(refused(&config, DropReason::PolicyIngress) > 0);
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}
