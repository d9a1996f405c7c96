//! Do packets of IPv4 that are too big for the way to a backend, and may be cut up, arrive in pieces?

use crate::expected::{FAR, NEAR};
use crate::scene::{self, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Attempt, Client, How, at};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};

tests![e2e_datagrams_that_are_too_big_for_the_way_to_a_backend_are_cut_up];

/// What goes from the node that is asked to the backend's, in bytes from the IP header on.
const NARROW: &str = "1300";

fn e2e_datagrams_that_are_too_big_for_the_way_to_a_backend_are_cut_up(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::server(kubectl, "only", NEAR)?;
    talk::wait_ready(kubectl, "only")?;
    let service = scene::service(kubectl, "narrow", "type: NodePort")?;
    scene::endpoints(kubectl, "narrow", 1)?;
    let (asked, backends) = (node_addresses(FAR)?[0].to_string(), node_addresses(NEAR)?[0].to_string());
    let (client, front) = (Client::outside(&outside), at(&asked, scene::node_port(&service)?));
    eventually("the node port to answer", || client.attempt(How::Udp, &front)?.answer().map(drop))?;
    // Only to this pod, so that no other test is touched.
    let pod = scene::pod_addresses(kubectl, "only")?[0].to_string();
    cluster.inside(FAR, &["ip", "route", "add", &pod, "via", &backends, "mtu", NARROW])?;
    // Sockets that let their packets be cut up.
    outside.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_no_pmtu_disc"])?;
    // One packet that fits, ones that don't, fragments that don't.
    for bytes in ["1200", "1280", "1400", "1472", "5000"] {
        let attempt = Attempt::parse(&client.run(&["nettool", "try-large", &front, bytes])?)?;
        let (_, seen_from) = attempt.answer().with_context(|| format!("{bytes} bytes to {front}"))?;
        ensure!(seen_from == asked, "{bytes} bytes: the backend saw {seen_from}, expected {asked}");
    }
    Ok(())
}
