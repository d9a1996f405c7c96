//! From API objects to what the kernel should know. Pure: no I/O, no clock, no tokio, no aya, no Kubernetes client.
//!
//! Read in this order: [`facts`] (the compact form of the objects), [`select`] (which endpoints may take traffic), [`fronts`] (one
//! Service to its map entries), [`compile()`] (everything at once), [`State`] (the same, kept up to date change by change),
//! [`MapImage`] and [`Plan`] (the result and a safe way to it), [`rows`] (for people).

pub mod facts;
pub mod fronts;
pub mod rows;
pub mod select;

mod compile;
mod convert;
mod image;
mod lists;
mod names;
mod state;

pub use compile::{Inputs, compile};
pub use facts::{Attachment, NodeFacts, ObjectName, ServiceFacts, SliceFacts};
pub use image::{Flaw, MapImage, Plan, Step};
pub use names::Names;
pub use state::{Change, State};
