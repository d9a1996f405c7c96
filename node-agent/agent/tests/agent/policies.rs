//! Network policies from the API to the maps, with a fake data plane: who waits for them, what a change of them writes, what is reported.

use crate::harness::{Agent, CLUSTER_POLICIES, FakeApi, FakeDataplane, PODS, POLICIES, eventually, in_namespace, ip, node, service};
use orknet_abi::{Address, Pod, PodKey, node_flags};
use orknet_agent::config::Policy;
use orknet_cni::host_name;
use orknet_cni::protocol::{Answer, Attachment, AttachmentName, MacAddress, PodName, Reason, Request};
use orknet_cni::state::Attachments;
use orknet_compiler::{MapImage, Step};
use orknet_dataplane::PodSockets;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const UID: &str = "00112233-4455-6677-8899-aabbccddeeff";
const ADDRESS: [u8; 4] = [10, 244, 1, 2];
const NETNS: &str = "/run/netns/of-the-pod";

pub fn cluster() -> (FakeApi, Arc<FakeDataplane>) {
    let api = FakeApi::new();
    api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
    api.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }));
    (api, Arc::default())
}

/// An agent that has caught up with a cluster that holds these too.
async fn agent_of(objects: &[Value]) -> (FakeApi, Arc<FakeDataplane>, Agent) {
    let (api, dataplane) = cluster();
    objects.iter().cloned().for_each(|object| api.put(object));
    let agent = Agent::start(&api, &dataplane);
    agent.configured().await;
    (api, dataplane, agent)
}

/// The same, and the pod is attached.
async fn attached_to(objects: &[Value]) -> (FakeApi, Arc<FakeDataplane>, Agent) {
    let (api, dataplane, agent) = agent_of(objects).await;
    assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
    (api, dataplane, agent)
}

/// The pod shop/web.
pub fn web(uid: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "namespace": "shop", "uid": uid, "labels": { "app": app } },
        "spec": { "nodeName": "here", "containers": [{ "name": "a" }] },
    })
}

/// A policy that lets nobody in to pods with a label.
pub fn closes(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": "shop", "uid": format!("00000000-0000-0000-0000-{:0>12}", name.len()) },
        "spec": { "podSelector": { "matchLabels": { "app": app } }, "policyTypes": ["Ingress"] },
    })
}

/// Its device, made, and what the CNI plugin says of it.
pub fn attachment() -> Attachment {
    let name = AttachmentName { container_id: "c1".into(), ifname: "eth0".into() };
    ip(&format!("link add {} type veth peer name to-pod", host_name(&name)));
    attachment_of(&name)
}

/// The same, of a device that is there.
fn attachment_of(name: &AttachmentName) -> Attachment {
    let host_ifname = host_name(name);
    Attachment {
        attachment: name.clone(),
        pod: PodName { namespace: "shop".into(), name: "web".into(), uid: UID.into() },
        netns: NETNS.into(),
        host_ifindex: nix::net::if_::if_nametoindex(host_ifname.as_str()).unwrap(),
        host_ifname,
        host_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        pod_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        addresses: vec![std::net::IpAddr::from(ADDRESS)],
        host_ports: Vec::new(),
    }
}

/// The pod's entry.
pub fn entry(dataplane: &FakeDataplane) -> Option<Pod> {
    dataplane.maps.lock().unwrap().pods.get(&PodKey { address: Address::from_v4(ADDRESS) }).copied()
}

fn reason(answer: &Answer) -> Option<Reason> {
    if let Answer::Error(refusal) = answer { Some(refusal.reason) } else { None }
}

