//! Tables for a pod's status.

use super::*;
use crate::pods::view::{ContainerState, ContainerView, SandboxView};

fn pod(value: serde_json::Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn simple(policy: &str) -> Pod {
    pod(serde_json::json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy, "initContainers": [{"name": "i"}],
        "containers": [{"name": "a", "image": "x"}, {"name": "b"}]}}))
}

fn run(name: &str, state: ContainerState, exit_code: i32) -> ContainerView {
    ContainerView {
        id: format!("{name}-id"),
        name: name.into(),
        state,
        exit_code,
        started_at: 10_000_000_000,
        finished_at: if state == ContainerState::Exited { 20_000_000_000 } else { 0 },
        ..ContainerView::default()
    }
}

fn view(runs: Vec<ContainerView>) -> PodView {
    let sandbox = SandboxView {
        id: "s".into(),
        ready: true,
        ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        ..SandboxView::default()
    };
    PodView { sandboxes: vec![sandbox], containers: runs }
}

fn make(pod: &Pod, view: &PodView, over: bool, waiting: &BTreeMap<String, Waiting>) -> PodStatus {
    let at = Timestamp::from_second(100).unwrap();
    let host_ips = ["192.0.2.1".parse().unwrap()];
    status(&Inputs { pod, view, health: &HashMap::new(), waiting, host_ips: &host_ips, over, failed: None, start_time: at, now: at })
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a k8s_openapi::api::core::v1::PodCondition {
    status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == kind).unwrap()
}

#[test]
fn phases_follow_the_containers() {
    use ContainerState::*;
    let done = || run("i", Exited, 0);
    for (policy, runs, over, want) in [
        ("Always", vec![], false, "Pending"),
        ("Always", vec![run("i", Running, 0)], false, "Pending"),
        ("Always", vec![run("i", Exited, 1)], false, "Pending"),
        ("Never", vec![run("i", Exited, 1)], false, "Failed"),
        ("Always", vec![done(), run("a", Running, 0)], false, "Pending"),
        ("Always", vec![done(), run("a", Running, 0), run("b", Running, 0)], false, "Running"),
        ("Always", vec![done(), run("a", Running, 0), run("b", Exited, 1)], false, "Running"),
        ("Always", vec![done(), run("a", Exited, 0), run("b", Exited, 0)], false, "Running"),
        ("OnFailure", vec![done(), run("a", Exited, 0), run("b", Exited, 0)], false, "Succeeded"),
        ("OnFailure", vec![done(), run("a", Exited, 0), run("b", Exited, 1)], false, "Running"),
        ("Never", vec![done(), run("a", Exited, 0), run("b", Exited, 1)], false, "Failed"),
        ("Always", vec![done(), run("a", Exited, 0), run("b", Exited, 0)], true, "Succeeded"),
        ("Always", vec![done(), run("a", Exited, 137), run("b", Exited, 0)], true, "Failed"),
        ("Always", vec![], true, "Failed"),
    ] {
        let made = make(&simple(policy), &view(runs.clone()), over, &BTreeMap::new());
        assert_eq!(made.phase.as_deref(), Some(want), "{policy} {over} {runs:?}");
    }
}

#[test]
fn a_running_pod_is_ready_and_has_its_addresses() {
    let runs = ["i", "a", "b"].map(|n| run(n, if n == "i" { ContainerState::Exited } else { ContainerState::Running }, 0));
    let made = make(&simple("Always"), &view(runs.to_vec()), false, &BTreeMap::new());
    for kind in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodScheduled"] {
        assert_eq!(condition(&made, kind).status, "True", "{kind}");
    }
    assert_eq!(made.pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(made.pod_ips.unwrap().len(), 2);
    assert_eq!(made.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(made.qos_class.as_deref(), Some("BestEffort"));
    let a = &made.container_statuses.unwrap()[0];
    assert_eq!(a.container_id.as_deref(), Some("containerd://a-id"));
    assert!(a.ready && a.started == Some(true));
}

#[test]
fn unready_containers_are_named() {
    let runs = vec![run("i", ContainerState::Exited, 0), run("a", ContainerState::Running, 0)];
    let made = make(&simple("Always"), &view(runs), false, &BTreeMap::new());
    let ready = condition(&made, "Ready");
    assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("False", Some("ContainersNotReady")));
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [b]"));
}

