//! Tests of the allocation plan: which addresses and ports Services get.

use super::*;

const BOTH: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];

fn planned(cidrs: &[&str], old: Option<&Value>, new: Value, taken: &[&str]) -> Result<(Value, Delta), String> {
    planned_from(cidrs, cidrs, old, new, taken)
}

/// The same where addresses are given from other ranges than those of the settings.
fn planned_from(
    configured: &[&str],
    cidrs: &[&str],
    old: Option<&Value>,
    mut new: Value,
    taken: &[&str],
) -> Result<(Value, Delta), String> {
    let parsed = |cidrs: &[&str]| cidrs.iter().map(|cidr| cidr.parse().expect("range")).collect::<Vec<IpNet>>();
    let (configured, cidrs) = (parsed(configured), parsed(cidrs));
    let ranges = Ranges { configured: &configured, cidrs: &cidrs, node_ports: 30000..=30100 };
    let address_taken = |address: IpAddr| taken.contains(&&address.to_string()[..]);
    let port_taken = |port: u16| taken.contains(&&port.to_string()[..]);
    match plan(old, &mut new, &ranges, &address_taken, &port_taken, 3) {
        Ok(delta) => Ok((new, delta)),
        Err(Refused::Invalid(errors)) => Err(errors[0].to_string()),
        Err(Refused::Internal(why)) => Err(format!("internal: {why}")),
    }
}

fn service(spec: Value) -> Value {
    json!({ "metadata": { "name": "a", "namespace": "b" }, "spec": spec })
}

fn families(service: &Value) -> Vec<&str> {
    object::strings(service.pointer("/spec/ipFamilies"))
}

