//! Tables for the plan: what is there, what is wanted, what must follow.

use std::collections::HashMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::probes::{Failure, ProbeKind};

fn container(name: &str) -> Container {
    Container { name: name.into(), image: Some("i".into()), ..Container::default() }
}

fn pod(policy: &str, init: &[&str], main: &[&str]) -> Pod {
    let spec = PodSpec {
        restart_policy: Some(policy.into()),
        init_containers: Some(init.iter().map(|n| container(n)).collect()),
        containers: main.iter().map(|n| container(n)).collect(),
        ..PodSpec::default()
    };
    Pod { spec: Some(spec), ..Pod::default() }
}

fn sandbox(ready: bool) -> SandboxView {
    SandboxView { id: "s0".into(), attempt: 0, ready, ips: vec!["10.0.0.1".parse::<IpAddr>().unwrap()] }
}

fn run(name: &str, state: ContainerState, exit_code: i32) -> ContainerView {
    let finished = if state == ContainerState::Exited { 5_000_000_000 } else { 0 };
    ContainerView {
        id: format!("{name}-0"),
        sandbox_id: "s0".into(),
        name: name.into(),
        state,
        exit_code,
        finished_at: finished,
        created_at: 1_000_000_000,
        hash: hash(&container(name)),
        ..ContainerView::default()
    }
}

fn decide(pod: &Pod, view: &PodView) -> Plan {
    decide_with(pod, view, &HashMap::new(), &Backoff::default())
}

fn decide_with(pod: &Pod, view: &PodView, health: &HashMap<String, Health>, backoff: &Backoff) -> Plan {
    plan(&Inputs { pod, view, health, backoff, now: Timestamp::from_second(6).unwrap() })
}

fn started(plan: &Plan) -> Vec<&str> {
    plan.start.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn a_new_pod_gets_a_sandbox_first() {
    let plan = decide(&pod("Always", &[], &["a"]), &PodView::default());
    assert_eq!(plan.sandbox, SandboxStep::Create(0));
    assert!(plan.start.is_empty());
}

#[test]
fn containers_follow_the_exit_rules_of_their_policy() {
    use ContainerState::*;
    for (policy, state, code, want_start, want_finished) in [
        ("Always", Running, 0, false, false),
        ("Always", Exited, 0, true, false),
        ("Always", Exited, 1, true, false),
        ("OnFailure", Exited, 0, false, true),
        ("OnFailure", Exited, 1, true, false),
        ("Never", Exited, 0, false, true),
        ("Never", Exited, 1, false, true),
        ("Always", Created, 0, true, false),
        ("Never", Unknown, 0, true, false),
    ] {
        let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![run("a", state, code)] };
        let plan = decide(&pod(policy, &[], &["a"]), &view);
        assert_eq!((!plan.start.is_empty(), plan.finished), (want_start, want_finished), "{policy} {state:?} {code}");
        assert!(plan.start.iter().all(|s| s.attempt == 1));
    }
}

#[test]
fn init_containers_run_one_after_the_other_before_the_main_ones() {
    use ContainerState::*;
    let pod = pod("Always", &["i1", "i2"], &["a", "b"]);
    for (runs, want) in [
        (vec![], vec!["i1"]),
        (vec![run("i1", Running, 0)], vec![]),
        (vec![run("i1", Exited, 0)], vec!["i2"]),
        (vec![run("i1", Exited, 1)], vec!["i1"]),
        (vec![run("i2", Running, 0), run("i1", Exited, 0)], vec![]),
        (vec![run("i2", Exited, 0), run("i1", Exited, 0)], vec!["a", "b"]),
        (vec![run("i2", Exited, 0)], vec!["a", "b"]),
        (vec![run("a", Running, 0)], vec!["b"]),
    ] {
        let view = PodView { sandboxes: vec![sandbox(true)], containers: runs.clone() };
        assert_eq!(started(&decide(&pod, &view)), want, "{runs:?}");
    }
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![run("i", ContainerState::Exited, 3)] };
    assert!(decide(&pod("Never", &["i"], &["a"]), &view).finished);
    assert!(!decide(&pod("OnFailure", &["i"], &["a"]), &view).finished);
}

#[test]
fn a_sidecar_lets_the_next_container_start_when_it_has_started() {
    let mut pod = pod("Never", &["side"], &["a"]);
    pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![run("side", ContainerState::Running, 0)] };
    let mut health = HashMap::from([("side-0".to_owned(), Health { started: false, ready: false, failed: None })]);
    let backoff = Backoff::default();
    assert!(started(&decide_with(&pod, &view, &health, &backoff)).is_empty());
    health.insert("side-0".into(), Health { started: true, ready: true, failed: None });
    assert_eq!(started(&decide_with(&pod, &view, &health, &backoff)), ["a"]);
    let both = vec![run("side", ContainerState::Exited, 0), run("a", ContainerState::Running, 0)];
    let view = PodView { sandboxes: vec![sandbox(true)], containers: both };
    assert_eq!(started(&decide(&pod, &view)), ["side"], "restarts even in a pod that never restarts");
}

