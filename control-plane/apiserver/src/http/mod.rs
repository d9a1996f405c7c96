//! HTTP: listening, the filter chain, and what is read from a request before a verb runs.

pub mod accept;
mod activity;
pub mod bounds;
pub mod chain;
mod compress;
mod credentials;
pub mod flow;
mod impersonate;
pub mod listener;
pub mod options;
mod placed;
mod query;
pub mod request_info;
mod routes;
mod websocket;

pub use bounds::Bounds;
pub use flow::Flow;
pub use listener::{Peer, Shown};