#[test]
fn a_plain_service_gets_one_address_of_the_first_family() {
    let (new, delta) = planned(&BOTH, None, service(json!({ "ports": [{ "port": 80 }] })), &[]).expect("planned");
    assert_eq!(families(&new), ["IPv4"]);
    assert_eq!(new["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(delta.claimed, service::held(&new));
    assert_eq!((delta.claimed.addresses.len(), delta.claimed.ports.len()), (1, 0));
}

#[test]
fn dual_stack_services_get_two_addresses_in_the_order_asked_for() {
    let (new, delta) =
        planned(&BOTH, None, service(json!({ "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"] })), &[]).expect("planned");
    assert_eq!(families(&new), ["IPv6", "IPv4"]);
    assert_eq!(delta.claimed.addresses.len(), 2);
    let (single, _) = planned(&BOTH[..1], None, service(json!({ "ipFamilyPolicy": "PreferDualStack" })), &[]).expect("planned");
    assert_eq!(families(&single), ["IPv4"]);
    assert!(planned(&BOTH[..1], None, service(json!({ "ipFamilyPolicy": "RequireDualStack" })), &[]).is_err());
}

#[test]
fn headless_and_external_services_claim_nothing() {
    for spec in [
        json!({ "clusterIP": "None", "selector": { "a": "b" } }),
        json!({ "clusterIP": "None" }),
        json!({ "type": "ExternalName", "externalName": "x" }),
    ] {
        let (_, delta) = planned(&BOTH, None, service(spec.clone()), &[]).expect("planned");
        assert_eq!(delta.claimed, Held::default(), "{spec}");
    }
    let (new, _) = planned(&BOTH, None, service(json!({ "clusterIP": "None" })), &[]).expect("planned");
    assert_eq!(families(&new), ["IPv4", "IPv6"]);
}

#[test]
fn an_address_asked_for_is_given_unless_taken_or_foreign() {
    let spec = json!({ "clusterIP": "10.96.0.10" });
    let (new, _) = planned(&BOTH, None, service(spec.clone()), &[]).expect("planned");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.10"]));
    let error = planned(&BOTH, None, service(spec), &["10.96.0.10"]).expect_err("taken");
    assert!(error.contains("failed to allocate IP 10.96.0.10: provided IP is already allocated"), "{error}");
    let error = planned(&BOTH, None, service(json!({ "clusterIP": "10.97.0.1" })), &[]).expect_err("foreign");
    assert!(error.contains("failed to allocate IP 10.97.0.1: the provided network does not match the current range"), "{error}");
    let error = planned(&BOTH, None, service(json!({ "clusterIP": "10.96.255.255" })), &[]).expect_err("the last one is no address");
    assert!(error.contains("failed to allocate IP 10.96.255.255: the provided network does not match the current range"), "{error}");
}

#[test]
fn further_ranges_are_used_when_the_first_is_full() {
    let (first, further) = ("10.96.0.0/30", "10.97.0.0/30");
    let given = |taken: &[&str]| {
        planned_from(&[first], &[first, further], None, service(json!({})), taken).map(|(new, _)| new["spec"]["clusterIP"].clone())
    };
    assert_eq!(given(&["10.96.0.1"]), Ok(json!("10.96.0.2")));
    assert_eq!(given(&["10.96.0.1", "10.96.0.2", "10.97.0.2"]), Ok(json!("10.97.0.1")));
    let full = given(&["10.96.0.1", "10.96.0.2", "10.97.0.1", "10.97.0.2"]);
    assert_eq!(full, Err("internal: failed to allocate a serviceIP: range is full".to_owned()));
    let asked = service(json!({ "clusterIP": "10.97.0.2" }));
    let (new, delta) = planned_from(&[first], &[first, further], None, asked, &[]).expect("planned");
    assert_eq!((&new["spec"]["clusterIP"], delta.claimed.addresses.len()), (&json!("10.97.0.2"), 1));
}

#[test]
fn a_range_that_goes_takes_no_address_away_and_gives_none() {
    let old = service(json!({ "clusterIP": "10.97.0.1", "clusterIPs": ["10.97.0.1"], "ipFamilies": ["IPv4"] }));
    let (kept, delta) = planned_from(&BOTH, &BOTH, Some(&old), old.clone(), &["10.97.0.1"]).expect("planned");
    assert_eq!((&kept["spec"]["clusterIP"], delta.claimed, delta.released), (&json!("10.97.0.1"), Held::default(), Held::default()));
    // The family is still the cluster's: there is only nothing to give.
    let none = planned_from(&BOTH, &BOTH[1..], None, service(json!({})), &[]);
    assert_eq!(none.map(|_| ()), Err("internal: failed to allocate a serviceIP: range is full".to_owned()));
    let none = planned_from(&BOTH, &BOTH[1..], None, service(json!({ "clusterIP": "10.96.0.9" })), &[]);
    assert!(none.expect_err("foreign").contains("does not match the current range"));
}

#[test]
fn a_change_keeps_what_it_does_not_name_and_releases_what_it_drops() {
    let old = service(json!({ "type": "NodePort", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ipFamilies": ["IPv4"],
        "ports": [{ "port": 80, "nodePort": 30005 }, { "port": 81, "nodePort": 30006 }] }));
    let taken = ["10.96.1.1", "30005", "30006"];
    let (kept, delta) =
        planned(&BOTH, Some(&old), service(json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30005 }] })), &taken)
            .expect("planned");
    assert_eq!((&kept["spec"]["clusterIP"], &kept["spec"]["ports"][0]["nodePort"]), (&json!("10.96.1.1"), &json!(30005)));
    assert_eq!((delta.claimed, delta.released.ports.len(), delta.released.addresses.len()), (Held::default(), 1, 0));
    let (external, delta) =
        planned(&BOTH, Some(&old), service(json!({ "type": "ExternalName", "externalName": "x" })), &taken).expect("planned");
    assert_eq!((external["spec"].get("clusterIP"), delta.released), (None, service::held(&old)));
}

