//! Is the client outside of the cluster where it should be, and gone when it should be?

use crate::expected::FAR;
use crate::scene::NETTOOL;
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};

tests![e2e_the_outside_speaks_to_nodes_with_its_own_addresses_and_leaves_nothing];

fn e2e_the_outside_speaks_to_nodes_with_its_own_addresses_and_leaves_nothing(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "on-host", &format!("nodeName: {FAR}, hostNetwork: true"))?;
    talk::wait_ready(kubectl, "on-host")?;
    let outside = Outside::attach(cluster, NETTOOL)?;
    let ports = || cluster.inside("server", &["ip", "-o", "link", "show", "master", "bridge0"]);
    let before = ports()?.lines().count();
    let client = Client::outside(&outside);
    for (address, own) in node_addresses(FAR)?.into_iter().zip(outside.addresses()) {
        for how in [How::Tcp, How::Udp] {
            let attempt = client.attempt(how, &at(&address.to_string(), talk::PORT))?;
            let (_, seen_from) = attempt.answer().with_context(|| format!("{how:?} to {address}"))?;
            ensure!(seen_from == own.to_string(), "{address} saw {seen_from}, expected {own}");
        }
    }
    drop(outside);
    eventually("the bridge's port to be gone", || {
        let now = ports()?.lines().count();
        ensure!(now < before, "{now} ports, {before} before");
        Ok(())
    })
}
