//! Policies, labels, pods and namespaces change at random, and packets go on meanwhile: each is judged as before a change or as after it, at
//! each of its ends, and afterwards as after it; in the end the maps are what they would be if everything were programmed at once.
//!
//! Fifty changes by default; `ORKNET_FUZZ=1000` makes so many at random, and more if too few of them met packets. With the seed that a run
//! printed in `ORKNET_FUZZ_SEED` they come again.

use crate::alone::{SPREADS, told};
use crate::cluster;
use crate::programs::Table;
use orknet_tests::policy::{NAMESPACES, PODS, Scene, Spread, World, any_set, labels_of_pod};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All objects, by kind, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

/// How often everything is asked after a change, in place of a part.
const ALL_ASKED: usize = 10;

/// One of so many changes must have been seen by packets while it was written.
const ENOUGH: usize = 5;

/// So many times as many changes as are asked for are made until enough were seen.
const PATIENCE: usize = 10;

struct Churn {
    random: StdRng,
    policies: TestRunner,
    objects: Objects,
    /// Of policies and pods that are made.
    made: u32,
}

#[test]
fn root_policies_hold_while_everything_changes() {
    let rounds = std::env::var("ORKNET_FUZZ").ok().map(|text| text.parse().expect("ORKNET_FUZZ is a number"));
    let again = std::env::var("ORKNET_FUZZ_SEED").ok().map(|text| text.parse().expect("ORKNET_FUZZ_SEED is a number"));
    let seed = again.unwrap_or_else(|| if rounds.is_some() { rand::random() } else { 7 });
    println!("ORKNET_FUZZ_SEED={seed}");
    for spread in SPREADS {
        churn(spread, rounds.unwrap_or(50), seed);
    }
}

fn churn(spread: Spread, rounds: usize, seed: u64) {
    let mut table = Table::new("churn", Scene::new(spread));
    let objects: Objects = table.scene.objects().into_iter().map(|object| (key(&object), object)).collect();
    let mut algorithm_seed = [0; 32];
    algorithm_seed[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &algorithm_seed);
    let policies = TestRunner::new_with_rng(Config::default(), rng);
    let mut churn = Churn { random: StdRng::seed_from_u64(seed), policies, objects, made: 0 };
    let mut world = World::of(churn.objects.values());
    // A plan is written in a fraction of a millisecond, so not each meets a packet: it goes on until enough have.
    for round in 0.. {
        if round >= rounds && table.under.met >= rounds / ENOUGH {
            break;
        }
        assert!(round < rounds * PATIENCE, "of {} changes: {:?}", round, table.under);
        let before = churn.objects.clone();
        // One change has one instant; of two, one may be seen without the other.
        let about = churn.change();
        let after = World::of(churn.objects.values());
        let moved = moved(&before, &churn.objects);
        let asked = table.sample(&mut churn.random, 40, |question| !moved.contains(&question.client) && !moved.contains(&question.server));
        let changes: Vec<_> = table.hosts.iter().map(|host| differences(&table.scene, host.name, &before, &churn.objects)).collect();
        let mut wrong = table.change_under(changes, &asked, &world, &after);
        let rest = if round % ALL_ASKED == 0 { table.everything() } else { table.sample(&mut churn.random, 400, |_| true) };
        wrong.extend(table.mistakes_among(&rest, &after));
        assert!(
            wrong.is_empty(),
            "{spread:?}, round {round}, {about:?}: {}\nbefore: {:#?}\nafter: {:#?}",
            told(&wrong),
            shown(&before),
            shown(&churn.objects)
        );
        table.assert_programmed();
        world = after;
    }
    println!("{spread:?}: {:?}", table.under);
}

