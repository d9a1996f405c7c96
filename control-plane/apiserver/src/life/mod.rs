//! The life of an object as every kind has it: what the server sets at birth, keeps at a change, and when an object may go. Pure.

mod birth;
mod change;
mod death;

pub use birth::{before_create, generate_name, still_before_create};
pub use change::{before_update, check_version};
pub use death::{Decision, DeleteOptions, Preconditions, Propagation, decide, is_finished};
