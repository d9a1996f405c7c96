//! Pods' cgroups: `values` turns a pod into settings (pure), `tree` makes and removes the directories, on v1 controllers (with or without a
//! v2 hierarchy beside them) and on pure v2,
//! `usage` reads what was used. Containers' own cgroups inside are runc's.

pub mod tree;
pub mod usage;
pub mod values;

pub use tree::{Cgroups, remove_tree};
pub use usage::Usage;