#[test]
fn going_dual_stack_adds_an_address_and_going_back_gives_it_back() {
    let (single, _) = planned(&BOTH, None, service(json!({})), &[]).expect("planned");
    let mut wanted = single.clone();
    wanted["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
    let (dual, delta) = planned(&BOTH, Some(&single), wanted, &[]).expect("planned");
    assert_eq!((delta.claimed.addresses.len(), delta.released.addresses.len()), (1, 0));
    let mut wanted = dual.clone();
    wanted["spec"]["ipFamilyPolicy"] = json!("SingleStack");
    let (back, delta) = planned(&BOTH, Some(&dual), wanted, &[]).expect("planned");
    assert_eq!((delta.claimed.addresses.len(), delta.released.addresses.len()), (0, 1));
    assert_eq!(back["spec"]["clusterIPs"], single["spec"]["clusterIPs"]);
}

#[test]
fn node_ports_are_shared_by_protocols_of_one_port_only() {
    let spec = json!({ "type": "NodePort", "ports": [{ "port": 53, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }, { "port": 54, "protocol": "UDP" }] });
    let (new, delta) = planned(&BOTH, None, service(spec), &[]).expect("planned");
    let ports: Vec<_> = service::ports(&new).map(|port| port["nodePort"].as_u64().expect("set")).collect();
    assert_eq!(ports[0], ports[1]);
    assert_ne!(ports[1], ports[2]);
    assert_eq!(delta.claimed.ports.len(), 2);
    let taken = planned(&BOTH, None, service(json!({ "type": "NodePort", "ports": [{ "port": 1, "nodePort": 30001 }] })), &["30001"]);
    assert!(taken.expect_err("taken").contains("provided port is already allocated"));
    let outside = planned(&BOTH, None, service(json!({ "type": "NodePort", "ports": [{ "port": 1, "nodePort": 80 }] })), &[]);
    assert!(outside.expect_err("outside").contains("30000-30100"));
}

#[test]
fn a_local_load_balancer_has_a_port_for_health() {
    let spec = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{ "port": 80 }] });
    let (new, delta) = planned(&BOTH, None, service(spec), &[]).expect("planned");
    assert!(service::node_port(&new["spec"], "healthCheckNodePort").is_some());
    assert_eq!(delta.claimed.ports.len(), 2);
}

#[test]
fn a_port_for_health_asked_for_is_given_unless_taken_or_foreign_or_a_node_port_of_the_same_service() {
    let asks = |health: u16, node_port: u16, taken: &[&str]| {
        let spec = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": health,
            "ports": [{ "port": 80, "nodePort": node_port }] });
        planned(&BOTH, None, service(spec), taken).map(|(new, _)| new["spec"]["healthCheckNodePort"].clone())
    };
    assert_eq!(asks(30001, 30002, &[]), Ok(json!(30001)));
    let refused = |why: &str| Err(format!("internal: failed to allocate requested HealthCheck NodePort {why}"));
    assert_eq!(asks(30001, 30002, &["30001"]), refused("30001: provided port is already allocated"));
    assert_eq!(asks(30001, 30001, &[]), refused("30001: provided port is already allocated"));
    assert_eq!(asks(80, 30001, &[]), refused("80: provided port is not in the valid range. The range of valid ports is 30000-30100"));
}

#[test]
fn a_load_balancer_without_node_ports_gets_none_but_those_it_names() {
    let spec = json!({ "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{ "port": 80 }, { "port": 81, "nodePort": 30007 }] });
    let (new, delta) = planned(&BOTH, None, service(spec), &[]).expect("planned");
    let numbers: Vec<_> = service::ports(&new).map(|port| service::node_port(port, "nodePort")).collect();
    assert_eq!((numbers, delta.claimed.ports.len()), (vec![None, Some(30007)], 1));
    // Those that were given before the flag was taken back stay until they are removed.
    let mut kept = new.clone();
    kept["spec"]["ports"] = json!([{ "port": 80, "nodePort": 30008 }]);
    let (after, delta) = planned(&BOTH, Some(&kept.clone()), kept, &["30008"]).expect("planned");
    assert_eq!((service::held(&after).ports.len(), delta.released), (1, Held::default()));
}

#[test]
fn a_full_range_is_the_servers_trouble() {
    let all: Vec<String> = (30000..=30100).map(|port: u16| port.to_string()).collect();
    let taken: Vec<&str> = all.iter().map(String::as_str).collect();
    let spec = json!({ "type": "NodePort", "ports": [{ "port": 80 }] });
    assert_eq!(planned(&BOTH, None, service(spec), &taken), Err("internal: failed to allocate a nodePort: range is full".to_owned()));
}
