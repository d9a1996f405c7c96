//! Ten thousand policies and fifty thousand pods, a hundred of them on this node: what a change costs must not grow with them.
//!
//! The limits are for a debug build on a busy machine; `cargo test --release -p orknet-compiler --test policy_scale -- --nocapture` shows what
//! it really takes.

use k8s_openapi::api::core::v1::{Container, ContainerPort, Namespace, Pod as ApiPod, PodIP, PodSpec, PodStatus};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orknet_abi::{Address, Pod, RangeKey};
use orknet_compiler::{Attachment, Change, Names, NamespaceFacts, ObjectName, Owner, Plan, PodFacts, PolicyFacts, State, Step};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const NAMESPACES: u32 = 500;
const POLICIES: u32 = 10_000;
const PODS: u32 = 50_000;
/// Every so many pods is here: of another namespace each, and of all applications.
const LOCAL_EACH: u32 = 501;

fn namespace(number: u32) -> String {
    format!("namespace-{number}")
}

fn meta(namespace: &str, name: String, labels: &[(&str, String)]) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.into()),
        uid: Some(format!("{namespace}/{name}")),
        name: Some(name),
        labels: Some(labels.iter().map(|(key, value)| ((*key).into(), value.clone())).collect::<BTreeMap<_, _>>()),
        ..ObjectMeta::default()
    }
}

/// Ten applications in each namespace, ten pods of each; `version` is of one pod alone.
fn pod(number: u32, version: &str, names: &mut Names) -> (ObjectName, PodFacts, Owner) {
    let labels =
        [("app", format!("app-{}", number / NAMESPACES % 10)), ("tier", format!("tier-{}", number % 3)), ("version", version.into())];
    let port = ContainerPort { name: Some("http".into()), container_port: 8_080, ..ContainerPort::default() };
    let pod = ApiPod {
        metadata: meta(&namespace(number % NAMESPACES), format!("application-7c9d8f6b5d-{number:05}"), &labels),
        spec: Some(PodSpec { containers: vec![Container { ports: Some(vec![port]), ..Container::default() }], ..PodSpec::default() }),
        status: Some(PodStatus { pod_ips: Some(vec![PodIP { ip: text(number) }]), ..PodStatus::default() }),
    };
    (ObjectName::of(&pod.metadata, names), PodFacts::of(&pod, names), Owner::of(&pod.metadata, names))
}

fn text(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0af4_0000 + number).to_string()
}

/// Of each namespace twenty: by application, from pods of the own namespace, of others by label, from blocks, and to named ports.
fn policy(number: u32, port: u16, names: &mut Names) -> (ObjectName, PolicyFacts) {
    let app = |number: u32| json!({"matchLabels": {"app": format!("app-{}", number % 10)}});
    let (kind, own) = (number / NAMESPACES % 4, number / NAMESPACES);
    let peers = match kind {
        0 => json!([{"podSelector": app(own + 1)}]),
        1 => json!([{"namespaceSelector": {"matchLabels": {"team": format!("team-{}", number % 50)}}, "podSelector": app(own)}]),
        2 => json!([{"ipBlock": {"cidr": format!("10.{}.0.0/16", number % 200), "except": [format!("10.{}.4.0/24", number % 200)]}}]),
        _ => json!([{"podSelector": {}}, {"namespaceSelector": {}, "podSelector": app(own + 3)}]),
    };
    let rule = |side: &str| json!([{side: peers, "ports": [{"port": port}, {"port": "http"}, {"port": 9_000, "endPort": 9_100}]}]);
    let mut spec: Value = json!({"podSelector": app(own), "policyTypes": ["Ingress"], "ingress": rule("from")});
    if kind == 1 {
        spec = json!({"podSelector": app(own), "policyTypes": ["Egress"], "egress": rule("to")});
    }
    let policy = NetworkPolicy {
        metadata: meta(&namespace(number % NAMESPACES), format!("policy-{number}"), &[]),
        spec: Some(serde_json::from_value(spec).unwrap()),
    };
    (ObjectName::of(&policy.metadata, names), PolicyFacts::of(&policy, names))
}

fn attachment(number: u32, owner: Owner) -> Attachment {
    let addresses = vec![Address::from_v4((0x0af4_0000 + number).to_be_bytes())];
    Attachment { addresses, pod: Pod { ifindex: number + 1, ..Pod::default() }, owner: Some(owner), ..Attachment::default() }
}