#[test]
fn root_a_pod_is_attached_once_the_policies_and_the_pod_itself_have_been_seen_and_never_without_its_rules() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(closes("a", "web"));
        api.put(web("another-pod-of-that-name", "other"));
        for path in [POLICIES, PODS] {
            api.withhold(Some(path));
            let agent = Arc::new(Agent::start(&api, &dataplane));
            eventually("the agent waits for what it does not get", || api.refused(path).then_some(())).await;
            assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if !status.synced), "{path}");
            api.withhold(None);
            agent.configured().await;
            let (asking, record) = (Arc::clone(&agent), attachment());
            let attached = tokio::spawn(async move { asking.ask(&Request::Attach(record)).await });
            // The pod of that name is not this one.
            assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if status.attachments == 0));
            assert!(!attached.is_finished() && entry(&dataplane).is_none(), "{path}");
            api.put(web(UID, "web"));
            assert_eq!(attached.await.unwrap(), Answer::Done, "{path}");
            let puts = dataplane.take_steps();
            let rules: Vec<_> =
                puts.iter().filter_map(|step| if let Step::PutPod(_, pod) = step { Some(pod.ingress) } else { None }).collect();
            assert!(rules.len() == 1 && rules[0] != 0, "{rules:?}");
            let name = AttachmentName { container_id: "c1".into(), ifname: "eth0".into() };
            assert_eq!(agent.ask(&Request::Detach(name)).await, Answer::Done);
            ip(&format!("link delete {}", host_name(&AttachmentName { container_id: "c1".into(), ifname: "eth0".into() })));
            api.put(web("another-pod-of-that-name", "other"));
            Arc::into_inner(agent).unwrap().stop().await;
        }
    });
}

#[test]
fn root_a_pod_that_the_api_does_not_show_is_refused_for_the_time_being() {
    in_namespace(|| async {
        let (_, dataplane, agent) = agent_of(&[]).await;
        let answer = agent.ask(&Request::Attach(attachment())).await;
        assert_eq!(reason(&answer), Some(Reason::NotReady));
        assert!(format!("{answer:?}").contains(&format!("has not yet seen the pod shop/web (uid {UID})")), "{answer:?}");
        assert_eq!(entry(&dataplane), None);
    });
}

#[test]
fn root_a_pod_waits_while_policies_cannot_be_watched_and_starts_with_what_came_meanwhile() {
    in_namespace(|| async {
        for is_streaming in [false, true] {
            let (_, dataplane) = cluster();
            let api = if is_streaming { FakeApi::with_streaming_lists() } else { FakeApi::new() };
            api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
            api.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }));
            let agent = Arc::new(Agent::start(&api, &dataplane));
            agent.configured().await;
            api.refused(POLICIES);
            api.hide(POLICIES);
            for _ in 0..2 {
                // What is asked for once more has been told of.
                eventually("watching fails", || api.refused(POLICIES).then_some(())).await;
            }
            api.put(closes("a", "web"));
            api.put(web(UID, "web"));
            let (asking, record) = (Arc::clone(&agent), attachment());
            let name = record.attachment.clone();
            if is_streaming {
                let refused = asking.ask(&Request::Attach(record.clone())).await;
                assert_eq!(reason(&refused), Some(Reason::NotReady), "{refused:?}");
                assert!(format!("{refused:?}").contains("changes of kind NetworkPolicy"), "{refused:?}");
                assert_eq!(entry(&dataplane), None);
            }
            let attached = tokio::spawn(async move { asking.ask(&Request::Attach(record)).await });
            assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if status.attachments == 0));
            api.withhold(None);
            // One more refusal may come where the list is not tried again within the time that a pod waits.
            let mut answer = attached.await.unwrap();
            while reason(&answer) == Some(Reason::NotReady) {
                answer = agent.ask(&Request::Attach(attachment_of(&name))).await;
            }
            assert_eq!(answer, Answer::Done);
            assert_ne!(entry(&dataplane).unwrap().ingress, 0, "streaming: {is_streaming}");
            assert_eq!(agent.ask(&Request::Detach(name.clone())).await, Answer::Done);
            ip(&format!("link delete {}", host_name(&name)));
            Arc::into_inner(agent).unwrap().stop().await;
        }
    });
}

