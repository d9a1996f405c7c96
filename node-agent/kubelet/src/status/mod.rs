//! What the API is told about a pod: `compute` makes the status (pure), `publish` writes it when it changed.

pub mod compute;
pub mod conditions;
pub mod container;
pub mod publish;
pub mod reason;
