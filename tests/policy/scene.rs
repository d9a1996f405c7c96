//! What the tests of this folder ask with and what they ask.

use anyhow::{Context, Result, ensure};
use orknet_tests::suite::{self, Test};
use orknet_tests::talk::{self, Client, How, Target};
use orknet_tests::{Kubectl, programmed};
use std::io::Write as _;
use std::process::ExitCode;

/// The tool of clients that are in no pod.
pub const NETTOOL: &str = env!("CARGO_BIN_EXE_nettool");
pub const NODES: [&str; 2] = ["node1", "node2"];

/// Tests on one cluster of two nodes; `agent` is the agents' settings, YAML.
pub fn play(tag: &str, options: &[&str], agent: &str, groups: &[&[Test]]) -> ExitCode {
    let settings = match settings(agent) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let path = settings.path().to_string_lossy();
    let options = [&["--bare", "--nodes", "2", "--agent-config", &path], options].concat();
    let tools = suite::Image { name: talk::TOOLS, programs: &[NETTOOL] };
    suite::shared(&suite::Setting { tag, options: &options, images: &[tools], prepare: |_| Ok(()), threads: Some(1) }, groups)
}

fn settings(agent: &str) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().context("cannot make a file for the agents' settings")?;
    file.write_all(agent.as_bytes()).context("cannot write the agents' settings")?;
    Ok(file)
}

/// A NetworkPolicy with `spec` in YAML's flow form, once it is in force.
pub fn policy(kubectl: &Kubectl, name: &str, spec: &str) -> Result<()> {
    programmed::apply(
        kubectl,
        &format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"),
    )
}

/// The policy is gone, and nobody holds to it any more.
pub fn without(kubectl: &Kubectl, name: &str) -> Result<()> {
    kubectl.run(&["delete", "networkpolicy", name])?;
    programmed::settle(kubectl)
}

/// A server on a node, ready.
pub fn server(kubectl: &Kubectl, name: &str, node: &str) -> Result<()> {
    talk::pod(kubectl, name, &format!("nodeName: {node}"))?;
    talk::wait_ready(kubectl, name)
}

/// A client on a node with a label `role`.
pub fn client<'a>(kubectl: &'a Kubectl, name: &str, node: &str, role: &str) -> Result<Client<'a>> {
    let client = Client::on_node(kubectl, name, node)?;
    label(kubectl, &format!("pod/{name}"), &format!("role={role}"))?;
    Ok(client)
}

/// Gives an object a label (`KEY-` takes it), and waits until policies know.
pub fn label(kubectl: &Kubectl, object: &str, label: &str) -> Result<()> {
    programmed::label(kubectl, object, &[label])
}

/// A pod's addresses, IPv4 and IPv6.
pub fn addresses(kubectl: &Kubectl, pod: &str) -> Result<[String; 2]> {
    let text = kubectl.run(&["get", "pod", pod, "-o", "jsonpath={.status.podIPs[*].ip}"])?;
    let all: Vec<String> = text.split(' ').map(str::to_owned).collect();
    all.try_into().map_err(|all| anyhow::anyhow!("{pod} has {all:?}"))
}

/// The client is answered, or hears nothing, at each address. (That it is refused is no policy's doing.)
pub fn expect_all(client: &Client<'_>, asked: &[(How, String, bool)]) -> Result<()> {
    let target = |how: How, address: &str| Target { how, address: address.to_owned() };
    let found = client.try_all(asked.iter().map(|(how, address, _)| target(*how, address)))?;
    for (how, address, is_allowed) in asked {
        let attempt = found.get(&target(*how, address)).with_context(|| format!("nothing came of {how:?} to {address}"))?;
        let is_answered = attempt.outcome.is_answer().with_context(|| format!("{how:?} to {address}"))?;
        ensure!(
            is_answered == *is_allowed,
            "{how:?} to {address}: {attempt:?}, expected {}",
            if *is_allowed { "an answer" } else { "none" }
        );
    }
    Ok(())
}

/// The same over TCP and UDP.
pub fn expect_both(client: &Client<'_>, who: &str, address: &str, is_allowed: bool) -> Result<()> {
    expect_all(client, &[How::Tcp, How::Udp].map(|how| (how, address.to_owned(), is_allowed))).with_context(|| who.to_owned())
}
