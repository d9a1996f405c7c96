//! The verbs that hooks are made of.

pub mod answer;
mod choose;
mod clock;
mod count;
pub mod cut;
pub mod direct_return;
pub mod event;
pub mod flow;
mod former;
pub mod forward;
pub mod judge;
pub mod local;
mod node;
mod open;
mod origin;
pub mod own;
pub mod packet;
pub mod pair;
mod pod;
pub mod police;
pub mod quick;
mod range;
pub mod resolve;
pub mod rewrite;
pub mod scratch;
pub mod sctp;
pub mod segment;
mod socket;
pub mod sticky;
mod translate;
pub mod way;
mod words;

pub use count::{count_traffic, drop_frame, drop_number, drop_packet};
pub use flow::entrance;
pub use forward::NOT_OURS;
pub use node::is_overlay;
pub use packet::is_for_device;
pub use pod::{check_source, hand_over, may_be_answers, source};
pub use range::is_unallocated;
pub use socket::destination;
pub use sticky::{client_of_connection, client_of_datagram};
pub use translate::{send_to_backend, show_service};
pub use words::Words;

/// A copy of a map's value; what the pointer leads to may be replaced at any time.
#[inline(always)]
fn read<T: Copy>(value: Option<*const T>) -> Option<T> {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a map value of this type until the program
    // ends, and every bit pattern is a value of the ABI's plain types.
    value.map(|pointer| unsafe { pointer.read() })
}