#[test]
fn root_a_pod_waits_for_its_namespace() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
        api.delete(&namespace);
        api.put(web(UID, "web"));
        let agent = Arc::new(Agent::start(&api, &dataplane));
        agent.configured().await;
        let (asking, record) = (Arc::clone(&agent), attachment());
        let attached = tokio::spawn(async move { asking.ask(&Request::Attach(record)).await });
        assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if status.attachments == 0));
        assert!(!attached.is_finished() && entry(&dataplane).is_none());
        api.put(namespace);
        assert_eq!(attached.await.unwrap(), Answer::Done);
        assert!(entry(&dataplane).is_some());
    });
}

#[test]
fn root_a_label_reaches_the_maps_and_what_is_open_is_noted_before_the_first_rules() {
    in_namespace(|| async {
        let (api, dataplane, _agent) = attached_to(&[closes("a", "closed"), web(UID, "open")]).await;
        assert_eq!(entry(&dataplane).unwrap().ingress, 0);
        assert_eq!(*dataplane.noted.lock().unwrap(), []);
        api.put(web(UID, "closed"));
        let closed = eventually("the pod has rules", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
        assert_eq!(closed.egress, 0);
        let sockets = PodSockets { namespace: NETNS.into(), addresses: [Address::from_v4(ADDRESS)].into(), was_open: true };
        let noted = || (dataplane.noted.lock().unwrap().len() == 2).then_some(());
        eventually("what is open is looked for", noted).await;
        assert_eq!(
            *dataplane.noted.lock().unwrap(),
            [(sockets.clone(), false), (sockets.clone(), true)],
            "before and after the entry is switched"
        );
        assert_eq!(*dataplane.held.lock().unwrap(), [(sockets, false)]);
        // The first rules for the other direction have flows remembered that were not.
        let mut closes_more = closes("a", "closed");
        closes_more["spec"]["policyTypes"] = json!(["Ingress", "Egress"]);
        api.put(closes_more);
        eventually("it has rules in both directions", || entry(&dataplane).filter(|pod| pod.egress != 0)).await;
        let noted = || (dataplane.noted.lock().unwrap().len() == 4).then_some(());
        eventually("what is open is looked for again", noted).await;
        api.delete(&closes("a", "closed"));
        let open = eventually("it has none", || entry(&dataplane).filter(|pod| pod.ingress | pod.egress == 0)).await;
        assert_eq!(open.ifindex, closed.ifindex);
        assert_eq!(dataplane.noted.lock().unwrap().len(), 4);
    });
}

#[test]
fn root_pods_are_attached_while_the_sockets_of_others_with_first_rules_are_looked_at() {
    in_namespace(|| async {
        let (api, dataplane, agent) = attached_to(&[closes("a", "closed"), web(UID, "open")]).await;
        let (take, turns) = std::sync::mpsc::channel();
        *dataplane.turns.lock().unwrap() = Some(turns);
        api.put(web(UID, "closed"));
        eventually("the pod has rules", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
        // One that is none of the API's.
        let name = AttachmentName { container_id: "c2".into(), ifname: "eth0".into() };
        ip(&format!("link add {} type veth peer name to-other", host_name(&name)));
        let other = Attachment { addresses: vec![[10, 244, 1, 3].into()], pod: PodName::default(), ..attachment_of(&name) };
        assert_eq!(agent.ask(&Request::Attach(other)).await, Answer::Done);
        assert_eq!(dataplane.noted.lock().unwrap().len(), 1, "the look after it has not ended");
        take.send(()).unwrap();
        eventually("it is looked at", || (dataplane.noted.lock().unwrap().len() == 2).then_some(())).await;
    });
}

#[test]
fn root_policies_stay_as_they_are_over_a_restart_and_while_the_server_is_down() {
    in_namespace(|| async {
        let (api, dataplane, agent) = agent_of(&[closes("a", "web"), web(UID, "web")]).await;
        let record = attachment();
        Attachments::new(&agent.state_dir()).put(&record).unwrap();
        assert_eq!(agent.ask(&Request::Attach(record)).await, Answer::Done);
        let before = entry(&dataplane).unwrap();
        assert_ne!(before.ingress, 0);
        let folder = agent.stop().await;
        dataplane.take_steps();
        api.set_down(true);
        let agent = Agent::start_in(folder, &api, &dataplane);
        eventually("the agent asks in vain", || api.refused(POLICIES).then_some(())).await;
        assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if !status.synced && status.attachments == 1));
        assert_eq!(entry(&dataplane), Some(before));
        api.set_down(false);
        agent.configured().await;
        assert_eq!(dataplane.take_steps(), [], "what was there is not written again");
        assert_eq!(*dataplane.noted.lock().unwrap(), []);
    });
}