#[test]
fn a_crash_loop_shows_the_reason_and_the_last_end() {
    let waiting = BTreeMap::from([("a".to_owned(), Waiting::new("CrashLoopBackOff", "back-off"))]);
    let runs = vec![run("i", ContainerState::Exited, 0), run("a", ContainerState::Exited, 3)];
    let made = make(&simple("Always"), &view(runs), false, &waiting);
    let a = &made.container_statuses.unwrap()[0];
    assert_eq!(a.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    let last = a.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
}

#[test]
fn an_end_stays_an_end() {
    let mut pod = simple("Always");
    pod.status = Some(PodStatus { phase: Some("Failed".into()), reason: Some("Evicted".into()), ..PodStatus::default() });
    let made = make(&pod, &PodView::default(), true, &BTreeMap::new());
    assert_eq!((made.phase.as_deref(), made.reason.as_deref()), (Some("Failed"), Some("Evicted")));
}

#[test]
fn conditions_of_others_stay_and_gate_readiness() {
    let mut pod = pod(serde_json::json!({"spec": {"readinessGates": [{"conditionType": "x/gate"}], "containers": [{"name": "a"}]}}));
    let made = make(&pod, &view(vec![run("a", ContainerState::Running, 0)]), false, &BTreeMap::new());
    assert_eq!(condition(&made, "Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
    let gate = serde_json::json!({"conditions": [{"type": "x/gate", "status": "True"}, {"type": "ContainersReady", "status": "True", "lastTransitionTime": "1970-01-01T00:00:05Z"}]});
    pod.status = Some(serde_json::from_value(gate).unwrap());
    let made = make(&pod, &view(vec![run("a", ContainerState::Running, 0)]), false, &BTreeMap::new());
    assert_eq!(condition(&made, "Ready").status, "True");
    assert_eq!(condition(&made, "x/gate").status, "True");
    let since = condition(&made, "ContainersReady").last_transition_time.clone().unwrap();
    assert_eq!(since.0.as_second(), 5, "the time of a transition is kept");
}

#[test]
fn a_container_that_never_started_ends_with_its_pod() {
    let made = make(&simple("Always"), &PodView::default(), true, &BTreeMap::new());
    // The init container was the one whose turn it was.
    let state = made.init_container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((state.exit_code, state.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
}

#[test]
fn a_container_that_never_runs_again_has_ended_whatever_failed() {
    let why = BTreeMap::from([("a".to_owned(), Waiting::new("RunContainerError", "no such file"))]);
    let view = view(vec![run("a", ContainerState::Exited, 128)]);
    for (policy, waits) in [("Never", false), ("OnFailure", true), ("Always", true)] {
        let pod = pod(serde_json::json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a"}]}}));
        let state = make(&pod, &view, false, &why).container_statuses.unwrap().remove(0).state.unwrap();
        assert_eq!(state.waiting.is_some(), waits, "{policy}");
        assert_eq!(state.terminated.is_some(), !waits, "{policy}");
    }
}

#[test]
fn what_a_failed_init_container_held_back_waits_for_ever() {
    let pod = pod(
        serde_json::json!({"spec": {"restartPolicy": "Never", "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}}),
    );
    let made = make(&pod, &view(vec![run("i", ContainerState::Exited, 1)]), true, &BTreeMap::new());
    let waits = |s: &ContainerStatus| s.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.clone());
    assert_eq!(made.phase.as_deref(), Some("Failed"));
    assert_eq!(waits(&made.init_container_statuses.as_ref().unwrap()[1]).as_deref(), Some("PodInitializing"));
    assert_eq!(waits(&made.container_statuses.as_ref().unwrap()[0]).as_deref(), Some("PodInitializing"));
    // Without init containers a container that is gone was lost.
    let pod = self::pod(serde_json::json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a"}]}}));
    let made = make(&pod, &view(vec![]), true, &BTreeMap::new());
    assert_eq!((made.phase.as_deref(), waits(&made.container_statuses.unwrap()[0])), (Some("Failed"), None));
}

#[test]
fn termination_messages_share_the_room_of_their_pod() {
    let long = |name: &str| ContainerView { message: "\u{e9}".repeat(2048), ..run(name, ContainerState::Exited, 1) };
    let made = make(&simple("Never"), &view(vec![run("i", ContainerState::Exited, 0), long("a"), long("b")]), false, &BTreeMap::new());
    let lengths: Vec<usize> = made
        .container_statuses
        .unwrap()
        .iter()
        .map(|s| s.state.as_ref().unwrap().terminated.as_ref().unwrap().message.as_ref().unwrap().len())
        .collect();
    assert_eq!(lengths, [4096, 4096]);
    let names: Vec<String> = (0..7).map(|n| format!("c{n}")).collect();
    let containers: Vec<_> = names.iter().map(|n| serde_json::json!({"name": n})).collect();
    let pod = pod(serde_json::json!({"spec": {"restartPolicy": "Never", "containers": containers}}));
    let made = make(&pod, &view(names.iter().map(|n| long(n)).collect()), false, &BTreeMap::new());
    let message = made.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap().message.unwrap();
    assert_eq!(message.len(), 12 * 1024 / 7 / 2 * 2, "whole characters only");
}

#[test]
fn a_termination_message_that_was_told_stays_when_its_file_is_gone() {
    let ended = |message: &str| {
        view(vec![
            run("i", ContainerState::Exited, 0),
            ContainerView { message: message.into(), ..run("a", ContainerState::Exited, 1) },
            run("b", ContainerState::Exited, 0),
        ])
    };
    let message = |status: &PodStatus| {
        let a = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap();
        a.terminated.unwrap().message
    };
    let mut pod = simple("Never");
    let told = make(&pod, &ended("why"), true, &BTreeMap::new());
    pod.status = Some(told);
    assert_eq!(message(&make(&pod, &ended(""), true, &BTreeMap::new())).as_deref(), Some("why"));
    let other_run = ContainerView { id: "other".into(), ..run("a", ContainerState::Exited, 1) };
    assert_eq!(message(&make(&pod, &view(vec![other_run]), true, &BTreeMap::new())), None);
}

#[test]
fn a_run_that_failed_to_start_began_at_the_epoch() {
    let failed = ContainerView { started_at: 0, reason: "StartError".into(), ..run("a", ContainerState::Exited, 128) };
    let made = make(&simple("Never"), &view(vec![run("i", ContainerState::Exited, 0), failed]), false, &BTreeMap::new());
    let end = made.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    let at = |time: Option<Time>| time.unwrap().0.as_second();
    assert_eq!((end.reason.as_deref(), at(end.started_at), at(end.finished_at)), (Some("StartError"), 0, 20));
}

#[test]
fn a_refused_pod_has_a_verdict_and_no_containers_also_for_the_next_kubelet() {
    let why = Waiting::new("OutOfcpu", "Pod was rejected: no");
    let at = Timestamp::from_second(100).unwrap();
    let make = |pod: &Pod, failed: Option<&Waiting>, at: Timestamp| {
        let (view, health, waiting) = (PodView::default(), HashMap::new(), BTreeMap::new());
        let host_ips = ["192.0.2.1".parse().unwrap()];
        status(&Inputs {
            pod,
            view: &view,
            health: &health,
            waiting: &waiting,
            host_ips: &host_ips,
            over: true,
            failed,
            start_time: at,
            now: at,
        })
    };
    let mut pod = simple("Always");
    let refused = make(&pod, Some(&why), at);
    let want = serde_json::json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: no", "qosClass": "BestEffort",
        "startTime": "1970-01-01T00:01:40Z"});
    assert_eq!(serde_json::to_value(&refused).unwrap(), want);
    pod.status = Some(refused.clone());
    assert_eq!(make(&pod, None, Timestamp::from_second(900).unwrap()), refused);
}
