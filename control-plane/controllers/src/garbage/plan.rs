//! Pure: what to do about one object, given its dependents and the state of each owner.

use kube::api::PropagationPolicy;

use crate::cluster_objects::{Graph, Node, Owner, Uid};

/// What is known of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It exists.
    Solid,
    /// It exists, but waits in foreground deletion for its dependents.
    Waiting,
    /// It does not exist.
    Absent,
    /// Its kind is not served, perhaps not yet: nothing is done on a guess.
    Unknown,
}

/// What to write.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// Take the finalizer of this name off the object.
    RemoveFinalizer(&'static str),
    /// Take this owner off these dependents; once there are none left the object's finalizer goes.
    Orphan(Vec<Uid>),
    /// Take these owners off the object: others keep it.
    DropOwners(Vec<Uid>),
    Delete(PropagationPolicy),
    /// Let no owner wait for the object, then delete it in the foreground: it is part of a circle in which each would wait for the next.
    BreakCircle,
}

/// An owner as the graph knows it; `None` when it is not there and must be asked for.
pub(super) fn known_state(graph: &Graph, dependent: &Node, owner: &Owner) -> Option<OwnerState> {
    let node = graph.get(&owner.uid)?;
    if node.kind.is_namespaced() && dependent.key.namespace.is_empty() {
        // A cluster-scoped object can't have a namespaced owner: the reference leads nowhere, and is left alone.
        return Some(OwnerState::Solid);
    }
    // A namespaced owner owns only in its own namespace; the reference of another namespace's object is to nothing.
    if node.kind.is_namespaced() && node.key.namespace != dependent.key.namespace {
        return Some(OwnerState::Absent);
    }
    Some(if node.deleting && node.foreground { OwnerState::Waiting } else { OwnerState::Solid })
}

/// What an object that is being deleted needs from the collector itself.
pub(super) fn plan_deletion(node: &Node, dependents: &[Node]) -> Action {
    if node.orphan {
        let owned: Vec<_> = dependents.iter().map(|dependent| dependent.uid.clone()).collect();
        return if owned.is_empty() { Action::RemoveFinalizer(crate::cluster_objects::ORPHAN) } else { Action::Orphan(owned) };
    }
    if node.foreground {
        let blocks = |dependent: &&Node| dependent.owners.iter().any(|owner| owner.uid == node.uid && owner.blocks);
        if !dependents.iter().any(|dependent| blocks(&dependent)) {
            return Action::RemoveFinalizer(crate::cluster_objects::FOREGROUND);
        }
        // The dependents' own passes delete them; the last that goes wakes this object.
    }
    Action::Nothing
}

/// What becomes of an object with owners. `states` goes with the node's owners.
pub(super) fn plan_dependent(node: &Node, states: &[OwnerState], dependents: &[Node]) -> Action {
    if node.deleting || states.is_empty() || states.contains(&OwnerState::Unknown) {
        return Action::Nothing;
    }
    if states.contains(&OwnerState::Solid) {
        let gone = node.owners.iter().zip(states).filter(|(_, state)| **state != OwnerState::Solid);
        let gone: Vec<_> = gone.map(|(owner, _)| owner.uid.clone()).collect();
        return if gone.is_empty() { Action::Nothing } else { Action::DropOwners(gone) };
    }
    if states.contains(&OwnerState::Waiting) && !dependents.is_empty() {
        if dependents.iter().any(|dependent| dependent.deleting && dependent.foreground) {
            return Action::BreakCircle;
        }
        // The owner waits for all that hangs below it, so this one waits in turn.
        return Action::Delete(PropagationPolicy::Foreground);
    }
    // A finalizer that the object carries already says how it wants to go.
    Action::Delete(match (node.orphan, node.foreground) {
        (true, _) => PropagationPolicy::Orphan,
        (_, true) => PropagationPolicy::Foreground,
        _ => PropagationPolicy::Background,
    })
}
