//! What holds a range, and what is put right between Services and IPAddresses.

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::ObjectKey;
use orknet_resources::kinds::ip_address;
use orknet_resources::kinds::service_cidr::{FINALIZER, default_object};
use serde_json::{Value, json};

use super::plan::{self, Fate, Fault, Step};

const MADE: &str = "2026-01-01T00:00:00Z";

fn range(name: &str, cidrs: &[&str], going: bool, finalizers: &[&str]) -> ServiceCIDR {
    let at = going.then_some(MADE);
    let metadata = json!({ "name": name, "uid": name, "deletionTimestamp": at, "finalizers": finalizers });
    serde_json::from_value(json!({ "metadata": metadata, "spec": { "cidrs": cidrs } })).unwrap()
}

fn address(name: &str, service: &str) -> IPAddress {
    let mut object = ip_address::of_service(name.parse().unwrap(), "default", service);
    object["metadata"]["creationTimestamp"] = json!(MADE);
    serde_json::from_value(object).unwrap()
}

/// So many seconds after [`MADE`].
fn after(seconds: i64) -> Time {
    let made: Timestamp = MADE.parse().unwrap();
    Time(Timestamp::from_second(made.as_second() + seconds).unwrap())
}

#[test]
fn a_range_is_held_by_addresses_that_no_other_contains() {
    let going = range("a", &["10.0.0.0/24", "fd00::/112"], true, &[FINALIZER]);
    let used = [address("10.0.0.9", "web")];
    let held = |others: &[ServiceCIDR], addresses: &[IPAddress]| plan::is_held(&going, others.iter().chain([&going]), addresses.iter());
    assert!(held(&[], &used));
    assert!(!held(&[], &[]));
    assert!(!held(&[], &[address("10.1.0.9", "web")]));
    assert!(held(&[], &[address("fd00::9", "web")]));
    // Another that has the address is enough, whatever else it has.
    assert!(!held(&[range("b", &["10.0.0.8/29"], false, &[])], &used));
    assert!(held(&[range("b", &["10.0.0.16/29"], false, &[])], &used));
    // Two that go do not let each other go.
    assert!(held(&[range("b", &["10.0.0.0/16"], true, &[])], &used));
    // What is not the allocator's holds nothing.
    let mut foreign = address("10.0.0.9", "web");
    foreign.metadata.labels = None;
    assert!(!held(&[], &[foreign]));
}

#[test]
fn a_range_gets_its_finalizer_then_its_condition_and_loses_it_last() {
    let now = after(5);
    let step = |range: &ServiceCIDR, held: bool| plan::step(range, || held, &now);
    let new = range("a", &["10.0.0.0/24"], false, &["a.b/c"]);
    assert_eq!(step(&new, false), Step::Finalizers(vec!["a.b/c".to_owned(), FINALIZER.to_owned()]));
    let mut kept = range("a", &["10.0.0.0/24"], false, &[FINALIZER]);
    let Step::Status(status) = step(&kept, false) else { panic!("{:?}", step(&kept, false)) };
    kept.status = Some(status);
    let told = |range: &ServiceCIDR| {
        let condition = range.status.clone().unwrap().conditions.unwrap().remove(0);
        (condition.type_, condition.status, condition.reason, condition.last_transition_time)
    };
    assert_eq!(told(&kept), ("Ready".to_owned(), "True".to_owned(), String::new(), now.clone()));
    assert_eq!(step(&kept, false), Step::Nothing);
    kept.metadata.deletion_timestamp = Some(after(1));
    let Step::Status(status) = step(&kept, true) else { panic!("{:?}", step(&kept, true)) };
    kept.status = Some(status);
    assert_eq!(told(&kept), ("Ready".to_owned(), "False".to_owned(), "Terminating".to_owned(), now.clone()));
    assert_eq!(step(&kept, true), Step::Nothing);
    assert_eq!(step(&kept, false), Step::Finalizers(Vec::new()));
    // What others hold it by is theirs.
    kept.metadata.finalizers = Some(vec!["a.b/c".to_owned()]);
    assert_eq!(step(&kept, true), Step::Nothing);
}

#[test]
fn what_the_server_makes_needs_nothing() {
    let cidrs: Vec<IpNet> = vec!["10.96.0.0/16".parse().unwrap()];
    let made: ServiceCIDR = serde_json::from_value(default_object(&cidrs, MADE)).unwrap();
    assert_eq!(plan::step(&made, || false, &after(0)), Step::Nothing);
}

