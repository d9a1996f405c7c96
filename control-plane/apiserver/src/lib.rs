//! The API server's machinery, generic over kinds: HTTP, filters, verbs, the watch cache, discovery, admission, address allocation.
//!
//! A request is read top to bottom in `http/chain.rs`; a verb in its file under `verbs/`. What a kind looks like is `orknet-resources`' business,
//! how bytes are kept is `orknet-store`'s, who may do what is `orknet-auth`'s, how patches merge is `orknet-patch`'s.

mod access;
mod admission;
mod aggregation;
mod allocate;
mod audit;
mod bootstrap;
mod cache;
mod call;
mod codec;
mod companions;
mod component_status;
mod config;
mod continue_token;
mod custom;
mod discovery;
mod error;
mod health;
mod http;
mod in_place;
mod kinds;
mod life;
mod local;
mod metrics;
mod metrics_api;
mod object;
mod ownership;
mod present;
mod proxy;
mod review;
mod run;
mod selector;
mod server;
mod serving;
mod storage;
mod subresource;
mod turns;
mod verbs;

pub use crate::http::Bounds;
pub use audit::{AuditConfig, AuditError, LogConfig as AuditLogConfig};
pub use config::{Config, Listener};
pub use error::ApiError;
pub use kinds::{ChangeError, Path as KindPath};
pub use local::LocalClient;
pub use proxy::{KubeletStreams, NodeTarget};
pub use run::{Error, Handle, run, start};
pub use storage::keys::SERVERS;
