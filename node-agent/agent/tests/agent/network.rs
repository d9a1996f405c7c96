//! Routes, kernel settings, metrics and cleaning up, in a namespace of the test's own.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, ip, node};
use crate::policies::{UID, attachment, closes, cluster, entry, web};
use orknet_agent::Config;
use orknet_agent::routes::{Router, Routes, Target};
use orknet_cni::protocol::{Answer, Request};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub fn uplink() {
    ip("link add uplink type veth peer name other");
    ip("address add 192.0.2.1/24 dev uplink");
    ip("address add 2001:db8::1/64 dev uplink nodad");
    ip("link set other up");
    ip("link set uplink up");
}

/// Our routes, one per line, sorted.
fn own_routes() -> Vec<String> {
    let text = [ip("-4 route show proto 79"), ip("-6 route show proto 79")].concat();
    let mut lines: Vec<_> = text.lines().map(|line| line.split(" dev ").next().unwrap().trim().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn root_routes_follow_the_nodes_in_both_families() {
    in_namespace(|| async {
        uplink();
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        // A route of a former agent to a node that is gone, and one that is not ours.
        ip("route add 10.244.9.0/24 via 192.0.2.9 proto 79");
        ip("route add 10.9.0.0/16 via 192.0.2.9");
        let other = node("there", &["10.244.2.0/24", "fd00:10:244:2::/64"], &["192.0.2.2", "2001:db8::2"]);
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(other.clone());
        let agent = Agent::start(&api, &dataplane);
        let expected = ["10.244.2.0/24 via 192.0.2.2", "fd00:10:244:2::/64 via 2001:db8::2", "unreachable 10.244.1.0/24"];
        eventually("the routes", || (own_routes() == expected).then_some(())).await;
        // Another address of the node, and a route that somebody removed.
        api.put(node("there", &["10.244.2.0/24", "fd00:10:244:2::/64"], &["192.0.2.3", "2001:db8::2"]));
        ip("-6 route del fd00:10:244:2::/64");
        let expected = ["10.244.2.0/24 via 192.0.2.3", "fd00:10:244:2::/64 via 2001:db8::2", "unreachable 10.244.1.0/24"];
        eventually("the new route", || (own_routes() == expected).then_some(())).await;
        api.delete(&other);
        eventually("only ours", || (own_routes() == ["unreachable 10.244.1.0/24"]).then_some(())).await;
        agent.stop().await;
        assert_eq!(own_routes(), ["unreachable 10.244.1.0/24"], "stopping must not touch the routes");
        assert!(ip("route show").contains("10.9.0.0/16 via 192.0.2.9"));
    });
}

#[test]
fn root_what_hooks_leave_of_the_services_ranges_is_unreachable() {
    in_namespace(|| async {
        uplink();
        ip("route add default via 192.0.2.254");
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let _agent = Agent::start_with(folder, &api, &dataplane, |config| {
            config.service_cidrs = ["10.96.0.0/16", "fd00:10:96::/112"].iter().map(|prefix| prefix.parse().unwrap()).collect();
        });
        let expected = ["unreachable 10.244.1.0/24", "unreachable 10.96.0.0/16", "unreachable fd00:10:96::/112"];
        eventually("the routes", || (own_routes() == expected).then_some(())).await;
        let started = std::time::Instant::now();
        let error = tokio::net::TcpStream::connect(("10.96.1.1", 80)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    });
}

#[test]
fn root_a_host_that_is_no_node_reaches_the_pods_of_all_nodes() {
    in_namespace(|| async {
        uplink();
        let api = FakeApi::new();
        let gone = node("two", &["10.244.2.0/24"], &["192.0.2.3"]);
        api.put(node("one", &["10.244.1.0/24", "fd00:10:244:1::/64"], &["192.0.2.2", "2001:db8::2"]));
        api.put(gone.clone());
        let shutdown = tokio_util::sync::CancellationToken::new();
        let resync = Duration::from_secs(1);
        let keeper = tokio::spawn(orknet_agent::keep_pod_routes(api.client(), resync, shutdown.clone()));
        let expected = ["10.244.1.0/24 via 192.0.2.2", "10.244.2.0/24 via 192.0.2.3", "fd00:10:244:1::/64 via 2001:db8::2"];
        eventually("the routes", || (own_routes() == expected).then_some(())).await;
        api.delete(&gone);
        eventually("one route to go", || (own_routes() == [expected[0], expected[2]]).then_some(())).await;
        shutdown.cancel();
        keeper.await.unwrap().unwrap();
        assert_eq!(own_routes(), [expected[0], expected[2]], "stopping must not touch the routes");
    });
}

#[test]
fn root_a_route_that_cannot_be_made_does_not_keep_the_others_away() {
    in_namespace(|| async {
        uplink();
        let router = Router::connect().unwrap();
        let good = ("10.244.2.0/24".parse().unwrap(), Target::Via("192.0.2.2".parse().unwrap()));
        let unreachable_gateway = ("10.244.1.0/24".parse().unwrap(), Target::Via("198.51.100.1".parse().unwrap()));
        let wanted = Routes::from([unreachable_gateway, good]);
        assert_eq!(router.reconcile(&wanted).await.unwrap().len(), 1);
        assert_eq!(own_routes(), ["10.244.2.0/24 via 192.0.2.2"]);
    });
}

#[test]
fn root_routes_are_read_as_they_were_written_and_all_go() {
    in_namespace(|| async {
        uplink();
        let router = Router::connect().unwrap();
        let route = |prefix: &str, target| (prefix.parse().unwrap(), target);
        let wanted = Routes::from([
            route("10.244.1.0/24", Target::Unreachable),
            route("10.244.2.0/24", Target::Via("192.0.2.2".parse().unwrap())),
            route("fd00:1::/64", Target::Unreachable),
            route("fd00:2::/64", Target::Via("2001:db8::2".parse().unwrap())),
        ]);
        for routes in [&wanted, &wanted, &Routes::new()] {
            let failures = router.reconcile(routes).await.unwrap();
            assert!(failures.is_empty(), "{failures:?}");
            assert_eq!(router.own_routes().await.unwrap(), *routes);
        }
        // From one kind to the other.
        for target in [Target::Unreachable, Target::Via("2001:db8::2".parse().unwrap()), Target::Unreachable] {
            let routes = Routes::from([route("fd00:1::/64", target)]);
            assert!(router.reconcile(&routes).await.unwrap().is_empty());
            assert_eq!(router.own_routes().await.unwrap(), routes);
        }
    });
}

#[test]
fn root_the_node_forwards_when_the_agent_is_up() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        let agent = Agent::start(&api, &dataplane);
        eventually("the agent is up", || agent.config.socket.exists().then_some(())).await;
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap().trim().to_owned();
        assert_eq!(read("ipv4/ip_forward"), "1");
        assert_eq!(read("ipv6/conf/all/forwarding"), "1");
        assert_eq!(read("ipv4/conf/all/rp_filter"), "2");
    });
}

