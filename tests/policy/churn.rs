//! Everything changes at random, an agent is killed, and everybody goes on asking: who is answered is so as before a change or as after it, and once it
//! is in force as after it.

use crate::crowd::{Asked, Crowd};
use crate::matrix::{made_up, mistakes};
use crate::scene::NODES;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::{Cluster, Kubectl, policy, programmed, tests};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

tests![e2e_policy_holds_while_everything_changes];

const ROUNDS: usize = 8;
/// In whose course an agent is killed.
const KILLED: usize = 4;

fn e2e_policy_holds_while_everything_changes(cluster: &Cluster, _: &Kubectl) -> Result<()> {
    let crowd = Crowd::make(cluster)?;
    let mut runner = TestRunner::deterministic();
    let mut policies = made_up(&mut runner);
    let lasting = lasting();
    let with_lasting = |policies: &[Value]| [&lasting[..], policies].concat();
    crowd.create(&lasting)?;
    crowd.replace(&policies)?;
    for round in 0..ROUNDS {
        let before = crowd.world(&with_lasting(&policies))?;
        let next = made_up(&mut runner);
        let seen = while_asked(&crowd, || {
            if round == KILLED {
                cluster.signal(NODES[round % 2], "agent", Signal::SIGKILL)?;
            }
            change(&crowd, round)?;
            crowd.replace_soon(&next)?;
            if round == KILLED {
                cluster.up_again(&["--bare"])?;
            }
            programmed::settle(&crowd.kubectl)
        })
        .with_context(|| format!("round {round}"))?;
        let after = crowd.world(&with_lasting(&next))?;
        // What is replaced is gone for a moment, and new policies come one by one.
        // As they are deleted: namespace by namespace, and those of the cluster last.
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        policies.sort_by_key(|policy| {
            let meta = &policy["metadata"];
            (policy["kind"] != "NetworkPolicy", text(&meta["namespace"]), text(&meta["name"]))
        });
        let steps: Vec<_> = (0..=policies.len())
            .map(|gone| crowd.world(&with_lasting(&policies[gone..])))
            .chain((0..next.len()).map(|come| crowd.world(&with_lasting(&next[..come]))))
            .collect::<Result<_>>()?;
        for asked in &seen {
            let worlds = [&before, &after].into_iter().chain(&steps);
            let answers: Vec<_> = worlds.map(|world| world.answer(&asked.question)).collect();
            ensure!(asked.is_as(&answers), "round {round}: {}", asked.told(&answers[..2]));
        }
        let wrong = mistakes(&crowd, &with_lasting(&next))?;
        ensure!(wrong.is_empty(), "round {round}: {} mistakes\n  {}", wrong.len(), wrong[..wrong.len().min(8)].join("\n  "));
        policies = next;
    }
    crowd.kubectl.run(&["delete", "clusternetworkpolicies", "--all"])?;
    crowd.replace(&[])
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

/// A pod gets other labels, or a namespace does.
fn change(crowd: &Crowd<'_>, round: usize) -> Result<()> {
    let namespace = policy::NAMESPACES[round % 3];
    if round.is_multiple_of(2) {
        let pod = policy::PODS[round / 2 % 3];
        let object = crowd.kubectl.in_namespace(namespace).json(&["label", "pod", pod, "app=db", "extra=yes", "--overwrite"])?;
        programmed::of_object(&crowd.kubectl, &object)
    } else {
        let object = crowd.kubectl.json(&["label", "namespace", namespace, "team=blue", "only-z=yes", "--overwrite"])?;
        programmed::of_object(&crowd.kubectl, &object)
    }
}

/// What came of everybody's asking everybody, again and again, while something happened.
fn while_asked(crowd: &Crowd<'_>, act: impl FnOnce() -> Result<()>) -> Result<Vec<Asked>> {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_done.load(Ordering::Acquire) {
                seen.extend(crowd.ask()?);
            }
            anyhow::Ok(seen)
        });
        let acted = act();
        is_done.store(true, Ordering::Release);
        let seen = asking.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        acted.and(seen)
    })
}
