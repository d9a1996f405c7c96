//! The node agent: watches the Kubernetes API, has the compiler make of it what the kernel should know, and the data plane write it;
//! attaches pods for the CNI plugin; keeps the routes to other nodes.
//!
//! Thin on purpose. What should be in the maps is the compiler's decision, how it gets there the data plane's. Nothing is persisted:
//! a restart adopts the pinned maps, reads the CNI plugin's records and the API, and touches only what differs. Stopping or dying
//! leaves maps, programs and routes in place, so traffic does not notice.
//!
//! ```text
//!  API ── watch ──┐                     ┌── socket ── CNI plugin
//!                 ├──► programmer ◄─────┘
//!  API ── nodes ──┤     │  State → Plan
//!                 │     ▼
//!               routes  Dataplane (maps, programs)          http: metrics, health
//! ```

pub mod config;
pub mod dataplane;
pub mod error;
pub mod monitor;
pub mod overlay;
pub mod routes;

mod attachments;
mod cleanup;
mod collector;
mod degraded;
mod devices;
mod doubts;
mod health_check;
mod http;
mod metrics;
mod nodes;
mod notice;
mod own_keeper;
mod own_routes;
mod own_way;
mod pressure;
mod programmer;
mod progress;
mod proxy_health;
mod purger;
mod report;
mod ring;
mod room;
mod route_keeper;
mod route_message;
mod run;
mod settings;
mod settings_keeper;
mod socket;
mod sysctl;
mod thrift;
mod vxlan;
mod watch;

pub use cleanup::cleanup;
pub use config::Config;
pub use dataplane::Dataplane;
pub use error::Error;
pub use route_keeper::keep_pod_routes;
pub use run::{run, run_with};