#[test]
fn each_fault_of_an_address_has_its_remedy() {
    let ranges: Vec<IpNet> = vec!["10.0.0.0/24".parse().unwrap()];
    let web = ObjectKey::new("default", "web");
    let ip = "10.0.0.9".parse().unwrap();
    let found = |text: &str, object: Option<&IPAddress>, other_has: bool| plan::fault(text, &web, &ranges, object, |_| other_has);
    assert_eq!(found("10.0.0.9", Some(&address("10.0.0.9", "web")), false), None);
    assert_eq!(found("x", None, false), Some(Fault::Invalid));
    assert_eq!(found("10.1.0.9", None, false), Some(Fault::OutOfRange("10.1.0.9".parse().unwrap())));
    assert_eq!(found("10.0.0.9", None, false), Some(Fault::Missing(ip)));
    assert_eq!(found("10.0.0.9", Some(&address("10.0.0.9", "other")), false), Some(Fault::Wrong(ip)));
    assert_eq!(found("10.0.0.9", Some(&address("10.0.0.9", "other")), true), Some(Fault::Shared(ip)));
    let mut gateway = address("10.0.0.9", "web");
    gateway.spec.as_mut().unwrap().parent_ref.resource = "gateways".to_owned();
    assert_eq!(found("10.0.0.9", Some(&gateway), false), Some(Fault::Wrong(ip)));
    let mut bare = address("10.0.0.9", "web");
    bare.metadata.labels = None;
    assert_eq!(found("10.0.0.9", Some(&bare), false), Some(Fault::Unlabelled(ip)));

    let event = |fault: Fault| fault.event(&web).map(|(reason, _, message)| (reason, message));
    let said = |reason: &'static str, message: &str| Some((reason, message.to_owned()));
    assert_eq!(event(Fault::Missing(ip)), said("ClusterIPNotAllocated", "Cluster IP [IPv4]: 10.0.0.9 is not allocated; repairing"));
    assert_eq!(
        event(Fault::Wrong(ip)),
        said("ClusterIPNotAllocated", "the ClusterIP [IPv4]: 10.0.0.9 for Service default/web has a wrong reference; repairing")
    );
    assert_eq!(
        event(Fault::Shared(ip)),
        said("ClusterIPAlreadyAllocated", "Cluster IP [IPv4]:10.0.0.9 was assigned to multiple services; please recreate service")
    );
    assert_eq!(event(Fault::Unlabelled(ip)), None);
    assert_eq!((Fault::Missing(ip).remedy(), Fault::Wrong(ip).remedy()), (Some((ip, false)), Some((ip, true))));
    assert_eq!((Fault::OutOfRange(ip).remedy(), Fault::Shared(ip).remedy()), (None, None));
}

#[test]
fn an_address_without_its_service_waits_and_goes() {
    let own = address("10.0.0.9", "web");
    let at = |seconds: i64| after(seconds).0.as_second();
    let has = ["10.0.0.9".to_owned()];
    assert_eq!(plan::fate(&own, Some(&has), at(900)), Fate::Stays);
    assert_eq!(plan::fate(&own, None, at(10)), Fate::Waits(51));
    assert_eq!(plan::fate(&own, None, at(60)), Fate::Waits(1));
    let leaked = "IPAddress: 10.0.0.9 for Service default/web appears to have leaked: cleaning up".to_owned();
    assert_eq!(plan::fate(&own, None, at(61)), Fate::Goes("IPAddressNotAllocated", leaked));
    let wrong = "IPAddress: 10.0.0.9 for Service default/web has a wrong reference; cleaning up".to_owned();
    assert_eq!(plan::fate(&own, Some(&[]), at(0)), Fate::Goes("IPAddressWrongReference", wrong));
    let mut gateway = own.clone();
    gateway.spec.as_mut().unwrap().parent_ref.resource = "gateways".to_owned();
    assert!(
        matches!(plan::fate(&gateway, None, at(0)), Fate::Goes("IPAddressNotAllocated", message) if message.contains("not referencing a Service"))
    );
    // Whoever manages it otherwise sees to it.
    gateway.metadata.labels = None;
    assert_eq!(plan::fate(&gateway, None, at(900)), Fate::Stays);
}

#[test]
fn a_service_without_an_address_has_none() {
    let ips = |spec: Value| plan::cluster_ips(&serde_json::from_value::<Service>(json!({ "metadata": {}, "spec": spec })).unwrap());
    assert_eq!(ips(json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"] })), ["10.0.0.1", "fd00::1"]);
    assert_eq!(ips(json!({ "clusterIP": "10.0.0.1" })), ["10.0.0.1"]);
    for none in
        [json!({ "clusterIP": "None", "clusterIPs": ["None"] }), json!({ "type": "ExternalName", "clusterIP": "10.0.0.1" }), json!({})]
    {
        assert_eq!(ips(none), [""; 0]);
    }
}
