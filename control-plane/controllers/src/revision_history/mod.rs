//! The history of a DaemonSet's or StatefulSet's pod template: one ControllerRevision per template that it ever had, in the form that
//! `kubectl rollout history` and `rollout undo` read. The plan is pure; [`History`] carries it out.

mod plan;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use plan::template_of;
use plan::{Observed, Plan, plan};
pub(crate) use write::{History, Outcome, Wanted};

/// The label by which a pod tells its revision.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";
