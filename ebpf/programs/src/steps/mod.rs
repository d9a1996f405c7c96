//! The verbs that hooks are made of.

mod count;
mod origin;
pub mod packet;
mod pod;
mod range;
mod resolve;
mod socket;
mod sticky;
mod translate;

pub use count::{count_traffic, drop_packet};
pub use packet::Parsed;
pub use pod::{Source, check_source, find_pod_elsewhere, redirect_into_pod};
pub use range::is_unallocated;
pub use socket::destination;
pub use sticky::{client_of_connection, client_of_datagram};
pub use translate::{send_to_backend, show_service};

use resolve::{Resolution, resolve};

/// A copy of a map's value; what the pointer leads to may be replaced at any time.
#[inline(always)]
fn read<T: Copy>(value: Option<*const T>) -> Option<T> {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a map value of this type until the program
    // ends, and every bit pattern is a value of the ABI's plain types.
    value.map(|pointer| unsafe { pointer.read() })
}
