//! Policies, labels and pods change at random, an agent is killed, and everybody goes on asking: who is answered is so as before a change or as
//! after it while it comes into force, and otherwise as all changes say that are in force; in the end the maps are those of a fresh programming.

use crate::crowd::{Asked, Crowd, End};
use crate::fresh;
use crate::matrix::{made_up, mistakes};
use crate::scene::NODES;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::policy::{NAMESPACES, PODS, World};
use orknet_tests::probes::now;
use orknet_tests::{Cluster, Kubectl, eventually, programmed, tests};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

tests![e2e_policy_holds_while_everything_changes];

const TIME: Duration = Duration::from_secs(60);
/// In the course of which change an agent is killed.
const KILLED: usize = 3;
/// After so many changes nothing changes until everybody has asked everybody.
const BREATH: usize = 3;
/// Made-up policies at a time.
const MOST: usize = 6;

fn e2e_policy_holds_while_everything_changes(cluster: &Cluster, _: &Kubectl) -> Result<()> {
    let mut crowd = Crowd::make(cluster)?;
    crowd.create(&lasting())?;
    programmed::settle(&crowd.kubectl)?;
    let shared =
        Shared { ends: Mutex::new(crowd.ends.clone()), gone: Mutex::default(), whole: AtomicU64::new(0), is_over: AtomicU64::new(0) };
    let mut course = Course::new(cluster, &crowd, &shared)?;
    let (changed, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| shared.ask(&crowd));
        let changed = course.run();
        shared.is_over.store(1, Ordering::Release);
        (changed, asking.join())
    });
    changed?;
    let asked = asked.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let (history, policies) = (course.history, course.policies);
    judge(&history, &asked)?;
    crowd.ends = shared.ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    let wrong = mistakes(&crowd, &policies)?;
    ensure!(wrong.is_empty(), "in the end: {} mistakes\n  {}", wrong.len(), wrong[..wrong.len().min(8)].join("\n  "));
    let pods: Vec<&str> = crowd.ends.iter().filter(|end| end.is_pod()).map(|end| end.name.as_str()).collect();
    fresh::maps_are_as_fresh(cluster, &crowd.kubectl, &pods)
}

/// What the cluster held: changes may have counted from `from` on, and what they replaced must have been gone from `until` on.
struct Epoch {
    world: World,
    from: u64,
    until: u64,
}

/// What those who ask and who changes tell each other.
struct Shared {
    ends: Mutex<Vec<End>>,
    /// Pods that go or are gone.
    gone: Mutex<BTreeSet<String>>,
    /// When the last round began of which all questions are over.
    whole: AtomicU64,
    is_over: AtomicU64,
}

impl Shared {
    /// Everybody asks everybody, again and again.
    fn ask(&self, crowd: &Crowd<'_>) -> Result<Vec<Asked>> {
        let mut seen = Vec::new();
        let is_gone = |name: &str| self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(name);
        while self.is_over.load(Ordering::Acquire) == 0 {
            let (ends, began) = (self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone(), now());
            let asked = crowd.ask_among(&ends, &is_gone);
            if asked.is_err() {
                // So that nobody waits for what will not come.
                self.whole.store(u64::MAX, Ordering::Release);
            }
            seen.extend(asked?);
            self.whole.store(began, Ordering::Release);
        }
        Ok(seen)
    }

