//! Fields that an applier wants to change and others own, in the words of kube-apiserver.

use super::managers::{Identity, Operation};
use crate::fields::{FieldPath, FieldSet};
use std::fmt;

/// One field and one of its owners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The owner as it is shown: `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    pub path: FieldPath,
}

/// All conflicts of one apply (409 Conflict). `Display` is the message of the `Status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflict {
    /// `StatusCause.message`; its reason is `FieldManagerConflict` and its field [`Conflict::path`].
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

impl Conflicts {
    pub(super) fn between(owners: &[(Identity, FieldSet)]) -> Self {
        let mut conflicts: Vec<Conflict> = Vec::new();
        for (identity, fields) in owners {
            let manager = shown(identity);
            conflicts.extend(fields.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path }));
        }
        conflicts.sort();
        Self(conflicts)
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: {}: {}", only.message(), only.path);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut last = None;
        for conflict in &self.0 {
            if last != Some(&conflict.manager) {
                let separator = if last.is_some() { "\n" } else { "" };
                write!(f, "{separator}conflicts with {}:", conflict.manager)?;
                last = Some(&conflict.manager);
            }
            write!(f, "\n- {}", conflict.path)?;
        }
        Ok(())
    }
}

fn shown(identity: &Identity) -> String {
    let mut shown = format!("{:?}", identity.manager);
    if !identity.subresource.is_empty() {
        shown.push_str(&format!(" with subresource {:?}", identity.subresource));
    }
    if identity.operation == Operation::Update {
        shown.push_str(&format!(" using {}", identity.version));
    }
    shown
}
