//! The project's own commands: `cargo xtask setup | up | down | test | ci | tidy | images | fields | bench`. Few dependencies: it is the first
//! thing that is built on a new machine.

mod bench;
mod cluster;
mod fields;
mod lanes;
mod progress;
mod run;
mod setup;
mod suites;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Orknet's build, test and try-out commands")]
struct Options {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building, running and testing need: Debian packages, the BPF toolchain, kubectl, the suites of others. Says what before it does.
    Setup,
    /// Sets up, builds, starts a local cluster and tries it.
    Up(cluster::Up),
    /// Removes the local cluster and everything it made.
    Down {
        /// The cluster's name.
        #[arg(long, default_value = "local")]
        name: String,
    },
    /// Sets up and runs every test, from unit to end to end.
    Test(test::Test),
    /// What continuous integration runs: the same as `test`.
    Ci,
    /// Checks the tree's own rules: the code map, the dependency table, file headers and sizes, where `unsafe` may be.
    Tidy,
    /// Builds the images of a local cluster as OCI archives below target/images.
    Images,
    /// Makes the table of the protobuf form from the Go types of Kubernetes.
    Fields {
        /// `k8s.io` in a tree of Go sources.
        folder: std::path::PathBuf,
    },
    /// Measures, interleaved, and writes docs/benchmarks.md.
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Task::Setup => setup::setup(setup::Purpose::Everything).and_then(|()| setup::setup_tests()).and_then(|()| suites::fetch()),
        Task::Up(options) => cluster::up(options),
        Task::Down { name } => cluster::down(&name),
        Task::Test(options) => test::test(&options),
        Task::Ci => test::test(&test::Test::default()),
        Task::Tidy => tidy::tidy(),
        Task::Images => cluster::images(),
        Task::Fields { folder } => fields::fields(&folder),
        Task::Bench(options) => bench::bench(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The tree's root: where the workspace manifest is.
fn root() -> Result<std::path::PathBuf> {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(std::path::Path::to_owned).ok_or_else(|| anyhow::anyhow!("xtask is not inside a workspace"))
}