#[test]
fn root_a_device_with_the_nodes_address_forwards_whatever_somebody_set() {
    in_namespace(|| async {
        uplink();
        let path = |family: &str| format!("/proc/sys/net/{family}/conf/uplink/forwarding");
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        for family in ["ipv4", "ipv6"] {
            std::fs::write(path(family), "0").unwrap();
            eventually("forwarding", || (std::fs::read_to_string(path(family)).unwrap().trim() == "1").then_some(())).await;
        }
    });
}

/// What the agent of this namespace serves at a path.
async fn get(path: &str) -> String {
    // The only listening socket of the namespace.
    let port = eventually("a listening port", || {
        let text = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let line = text.lines().find(|line| line.split_whitespace().nth(3) == Some("0A"))?.to_owned();
        u16::from_str_radix(line.split_whitespace().nth(1)?.split(':').nth(1)?, 16).ok()
    })
    .await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn root_only_what_changes_something_is_measured() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(web(UID, "web"));
        api.put(closes("a", "other"));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        let measured = async || -> usize {
            let page = get("/metrics").await;
            let count = page.lines().find_map(|line| line.strip_prefix("orknet_policy_programming_seconds_count "));
            count.unwrap().parse().unwrap()
        };
        let before = measured().await;
        for number in 0..20 {
            let mut same = web(UID, "web");
            same["metadata"]["annotations"] = json!({ "number": number.to_string() });
            api.put(same);
        }
        api.put(web(UID, "other"));
        eventually("the last one is in the maps", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
        // Answered behind the plan.
        agent.ask(&Request::Status).await;
        assert_eq!(measured().await, before + 1);
    });
}

#[test]
fn root_metrics_and_health_are_served() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let _agent = Agent::start_in(folder, &api, &dataplane);
        assert!(get("/healthz").await.ends_with("ok"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !get("/readyz").await.ends_with("ok") {
            assert!(Instant::now() < deadline, "the agent does not become ready");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let metrics = get("/metrics").await;
        for line in [
            "orknet_drops_total{reason=\"no-endpoints\"} 3",
            "orknet_map_entries{map=\"SERVICES\"} 0",
            "orknet_map_capacity{map=\"SERVICES\"} 100",
            "orknet_synced 1",
            "orknet_programming_seconds_count",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
        // The page names every metric, and nothing that there is not; some are there only after a pass of the collector.
        let page = include_str!("../../../../docs/how-to/watch-a-node.md");
        let rows = page.lines().filter(|line| line.starts_with("| `orknet_"));
        let named: BTreeSet<&str> = rows.flat_map(|row| row.split('`').filter(|word| word.starts_with("orknet_"))).collect();
        let mut served = BTreeSet::new();
        while served != named {
            assert!(Instant::now() < deadline, "named {named:?}, served {served:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            served = names(&get("/metrics").await).into_iter().filter_map(|name| named.get(name.as_str()).copied().or(Some("?"))).collect();
        }
    });
}

/// The names of the metrics in a text of OpenMetrics: counters with their suffix.
fn names(text: &str) -> Vec<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect()
}

#[test]
fn root_cleanup_removes_routes_and_socket_and_can_be_repeated() {
    in_namespace(|| async {
        uplink();
        ip("route add 10.244.2.0/24 via 192.0.2.2 proto 79");
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { socket: folder.path().join("agent.sock"), ..Config::default() };
        config.dataplane.pin_dir = folder.path().join("pins");
        std::fs::write(&config.socket, "").unwrap();
        for _ in 0..2 {
            orknet_agent::cleanup(&config).await.unwrap();
            assert_eq!(own_routes(), Vec::<String>::new());
            assert!(!config.socket.exists());
        }
    });
}

#[test]
fn root_settings_that_make_no_sense_end_the_start() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        let config = Config::default();
        let run = orknet_agent::run_with(config, api.client(), dataplane, tokio_util::sync::CancellationToken::new());
        assert!(run.await.unwrap_err().to_string().contains("nodeName"));
    });
}
