//! Agents are killed or paused, nodes cut off from the server, the server and its store killed, while policies and labels change: what was programmed
//! last stays in force until somebody can know better, then what counts is what the model says; and nothing is told to be in force before.

use crate::asked::{Change, Late, Scene};
use crate::scene::NODES;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use orknet_tests::probes::now;
use orknet_tests::{Cluster, Kubectl, tests};

tests![e2e_policy_stays_in_force_through_faults_and_follows_afterwards];

/// What drops packets between a node and the server.
const CUT: &str = "add table inet cut; \
    add chain inet cut input { type filter hook input priority 0; }; add rule inet cut input tcp sport 6443 drop; \
    add chain inet cut output { type filter hook output priority 0; }; add rule inet cut output tcp dport 6443 drop";
/// How often each target is asked while nothing happens.
const SOME: usize = 3;
/// How often agents are killed while they have something to do.
const KILLS: usize = 3;

/// All on one scene: what one fault has come to is what is there before the next.
fn e2e_policy_stays_in_force_through_faults_and_follows_afterwards(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let mut scene = Scene::start(cluster, kubectl)?;
    scene.asks_on(now(), SOME)?;
    let _repair = Repair(cluster);
    let up = || cluster.up_again(&["--bare"]);
    let agents = |signal| move || signal_agents(cluster, signal);
    unnoticed(&mut scene, Some("killed"), agents(Signal::SIGKILL), up).context("agents were killed")?;
    unnoticed(&mut scene, Some("paused"), agents(Signal::SIGSTOP), agents(Signal::SIGCONT)).context("agents were paused")?;
    unnoticed(&mut scene, None, || cut(cluster, CUT), || cut(cluster, "delete table inet cut")).context("nodes were cut off")?;
    serverless(cluster, &mut scene, up).context("the server and its store were killed")?;
    in_the_middle(&mut scene, agents(Signal::SIGKILL), up).context("agents were killed in the middle of changes")
}

/// Policies, labels and pods change between the fault's beginning and its end. `late` is part of the names of pods that are made meanwhile, if
/// kubelets hear of any.
fn unnoticed(
    scene: &mut Scene<'_>,
    late: Option<&str>,
    begin: impl FnOnce() -> Result<()>,
    end: impl FnOnce() -> Result<()>,
) -> Result<()> {
    begin()?;
    let change = scene.change()?;
    let late: Option<Late> = late.map(|name| scene.start_late(name)).transpose()?;
    scene.asks_on(now(), SOME)?;
    change.is_not_told(scene)?;
    late.iter().try_for_each(|late| late.waits(scene))?;
    // Up to here the world before must hold.
    let ending = now();
    end()?;
    follows(scene, &change, ending, late)
}

/// Nobody is there to change anything; what is changed when the server is back counts.
fn serverless(cluster: &Cluster, scene: &mut Scene<'_>, up: impl FnOnce() -> Result<()>) -> Result<()> {
    ["server", "etcd"].iter().try_for_each(|daemon| cluster.signal("server", daemon, Signal::SIGKILL))?;
    scene.asks_on(now(), SOME)?;
    up()?;
    let changing = now();
    let change = scene.change()?;
    follows(scene, &change, changing, None)
}

/// There and back again, while each time the agents are killed. Who may in both worlds is always answered, and who may in none never.
fn in_the_middle(scene: &mut Scene<'_>, kill: impl Fn() -> Result<()>, up: impl Fn() -> Result<()>) -> Result<()> {
    let changing = now();
    let mut change: Option<Change> = None;
    for _ in 0..KILLS {
        change = Some(scene.change()?);
        kill()?;
        up()?;
    }
    let change = change.context("nothing was changed")?;
    follows(scene, &change, changing, None)
}

fn follows(scene: &mut Scene<'_>, change: &Change, changing: u64, late: Option<Late>) -> Result<()> {
    let mut times = change.in_force(scene)?;
    if let Some(late) = &late {
        times.pods = late.known(scene)?;
    }
    scene.asks_on(now(), SOME)?;
    scene.judge(changing, &times)?;
    late.iter().try_for_each(|late| late.judge(scene, &times))
}

fn signal_agents(cluster: &Cluster, signal: Signal) -> Result<()> {
    NODES.iter().try_for_each(|node| cluster.signal(node, "agent", signal))
}

fn cut(cluster: &Cluster, rules: &str) -> Result<()> {
    NODES.iter().try_for_each(|node| cluster.inside(node, &["nft", rules]).map(drop))
}

/// Mends the cluster for the tests that follow, whatever happened.
struct Repair<'a>(&'a Cluster);

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        let _ = signal_agents(self.0, Signal::SIGCONT);
        let _ = cut(self.0, "add table inet cut; delete table inet cut");
        let _ = self.0.up_again(&["--bare"]);
    }
}
