//! Packet tests of Services: the programs of the node's devices and of pods on real maps, over frames that were built here
//! (`BPF_PROG_TEST_RUN`). The topology is drawn in `bench.rs`.

#[path = "../frames/mod.rs"]
mod frames;
#[path = "../harness/mod.rs"]
mod harness;

mod bench;
mod broken;
mod cut;
mod direct_return;
mod errors;
mod events;
mod forward;
mod fragments;
mod fuzz;
mod fuzz_policy;
mod gone;
mod jumbo;
mod maglev;
mod masquerade;
mod merged;
mod nat_ports;
mod overlay;
mod own;
mod pairs;
mod pods;
mod policy;
mod policy_holes;
mod policy_known;
mod policy_used;
mod policy_ways;
mod redirects;
mod refusals;
mod round;
mod states;
mod switched;
mod there_and_back;
mod trace;
mod ways;
mod wire;
mod wrong_sums;
