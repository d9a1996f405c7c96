//! The API's kinds: schema, defaulting, validation, printing. One folder a kind, one line of registration each.
//!
//! Pure: no I/O, no HTTP, no store. The API server's verbs are generic over [`Resource`] and know no kind by name.

mod contract;

pub use contract::*;
