//! Whom does the outside see when a pod speaks to it, and do answers and errors come back?

use crate::expected::{FAR, NEAR, Who};
use crate::scene::{Clients, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Attempt, How, Outcome, at};
use orknet_tests::{Cluster, Kubectl, Outside, tests};

tests![e2e_pods_are_seen_outside_as_their_nodes_and_hear_answers_and_errors];

fn e2e_pods_are_seen_outside_as_their_nodes_and_hear_answers_and_errors(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    for (who, node) in [(Who::SameNode, NEAR), (Who::OtherNode, FAR), (Who::Host, NEAR)] {
        let client = clients.get(who);
        for (server, own) in outside.addresses().into_iter().zip(node_addresses(node)?) {
            let address = at(&server.to_string(), talk::PORT);
            let is_seen = |attempt: Attempt, what: &str| -> Result<()> {
                let (_, seen_from) = attempt.answer().with_context(|| format!("{who:?} to {address} over {what}"))?;
                ensure!(seen_from == own.to_string(), "{who:?} to {address} over {what}: the outside saw {seen_from}, expected {own}");
                Ok(())
            };
            for how in [How::Tcp, How::Udp, How::UdpConnected, How::Sctp] {
                is_seen(client.attempt(how, &address)?, &format!("{how:?}"))?;
            }
            is_seen(Attempt::parse(&client.run(&["nettool", "try-large", &address, "5000"])?)?, "fragments")?;
            client.ping(&server.to_string()).with_context(|| format!("{who:?}"))?;
            // Nobody listens there: a reset, and an ICMP error about a translated packet.
            for how in [How::Tcp, How::UdpConnected] {
                let attempt = client.attempt(how, &at(&server.to_string(), talk::PORT + 1))?;
                let refused = Outcome::Error("ConnectionRefused".into());
                ensure!(attempt.outcome == refused, "{who:?} to a closed port of {server} over {how:?}: {attempt:?}");
            }
        }
    }
    Ok(())
}
