//! `cargo xtask test`: set-up, the tree's rules, lints, and every test from unit to end to end.

use crate::cluster::{Profile, build, path};
use crate::progress::stage;
use crate::run::{cargo, run};
use crate::setup::{self, Purpose};
use crate::{lanes, root, suites, tidy};
use anyhow::Result;

/// Which tests.
#[derive(clap::Args, Default)]
pub struct Test {
    /// Installs and fetches nothing.
    #[arg(long)]
    no_setup: bool,
    /// Without the suites of others and Kubernetes' fixtures, which come from the network the first time.
    #[arg(long)]
    no_suites: bool,
    /// Only this package (and no lints).
    #[arg(long, short)]
    package: Option<String>,
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Only the fuzz tests: so many random packets at each program for devices, and so many random calls at sockets.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["package", "filter"])]
    fuzz: Option<u64>,
}

/// Runs them. Fails at the first stage that fails, after the whole stage has run.
pub fn test(options: &Test) -> Result<()> {
    if !options.no_setup {
        setup::setup(Purpose::Everything)?;
        setup::setup_tests()?;
    }
    if let Some(count) = options.fuzz {
        return stage("fuzz", || run(&mut fuzz(count)?));
    }
    let whole = options.package.is_none() && options.filter.is_none();
    if whole {
        stage("the tree's own rules", tidy::tidy)?;
        stage("format", || run(cargo().args(["fmt", "--all", "--check"]).current_dir(root()?)))?;
        let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
        stage("lints", || run(cargo().args(lint).current_dir(root()?)))?;
    }
    let others = !options.no_suites && (whole || options.package.as_deref() == Some("orknet-tests"));
    if others && !options.no_setup {
        suites::fetch()?;
    }
    let binary = if whole { build_all()? } else { build(Profile::Debug)? };
    if others {
        stage("building kube's cluster tests", suites::build_kube)?;
    }
    if others && whole {
        stage("Kubernetes' fixtures", || run(&mut fixtures()?))?;
    }
    let mut environment = vec![("ORKNET", binary.into_os_string()), ("PATH", path_with_tools()?)];
    if others {
        environment.push(("ORKNET_SUITES", suites::folder()?.into_os_string()));
    }
    if whole {
        return lanes::run_all(&environment);
    }
    let mut command = cargo();
    command.arg("test").current_dir(root()?).envs(environment);
    match &options.package {
        Some(package) => command.args(["--package", package]),
        None => command.args(["--workspace", "--no-fail-fast"]),
    };
    if let Some(filter) = &options.filter {
        command.arg(filter);
    }
    stage("tests", || run(&mut command))
}

/// Builds the binary and all tests at once: with the same features, so that nothing is built twice. Where the binary is.
fn build_all() -> Result<std::path::PathBuf> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--all-targets"]).current_dir(root()?);
    stage("building orknet (debug) and its tests", || run(&mut command))?;
    path(Profile::Debug)
}

/// The tests that are `#[ignore]`d for want of the fixtures. (Of the whole workspace, as it was built.)
fn fixtures() -> Result<std::process::Command> {
    let mut command = cargo();
    command.current_dir(root()?).env("ORKNET_FIXTURES", suites::fixture_folders()?);
    command.env("ORKNET_OPENAPI", suites::openapi_definitions()?);
    command.args(["test", "--workspace", "--lib", "--quiet", "fixture", "--", "--ignored"]);
    Ok(command)
}

/// All fuzz tests, which print their seeds and what they have met.
fn fuzz(count: u64) -> Result<std::process::Command> {
    let mut command = cargo();
    command.current_dir(root()?).env("ORKNET_FUZZ", count.to_string()).env("PATH", path_with_tools()?);
    command.args(["test", "--package", "orknet-dataplane", "--test", "network_packets", "--test", "socket_fuzz", "root_fuzz_"]);
    command.args(["--", "--nocapture"]);
    Ok(command)
}

fn path_with_tools() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    Ok(std::env::join_paths(std::env::split_paths(&path).chain([setup::tools_dir()?]).chain(system))?)
}
