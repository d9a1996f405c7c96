//! containerd through CRI v1: a thin client that names the failed call, and the labels by which pods are found again.
//! Decides nothing about pods.

mod client;
mod image_calls;
pub mod labels;
mod runtime_calls;

pub use client::Cri;
pub use k8s_cri::v1 as proto;
