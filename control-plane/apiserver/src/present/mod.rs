//! Answers: objects and lists in the view and media type that the client asked for. Knows no kind by name.

mod list;
mod metadata;
mod response;
mod table;

pub use list::{ListMeta, list};
pub use metadata::partial_metadata;
pub use response::{add_warnings, error, json, object, status_success};
pub use table::{IncludeObject, column_definitions, row, table};
