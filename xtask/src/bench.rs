//! `cargo xtask bench`: builds optimised, then lets the benchmark program measure.

use crate::cluster::{Profile, build};
use crate::root;
use crate::run::{cargo, run};
use crate::setup::{self, Purpose};
use anyhow::Result;

/// Which benchmarks.
#[derive(clap::Args)]
pub struct Bench {
    /// Names of benchmarks; all when empty.
    names: Vec<String>,
    /// Installs nothing.
    #[arg(long)]
    no_setup: bool,
}

/// Measures and writes docs/benchmarks.md.
pub fn bench(options: &Bench) -> Result<()> {
    if !options.no_setup {
        setup::setup(Purpose::Benchmarks)?;
    }
    let binary = build(Profile::Release)?;
    // What the benchmarks' clients and servers are, beside the benchmark program.
    run(cargo().args(["build", "--release", "--quiet", "--package", "orknet-tests", "--bin", "nettool"]).current_dir(root()?))?;
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "orknet-bench", "--"]).args(&options.names);
    command.current_dir(root()?).env("ORKNET", binary);
    let tools = setup::tools_dir()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", std::env::join_paths(std::env::split_paths(&path).chain([tools, "/usr/sbin".into()]))?);
    run(&mut command)
}
