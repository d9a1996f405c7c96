//! Answers: objects and lists in the view and media type that the client asked for. Knows no kind by name.

pub mod encode;

mod events;
mod list;
mod metadata;
mod response;
mod table;

pub use events::{Batch, Events};
pub use list::{ListMeta, list};
pub use metadata::partial_metadata;
pub use response::{add_warnings, error, json, object, status, status_success};
pub use table::{IncludeObject, column_definitions, row, table};