#[test]
fn a_failed_probe_stops_the_container() {
    let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![run("a", ContainerState::Running, 0)] };
    let failure = Failure { probe: ProbeKind::Liveness, grace_seconds: Some(3) };
    let health = HashMap::from([("a-0".to_owned(), Health { started: true, ready: false, failed: Some(failure) })]);
    let plan = decide_with(&pod("Always", &[], &["a"]), &view, &health, &Backoff::default());
    assert_eq!(plan.stop.len(), 1);
    assert_eq!(plan.stop[0].grace_seconds, Some(3));
    assert_eq!(plan.stop[0].message, "Container a failed liveness probe, will be restarted");
    let plan = decide_with(&pod("Never", &[], &["a"]), &view, &health, &Backoff::default());
    assert_eq!(plan.stop[0].message, "Container a failed liveness probe");
}

#[test]
fn a_container_that_containerd_has_lost_sight_of_is_killed_before_it_starts_again() {
    let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![run("a", ContainerState::Unknown, 0)] };
    let plan = decide(&pod("Always", &[], &["a"]), &view);
    assert_eq!((plan.stop.len(), plan.stop[0].id.as_str(), started(&plan)), (1, "a-0", vec!["a"]));
}

#[test]
fn a_changed_image_restarts_the_container_in_place() {
    let mut changed = run("a", ContainerState::Running, 0);
    changed.hash = "other".into();
    let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![changed] };
    assert_eq!(decide(&pod("Always", &[], &["a"]), &view).stop.len(), 1);
}

#[test]
fn a_crashing_container_waits_for_its_back_off() {
    let mut backoff = Backoff::default();
    let before = Timestamp::from_second(1).unwrap();
    backoff.advance("a", before, before);
    let view = PodView { sandboxes: vec![sandbox(true)], containers: vec![run("a", ContainerState::Exited, 1)] };
    let plan = decide_with(&pod("Always", &[], &["a"]), &view, &HashMap::new(), &backoff);
    assert!(plan.start.is_empty());
    assert_eq!(plan.held["a"].reason, "CrashLoopBackOff");
    assert_eq!(plan.wake_at, Some(Timestamp::from_second(15).unwrap()));
}

#[test]
fn a_dead_sandbox_is_replaced_and_init_containers_run_again() {
    let mut dead = sandbox(false);
    dead.id = "s0".into();
    let runs = vec![run("a", ContainerState::Running, 0), run("i", ContainerState::Exited, 0)];
    let view = PodView { sandboxes: vec![dead], containers: runs.clone() };
    let pod = pod("Always", &["i"], &["a"]);
    let plan = decide(&pod, &view);
    assert_eq!(plan.sandbox, SandboxStep::Create(1));
    assert_eq!(plan.stop.len(), 1);
    let fresh = SandboxView { id: "s1".into(), attempt: 1, ..sandbox(true) };
    let view = PodView { sandboxes: vec![fresh, sandbox(false)], containers: runs };
    assert_eq!(started(&decide(&pod, &view)), ["i"]);
}

#[test]
fn a_pod_that_never_restarts_is_over_when_its_sandbox_dies() {
    let view = PodView { sandboxes: vec![sandbox(false)], containers: vec![run("a", ContainerState::Exited, 137)] };
    let plan = decide(&pod("Never", &[], &["a", "b"]), &view);
    assert!(plan.finished);
    assert_eq!(plan.sandbox, SandboxStep::Leave);
}

fn any_state() -> impl Strategy<Value = ContainerState> {
    use ContainerState::*;
    prop_oneof![Just(Created), Just(Running), Just(Exited), Just(Unknown)]
}

proptest! {
    /// Whatever containerd reports: nothing runs twice, and nothing is both kept running and started.
    #[test]
    fn no_container_is_started_beside_a_running_one(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        ready in any::<bool>(),
        runs in prop::collection::vec((0usize..4, any_state(), 0i32..3), 0..8),
    ) {
        let names = ["i1", "i2", "a", "b"];
        let pod = pod(policy, &names[..2], &names[2..]);
        let containers: Vec<_> = runs.into_iter().map(|(n, state, code)| run(names[n], state, code)).collect();
        let view = PodView { sandboxes: vec![sandbox(ready)], containers };
        let plan = decide(&pod, &view);
        let mut seen = std::collections::HashSet::new();
        for start in &plan.start {
            prop_assert!(seen.insert(start.name.clone()));
            prop_assert!(view.latest(&start.name).is_none_or(|c| c.state != ContainerState::Running));
        }
        prop_assert!(!plan.finished || plan.start.is_empty());
    }
}
