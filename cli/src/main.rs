//! The one binary of Orknet: the cluster's programs, the local cluster, and looks into the kernel. Called as `orknet-cni` it is the
//! CNI plugin, called as `loopback` the one for `lo`.

mod cluster;
mod commands;
mod inspect;
mod monitor;
mod names;
mod policy;
mod trace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cluster::layout::{Cluster, DEFAULT_NAME};
use cluster::record::{RoutingKind, StoreKind};
use commands::{agent, backup, balance, credentials, daemon, enter, keys, kubelet, migrate, probe, restore, server, token};
use inspect::{Inspect, Subject};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "orknet", version, about = "A Kubernetes-compatible cluster whose network is eBPF", arg_required_else_help = true)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a local cluster and applies an example. Again: repairs what does not run.
    Up {
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// Nodes beside the control plane (default 2).
        #[arg(long)]
        nodes: Option<u8>,
        /// The engine behind the API server (default embedded).
        #[arg(long, value_enum)]
        store: Option<StoreKind>,
        /// API servers, each with a member of etcd beside it: 1 (default), 3 or 5. More than one need --store etcd.
        #[arg(long)]
        servers: Option<u8>,
        /// How pods of different nodes reach each other (default direct).
        #[arg(long, value_enum)]
        routing: Option<RoutingKind>,
        /// Settings of every node's agent, as YAML or JSON; those that the cluster makes itself win over them.
        #[arg(long)]
        agent_config: Option<PathBuf>,
        /// Leaves the example out.
        #[arg(long)]
        bare: bool,
    },
    /// Removes a local cluster and everything it made.
    Down {
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
    },
    /// Shows what of a local cluster runs.
    Status {
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
    },
    Enter(enter::Enter),
    /// Writes the local cluster's images as OCI archives.
    Images {
        /// Directory for the archives.
        #[arg(long)]
        out: PathBuf,
    },
    /// Builds an image from programs of this host (with their shared libraries, beside a shell) and gives it to a local cluster.
    AddImage {
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// The image's name, such as registry.orknet.local/tools:1.
        image: String,
        /// What its containers run unless a pod says otherwise: a command of its shell.
        #[arg(long)]
        run: Option<String>,
        /// Programs to put into /usr/local/bin.
        #[arg(required_unless_present = "run")]
        programs: Vec<PathBuf>,
    },
    Server(server::Server),
    Balance(balance::Balance),
    Kubelet(kubelet::Kubelet),
    Agent(agent::Agent),
    Credentials(credentials::Credentials),
    Keys(keys::Keys),
    Token(token::Token),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Migrate(migrate::Migrate),
    /// Shows the Services in a node's maps, with their backends.
    Services(Inspect),
    /// Shows the lists of backends in a node's maps.
    Backends(Inspect),
    /// Shows the look-up tables in a node's maps, with the share of each backend.
    Tables(Inspect),
    /// Shows from where load-balancer addresses may be used.
    Sources(Inspect),
    /// Shows what ranges of addresses are to a node, and what its programs know of itself.
    Ranges(Inspect),
    /// Shows the pods in a node's maps, with their traffic.
    Endpoints(Inspect),
    /// Shows the flows that a node translates packets for, both directions of each.
    Flows(Inspect),
    /// Shows how full a node's maps are, and what was dropped.
    Maps(Inspect),
    Monitor(monitor::Monitor),
    Policy(policy::Policy),
    Trace(trace::Trace),
    /// Answers whether an HTTP server answers.
    #[command(hide = true)]
    Probe {
        address: SocketAddr,
    },
}

fn main() -> ExitCode {
    let called_as = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    match called_as.file_name().and_then(|name| name.to_str()) {
        Some(orknet_cni::PLUGIN_NAME) => return orknet_cni::main(),
        Some(orknet_cni::loopback::LOOPBACK_NAME) => return orknet_cni::loopback_main(),
        _ => {}
    }
    match run(Options::parse_from(trace::without_arrow(std::env::args_os())).command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("orknet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let done = match command {
        Command::Up { name, nodes, store, servers, routing, agent_config, bare } => {
            let wish = cluster::up::Wish { nodes, store, servers, agent: agent_settings(agent_config.as_deref(), routing)?, bare };
            let cluster = Cluster::new(&name)?;
            daemon::run_command(cluster::up::up(&cluster, &wish))
        }
        Command::Down { name } => cluster::down::down(&Cluster::new(&name)?),
        Command::Status { name } => cluster::status::status(&Cluster::new(&name)?),
        Command::Enter(options) => enter::run(options),
        Command::Images { out } => images(&out),
        Command::AddImage { name, image, run, programs } => cluster::add_image(&Cluster::new(&name)?, &image, run, &programs),
        Command::Server(options) => server::run(options),
        Command::Balance(options) => balance::run(options),
        Command::Kubelet(options) => kubelet::run(options),
        Command::Agent(options) => agent::run(options),
        Command::Credentials(options) => credentials::run(options),
        Command::Keys(options) => keys::run(options),
        Command::Token(options) => daemon::run_command(token::run(options)),
        Command::Backup(options) => daemon::run_command(backup::run(options)),
        Command::Restore(options) => daemon::run_command(restore::run(options)),
        Command::Migrate(options) => daemon::run_command(migrate::run(options)),
        Command::Services(options) => inspect::run(Subject::Services, &options),
        Command::Backends(options) => inspect::run(Subject::Backends, &options),
        Command::Tables(options) => inspect::run(Subject::Tables, &options),
        Command::Sources(options) => inspect::run(Subject::Sources, &options),
        Command::Ranges(options) => inspect::run(Subject::Ranges, &options),
        Command::Flows(options) => inspect::run(Subject::Flows, &options),
        Command::Endpoints(options) => inspect::run(Subject::Endpoints, &options),
        Command::Maps(options) => inspect::run(Subject::Maps, &options),
        Command::Monitor(options) => monitor::run(&options),
        Command::Policy(options) => policy::run(options),
        Command::Trace(options) => return Ok(trace::main(&options)),
        Command::Probe { address } => probe::run(address),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What is said of the agents, if anything is. Nonsense is told before anything is made of it.
fn agent_settings(file: Option<&Path>, routing: Option<RoutingKind>) -> Result<Option<Map<String, Value>>> {
    if file.is_none() && routing.is_none() {
        return Ok(None);
    }
    let flags = daemon::flags([("routing", routing.map(|routing| json!(routing)))]);
    let _: orknet_agent::Config = daemon::config(file, flags.clone())?;
    daemon::config(file, flags).map(Some)
}

fn images(directory: &Path) -> Result<()> {
    for path in cluster::archives(directory)? {
        println!("{}", path.display());
    }
    Ok(())
}