#[test]
fn root_a_pod_whose_runtime_gives_no_uid_follows_its_policies_after_a_restart_too() {
    in_namespace(|| async {
        let (api, dataplane, agent) = agent_of(&[closes("a", "closed"), web(UID, "open")]).await;
        let mut record = attachment();
        record.pod.uid = String::new();
        Attachments::new(&agent.state_dir()).put(&record).unwrap();
        assert_eq!(agent.ask(&Request::Attach(record)).await, Answer::Done);
        let open = entry(&dataplane).unwrap();
        assert_eq!(open.ingress, 0);
        let folder = agent.stop().await;
        let agent = Agent::start_in(folder, &api, &dataplane);
        agent.configured().await;
        assert_eq!(entry(&dataplane), Some(open));
        api.put(web(UID, "closed"));
        let closed = eventually("the pod has rules", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
        // Another pod of its name is not it.
        api.put(web("another-pod-of-that-name", "open"));
        let version = api.version();
        // A policy is reported soon, and what else is known with it.
        api.put(closes("b", "nobody"));
        eventually("the other one is seen", || {
            api.reports().iter().any(|(_, report)| self::version(report, "Pod") >= Some(version)).then_some(())
        })
        .await;
        assert_eq!(entry(&dataplane), Some(closed));
        // Over new maps it has an entry, too.
        let folder = agent.stop().await;
        *dataplane.maps.lock().unwrap() = MapImage::default();
        api.put(web(UID, "closed"));
        let _agent = Agent::start_in(folder, &api, &dataplane);
        eventually("the pod has rules", || entry(&dataplane).filter(|pod| pod.ingress != 0)).await;
    });
}

/// A policy of the cluster that lets no pod in to any.
fn admits_nobody() -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": { "name": "nobody", "uid": UID },
        "spec": {
            "tier": "Admin", "priority": 1, "subject": { "namespaces": {} },
            "ingress": [{ "action": "Deny", "from": [{ "namespaces": {} }] }],
        },
    })
}

#[test]
fn root_cluster_policies_count_where_the_cluster_has_them() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.serve_cluster_policies();
        api.put(web(UID, "web"));
        api.put(admits_nobody());
        api.withhold(Some(CLUSTER_POLICIES));
        let agent = Agent::start(&api, &dataplane);
        eventually("they are waited for", || api.refused(CLUSTER_POLICIES).then_some(())).await;
        assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if !status.synced));
        api.withhold(None);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        assert_ne!(entry(&dataplane).unwrap().ingress, 0);
    });
}

#[test]
fn root_cluster_policies_whose_rules_are_in_the_maps_are_not_absent_because_the_server_says_so_once() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.serve_cluster_policies();
        api.put(web(UID, "web"));
        api.put(admits_nobody());
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let record = attachment();
        Attachments::new(&agent.state_dir()).put(&record).unwrap();
        let name = record.attachment.clone();
        assert_eq!(agent.ask(&Request::Attach(record)).await, Answer::Done);
        let denied = entry(&dataplane).unwrap();
        assert_ne!(denied.ingress, 0);
        let folder = agent.stop().await;
        api.forget_cluster_policies();
        api.refused(CLUSTER_POLICIES);
        let agent = Agent::start_in(folder, &api, &dataplane);
        eventually("the kind is asked for", || api.refused(CLUSTER_POLICIES).then_some(())).await;
        // All else is known within the time that a pod waits, its node before.
        let mut answer = agent.ask(&Request::Attach(attachment_of(&name))).await;
        while reason(&answer) == Some(Reason::BadRequest) {
            answer = agent.ask(&Request::Attach(attachment_of(&name))).await;
        }
        assert!(format!("{answer:?}").contains("(missing: ClusterNetworkPolicies)"), "{answer:?}");
        assert_eq!(entry(&dataplane), Some(denied));
    });
}

