//! Plans of the Deployment controller: single steps in a table, whole rollouts on a simulated cluster.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::conditions;
use super::plan::{Observed, Plan, plan};
use super::rolling::step;
use super::set::{DESIRED_REPLICAS, REVISION, REVISION_HISTORY, Set};
use super::strategy::Bounds;
use crate::pod_template::template_hash;
use crate::portion::portion;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + second.seconds()
}

fn deployment(replicas: i32, image: &str, strategy: Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1, "annotations": {"team": "net"}},
        "spec": {"replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
    }))
    .unwrap()
}

fn rolling(max_surge: i32, max_unavailable: i32) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": max_surge, "maxUnavailable": max_unavailable}})
}

/// A Deployment with its sets, driven by plans; pods come, become available and go when the test says so.
struct Cluster {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    clock: i64,
}

impl Cluster {
    fn new(deployment: Deployment) -> Self {
        Self { deployment, sets: Vec::new(), clock: 1000 }
    }

    fn plan(&self) -> Plan {
        let sets = self.sets.iter().cloned().map(Arc::new).collect();
        plan(&Observed { deployment: &self.deployment, sets, pods: self.pods(), now: at(self.clock) })
    }

    /// One pod object per pod that the sets report, for Recreate.
    fn pods(&self) -> Vec<Arc<Pod>> {
        let owned = |set: &ReplicaSet| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "", "controller": true, "uid": set.metadata.uid}]}}))
            .unwrap();
            Arc::new(pod)
        };
        self.sets.iter().flat_map(|set| (0..pods_of(set)).map(move |_| owned(set))).collect()
    }

    fn apply(&mut self, plan: Plan) -> bool {
        self.clock += 1;
        let mut changed = false;
        if let Some(mut set) = plan.create {
            set.metadata.uid = set.metadata.name.clone();
            set.metadata.generation = Some(1);
            set.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(self.clock)));
            set.status = Some(Default::default());
            self.sets.push(set);
            changed = true;
        }
        for change in plan.change {
            let set = self.sets.iter_mut().find(|set| set.metadata.name.as_deref() == Some(change.name())).unwrap();
            set.spec.as_mut().unwrap().replicas = Some(change.replicas);
            set.metadata.annotations.get_or_insert_default().extend(change.annotations);
            changed = true;
        }
        for gone in plan.delete {
            self.sets.retain(|set| set.metadata.name != gone.metadata.name);
            changed = true;
        }
        if let Some(revision) = plan.revision {
            self.deployment.metadata.annotations.get_or_insert_default().insert(REVISION.into(), revision);
            changed = true;
        }
        changed |= self.deployment.status.as_ref() != Some(&plan.status);
        self.deployment.status = Some(plan.status);
        changed
    }

    /// Lets every set reach its size and every pod become available.
    fn settle_pods(&mut self) {
        for index in 0..self.sets.len() {
            let wanted = spec_replicas(&self.sets[index]);
            self.set_pods(index, wanted, wanted);
        }
    }

    fn set_pods(&mut self, index: usize, pods: i32, available: i32) {
        let status = self.sets[index].status.get_or_insert_default();
        status.replicas = pods;
        status.ready_replicas = Some(available);
        status.available_replicas = Some(available);
        status.observed_generation = Some(1);
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let plan = self.plan();
            let changed = self.apply(plan);
            let before: Vec<_> = self.sets.iter().map(|set| set.status.clone()).collect();
            self.settle_pods();
            let moved = before.iter().zip(&self.sets).any(|(before, set)| *before != set.status);
            if !changed && !moved {
                return;
            }
        }
        panic!("no fixed point: {:?}", self.sizes());
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(spec_replicas).collect()
    }

    fn change_image(&mut self, image: &str) {
        let spec = self.deployment.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    fn reason(&self, type_: &str) -> Option<String> {
        let conditions = self.deployment.status.as_ref()?.conditions.as_ref()?;
        conditions::get(conditions, type_)?.reason.clone()
    }
}

fn spec_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().unwrap().replicas.unwrap()
}

