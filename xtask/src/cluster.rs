//! `cargo xtask up | down | images`: build the binary, then let it do the work.

use crate::progress::stage;
use crate::root;
use crate::run::{cargo, find, run};
use crate::setup::{self, Purpose};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of `up`; those of the cluster are handed on to `orknet up`.
#[derive(clap::Args)]
pub struct Up {
    /// Installs nothing: for machines where everything is there.
    #[arg(long)]
    no_setup: bool,
    /// Nodes beside the control plane (default 2, or as the cluster was made).
    #[arg(long)]
    nodes: Option<u8>,
    /// The engine behind the API server: embedded (default) or etcd.
    #[arg(long)]
    store: Option<String>,
    /// API servers: 1 (default), or with --store etcd 3 or 5.
    #[arg(long)]
    servers: Option<u8>,
    /// The cluster's name.
    #[arg(long, default_value = "local")]
    name: String,
    /// Builds without optimisation: faster to build, slower to run.
    #[arg(long)]
    debug: bool,
}

/// Sets up, builds, `orknet up`.
pub fn up(options: Up) -> Result<()> {
    if !options.no_setup {
        setup::setup(Purpose::Everything)?;
    }
    let binary = build(if options.debug { Profile::Debug } else { Profile::Release })?;
    let mut command = Command::new(&binary);
    command.args(["up", "--name", &options.name]);
    if let Some(nodes) = options.nodes {
        command.args(["--nodes", &nodes.to_string()]);
    }
    if let Some(store) = &options.store {
        command.args(["--store", store]);
    }
    if let Some(servers) = options.servers {
        command.args(["--servers", &servers.to_string()]);
    }
    run(&mut command)?;
    tell_path(&[binary, setup::tools_dir()?.join("kubectl")]);
    Ok(())
}

/// Says where these programs are, as far as they are there and not found through PATH.
fn tell_path(programs: &[PathBuf]) {
    let hidden = |program: &&PathBuf| program.exists() && program.file_name().and_then(|name| find(name.to_str()?)).is_none();
    let folders = programs.iter().filter(hidden).filter_map(|program| program.parent());
    let folders: Vec<String> = folders.map(|folder| folder.display().to_string()).collect();
    if !folders.is_empty() {
        println!("\nThese programs are in folders that PATH does not name:\n\n  export PATH=\"$PATH:{}\"", folders.join(":"));
    }
}

/// `orknet down`, with whatever build is there.
pub fn down(name: &str) -> Result<()> {
    let built = [Profile::Release, Profile::Debug].into_iter().filter_map(|profile| path(profile).ok()).find(|path| path.exists());
    let traces = ["/var/lib/orknet/clusters", "/run/orknet/clusters"].map(|directory| Path::new(directory).join(name));
    let binary = match built {
        Some(binary) => binary,
        // Ended before it had built anything, `up` has made nothing.
        None if !traces.iter().any(|trace| trace.exists()) => {
            println!("There is no cluster {name:?}.");
            return Ok(());
        }
        None => build(Profile::Debug)?,
    };
    run(Command::new(binary).args(["down", "--name", name]))
}

/// `orknet images`.
pub fn images() -> Result<()> {
    setup::setup(Purpose::Everything)?;
    run(Command::new(build(Profile::Debug)?).args(["images", "--out"]).arg(root()?.join("target/images")))
}

/// How the binary is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

/// Builds the binary; where it is.
pub fn build(profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "orknet"]).current_dir(root()?);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let name = if profile == Profile::Release { "building orknet" } else { "building orknet (debug)" };
    stage(name, || run(&mut command))?;
    path(profile)
}

/// Where the binary is, once it is built.
pub fn path(profile: Profile) -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => root()?.join("target"),
    };
    let profile = if profile == Profile::Release { "release" } else { "debug" };
    Ok(target.join("x86_64-unknown-linux-gnu").join(profile).join("orknet"))
}
