//! Policies against their model (`orknet_tests::policy`): every pod of a scene to every other, to nodes and to the outside, and through Services,
//! under sets of policies that were written by hand or made up; first what the compiler makes of them, then what the programs do with it.

#[path = "../frames/mod.rs"]
mod frames;
#[path = "../harness/mod.rs"]
mod harness;

mod alone;
mod churn;
mod cluster;
mod host;
mod interpret;
mod programs;
