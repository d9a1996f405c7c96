//! What a list or watch selects: labels and fields, parsed once per request and asked per object.

mod fields;
mod labels;

pub use fields::FieldSelector;
pub use labels::LabelSelector;

/// Why a selector cannot be used (answered as 400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
