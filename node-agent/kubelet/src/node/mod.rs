//! The Node object: `machine` reads what the host has, `object` makes the Node's parts (pure), `register` creates it, `report` keeps its
//! status true, `pressure` says when too little is left (pure), `lease` proves that the kubelet lives, `events` tells what became of the
//! node, `outage` what does not work for a while.

pub mod events;
pub mod lease;
pub mod machine;
pub mod object;
mod outage;
pub mod pressure;
pub mod register;
pub mod report;