#[test]
fn root_the_node_says_how_policies_count_and_without_them_nobody_waits_for_any() {
    in_namespace(|| async {
        let lenient = |dataplane: &FakeDataplane| dataplane.maps.lock().unwrap().node.map(|node| node.flags & node_flags::LENIENT != 0);
        for (policy, expected) in [(Policy::Strict, false), (Policy::Lenient, true), (Policy::Off, false)] {
            let (api, dataplane) = cluster();
            api.put(closes("a", "web"));
            if policy == Policy::Off {
                api.withhold(Some(PODS));
            }
            let agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, |config| config.policy = policy);
            agent.configured().await;
            assert_eq!(lenient(&dataplane), Some(expected), "{policy:?}");
            if policy == Policy::Off {
                assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
                assert_eq!(entry(&dataplane).unwrap().ingress, 0);
                assert!(!api.refused(PODS), "nobody asks for pods");
            }
            agent.stop().await;
        }
    });
}

/// The version of a kind in a report.
pub fn version(report: &Value, kind: &str) -> Option<u64> {
    let programmed = report["status"]["programmed"].as_array()?;
    programmed.iter().find(|entry| entry["kind"] == kind)?["resourceVersion"].as_str()?.parse().ok()
}

/// Why a kind stays behind, as a report says it.
pub fn behind(report: &Value, kind: &str) -> Option<String> {
    let behind = report["status"]["behind"].as_array()?;
    behind.iter().find(|entry| entry["kind"] == kind)?["message"].as_str().map(str::to_owned)
}

#[test]
fn root_what_is_programmed_is_reported_up_to_the_last_change_and_not_too_often() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        api.put(service("web", "10.96.0.1"));
        let service_version = api.version();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        for number in 0..300 {
            // Pods alone first: of these nobody is told before something else is.
            api.put(web(UID, &format!("app-{number}")));
            if number >= 100 {
                api.put(closes("a", &format!("app-{number}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (_, report) = eventually("the last change is reported", || {
            let last = api.reports().pop()?;
            (version(&last.1, "NetworkPolicy") == Some(api.version())).then_some(last)
        })
        .await;
        assert_eq!((version(&report, "Service"), version(&report, "EndpointSlice")), (Some(service_version), None));
        assert!(version(&report, "Pod") > Some(service_version), "what nobody waits for is told besides");
        let owner = json!([{ "apiVersion": "v1", "kind": "Node", "name": "here", "uid": "of-here" }]);
        assert_eq!(report["metadata"]["ownerReferences"], owner);
        assert_eq!(report["status"]["failed"], json!([]));
        let reports = api.reports();
        let awaited = |report: &Value| {
            let status = &report["status"];
            let versions = ["NetworkPolicy", "ClusterNetworkPolicy", "Service"].map(|kind| version(report, kind));
            (versions, status["failed"].clone(), status["behind"].clone())
        };
        let says_nothing = |pair: &[(Instant, Value)]| awaited(&pair[0].1) == awaited(&pair[1].1);
        assert!(!reports.windows(2).any(says_nothing), "{reports:#?}");
        let pauses: Vec<_> = reports.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(200)), "{pauses:?}");
        assert!(pauses.len() >= 2, "changes are told while more are coming");
    });
}

