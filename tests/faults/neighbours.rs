//! Do clusters and servers on one host stay out of each other's way?

use anyhow::{Result, ensure};
use orknet_tests::server::Server;
use orknet_tests::traces::{self, BpfObjects};
use orknet_tests::{Cluster, cluster, faults};
use std::process::Command;

faults![
    root_two_clusters_live_beside_each_other_and_end_alone,
    a_second_server_on_the_same_port_is_refused_in_a_line,
    a_second_server_on_the_same_store_is_refused_in_a_line,
];

fn root_two_clusters_live_beside_each_other_and_end_alone() -> Result<()> {
    let first = Cluster::up("na", &["--nodes", "1", "--bare"])?;
    let second = Cluster::up("nb", &["--nodes", "1"])?;
    ensure!(first.kubectl().run(&["get", "pods", "-o", "name"])?.is_empty(), "the second's example is not in the first");
    let objects = BpfObjects::pinned(&first)?;
    first.down()?;
    // The second began while the first was there, and sees nothing of it any more.
    traces::none(&first)?;
    objects.gone()?;
    second.up_again(&[])?;
    second.kubectl().run(&["wait", "pod", "--all", "--for=condition=Ready", "--timeout=180s"])?;
    Ok(())
}

fn a_second_server_on_the_same_port_is_refused_in_a_line() -> Result<()> {
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = Server::start(one.path())?;
    let listen = format!("127.0.0.1:{}", server.port());
    let mut second = cluster::orknet();
    second.args(["server", "--listen", &listen, "--pki-dir"]).arg(other.path().join("pki"));
    second.arg("--store-dir").arg(other.path().join("store"));
    refused(&mut second, &[&listen, "in use"])
}

fn a_second_server_on_the_same_store_is_refused_in_a_line() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let _server = Server::start(directory.path())?;
    let mut second = cluster::orknet();
    second.args(["server", "--listen", "127.0.0.1:0", "--pki-dir"]).arg(directory.path().join("pki"));
    second.arg("--store-dir").arg(directory.path().join("store"));
    refused(&mut second, &["store", "in use by process"])
}

/// One line with these words, and nothing else.
fn refused(command: &mut Command, words: &[&str]) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.lines().count() == 1, "{:?} said: {said}", output.status);
    ensure!(words.iter().all(|word| said.contains(word)), "{words:?} are not in: {said}");
    Ok(())
}
