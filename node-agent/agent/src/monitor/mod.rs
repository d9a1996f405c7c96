//! What happens to packets on this node, for people: programs tell events, the compiler's state knows whose addresses and rules they are
//! about ([`explain`]; [`callers`] whose a call was, [`leads`] which
//! Services a backend is behind), monitors hear of them over a socket ([`serve`]), and pods get Kubernetes Events about what was refused to them
//! ([`pods`]).
//!
//! ```text
//!  ring ──► feed ── ask ──► programmer (names)
//!            │ ◄── lines ───┘
//!            ├──► hub ──► monitors (`orknet monitor`)
//!            └──► Events of this node's pods
//! ```
//!
//! Everything is bounded. Programs tell no more than they are asked to, the ring has its size, of who reads too slowly the oldest is forgotten;
//! all that is lost on the way is counted, and told.

mod callers;
mod explain;
mod feed;
mod filter;
mod hub;
mod leads;
mod line;
mod pods;
mod rules;
#[cfg(test)]
mod samples;
mod serve;

pub use filter::Filter;
pub use line::{Direction, End, Front, Happened, Judged, Line, Loss, Lost, Pod, Policy, Rule, ServiceName, Verdict};
pub use serve::socket_of;

pub(crate) use explain::{Explainer, Seen};
pub(crate) use feed::{Feed, feed};
pub(crate) use hub::Hub;
pub(crate) use pods::{REFUSED, report};
pub(crate) use rules::{RuleName, name_rules};
pub(crate) use serve::{bind, serve};
