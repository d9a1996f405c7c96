//! The bpf(2) system call, as far as aya leaves it out: links by index, link updates, batch operations on maps, pins, test runs. And
//! what else of the system no crate covers.

mod link;
mod map;
mod memory;
mod namespace;
mod program;
mod run;
mod syscall;

pub(crate) use link::{Link, LinkTarget};
pub(crate) use map::{Entries, MapFile, Plain, Walk, When};
pub(crate) use memory::give_back;
pub use namespace::namespace_cookie;
pub(crate) use program::Passing;
pub use run::Arrival;
pub(crate) use run::test_run;
