//! How to reach etcd.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where etcd is and what of it is ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EtcdConfig {
    /// URLs of the members, `http://` or `https://`, IP addresses or names.
    pub endpoints: Vec<String>,
    /// Everything is kept under this and a slash; stores with different prefixes, none within another, share an etcd.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// PEM file with the authorities that etcd's certificate is checked against; needed for `https://`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate; goes together with `key_file`.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Seconds within which an endpoint has to answer when connecting.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_seconds: u64,
    /// Seconds after which a request is given up with `Unavailable`.
    #[serde(default = "default_request_timeout")]
    pub request_timeout_seconds: u64,
}

impl EtcdConfig {
    /// The defaults, with these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: default_prefix(),
            ca_file: None,
            certificate_file: None,
            key_file: None,
            connect_timeout_seconds: default_connect_timeout(),
            request_timeout_seconds: default_request_timeout(),
        }
    }
}

fn default_prefix() -> String {
    "/orknet".into()
}

fn default_connect_timeout() -> u64 {
    5
}

fn default_request_timeout() -> u64 {
    10
}
