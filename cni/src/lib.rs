//! The CNI plugin (specification 1.0.0 and 1.1.0): gives a pod its device, addresses and routes, and answers only when the node's
//! agent has programmed them. One file per verb.
//!
//! It runs for one request and holds nothing: what must survive is on disk ([`state`], [`allocate`]). It knows nothing of Services,
//! policies or BPF; those are the agent's, which it asks over a socket ([`protocol`]).

pub mod allocate;
pub mod config;
pub mod error;
pub mod loopback;
pub mod protocol;
pub mod state;

mod add;
mod agent;
mod check;
mod delete;
mod environment;
mod gc;
mod namespace;
mod netlink;
mod port_mappings;
mod result;
mod status;
mod sysctl;
mod wiring;

pub use wiring::host_name;

use config::NetworkConfig;
use environment::{Command, Environment};
use error::{CniError, Code};
use std::io::{Read, Write};
use std::process::ExitCode;

/// Name of the plugin in CNI configurations, and of the file that is called.
pub const PLUGIN_NAME: &str = "orknet-cni";

/// Versions of the specification that are spoken.
pub const VERSIONS: &[&str] = &["1.0.0", "1.1.0"];

/// The whole program: environment and standard input in, JSON on standard output, exit code. Blocks until done; the runtime that
/// calls it sets the deadline.
pub fn main() -> ExitCode {
    answer(run)
}

/// [`main`] of the plugin [`loopback`].
pub fn loopback_main() -> ExitCode {
    answer(loopback::run)
}

/// A plugin: what it prints for an environment and a configuration.
type Plugin = fn(&dyn Fn(&str) -> Option<String>, &[u8]) -> Result<String, CniError>;

fn answer(run: Plugin) -> ExitCode {
    let mut input = Vec::new();
    let outcome = match std::io::stdin().lock().read_to_end(&mut input) {
        Ok(_) => run(&|name| std::env::var(name).ok(), &input),
        Err(error) => Err(CniError::new(Code::Io, "reading the network configuration from standard input", error)),
    };
    let (text, exit) = match outcome {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (error.to_json(&version_of(&input)), ExitCode::FAILURE),
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => exit,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One request: `variable` reads the environment, `input` is the network configuration. What is to be printed, or the error.
pub fn run(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Result<String, CniError> {
    let command = Command::from_environment(variable)?;
    if command == Command::Version {
        return Ok(result::versions(&version_of(input)));
    }
    let config = NetworkConfig::parse(input)?;
    let environment = Environment::parse(command, variable)?;
    match command {
        Command::Add => add::add(&config, &environment),
        Command::Del => delete::delete(&config, &environment).map(|()| String::new()),
        Command::Check => check::check(&config, &environment).map(|()| String::new()),
        Command::Gc => gc::gc(&config).map(|()| String::new()),
        Command::Status => status::status(&config).map(|()| String::new()),
        Command::Version => Ok(result::versions(&config.cni_version)),
    }
}

/// The version that answers must carry, also when the configuration is no good otherwise.
fn version_of(input: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        cni_version: String,
    }
    serde_json::from_slice::<Version>(input).map(|version| version.cni_version).unwrap_or_else(|_| VERSIONS[0].to_owned())
}
