//! The API's kinds: schema, defaulting, validation, printing. One folder a kind, one line of registration each.
//!
//! Pure: no I/O, no HTTP, no store. The API server's verbs are generic over [`Resource`] and know no kind by name.

mod contract;
pub mod counting;
pub mod cron;
pub mod expressions;
pub mod field;
mod go_value;
pub mod intern;
mod json;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod openapi;
#[cfg(test)]
mod properties;
pub mod quantity;
mod registry;
pub mod selector;
pub mod table;
pub mod type_checking;
pub mod typed;

pub use contract::*;
pub use registry::registry;
