//! The real plugin binary in real namespaces, with a fake agent.

mod harness;

use harness::{Namespace, Node, eventually, willing};
use orknet_cni::protocol::{Answer, Attachment, HostPort, Reason, Refusal, Request, Transport};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap();
    ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()).collect()
}

/// A connection from the node to the pod and data in both directions.
fn assert_reaches(node: &Namespace, pod: &Namespace, address: IpAddr) {
    let listener = pod.enter(|| TcpListener::bind(SocketAddr::new(address, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    let mut client = node.enter(move || TcpStream::connect_timeout(&target, Duration::from_secs(5)).unwrap());
    let (mut server, from) = listener.accept().unwrap();
    assert!(!from.ip().is_loopback());
    client.write_all(b"ping").unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
}

#[test]
fn root_add_wires_a_pod_and_del_leaves_nothing() {
    let (node, pod) = (Node::with_agent(willing), Namespace::new());
    let result = node.add("c1", &pod).unwrap();
    assert_eq!(result["ips"][0]["address"], "10.244.1.2/32");
    assert_eq!(result["ips"][1]["address"], "fd00:10:244:1::2/128");
    assert_eq!(result["ips"][1]["gateway"], "fe80::1");
    assert_eq!(result["interfaces"][1]["sandbox"], pod.path().to_str().unwrap());
    assert_eq!(result["interfaces"][1]["mtu"], 1450);
    assert!(pod.ip("link show eth0").contains("mtu 1450"));
    assert!(pod.ip("link show lo").contains("UP"));
    assert!(!pod.ip("-6 address show eth0").contains("tentative"));
    for address in addresses(&result) {
        assert_reaches(&node.namespace, &pod, address);
    }
    let requests = node.requests.lock().unwrap().clone();
    let Some(Request::Attach(attachment)) = requests.iter().find(|request| matches!(request, Request::Attach(_))) else {
        panic!("the agent was not asked: {requests:?}")
    };
    assert_eq!((attachment.pod.namespace.as_str(), attachment.pod.name.as_str(), attachment.pod.uid.as_str()), ("shop", "web-0", "uid-1"));
    assert_eq!(attachment.addresses, addresses(&result));
    node.del("c1", &pod).unwrap();
    node.assert_clean();
    assert!(!pod.ip("-o link show").contains("eth0"));
}

#[test]
fn root_the_result_has_the_version_that_was_asked_for() {
    let (node, pod) = (Node::with_agent(willing), Namespace::new());
    let result = node.call("ADD", "c1", pod.path().to_str().unwrap(), json!({ "cniVersion": "1.0.0", "mtu": 1400 })).unwrap();
    assert_eq!(result["cniVersion"], "1.0.0");
    assert_eq!(result["interfaces"][1].get("mtu"), None);
    assert!(pod.ip("link show eth0").contains("mtu 1400"));
}

#[test]
fn root_ports_of_the_node_are_told_to_the_agent_and_kept() {
    let (node, pod) = (Node::with_agent(willing), Namespace::new());
    let mappings = json!([{ "HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" }]);
    node.call("ADD", "c1", pod.path().to_str().unwrap(), json!({ "runtimeConfig": { "portMappings": mappings } })).unwrap();
    let told = node.requests.lock().unwrap().iter().find_map(|request| match request {
        Request::Attach(attachment) => Some(attachment.clone()),
        _ => None,
    });
    let expected = HostPort { host_port: 8080, container_port: 80, protocol: Transport::Tcp, host_ip: None };
    assert_eq!(told.as_ref().map(|attachment| attachment.host_ports.clone()), Some(vec![expected]));
    let kept = std::fs::read(node.state_dir().join("attachments/c1@eth0.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Attachment>(&kept).ok(), told);
    let nonsense = json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 70_000, "containerPort": 80 }] } });
    assert_eq!(node.call("ADD", "c2", Namespace::new().path().to_str().unwrap(), nonsense.clone()).unwrap_err()["code"], 7);
    node.call("DEL", "c1", pod.path().to_str().unwrap(), nonsense).unwrap();
    node.assert_clean();
}

#[test]
fn root_check_sees_what_was_changed() {
    let (node, pod) = (Node::with_agent(willing), Namespace::new());
    let result = node.add("c1", &pod).unwrap();
    let check = || node.call("CHECK", "c1", pod.path().to_str().unwrap(), json!({ "prevResult": result }));
    assert_eq!(check(), Ok(Value::Null));
    node.namespace.ip("route delete 10.244.1.2/32");
    let error = check().unwrap_err();
    assert_eq!(error["code"], 102);
    assert!(error["details"].as_str().unwrap().contains("route"), "{error}");
}

#[test]
fn root_del_can_be_repeated_and_needs_neither_namespace_nor_agent() {
    let (node, pod) = (Node::with_agent(willing), Namespace::new());
    node.add("c1", &pod).unwrap();
    let gone = pod.path();
    drop(pod);
    std::fs::remove_file(node.socket()).unwrap();
    for namespace in [gone.to_str().unwrap(), ""] {
        node.call("DEL", "c1", namespace, json!({})).unwrap();
        node.assert_clean();
    }
}