#[test]
fn root_what_is_not_in_force_is_named_in_the_report() {
    in_namespace(|| async {
        let mut strange = closes("strange", "web");
        strange["spec"]["ingress"] = json!([{ "from": [{ "ipBlock": { "cidr": "everywhere" } }] }]);
        let (api, dataplane, _agent) = agent_of(&[strange]).await;
        let failed =
            |name: &str| api.reports().pop()?.1["status"]["failed"].as_array()?.iter().find(|failed| failed["name"] == name).cloned();
        let trouble = eventually("what is not understood is told", || failed("strange")).await;
        assert_eq!((&trouble["kind"], &trouble["namespace"]), (&"NetworkPolicy".into(), &"shop".into()));
        assert!(trouble["message"].as_str().unwrap().contains("from[0] is not understood"), "{trouble}");
        // A Service that the maps have no room for: its two entries, at each attempt.
        *dataplane.full.lock().unwrap() = Some(("SERVICES", 0));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(service("web", "10.96.0.1"));
        let full = eventually("what does not fit is told", || failed("web")).await;
        assert_eq!((&full["kind"], &full["namespace"]), (&"Service".into(), &"default".into()));
        *dataplane.failing.lock().unwrap() = 0;
        eventually("it fits", || failed("web").is_none().then_some(())).await;
        assert!(failed("strange").is_some());
    });
}

#[test]
fn root_while_it_is_not_known_whose_a_pod_is_no_policy_is_told_as_programmed() {
    in_namespace(|| async {
        let (api, dataplane, mut agent) = agent_of(&[closes("a", "web"), web(UID, "web")]).await;
        let record = attachment();
        let (name, file) = (record.attachment.clone(), agent.state_dir().join("attachments/c1@eth0.json"));
        Attachments::new(&agent.state_dir()).put(&record).unwrap();
        assert_eq!(agent.ask(&Request::Attach(record)).await, Answer::Done);
        let told = |since: usize, policies: bool, pod: Option<&str>| {
            let report = api.reports().split_off(since).pop()?.1;
            let failed = report["status"]["failed"].as_array()?;
            let named = failed.iter().find(|failed| failed["kind"] == "Pod").and_then(|failed| failed["name"].as_str());
            (version(&report, "NetworkPolicy").is_some() == policies && named == pod).then_some(())
        };
        eventually("the policy is in force", || told(0, true, None)).await;
        let before = entry(&dataplane);
        // The pod goes from the API while no agent is there, but runs on.
        let pod = web(UID, "web");
        for (expected, is_broken) in [("web", false), ("c1/eth0", true)] {
            let folder = agent.stop().await;
            if is_broken {
                api.put(pod.clone());
                std::fs::write(&file, "{").unwrap();
            } else {
                api.delete(&pod);
            }
            let since = api.reports().len();
            api.put(service("web", "10.96.0.1"));
            agent = Agent::start_in(folder, &api, &dataplane);
            eventually("the pod is named", || told(since, false, Some(expected))).await;
            let report = api.reports().pop().unwrap().1;
            assert!(version(&report, "Service").is_some());
            let why = if is_broken {
                "pod c1/eth0: the CNI plugin's record of it cannot be read"
            } else {
                "pod shop/web: the API does not have it"
            };
            assert_eq!(behind(&report, "NetworkPolicy").as_deref(), Some(why));
            assert_eq!(behind(&report, "Service"), None);
            assert_eq!(entry(&dataplane), before);
        }
        assert_eq!(agent.ask(&Request::Detach(name)).await, Answer::Done);
        eventually("the policy is in force", || told(0, true, None)).await;
    });
}

#[test]
fn root_what_has_no_room_for_a_policy_keeps_no_service_from_being_told() {
    in_namespace(|| async {
        let (api, dataplane, _agent) = attached_to(&[web(UID, "web")]).await;
        *dataplane.full.lock().unwrap() = Some(("VERDICTS", 0));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(closes("a", "web"));
        let closed = api.version_of(&closes("a", "web"));
        let told = |names_it: bool, served: u64| {
            let report = api.reports().pop()?.1;
            let named = report["status"]["failed"].as_array()?.iter().any(|failed| failed["name"] == "a");
            (named == names_it && version(&report, "Service").unwrap_or(0) >= served).then_some(report)
        };
        eventually("the policy does not fit", || told(true, 0)).await;
        // Of a Service without an address there is nothing to write.
        api.put(service("web", "None"));
        let served = api.version_of(&service("web", "None"));
        let report = eventually("the Service is there, the policy is not", || told(true, served)).await;
        assert!(version(&report, "NetworkPolicy") < Some(closed), "{report}");
        let full = "map VERDICTS is full (0 entries); raise capacities.VERDICTS";
        assert_eq!(behind(&report, "NetworkPolicy").as_deref(), Some(full));
        assert_eq!(behind(&report, "Service"), None);
        assert!(report["status"]["failed"][0]["message"].as_str().unwrap().ends_with(full), "{report}");
        *dataplane.failing.lock().unwrap() = 0;
        let in_force = || told(false, served).filter(|report| version(report, "NetworkPolicy") == Some(closed)).map(drop);
        eventually("it has room", in_force).await;
    });
}

