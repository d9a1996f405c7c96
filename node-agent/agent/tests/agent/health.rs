//! Health checks of balancers outside of the cluster, over real sockets.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, node, slice};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const PORT: u16 = 31_000;

/// A load-balancer Service with a port for health checks.
fn balanced(name: &str, address: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "type": "LoadBalancer", "clusterIP": address, "clusterIPs": [address], "externalTrafficPolicy": "Local",
            "healthCheckNodePort": port, "ports": [{ "name": "http", "port": 80, "nodePort": 30_080 }],
        },
    })
}

/// Endpoints of which the first `here` are on our node.
fn endpoints(service: &str, here: usize) -> Value {
    let mut object = slice(service, &["10.244.1.2", "10.244.1.3", "10.244.2.2"]);
    for (number, endpoint) in object["endpoints"].as_array_mut().unwrap().iter_mut().enumerate() {
        endpoint["nodeName"] = if number < here { "here".into() } else { "there".into() };
    }
    object
}

/// Status, weight and body of an answer; `None` if nobody listens.
fn ask(to: &str) -> Option<(u16, String, Value)> {
    let (status, weight, body) = get(to, "/anything")?;
    Some((status, weight?, body))
}

fn get(to: &str, path: &str) -> Option<(u16, Option<String>, Value)> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    assert_eq!(header("content-type: ").as_deref(), Some("application/json"));
    assert_eq!(header("x-content-type-options: ").as_deref(), Some("nosniff"));
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, header("x-load-balancing-endpoint-weight: "), serde_json::from_str(body).unwrap()))
}

fn body(endpoints: usize, is_healthy: bool) -> Value {
    json!({ "service": { "namespace": "default", "name": "web" }, "localEndpoints": endpoints, "serviceProxyHealthy": is_healthy })
}

#[test]
fn root_balancers_are_told_of_local_endpoints_for_as_long_as_the_service_asks_for_it() {
    in_namespace(|| async {
        std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").unwrap();
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(balanced("web", "10.96.0.1", PORT));
        api.put(endpoints("web", 2));
        let agent = Agent::start(&api, &dataplane);
        let (v4, v6) = (format!("127.0.0.1:{PORT}"), format!("[::1]:{PORT}"));
        let becomes = async |to: &str, expected: Option<(u16, &str, Value)>| {
            let expected = expected.map(|(status, weight, body)| (status, weight.to_owned(), body));
            eventually(&format!("{expected:?}"), || (ask(to) == expected).then_some(())).await;
        };
        becomes(&v4, Some((200, "2", body(2, true)))).await;
        becomes(&v6, Some((200, "2", body(2, true)))).await;
        api.put(endpoints("web", 0));
        becomes(&v4, Some((503, "0", body(0, true)))).await;
        api.put(endpoints("web", 1));
        becomes(&v4, Some((200, "1", body(1, true)))).await;
        // The maps can't be written any more: balancers should go elsewhere.
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(endpoints("web", 2));
        becomes(&v4, Some((503, "2", body(2, false)))).await;
        *dataplane.failing.lock().unwrap() = 0;
        becomes(&v4, Some((200, "2", body(2, true)))).await;
        // There is no room for another Service, which is no matter of this one.
        *dataplane.full.lock().unwrap() = Some(("SERVICES", 2));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(balanced("more", "10.96.0.2", PORT + 2));
        becomes(&v4, Some((200, "2", body(2, true)))).await;
        let more = eventually("the other's answer", || ask(&format!("127.0.0.1:{}", PORT + 2))).await;
        assert_eq!((more.0, &more.2["serviceProxyHealthy"]), (503, &json!(false)));
        *dataplane.failing.lock().unwrap() = 0;
        // Another port, then none.
        api.put(balanced("web", "10.96.0.1", PORT + 1));
        becomes(&v4, None).await;
        becomes(&format!("127.0.0.1:{}", PORT + 1), Some((200, "2", body(2, true)))).await;
        api.delete(&balanced("web", "10.96.0.1", PORT + 1));
        becomes(&format!("127.0.0.1:{}", PORT + 1), None).await;
        agent.stop().await;
    });
}

#[test]
fn root_a_port_that_is_taken_is_had_when_it_is_free() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let thief = std::net::TcpListener::bind("[::]:31000").unwrap();
        api.put(balanced("web", "10.96.0.1", PORT));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        drop(thief);
        // Any change makes it look again; else it would within seconds.
        eventually("the answer", || {
            api.put(endpoints("web", 1));
            ask("127.0.0.1:31000")
        })
        .await;
    });
}

#[test]
fn root_balancers_learn_that_a_node_is_about_to_go_and_that_its_maps_do_not_follow() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        let here = node("here", &["10.244.1.0/24"], &["192.0.2.1"]);
        api.put(here.clone());
        let port = 10_256;
        let agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, |config| {
            config.proxy_health_address = Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        });
        let (v4, v6) = (format!("127.0.0.1:{port}"), format!("[::1]:{port}"));
        let becomes = async |healthz: (u16, bool), livez: u16| {
            eventually(&format!("{healthz:?} and {livez}"), || {
                let is_it = |to: &String| {
                    let (Some((status, _, body)), Some((live, _, _))) = (get(to, "/healthz"), get(to, "/livez")) else { return false };
                    (status, &body["nodeEligible"], live) == (healthz.0, &Value::Bool(healthz.1), livez)
                };
                [&v4, &v6].into_iter().all(is_it).then_some(())
            })
            .await;
        };
        becomes((200, true), 200).await;
        let mut marked = here.clone();
        marked["spec"]["taints"] = json!([{ "key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule" }]);
        api.put(marked);
        becomes((503, false), 200).await;
        api.put(here.clone());
        becomes((200, true), 200).await;
        let mut going = here.clone();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        api.put(going);
        becomes((503, false), 200).await;
        api.put(here);
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(balanced("web", "10.96.0.1", PORT));
        becomes((503, true), 503).await;
        let times =
            || get(&v4, "/healthz").map(|(_, _, body)| [&body["lastUpdated"], &body["currentTime"]].map(ToString::to_string)).unwrap();
        let (one, other) = (times(), times());
        assert!(one[0] == other[0] && one[0] < one[1] && one[1] < other[1], "{one:?} {other:?}");
        *dataplane.failing.lock().unwrap() = 0;
        becomes((200, true), 200).await;
        agent.stop().await;
    });
}
