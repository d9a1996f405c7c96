//! Pods through a real containerd, without an API server: the tests speak to pod workers by the channel that the watch feeds, and see what
//! they would have written. Each test has a containerd, a network namespace and a cgroup of its own.

mod admission;
mod cluster;
mod containerd;
mod ends;
mod failures;
mod image;
mod lives;
mod node;
mod server;
mod takeover;
mod volumes;