#[test]
fn root_after_the_store_was_set_back_nothing_is_told_by_the_versions_of_before() {
    in_namespace(|| async {
        let (api, dataplane) = cluster();
        for number in 0..100 {
            api.put(closes(&format!("other-{number}"), "other"));
        }
        api.put(web(UID, "web"));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        assert_eq!(agent.ask(&Request::Attach(attachment())).await, Answer::Done);
        api.set_back(50);
        let told = |kind: &str| api.reports().pop().and_then(|report| version(&report.1, kind));
        eventually("the versions go back", || (told("NetworkPolicy") == Some(50)).then_some(())).await;
        // What comes now is not seen.
        api.hide(POLICIES);
        api.refused(POLICIES);
        for _ in 0..2 {
            eventually("watching fails", || api.refused(POLICIES).then_some(())).await;
        }
        api.put(closes("a", "web"));
        api.put(service("web", "10.96.0.1"));
        let served = api.version();
        eventually("something else is told", || (told("Service") == Some(served)).then_some(())).await;
        assert_eq!(told("NetworkPolicy"), Some(50));
        api.withhold(None);
        eventually("it is seen", || (told("NetworkPolicy") == Some(served - 1)).then_some(())).await;
        assert_ne!(entry(&dataplane).unwrap().ingress, 0);
    });
}

#[test]
fn root_while_a_pods_device_has_no_programs_no_new_policy_is_told_as_programmed() {
    in_namespace(|| async {
        let (api, dataplane, agent) = agent_of(&[web(UID, "web")]).await;
        let record = attachment();
        Attachments::new(&agent.state_dir()).put(&record).unwrap();
        assert_eq!(agent.ask(&Request::Attach(record)).await, Answer::Done);
        let folder = agent.stop().await;
        // Another version's: of ours it takes none.
        dataplane.devices.lock().unwrap().clear();
        *dataplane.refuses_devices.lock().unwrap() = true;
        api.put(closes("a", "web"));
        let (closed, since) = (api.version_of(&closes("a", "web")), api.reports().len());
        let agent = Agent::start_with(folder, &api, &dataplane, |config| config.resync_seconds = 1);
        agent.configured().await;
        // Something else is told.
        api.put(service("web", "10.96.0.1"));
        let served = api.version_of(&service("web", ""));
        let last = |kind: &str| api.reports().pop().and_then(|report| version(&report.1, kind));
        eventually("the Service is told", || (last("Service") == Some(served)).then_some(())).await;
        for (_, report) in api.reports().split_off(since) {
            assert_eq!(version(&report, "NetworkPolicy"), None);
            let failed = &report["status"]["failed"][0];
            assert_eq!(
                (&failed["kind"], &failed["namespace"], &failed["name"]),
                (&json!("Pod"), &json!("shop"), &json!("web")),
                "{report}"
            );
            assert!(failed["message"].as_str().unwrap().contains("the test wants it"), "{report}");
            let why = "pod shop/web: its device has no programs of this version";
            assert_eq!(behind(&report, "NetworkPolicy").as_deref(), Some(why));
        }
        assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if status.synced && !status.programmed));
        *dataplane.refuses_devices.lock().unwrap() = false;
        eventually("the policy is told", || (last("NetworkPolicy") == Some(closed)).then_some(())).await;
        assert_eq!(api.reports().pop().unwrap().1["status"]["failed"], json!([]));
        assert!(matches!(agent.ask(&Request::Status).await, Answer::Status(status) if status.programmed));
    });
}
