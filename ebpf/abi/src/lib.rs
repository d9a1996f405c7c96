//! The contract between the BPF programs and user space: every map key, map value, constant and drop reason, written once.
//!
//! Plain values only: `repr(C)`, no padding, no Rust enums inside, byte order in the name (`_be` is network order; everything
//! else is native). Addresses have one form, [`Address`]: 16 bytes, IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2).
//! This crate knows nothing else of Orknet and does no I/O.
#![no_std]

mod address;
pub mod direct;
mod drop;
mod left;
mod maps;
mod overlay;
mod policy;
mod values;
mod way;

pub use address::Address;
pub use drop::DropReason;
pub use left::LeftReason;
pub use maps::*;
pub use overlay::{OVERLAY_ID, overlay_mac};
pub use policy::*;
pub use values::*;
pub use way::{DONE_MARK, Pair, Way, judged_mark, pair_side, way_kind};
