//! Every pod to every other, to nodes and to the outside, over TCP and UDP and both families, under a sample of the sets of policies that were written
//! and of some that are made up: each answer is what the model says.

use crate::crowd::Crowd;
use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, Kubectl, policy, tests};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

tests![e2e_policy_lets_every_pod_reach_whom_it_may_and_nobody_else];

/// Of the written sets, every fifth.
const STEP: usize = 5;
const MADE_UP: usize = 6;

fn e2e_policy_lets_every_pod_reach_whom_it_may_and_nobody_else(cluster: &Cluster, _: &Kubectl) -> Result<()> {
    let crowd = Crowd::make(cluster)?;
    let sets = policy::sets();
    let written = sets.iter().filter(|set| !set.stored).step_by(STEP).map(|set| (set.name.clone(), set.objects()));
    let mut runner = TestRunner::deterministic();
    let made_up: Vec<_> = (1..=MADE_UP).map(|number| (format!("made up, number {number}"), made_up(&mut runner))).collect();
    let mut wrong = Vec::new();
    for (name, policies) in written.chain(made_up) {
        crowd.replace(&policies).with_context(|| name.clone())?;
        let found = mistakes(&crowd, &policies).with_context(|| name.clone())?;
        if !found.is_empty() {
            wrong.push(format!("{name}: {} mistakes\n  {}\n{}", found.len(), found[..found.len().min(8)].join("\n  "), json!(policies)));
        }
    }
    crowd.replace(&[])?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A set of more than two policies.
pub fn made_up(runner: &mut TestRunner) -> Vec<Value> {
    let set = policy::any_set().prop_filter("says something", |set| set.len() > 2).new_tree(runner);
    set.map(|tree| tree.current()).expect("one set of many is of more than two policies")
}

/// What is otherwise than the model says of what the cluster holds.
pub fn mistakes(crowd: &Crowd<'_>, policies: &[Value]) -> Result<Vec<String>> {
    let world = crowd.world(policies)?;
    let asked = crowd.ask()?;
    let wrong = asked.iter().filter_map(|asked| {
        let answers = [world.answer(&asked.question)];
        (!asked.is_as(&answers)).then(|| asked.told(&answers))
    });
    Ok(wrong.collect())
}