    fn with_ends<T>(&self, act: impl FnOnce(&mut Vec<End>) -> T) -> T {
        act(&mut self.ends.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Of changes, one after the other.
struct Course<'a> {
    cluster: &'a Cluster,
    crowd: &'a Crowd<'a>,
    shared: &'a Shared,
    random: TestRunner,
    history: Vec<Epoch>,
    policies: Vec<Value>,
    /// Of policies and pods that are made.
    made: u32,
}

impl<'a> Course<'a> {
    fn new(cluster: &'a Cluster, crowd: &'a Crowd<'a>, shared: &'a Shared) -> Result<Self> {
        let policies = lasting();
        let history = vec![Epoch { world: crowd.world(&policies)?, from: 0, until: u64::MAX }];
        Ok(Self { cluster, crowd, shared, random: TestRunner::deterministic(), history, policies, made: 0 })
    }

    fn run(&mut self) -> Result<()> {
        let end = Instant::now() + TIME;
        for number in 0.. {
            if Instant::now() > end && number > KILLED {
                break;
            }
            let node = (number == KILLED).then_some(NODES[number % 2]);
            if let Some(node) = node {
                self.cluster.signal(node, "agent", Signal::SIGKILL)?;
            }
            self.change().with_context(|| format!("change {number}"))?;
            if number % BREATH == 0 {
                let since = now();
                eventually("everybody to have asked everybody", || {
                    ensure!(self.shared.whole.load(Ordering::Acquire) >= since);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// One change, until it is in force. If agents do not run, they do after it.
    fn change(&mut self) -> Result<()> {
        match self.below(8) {
            0 | 1 => self.add_policy(),
            2 if self.policies.len() > lasting().len() => self.remove_policy(),
            3 | 4 => {
                let (pods, like) = (self.shared.with_ends(|ends| pods_of(ends)), PODS[self.below(3)]);
                let pod = &pods[self.below(pods.len())];
                let (namespace, name) = pod.name.split_once('/').unwrap_or_default();
                let labels = orknet_tests::policy::labels_of_pod(like);
                let words: Vec<String> = ["app", "extra", "pod"]
                    .iter()
                    .map(|key| labels[key].as_str().map_or(format!("{key}-"), |value| format!("{key}={value}")))
                    .collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.label(&self.crowd.kubectl.in_namespace(namespace), &format!("pod/{name}"), &words)
            }
            5 => {
                let (team, only) = (["team=blue", "team=red"][self.below(2)], ["only-z=yes", "only-z-"][self.below(2)]);
                let namespace = format!("namespace/{}", NAMESPACES[self.below(3)]);
                self.label(&self.crowd.kubectl.clone(), &namespace, &[team, only])
            }
            _ => self.replace_pod(),
        }
    }

    fn add_policy(&mut self) -> Result<()> {
        if self.policies.len() >= lasting().len() + MOST {
            self.remove_policy()?;
        }
        let mut set = made_up(&mut self.random);
        let mut policy = set.swap_remove(self.below(set.len()));
        self.made += 1;
        let number = self.made;
        policy["metadata"]["name"] = json!(format!("made-{number}"));
        if policy["kind"] == "ClusterNetworkPolicy" {
            // No two of one priority.
            policy["spec"]["priority"] = json!(1 + (number * 389) % 997);
        }
        self.policies.push(policy.clone());
        self.step(|crowd| {
            crowd.create(&[policy])?;
            Ok(None)
        })
    }

    fn remove_policy(&mut self) -> Result<()> {
        let first = lasting().len();
        let index = first + self.below(self.policies.len() - first);
        let policy = self.policies.remove(index);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, namespace, name) = (text(&policy["kind"]), text(&policy["metadata"]["namespace"]), text(&policy["metadata"]["name"]));
        self.step(|crowd| {
            let kubectl = if namespace.is_empty() { crowd.kubectl.clone() } else { crowd.kubectl.in_namespace(&namespace) };
            kubectl.run(&["delete", &kind, &name])?;
            Ok(None)
        })
    }

    fn label(&mut self, kubectl: &Kubectl, object: &str, labels: &[&str]) -> Result<()> {
        self.step(|_| {
            kubectl.run(&[&["label", object, "--overwrite"], labels].concat())?;
            Ok(Some((kubectl.clone(), object.to_owned())))
        })
    }

    /// A pod goes, and another comes: of any namespace, with any labels, on any node.
    fn replace_pod(&mut self) -> Result<()> {
        let pods = self.shared.with_ends(|ends| pods_of(ends));
        let old = pods[self.below(pods.len())].name.clone();
        self.shared.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(old.clone());
        self.shared.with_ends(|ends| ends.retain(|end| end.name != old));
        self.step(|crowd| {
            let (namespace, name) = old.split_once('/').unwrap_or_default();
            crowd.kubectl.in_namespace(namespace).run(&["delete", "pod", name])?;
            Ok(None)
        })?;
        self.made += 1;
        let (namespace, name, like, node) =
            (NAMESPACES[self.below(3)], format!("made-{}", self.made), PODS[self.below(3)], NODES[self.below(2)]);
        let shared = self.shared;
        self.step(|crowd| {
            let end = crowd.start_pod(namespace, &name, like, node)?;
            shared.with_ends(|ends| ends.push(end));
            Ok(Some((crowd.kubectl.in_namespace(namespace), format!("pod/{name}"))))
        })
    }

    /// Does one thing, waits until that is in force, also of the object that it is about, and notes what the cluster holds then.
    fn step(&mut self, act: impl FnOnce(&Crowd<'_>) -> Result<Option<(Kubectl, String)>>) -> Result<()> {
        let from = now();
        let object = act(self.crowd)?;
        let version = object.map(|(kubectl, object)| kubectl.json(&["get", &object])).transpose()?;
        if NODES.iter().any(|node| !self.runs(node)) {
            self.cluster.up_again(&["--bare"])?;
        }
        programmed::settle(&self.crowd.kubectl)?;
        version.iter().try_for_each(|object| programmed::of_object(&self.crowd.kubectl, object))?;
        let (world, in_force) = (self.crowd.world(&self.policies)?, now());
        self.history.iter_mut().last().context("there is no history")?.until = in_force;
        self.history.push(Epoch { world, from, until: u64::MAX });
        Ok(())
    }

    fn runs(&self, node: &str) -> bool {
        self.cluster.process(node, "agent").is_ok_and(|id| std::fs::exists(format!("/proc/{id}/exe")).unwrap_or(false))
    }

    /// A number below that.
    fn below(&mut self, end: usize) -> usize {
        (0..end).new_tree(&mut self.random).map_or(0, |tree| tree.current())
    }
}

/// Every question is answered as one of the worlds says that may have been while it was asked.
fn judge(history: &[Epoch], asked: &[Asked]) -> Result<()> {
    // Of those of which one world alone may have been: refused, answered.
    let mut sure = [0, 0];
    for asked in asked {
        let worlds = history.iter().filter(|epoch| epoch.from <= asked.ended && epoch.until >= asked.began);
        let answers: Vec<_> = worlds.map(|epoch| epoch.world.answer(&asked.question)).collect();
        if answers.len() == 1 {
            sure[usize::from(asked.is_allowed)] += 1;
        }
        ensure!(asked.is_as(&answers), "{} (changes: {:?})", asked.told(&answers), times(history));
    }
    println!("{} changes, {} questions; sure, refused and answered: {sure:?}", history.len() - 1, asked.len());
    ensure!(sure.iter().all(|count| *count > 200), "of {} questions only {sure:?} are sure to be refused or answered rightly", asked.len());
    Ok(())
}

fn times(history: &[Epoch]) -> Vec<(u64, u64)> {
    history.iter().map(|epoch| (epoch.from, epoch.until)).collect()
}

fn pods_of(ends: &[End]) -> Vec<End> {
    ends.iter().filter(|end| end.is_pod()).cloned().collect()
}

/// Policies that stay all the time, so that at no time everything may be.
fn lasting() -> Vec<Value> {
    let named = |name: &str| json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
    vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "own", "namespace": "y", "uid": "00000000-0000-4000-8000-0000000000a1", "labels": { "lasting": "yes" } },
            "spec": { "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": [{ "podSelector": {} }] }] },
        }),
        json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            // Of equal priority the first by name counts first.
            "metadata": { "name": "0-closed", "uid": "00000000-0000-4000-8000-0000000000a2", "labels": { "lasting": "yes" } },
            "spec": {
                "tier": "Admin", "priority": 0, "subject": { "namespaces": named("z") },
                "ingress": [{ "action": "Deny", "from": [{ "namespaces": named("x") }] }],
            },
        }),
    ]
}