/// Bytes of this process that are in memory (proc_pid_statm(5), in pages of 4,096 bytes on the machines that tests run on).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn cluster(names: &mut Names) -> State {
    let mut state = State::default();
    for number in 0..NAMESPACES {
        let meta = ObjectMeta { namespace: None, ..meta("", namespace(number), &[("team", format!("team-{}", number % 50))]) };
        let facts = NamespaceFacts::of(&Namespace { metadata: meta, ..Namespace::default() }, names);
        state.note(Change::Namespace(namespace(number).as_str().into(), Some(facts)));
    }
    for number in 0..POLICIES {
        let (name, facts) = policy(number, 80, names);
        state.note(Change::Policy(name, Some(facts)));
    }
    for number in 0..PODS {
        let (name, facts, owner) = pod(number, "1", names);
        state.note(Change::PeerPod(name, Some(facts)));
        if number.is_multiple_of(LOCAL_EACH) {
            state.note(Change::Attachment(format!("local-{number}").as_str().into(), Some(attachment(number, owner))));
        }
    }
    state.policies_known();
    state
}

/// How long a piece of work takes; its result with it.
fn cost<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

/// The slowest of a hundred, but for the slowest.
fn most(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() - 2]
}

/// A policy "everywhere but …" for a pod of the node: it comes, gets an except that is a range of pods, and goes. Of the addresses, only the block's own
/// prefixes are written, and pods in that except. How long each took.
fn blocks_around_the_pods(number: u32, state: &mut State, names: &mut Names) -> [Duration; 3] {
    let kinds = state.image().peers.values().collect::<BTreeSet<_>>().len();
    let mut set = |except: Option<&str>| {
        let block = json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32", except]}}]);
        let policy = NetworkPolicy {
            metadata: meta(&namespace(number), "everywhere".into(), &[]),
            spec: except
                .map(|_| serde_json::from_value(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": block}]})).unwrap()),
        };
        let facts = except.map(|_| PolicyFacts::of(&policy, names));
        cost(|| state.apply([Change::Policy(ObjectName::of(&policy.metadata, names), facts)]))
    };
    let written = |plan: &Plan| {
        let range = |step: &Step| if let Step::PutPeer(range, _) | Step::DeletePeer(range) = step { Some(*range) } else { None };
        plan.steps.iter().filter_map(range).collect::<BTreeSet<RangeKey>>()
    };
    let range = |text: &str, bits| RangeKey::new(text.parse().unwrap(), bits);
    let (all, one) = (range("0.0.0.0", 0), range("169.254.169.254", 32));
    let (other, of_pods) = (range("192.168.0.0", 16), range("10.244.7.0", 24));
    let pods: BTreeSet<RangeKey> = (0..256).map(|last| range(&format!("10.244.7.{last}"), 32)).collect();
    let (plan, comes) = set(Some("192.168.0.0/16"));
    assert_eq!(written(&plan), [all, one, other].into());
    assert!(plan.steps.iter().any(|step| matches!(step, Step::PutPod(..))), "it is for a pod of the node");
    // The new set says something about each kind of pod; what the old one said goes.
    assert!(plan.steps.len() <= 2 * kinds, "{} steps, {kinds} peer sets", plan.steps.len());
    let (plan, changes) = set(Some("10.244.7.0/24"));
    let strange: Vec<_> =
        written(&plan).into_iter().filter(|range| ![all, one, other, of_pods].contains(range) && !pods.contains(range)).collect();
    assert_eq!(strange, [], "another address is touched");
    let (plan, goes) = set(None);
    let strange: Vec<_> =
        written(&plan).into_iter().filter(|range| ![all, one, of_pods].contains(range) && !pods.contains(range)).collect();
    assert_eq!(strange, [], "another address is touched");
    [comes, changes, goes]
}

#[test]
fn one_label_among_fifty_thousand_pods_and_one_policy_among_ten_thousand_touch_what_they_change() {
    let before = resident();
    let mut names = Names::default();
    let (mut state, noted) = cost(|| cluster(&mut names));
    let (plan, planned) = cost(|| state.plan());
    let whole = noted + planned;
    let image = state.image();
    let sizes = (image.peers.len(), image.verdicts.len(), image.ports.len(), image.rules.len());
    assert!(image.pods.len() == 100 && image.pods.values().any(|pod| pod.ingress != 0), "the policies select pods of the node");
    drop(plan);
    let bytes = resident() - before;
    let mut labels = Vec::new();
    for number in (1..PODS).step_by(LOCAL_EACH as usize) {
        let (name, mut facts, _) = pod(number, "2", &mut names);
        facts.labels = names.labels([(&"app".to_owned(), &"app-3".to_owned())]);
        let (plan, time) = cost(|| state.apply([Change::PeerPod(name, Some(facts))]));
        labels.push(time);
        let strange = plan.steps.iter().filter(|step| matches!(step, Step::PutPeer(range, _) | Step::DeletePeer(range) if *range != RangeKey::new(text(number).parse().unwrap(), 32)));
        assert_eq!(strange.count(), 0, "another address is touched");
    }
    let mut policies = Vec::new();
    let mut elsewhere = Vec::new();
    for number in 0..100 {
        let (name, facts) = policy(number, 81, &mut names);
        policies.push(cost(|| state.apply([Change::Policy(name, Some(facts))])).1);
        let (name, facts) = policy(number + 200, 81, &mut names);
        let (plan, time) = cost(|| state.apply([Change::Policy(name, Some(facts))]));
        elsewhere.push(time);
        assert!(plan.is_empty(), "a policy of other nodes' pods is not in the maps");
    }
    let around: Vec<Duration> = (0..10).flat_map(|number| blocks_around_the_pods(number, &mut state, &mut names)).collect();
    let (labels, policies, elsewhere, around) = (most(labels), most(policies), most(elsewhere), most(around));
    println!(
        "{POLICIES} policies, {PODS} pods: noted {noted:?}, whole {whole:?}, one label {labels:?}, one policy {policies:?}, one of others {elsewhere:?}, \
         one with a block around all pods {around:?}, {} MB; peers, verdicts, ports, rules: {sizes:?}",
        bytes >> 20
    );
    // Costs that grow with the number of pods or policies would miss these by far.
    assert!(labels < Duration::from_millis(200) && policies < Duration::from_millis(200) && elsewhere < Duration::from_millis(50));
    assert!(around < Duration::from_secs(1), "{around:?}");
    assert!(whole < Duration::from_secs(60), "{whole:?}");
    assert!(bytes < 150 << 20, "{} MB", bytes >> 20);
}

#[test]
fn ten_thousand_policies_that_hold_for_one_pod_are_one_set_and_a_change_of_one_is_soon_written() {
    let mut names = Names::default();
    let mut state = State::default();
    state.policies_known();
    let whole = |number: u32, port: u16, names: &mut Names| {
        let (name, _) = policy(0, port, names);
        let peer = json!([{"podSelector": {"matchLabels": {"version": format!("{}", number % 1_000)}}}]);
        let spec = json!({"podSelector": {}, "ingress": [{"from": peer, "ports": [{"port": port}]}]});
        let policy = NetworkPolicy {
            metadata: meta(&name.namespace, format!("policy-{number}"), &[]),
            spec: Some(serde_json::from_value(spec).unwrap()),
        };
        (ObjectName::of(&policy.metadata, names), PolicyFacts::of(&policy, names))
    };
    let fill = || {
        for number in 0..POLICIES {
            let (name, facts) = whole(number, 80, &mut names);
            state.note(Change::Policy(name, Some(facts)));
        }
        for number in 0..1_000 {
            let (name, facts, owner) = pod(number * NAMESPACES, &number.to_string(), &mut names);
            state.note(Change::PeerPod(name, Some(facts)));
            if number < 100 {
                state.note(Change::Attachment(format!("{number}").as_str().into(), Some(attachment(number * NAMESPACES, owner))));
            }
        }
        state.plan();
    };
    let (_, from_empty) = cost(fill);
    let sets: std::collections::BTreeSet<u32> = state.image().pods.values().map(|pod| pod.ingress).collect();
    assert_eq!((sets.len(), state.image().verdicts.len()), (1, 1_001), "equal sets are there once");
    let mut changes = Vec::new();
    for number in 0..20 {
        let (name, facts) = whole(number, 81, &mut names);
        changes.push(cost(|| state.apply([Change::Policy(name, Some(facts))])).1);
    }
    let change = most(changes);
    println!("{POLICIES} policies for each of 100 pods: from empty {from_empty:?}, one policy {change:?}");
    assert!(from_empty < Duration::from_secs(60) && change < Duration::from_secs(2), "{from_empty:?}, {change:?}");
}