#[test]
fn root_without_an_agent_add_says_try_again_and_leaves_nothing() {
    let (node, pod) = (Node::without_agent(), Namespace::new());
    let error = node.add("c1", &pod).unwrap_err();
    assert_eq!(error["code"], 11);
    assert!(error["details"].as_str().unwrap().contains("is the agent running?"), "{error}");
    node.assert_clean();
    assert!(!pod.ip("-o link show").contains("eth0"));
}

#[test]
fn root_a_refusal_of_the_agent_leaves_nothing() {
    fn refusing(request: &Request) -> Option<Answer> {
        match request {
            Request::Attach(_) => Some(Answer::Error(Refusal { reason: Reason::Failed, message: "the map is full".into() })),
            request => willing(request),
        }
    }
    let (node, pod) = (Node::with_agent(refusing), Namespace::new());
    let error = node.add("c1", &pod).unwrap_err();
    assert_eq!((error["code"].as_u64(), error["details"].as_str()), (Some(101), Some("the map is full")));
    node.assert_clean();
    assert!(!pod.ip("-o link show").contains("eth0"));
}

#[test]
fn root_a_missing_namespace_is_an_unknown_container() {
    let node = Node::with_agent(willing);
    let error = node.call("ADD", "c1", "/run/netns/orknet-not-there", json!({})).unwrap_err();
    assert_eq!(error["code"], 3);
}

#[test]
fn root_concurrent_adds_never_share_an_address() {
    let node = Node::with_agent(willing);
    let pods: Vec<_> = (0..12).map(|_| Namespace::new()).collect();
    let start = |(number, pod): (usize, &Namespace)| node.start("ADD", &format!("c{number}"), pod.path().to_str().unwrap(), &json!({}));
    let running: Vec<_> = pods.iter().enumerate().map(start).collect();
    let mut given = Vec::new();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        given.extend(addresses(&serde_json::from_slice(&output.stdout).unwrap()));
    }
    assert_eq!(given.len(), 24);
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 24);
    for pair in given.chunks(2).zip(&pods) {
        assert_reaches(&node.namespace, pair.1, pair.0[0]);
    }
}

#[test]
fn root_an_add_that_is_killed_in_the_middle_is_undone_by_del() {
    fn silent_on_attach(request: &Request) -> Option<Answer> {
        if matches!(request, Request::Attach(_)) { None } else { willing(request) }
    }
    let (node, pod) = (Node::with_agent(silent_on_attach), Namespace::new());
    let kill_in_the_middle = || {
        node.requests.lock().unwrap().clear();
        let mut child = node.start("ADD", "c1", pod.path().to_str().unwrap(), &json!({}));
        eventually("the agent is asked", || node.requests.lock().unwrap().iter().any(|request| matches!(request, Request::Attach(_))));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(node.namespace.ip("-o link show").contains("ork"));
    };
    kill_in_the_middle();
    node.del("c1", &pod).unwrap();
    node.assert_clean();
    kill_in_the_middle();
    std::fs::remove_file(node.socket()).unwrap();
    node.start_agent(willing);
    node.del("c1", &pod).unwrap();
    let result = node.add("c1", &pod).unwrap();
    assert_reaches(&node.namespace, &pod, addresses(&result)[0]);
}

#[test]
fn root_a_second_add_is_an_error_and_leaves_the_first_alone() {
    let (node, pod) = (Node::with_agent(willing), Namespace::new());
    let result = node.add("c1", &pod).unwrap();
    for container in ["c1", "c2"] {
        let error = node.add(container, &pod).unwrap_err();
        assert_eq!(error["code"], 100, "{error}");
        assert!(error["details"].as_str().unwrap().contains("already"), "{error}");
    }
    assert_reaches(&node.namespace, &pod, addresses(&result)[0]);
    assert_eq!(node.call("CHECK", "c1", pod.path().to_str().unwrap(), json!({ "prevResult": result })), Ok(Value::Null));
    node.del("c1", &pod).unwrap();
    node.assert_clean();
}

#[test]
fn root_gc_removes_what_is_not_in_use() {
    let node = Node::with_agent(willing);
    let (used, unused) = (Namespace::new(), Namespace::new());
    let kept = node.add("used", &used).unwrap();
    node.add("unused", &unused).unwrap();
    // An address of a process that died before it made anything else.
    std::fs::write(node.state_dir().join("addresses/10.244.1.77"), "died\neth0\n").unwrap();
    let valid = json!({ "cni.dev/valid-attachments": [{ "containerID": "used", "ifname": "eth0" }] });
    node.call("GC", "", "", valid).unwrap();
    assert!(!unused.ip("-o link show").contains("eth0"));
    assert!(!node.state_dir().join("addresses/10.244.1.77").exists());
    assert_reaches(&node.namespace, &used, addresses(&kept)[0]);
    assert_eq!(node.call("GC", "", "", json!({})).unwrap_err()["code"], 7);
    node.call("GC", "", "", json!({ "cni.dev/valid-attachments": [] })).unwrap();
    node.assert_clean();
}

#[test]
fn root_status_tells_whether_an_add_could_work() {
    assert_eq!(Node::with_agent(willing).call("STATUS", "", "", json!({})), Ok(Value::Null));
    assert_eq!(Node::without_agent().call("STATUS", "", "", json!({})).unwrap_err()["code"], 50);
}
