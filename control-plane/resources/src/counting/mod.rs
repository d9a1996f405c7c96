//! What objects use of what is limited: lists of amounts, what a pod asks for as a whole, and what of a quota an object counts against. The API
//! server's admission and the controller of quotas count alike because both count here. Pure.

mod amounts;
mod pod;
mod scopes;
mod usage;

pub use amounts::Amounts;
pub use pod::{Basis, limits, requests};
pub use scopes::in_scope;
pub use usage::{Counted, bounded, is_counted, is_over, missing, usage};