impl Churn {
    /// Changes something, and says what.
    fn change(&mut self) -> &'static str {
        match self.random.random_range(0..10) {
            0..=3 => self.add_policy(),
            4 | 5 => self.remove_policy(),
            6 => self.relabel_pod(),
            7 => self.relabel_namespace(),
            8 => self.replace_pod(),
            _ => self.end_pod(),
        }
    }

    /// One more, or another in the place of one.
    fn add_policy(&mut self) -> &'static str {
        let set = any_set().prop_filter("none", |set| !set.is_empty()).new_tree(&mut self.policies).unwrap().current();
        let mut policy = set[self.random.random_range(0..set.len())].clone();
        let known = self.of_kind(policy["kind"].as_str().unwrap());
        if known.len() > 5 || !known.is_empty() && self.random.random_bool(0.3) {
            let (_, namespace, name) = &known[self.random.random_range(0..known.len())];
            if policy["kind"] == "NetworkPolicy" {
                policy["metadata"]["namespace"] = json!(namespace);
            }
            policy["metadata"]["name"] = json!(name);
        } else {
            self.made += 1;
            policy["metadata"]["name"] = json!(format!("made-{}", self.made));
        }
        let (_, namespace, name) = key(&policy);
        policy["metadata"]["uid"] = json!(format!("{namespace}/{name}"));
        if policy["kind"] == "ClusterNetworkPolicy" {
            // No two of one priority, so that there is one right answer.
            let taken: BTreeSet<u64> = self.objects.values().filter_map(|object| object["spec"]["priority"].as_u64()).collect();
            let free = (0..=1_000).filter(|priority| !taken.contains(priority)).nth(self.random.random_range(0..900));
            policy["spec"]["priority"] = json!(free.unwrap());
        }
        self.objects.insert(key(&policy), policy);
        "a policy is new or other"
    }

    fn remove_policy(&mut self) -> &'static str {
        let known = [self.of_kind("NetworkPolicy"), self.of_kind("ClusterNetworkPolicy")].concat();
        if !known.is_empty() {
            self.objects.remove(&known[self.random.random_range(0..known.len())]);
        }
        "a policy goes"
    }

    fn relabel_pod(&mut self) -> &'static str {
        let like = PODS[self.random.random_range(0..PODS.len())];
        let pod = self.some_pod();
        self.objects.get_mut(&pod).unwrap()["metadata"]["labels"] = labels_of_pod(like);
        "a pod has other labels"
    }

    fn relabel_namespace(&mut self) -> &'static str {
        let (name, team) = (NAMESPACES[self.random.random_range(0..3)], ["red", "blue"][self.random.random_range(0..2)]);
        let labels = &mut self.objects.get_mut(&("Namespace".into(), String::new(), name.into())).unwrap()["metadata"]["labels"];
        labels["team"] = json!(team);
        labels["only-z"] = json!(["yes", "no"][self.random.random_range(0..2)]);
        "a namespace has other labels"
    }

    /// A pod goes, and another gets its addresses.
    fn replace_pod(&mut self) -> &'static str {
        let place = self.some_pod();
        let mut pod = self.objects.remove(&place).unwrap();
        self.made += 1;
        let (namespace, name) = (NAMESPACES[self.random.random_range(0..3)], format!("pod-{}", self.made));
        pod["metadata"] = json!({"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "labels": labels_of_pod(PODS[self.random.random_range(0..3)])});
        pod["status"]["phase"] = json!("Running");
        self.objects.insert(key(&pod), pod);
        "a pod's addresses are another's"
    }

    /// A pod is over while another with its addresses begins.
    fn end_pod(&mut self) -> &'static str {
        let place = self.some_pod();
        let mut heir = self.objects[&place].clone();
        self.objects.get_mut(&place).unwrap()["status"]["phase"] = json!("Failed");
        self.made += 1;
        let name = format!("heir-{}", self.made);
        heir["metadata"]["uid"] = json!(format!("{}-{name}", place.1));
        heir["metadata"]["name"] = json!(name);
        self.objects.insert(key(&heir), heir);
        "a pod is over, and has an heir"
    }

    fn of_kind(&self, kind: &str) -> Vec<(String, String, String)> {
        self.objects.keys().filter(|(known, ..)| known == kind).cloned().collect()
    }

    /// One that lives, on a network of its own.
    fn some_pod(&mut self) -> (String, String, String) {
        let lives =
            |object: &Value| object["kind"] == "Pod" && object["spec"]["hostNetwork"] != true && object["status"]["phase"] == "Running";
        let pods: Vec<_> = self.objects.iter().filter(|(_, object)| lives(object)).map(|(key, _)| key.clone()).collect();
        pods[self.random.random_range(0..pods.len())].clone()
    }
}

fn key(object: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&object["kind"]), text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

/// What a node's agent would be told.
fn differences(scene: &Scene, node: &str, before: &Objects, after: &Objects) -> Vec<orknet_compiler::Change> {
    let gone: Vec<Value> = before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(_, object)| object.clone()).collect();
    let other = after.iter().filter(|(key, object)| before.get(*key) != Some(*object));
    let (mut ended, mut fresh) = (Vec::new(), Vec::new());
    for (key, object) in other {
        // The device of a pod that is over is taken away; the pod is still told of.
        let is_over = object["kind"] == "Pod" && object["status"]["phase"] == "Failed";
        ended.extend(before.get(key).filter(|_| is_over).cloned());
        fresh.push(object.clone());
    }
    let removals = cluster::removals(scene, node, &[gone, ended].concat());
    removals.into_iter().chain(cluster::changes(scene, node, &fresh)).collect()
}

/// Addresses that change hands.
fn moved(before: &Objects, after: &Objects) -> BTreeSet<IpAddr> {
    let owners = |objects: &Objects| -> BTreeMap<IpAddr, String> {
        let running = objects.values().filter(|object| object["kind"] == "Pod" && object["status"]["phase"] == "Running");
        let addresses = |pod: &Value| {
            pod["status"]["podIPs"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| one["ip"].as_str().unwrap().parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        running.flat_map(|pod| addresses(pod).into_iter().map(|address| (address, pod["metadata"]["uid"].to_string()))).collect()
    };
    let after = owners(after);
    owners(before).into_iter().filter(|(address, uid)| after.get(address) != Some(uid)).map(|(address, _)| address).collect()
}

/// Those that matter to a person.
fn shown(objects: &Objects) -> Vec<&Value> {
    objects.values().filter(|object| object["kind"] != "Node").collect()
}
