//! The agent as a whole, with a fake API and a fake data plane, each test in a network namespace of its own.

mod harness;
mod network;
mod overlay;
mod pods;
mod scale;
mod services;
mod whole;
