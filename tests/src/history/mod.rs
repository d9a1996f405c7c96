//! What many clients did and saw of a set of objects, to be compared with what the store says has happened: who writes, reads and watches is
//! `recorder`, what must hold is `check`.
//!
//! Times are microseconds since the recording began, all by one clock. Every value is written by one request only, so that a value names it.

mod check;
#[cfg(test)]
mod model;
mod random;
pub mod recorder;
#[cfg(test)]
mod tests;

pub use check::{Violation, check};

/// The store's revision, which is an object's resource version.
pub type Revision = u64;

/// What there is at a moment: names with version and value, by name.
pub type State = Vec<(String, Revision, String)>;

/// One change, as the store tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    /// The object's name.
    pub key: String,
    /// What it holds from then on; `None` when it was deleted.
    pub value: Option<String>,
}

/// A request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it was sent, and when its answer had been read.
    pub sent: u64,
    pub answered: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A create, where `before` is `None`, or an update of the version `before`.
    Put { key: String, value: String, before: Option<Revision>, outcome: Outcome },
    /// A deletion of the version `before`. Its answer names no revision.
    Delete { key: String, before: Revision, outcome: Outcome },
    /// The newest version and its value; `None` when there is none.
    Get { key: String, found: Option<(Revision, String)> },
    /// Everything at a revision.
    List { at: Revision, found: State },
}

/// What a write's answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, at this revision where the answer names it.
    Done(Option<Revision>),
    /// It has changed nothing and never will.
    Refused,
    /// There was no answer, or one that leaves it open.
    Unknown,
}

/// One client's watch, over all its connections: it went on after the newest revision that it had seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Everything after this revision was asked for.
    pub after: Revision,
    pub seen: Vec<Seen>,
}

/// What a watch told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Added(Change),
    Modified(Change),
    /// With what it held before.
    Deleted {
        revision: Revision,
        key: String,
        held: String,
    },
    /// Everything up to this revision was told.
    Bookmark(Revision),
    /// The server keeps nothing from so long ago, as one that was started anew: everything was listed, and the watch went on from there.
    Listed {
        at: Revision,
        found: State,
    },
}

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub operations: Vec<Operation>,
    pub watches: Vec<Watched>,
}
