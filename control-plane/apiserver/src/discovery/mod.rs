//! What this server offers, told to clients: its version, paths, groups, resources and OpenAPI documents, made from the registry when asked for.

mod aggregated;
mod catalog;
mod documents;
mod legacy;
mod openapi_v2;
mod subresources;
#[cfg(test)]
mod upstream_fixtures;

pub use catalog::Catalog;
pub use documents::{Documents, document};

use serde_json::{Value, json};

/// The API level that this server speaks.
pub const LEVEL: (&str, &str) = ("1", "33");

/// `/version`.
pub fn version() -> Value {
    let (major, minor) = LEVEL;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+orknet{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": option_env!("ORKNET_COMMIT").unwrap_or("unknown"),
        "gitTreeState": "clean",
        "buildDate": option_env!("ORKNET_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}

/// `/`: the paths that can be asked for.
pub fn paths(catalog: &Catalog<'_>) -> Value {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    for (group, versions) in catalog.groups() {
        if group.is_empty() {
            paths.extend(versions.iter().map(|(version, _)| format!("/api/{version}")));
        } else {
            paths.push(format!("/apis/{group}"));
            paths.extend(versions.iter().map(|(version, _)| format!("/apis/{group}/{version}")));
        }
    }
    paths.sort_unstable();
    json!({ "paths": paths })
}
