//! Changes to API objects as pure functions over JSON: JSON patch, merge patch, strategic merge patch, server-side apply.
//!
//! What lists, maps and keys mean comes from a [`Schema`] compiled out of the API's OpenAPI definitions. Reading bodies, defaulting, validating and
//! storing the result is left to the API server. No function here does I/O, and none panics, whatever JSON comes in.

pub mod apply;
pub mod fields;
pub mod json;
pub mod merge;
pub mod schema;
pub mod strategic;

mod error;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod three_way;

pub use error::PatchError;
pub use schema::{Place, Schema};