fn pods_of(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[test]
fn the_first_set_carries_hash_revision_owner_and_annotations() {
    let cluster = Cluster::new(deployment(3, "a", rolling(1, 0)));
    let plan = cluster.plan();
    let set = plan.create.unwrap();
    let hash = template_hash(&cluster.deployment.spec.as_ref().unwrap().template, None);
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"], hash);
    assert_eq!(spec.template.as_ref().unwrap().metadata.as_ref().unwrap().labels.as_ref().unwrap()["pod-template-hash"], hash);
    assert_eq!(
        (annotation(&set, REVISION), annotation(&set, DESIRED_REPLICAS), annotation(&set, "team")),
        (Some("1"), Some("3"), Some("net"))
    );
    assert_eq!(spec_replicas(&set), 3);
    assert_eq!(plan.revision.as_deref(), Some("1"));
}

#[test]
fn a_collision_changes_the_name_and_a_label_order_does_not() {
    let template = deployment(1, "a", rolling(1, 0)).spec.unwrap().template;
    assert_ne!(template_hash(&template, None), template_hash(&template, Some(1)));
    assert_eq!(template_hash(&template, None), template_hash(&template, Some(0)));
}

#[test]
fn a_rollout_ends_complete_with_its_conditions() {
    let mut cluster = Cluster::new(deployment(4, "a", rolling(1, 1)));
    cluster.settle();
    assert_eq!(cluster.reason("Progressing").as_deref(), Some("NewReplicaSetAvailable"));
    assert_eq!(cluster.reason("Available").as_deref(), Some("MinimumReplicasAvailable"));
    cluster.change_image("b");
    cluster.settle();
    assert_eq!(cluster.sizes(), [0, 4]);
    let status = cluster.deployment.status.as_ref().unwrap();
    assert_eq!((status.replicas, status.updated_replicas, status.unavailable_replicas), (Some(4), Some(4), None));
    assert_eq!(cluster.deployment.metadata.annotations.as_ref().unwrap()[REVISION], "2");
}

#[test]
fn a_rollback_reuses_the_old_set_under_a_new_revision() {
    let mut cluster = Cluster::new(deployment(2, "a", rolling(1, 0)));
    cluster.settle();
    cluster.change_image("b");
    cluster.settle();
    cluster.change_image("a");
    cluster.settle();
    assert_eq!(cluster.sizes(), [2, 0]);
    assert_eq!(annotation(&cluster.sets[0], REVISION), Some("3"));
    assert_eq!(annotation(&cluster.sets[0], REVISION_HISTORY), Some("1"));
}

#[test]
fn old_revisions_beyond_the_limit_are_removed_oldest_first() {
    let mut cluster = Cluster::new(deployment(1, "v0", rolling(1, 0)));
    for version in 0..5 {
        cluster.change_image(&format!("v{version}"));
        cluster.settle();
    }
    let revisions: Vec<_> = cluster.sets.iter().map(|set| annotation(set, REVISION).unwrap().to_string()).collect();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Cluster::new(deployment(2, "a", rolling(1, 0)));
    cluster.settle();
    cluster.deployment.spec.as_mut().unwrap().paused = Some(true);
    cluster.change_image("b");
    cluster.deployment.spec.as_mut().unwrap().replicas = Some(5);
    cluster.settle();
    assert_eq!(cluster.sizes(), [5]);
    assert_eq!(cluster.reason("Progressing").as_deref(), Some("DeploymentPaused"));
    cluster.deployment.spec.as_mut().unwrap().paused = None;
    cluster.settle();
    assert_eq!(cluster.sizes(), [0, 5]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut cluster = Cluster::new(deployment(10, "a", rolling(3, 2)));
    cluster.settle();
    cluster.change_image("broken");
    for _ in 0..4 {
        let plan = cluster.plan();
        cluster.apply(plan);
        for index in 0..cluster.sets.len() {
            let wanted = spec_replicas(&cluster.sets[index]);
            cluster.set_pods(index, wanted, if index == 0 { wanted } else { 0 });
        }
    }
    assert_eq!(cluster.sizes(), [8, 5]);
    cluster.deployment.spec.as_mut().unwrap().replicas = Some(15);
    let plan = cluster.plan();
    cluster.apply(plan);
    // The example of the Deployment documentation: 18 pods, 3 of the 5 new ones for the old revision, 2 for the new one.
    assert_eq!(cluster.sizes(), [11, 7]);
}

#[test]
fn sets_as_large_as_can_be_are_counted_without_overflow() {
    let set = |name: &str| {
        let set = json!({"metadata": {"name": name}, "spec": {"replicas": i32::MAX, "selector": {}},
            "status": {"replicas": i32::MAX, "readyReplicas": i32::MAX, "availableReplicas": 1}});
        Set::new(serde_json::from_value(set).unwrap())
    };
    let bounds = Bounds { replicas: i32::MAX, max_surge: i32::MAX, max_unavailable: i32::MAX };
    let (mut current, mut old) = (set("new"), [set("old"), set("older")]);
    let status = conditions::counts(&deployment(i32::MAX, "a", rolling(1, 1)), Some(&current), &old, bounds, Vec::new(), at(0));
    assert_eq!((status.replicas, status.available_replicas, status.unavailable_replicas), (Some(i32::MAX), Some(3), Some(i32::MAX - 3)));
    assert!(step(&mut current, &mut old, bounds));
    assert_eq!((current.replicas, old[0].replicas, old[1].replicas), (i32::MAX, i32::MAX - 4, i32::MAX));
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let mut cluster = Cluster::new(deployment(2, "a", json!({"type": "Recreate"})));
    cluster.settle();
    cluster.change_image("b");
    let plan = cluster.plan();
    assert!(plan.create.is_none());
    cluster.apply(plan);
    assert_eq!(cluster.sizes(), [0]);
    assert!(cluster.plan().create.is_none(), "pods of the old set still run");
    cluster.settle_pods();
    assert_eq!(cluster.plan().create.as_ref().map(spec_replicas), Some(2));
}

#[test]
fn a_stuck_rollout_times_out_after_its_deadline_and_asks_to_be_woken() {
    let mut cluster = Cluster::new(deployment(1, "broken", rolling(1, 0)));
    let first = cluster.plan();
    cluster.apply(first);
    let second = cluster.plan();
    assert!(second.recheck.is_some_and(|wait| wait.as_secs() <= 601 && wait.as_secs() >= 590));
    cluster.apply(second);
    cluster.clock += 700;
    let late = cluster.plan();
    cluster.apply(late);
    assert_eq!(cluster.reason("Progressing").as_deref(), Some("ProgressDeadlineExceeded"));
    assert_eq!(cluster.plan().recheck, None);
}

#[test]
fn a_failing_set_is_reported() {
    let mut cluster = Cluster::new(deployment(1, "a", rolling(1, 0)));
    let plan = cluster.plan();
    cluster.apply(plan);
    cluster.sets[0].status = serde_json::from_value(json!({"replicas": 0, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]}))
    .unwrap();
    let plan = cluster.plan();
    cluster.apply(plan);
    assert_eq!(cluster.reason("ReplicaFailure").as_deref(), Some("FailedCreate"));
}

#[test]
fn percentages_round_in_favour_of_availability_and_progress() {
    for (text, total, up, down) in [("25%", 10, 3, 2), ("25%", 1, 1, 0), ("100%", 7, 7, 7), ("0%", 9, 0, 0), ("x", 9, 0, 0)] {
        let value = IntOrString::String(text.into());
        assert_eq!((portion(&value, total, true), portion(&value, total, false)), (up, down), "{text} of {total}");
    }
    let both_nothing = deployment(1, "a", json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "1%"}}));
    assert_eq!(Bounds::of(both_nothing.spec.as_ref().unwrap()).max_unavailable, 1);
}

