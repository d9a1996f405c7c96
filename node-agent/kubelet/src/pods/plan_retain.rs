//! Decides which dead containers and sandboxes of a pod can go: one dead run per container is kept, for `logs --previous` and lastState.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::Pod;

use super::declared::{self, Kind};
use super::view::{ContainerState, PodView};

/// Ids of containers and of sandboxes that nobody needs.
pub(super) fn retain(pod: &Pod, view: &PodView) -> (Vec<String>, Vec<String>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut removed = Vec::new();
    let mut kept_sandboxes: HashSet<&str> = HashSet::new();
    for container in &view.containers {
        let rank = seen.entry(&container.name).or_default();
        *rank += 1;
        // An init container's earlier runs tell nothing once it has succeeded.
        let done = *rank == 2
            && view.latest(&container.name).is_some_and(|c| c.state == ContainerState::Exited && c.exit_code == 0)
            && declared::find(pod, &container.name).is_some_and(|d| d.kind == Kind::Init);
        if container.state != ContainerState::Running && (*rank > 2 || done) {
            removed.push(container.id.clone());
        } else {
            kept_sandboxes.insert(&container.sandbox_id);
        }
    }
    let sandboxes = view.sandboxes.iter().skip(1).filter(|s| !s.ready && !kept_sandboxes.contains(s.id.as_str()));
    (removed, sandboxes.map(|s| s.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::view::{ContainerView, SandboxView};
    use super::*;

    #[test]
    fn one_dead_run_is_kept_beside_the_newest() {
        let run = |id: &str, sandbox: &str, state| ContainerView {
            id: id.into(),
            sandbox_id: sandbox.into(),
            name: "a".into(),
            state,
            ..Default::default()
        };
        let sandbox = |id: &str, attempt, ready| SandboxView { id: id.into(), attempt, ready, ..Default::default() };
        let view = PodView {
            sandboxes: vec![sandbox("s2", 2, true), sandbox("s1", 1, false), sandbox("s0", 0, false)],
            containers: vec![
                run("3", "s2", ContainerState::Running),
                run("2", "s1", ContainerState::Exited),
                run("1", "s0", ContainerState::Exited),
                run("0", "s0", ContainerState::Exited),
            ],
        };
        let (containers, sandboxes) = retain(&Pod::default(), &view);
        assert_eq!(containers, ["1", "0"]);
        assert_eq!(sandboxes, ["s0"]);
    }
}
