//! Maps of pods, of ranges and of look-up tables that are full, with the real data plane: what the node says, that the rest works, and that
//! it ends when there is room.

use crate::harness::{FakeApi, eventually, in_namespace, node, service, slice};
use crate::whole::{Cgroup, CleanUp, PodNamespace, RealAgent, add, config, plugin};
use orknet_abi::{TABLE_CHUNK, scope};
use orknet_agent::{Config, cleanup};
use orknet_compiler::MapImage;
use orknet_dataplane::Reader;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn image(config: &Config) -> MapImage {
    Reader::open(&config.dataplane.pin_dir).unwrap().image().unwrap()
}

/// What the node says while its maps are full, or are not.
fn condition(api: &FakeApi, status: &str) -> Option<String> {
    let condition = api.condition("here", "NetworkMapsFull").filter(|condition| condition["status"] == status)?;
    condition["message"].as_str().map(str::to_owned)
}

/// The condition that the map is full, and the event about it on the node.
async fn told(api: &FakeApi, map: &str) -> String {
    let begins = format!("{map} is full");
    let message = eventually("the node says so", || condition(api, "True").filter(|message| message.starts_with(&begins))).await;
    let is_it = |event: &Value| event["involvedObject"]["kind"] == "Node" && event["message"].as_str().unwrap().starts_with(&begins);
    eventually("the event", || api.events().iter().any(is_it).then_some(())).await;
    message
}

#[test]
fn root_a_pod_that_finds_no_room_is_refused_and_named_and_comes_when_another_goes() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let mut config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        config.dataplane.capacities = BTreeMap::from([("PODS".to_owned(), 1)]);
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = RealAgent::start(&config, &api);
        let (a, b) = (PodNamespace::new(), PodNamespace::new());
        add(&config, "a", &a).await;
        eventually("there is room", || condition(&api, "False")).await;
        let refused = plugin(&config, "ADD", "b", &b).await.unwrap_err();
        assert!(refused.contains("PODS") && refused.contains("full (1 entries); raise capacities.PODS"), "{refused}");
        // The kubelet takes back what failed, and the rest works: Services come into the maps.
        plugin(&config, "DEL", "b", &b).await.unwrap();
        api.put(service("web", "10.96.0.1"));
        eventually("the Service", || (!image(&config).services.is_empty()).then_some(())).await;
        eventually("there is room for all that is left", || condition(&api, "False")).await;
        plugin(&config, "DEL", "a", &a).await.unwrap();
        add(&config, "b", &b).await;
        assert_eq!(image(&config).pods.len(), 1);
        plugin(&config, "DEL", "b", &b).await.unwrap();
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}

#[test]
fn root_ranges_that_find_no_room_are_named_and_the_rest_works() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let mut config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = RealAgent::start(&config, &api);
        let ranges = || u32::try_from(image(&config).ranges.len()).unwrap();
        eventually("there is room", || condition(&api, "False")).await;
        let usual = ranges();
        agent.stop().await;
        config.dataplane.capacities = BTreeMap::from([("RANGES".to_owned(), usual)]);
        let agent = RealAgent::start(&config, &api);
        let other = node("there", &["10.244.2.0/24"], &["192.0.2.2"]);
        api.put(other.clone());
        let message = told(&api, "RANGES").await;
        assert!(
            message.contains("raise capacities.RANGES. Left out: ") && (message.contains("10.244.2.0/24") || message.contains("192.0.2.2")),
            "{message}"
        );
        api.put(service("web", "10.96.0.1"));
        eventually("the Service", || (!image(&config).services.is_empty()).then_some(())).await;
        api.delete(&other);
        eventually("there is room again", || condition(&api, "False")).await;
        let image = image(&config);
        assert_eq!(u32::try_from(image.ranges.len()).unwrap(), usual);
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}

/// A Service of a node port with two endpoints, which has a look-up table.
fn node_port(name: &str, address: &str, port: u16) -> Value {
    let mut object = service(name, address);
    object["spec"]["type"] = json!("NodePort");
    object["spec"]["ports"][0]["nodePort"] = json!(port);
    object
}

#[test]
fn root_a_table_that_finds_no_room_is_done_without_and_made_when_another_goes() {
    in_namespace(|| async {
        let (folder, cgroup) = (tempfile::tempdir().unwrap(), Cgroup::new());
        let mut config = config(folder.path(), &cgroup);
        let _clean_up = CleanUp(config.clone());
        // Room for the chunks of one table and of half another.
        let chunks = u32::try_from((config.maglev_table_size as usize).div_ceil(TABLE_CHUNK)).unwrap();
        config.dataplane.capacities = BTreeMap::from([("TABLES".to_owned(), chunks + chunks / 2)]);
        let api = FakeApi::new();
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(node_port("a", "10.96.0.1", 30_001));
        api.put(slice("a", &["10.244.1.2", "10.244.1.3"]));
        let agent = RealAgent::start(&config, &api);
        // Backends and table of the Service at its node port, for those outside.
        let port = |number: u16| {
            let image = image(&config);
            let (_, service) = image.services.iter().find(|(key, _)| key.port_be == number.to_be() && key.scope == scope::OUTSIDE)?;
            Some((service.count, service.table > 0))
        };
        eventually("the first has its table", || port(30_001).filter(|port| *port == (2, true))).await;
        api.put(node_port("b", "10.96.0.2", 30_002));
        api.put(slice("b", &["10.244.1.4", "10.244.1.5"]));
        let message = told(&api, "TABLES").await;
        // Which of them goes without, every node finds out by the same rule.
        let without_b = message.ends_with("raise capacities.TABLES. Services that are not as they should be: default/b");
        let without_a = message.ends_with("raise capacities.TABLES. Services that are not as they should be: default/a");
        assert!(without_a != without_b, "{message}");
        let (with, with_port, without_port) = if without_b { ("a", 30_001, 30_002) } else { ("b", 30_002, 30_001) };
        eventually("one works without", || port(without_port).filter(|port| *port == (2, false))).await;
        assert_eq!(port(with_port), Some((2, true)));
        api.delete(&node_port(with, "10.96.0.9", with_port));
        eventually("the other has its table", || port(without_port).filter(|port| *port == (2, true))).await;
        eventually("there is room again", || condition(&api, "False")).await;
        agent.stop().await;
        cleanup(&config).await.unwrap();
    });
}
