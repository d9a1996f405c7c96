//! The agent as a whole, with a fake API and a fake data plane, each test in a network namespace of its own.

mod collector;
mod devices;
mod enforced;
mod full;
mod harness;
mod health;
mod monitor;
mod moved;
mod network;
mod overlay;
mod own;
mod pods;
mod policies;
mod retries;
mod room;
mod scale;
mod services;
mod settings;
mod watched;
mod whole;
