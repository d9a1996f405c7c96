//! The scheduler's configuration.

use serde::Deserialize;

/// Plain settings; a file or flags may fill them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Pods with this `spec.schedulerName` are ours.
    pub scheduler_name: String,
    /// How many bindings may be on their way to the API server at a time.
    pub parallel_bindings: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".into(), parallel_bindings: 64 }
    }
}