/// What one set's pods do between two passes.
#[derive(Debug, Clone, Copy)]
enum Chance {
    Nothing,
    Create,
    Ready,
    Everything,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![Just(Chance::Nothing), Just(Chance::Create), Just(Chance::Ready), Just(Chance::Everything)]
}

fn let_happen(cluster: &mut Cluster, index: usize, chance: Chance) {
    let Some(set) = cluster.sets.get(index) else { return };
    let (wanted, pods) = (spec_replicas(set), pods_of(set));
    let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    // A set sheds unavailable pods first, at once; it gains pods and availability when chance says so.
    let kept = pods.min(wanted);
    let (pods, available) = match chance {
        Chance::Nothing => (kept, available.min(kept)),
        Chance::Create => ((kept + 1).min(wanted), available.min(kept)),
        Chance::Ready => (kept, (available + 1).min(kept)),
        Chance::Everything => (wanted, wanted),
    };
    cluster.set_pods(index, pods, available);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_rollout_keeps_its_bounds_at_every_step_and_converges(
        replicas in 1..12i32, surge in 0..4i32, unavailable in 0..4i32,
        chances in proptest::collection::vec((0..4usize, chance()), 0..60),
    ) {
        let mut cluster = Cluster::new(deployment(replicas, "a", rolling(surge, unavailable)));
        cluster.settle();
        let bounds = Bounds::of(cluster.deployment.spec.as_ref().unwrap());
        cluster.change_image("b");
        let check = |cluster: &Cluster| {
            let sets: Vec<_> = cluster.sets.iter().cloned().map(|set| Set::new(Arc::new(set))).collect();
            let wanted: i32 = sets.iter().map(|set| set.replicas).sum();
            let available: i32 = sets.iter().map(|set| set.available().min(set.replicas)).sum();
            wanted <= bounds.most() && available >= bounds.fewest()
        };
        for (round, (index, chance)) in chances.into_iter().enumerate() {
            let plan = cluster.plan();
            cluster.apply(plan);
            prop_assert!(check(&cluster), "{:?} {:?}", bounds, cluster.sizes());
            let_happen(&mut cluster, index, chance);
            if round == 20 {
                cluster.change_image("c");
            }
        }
        cluster.settle();
        prop_assert!(check(&cluster));
        let sizes = cluster.sizes();
        prop_assert_eq!(sizes.iter().filter(|size| **size > 0).copied().collect::<Vec<_>>(), vec![replicas]);
    }
}
