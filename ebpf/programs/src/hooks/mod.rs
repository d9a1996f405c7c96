//! One file per kind of attach point; each function reads top to bottom as what happens there.

mod connect;
mod from_network;
mod from_node;
mod from_pod;
mod from_wire;
mod getpeername;
mod leaving;
mod recvmsg;
mod sendmsg;
mod to_network;
mod to_pod;

pub use connect::connect;
pub use from_network::from_network;
pub use from_node::from_node;
pub use from_pod::from_pod;
pub use from_wire::from_wire;
pub use getpeername::getpeername;
pub use recvmsg::recvmsg;
pub use sendmsg::sendmsg;
pub use to_network::to_network;
pub use to_pod::to_pod;
