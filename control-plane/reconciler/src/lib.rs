//! What every reconciler of the control plane stands on: shared watches, a work queue, the worker loop, how these are put together
//! ([`Watches`]), the election of the one process of several that works ([`leader`]), the event recorder and the matching rules that several of
//! them need. Decides nothing about any kind: that is for the controllers and the scheduler.

mod cached;
mod error;
mod event_series;
mod follow;
mod identity;
mod index;
mod informer;
mod informers;
mod key;
pub mod leader;
pub mod merge_patch;
pub mod node_match;
pub mod pod_state;
mod queue;
mod recorder;
mod selecting;
pub mod selector;
mod watches;
mod worker;

pub use cached::{Cached, ClusterInfo};
pub use error::{Error, is_already_exists, is_conflict, is_gone, is_invalid, is_namespace_terminating, is_not_found};
pub use event_series::EventType;
pub use identity::acting_as;
pub use index::Index;
pub use informer::{Change, Informer};
pub use informers::SharedInformers;
pub use key::ObjectKey;
pub use queue::WorkQueue;
pub use recorder::Recorder;
pub use selecting::Selecting;
pub use watches::Watches;
pub use worker::{Next, Reconciler, run_workers};
