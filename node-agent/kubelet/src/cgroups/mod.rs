//! Pods' cgroups: `values` turns a pod into settings (pure), `tree` makes and removes the directories, on v1 controllers (with or without a
//! v2 hierarchy beside them) and on pure v2. Containers' own cgroups inside are runc's.

pub mod tree;
pub mod values;

pub use tree::{Cgroups, remove_tree};
