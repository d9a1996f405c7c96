//! From API objects to what the kernel should know. Pure: no I/O, no clock, no tokio, no aya, no Kubernetes client.
//!
//! Read in this order: [`facts`] (the compact form of the objects), [`select`] (which endpoints may take traffic), [`claims`] (who has
//! an address or port), [`fronts`] (one Service to its map entries), [`maglev`] (look-up tables for packets), [`compile()`]
//! (everything at once, policies by `policy/`), [`State`] (the same, kept up to date change by change), [`MapImage`] and [`Plan`] (the result and a safe way
//! to it), [`rows`] (for people).

pub mod claims;
pub mod clusternetworkpolicy;
pub mod facts;
pub mod fronts;
pub mod maglev;
pub mod rows;
pub mod select;

mod compile;
mod convert;
mod demand;
mod hosts;
mod image;
mod names;
mod policy;
mod pool;
mod state;
mod tables;

pub use compile::{Inputs, compile};
pub use facts::{
    Attachment, ClusterPolicyFacts, HostPort, NamespaceFacts, NodeFacts, ObjectName, Options, Owner, PeerNodeFacts, PodFacts, PolicyFacts,
    ServiceFacts, SliceFacts,
};
pub use image::{Flaw, MapImage, Plan, Step};
pub use names::Names;
pub use policy::whole::PolicyInputs;
pub use state::{Change, HealthCheck, Lead, PodAt, PolicyName, State, WithoutTable};
