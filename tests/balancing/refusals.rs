//! Is what cannot be served refused at once, and what must not be served dropped?

use crate::expected::{BACKENDS, FAR, MIDDLE, NEAR, Who};
use crate::scene::{self, Clients, FAMILIES, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{Client, How, Outcome, Target};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};

tests![
    e2e_fronts_without_endpoints_refuse_every_client_at_once,
    e2e_an_undefined_port_of_a_cluster_address_is_refused_at_once,
    e2e_a_balanced_address_serves_its_source_ranges_only,
    e2e_two_services_share_an_external_address,
];

/// Those that are told of a refusal; a socket that is not connected is told by its own node alone.
const TOLD: [How; 3] = [How::Tcp, How::UdpConnected, How::Sctp];

/// Every client that there is without a backend.
const ASKERS: [Who; 5] = [Who::SameNode, Who::OtherNode, Who::Host, Who::OtherHost, Who::Outside];

fn are_refused(client: &Client<'_>, who: Who, targets: &[Target]) -> Result<()> {
    eventually(&format!("{who:?} to be refused"), || {
        for (target, attempt) in client.try_all(targets.iter().cloned())? {
            ensure!(attempt.outcome == Outcome::Error("ConnectionRefused".into()), "{target:?}: {attempt:?}");
            ensure!(attempt.millis < 900, "{target:?} took {} ms to be refused: a repeated packet was", attempt.millis);
        }
        Ok(())
    })
}

fn e2e_fronts_without_endpoints_refuse_every_client_at_once(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    let [balanced, external] = [70, 71].map(|number| FAMILIES.map(|family| scene::free_address(family, number)));
    let service = scene::service(kubectl, "empty", &format!("type: LoadBalancer, externalIPs: {external:?}"))?;
    scene::balance(kubectl, "empty", &balanced)?;
    for address in balanced.iter().chain(&external) {
        outside.route(address, NEAR)?;
    }
    let node_port = scene::node_port(&service)?;
    let outer = || balanced.iter().chain(&external).map(|address| (address.clone(), 80));
    let nodes = [NEAR, FAR].map(node_addresses).into_iter().collect::<Result<Vec<_>>>()?;
    let outer: Vec<(String, u16)> = outer().chain(nodes.concat().into_iter().map(|address| (address.to_string(), node_port))).collect();
    // A Local policy is no reason to drop while there is no endpoint anywhere.
    let local = scene::service(kubectl, "empty-local", "type: NodePort, externalTrafficPolicy: Local, internalTrafficPolicy: Local")?;
    let local_port = scene::node_port(&local)?;
    let refused: Vec<_> = outer.iter().cloned().chain(nodes.concat().iter().map(|address| (address.to_string(), local_port))).collect();
    let inner = [&service, &local].into_iter().map(scene::cluster_addresses).collect::<Result<Vec<_>>>()?.concat();
    let inner: Vec<_> = inner.into_iter().map(|address| (address, 80)).collect();
    for who in ASKERS {
        let inner = inner.iter().filter(|_| who != Who::Outside);
        // What a node sends to an address of its own past its sockets comes to no program.
        let own = clients.addresses(who)?.map(|address| address.to_string());
        let hows = |address: &String| TOLD.into_iter().filter(|how| *how != How::Sctp || !own.contains(address)).collect::<Vec<_>>();
        let fronts =
            refused.iter().chain(inner).flat_map(|(address, port)| hows(address).into_iter().map(move |how| (how, address, *port)));
        let targets: Vec<Target> = fronts.map(|(how, address, port)| Target::new(how, address, port)).collect();
        are_refused(&clients.get(who), who, &targets)?;
    }
    // The first endpoint serves them all.
    scene::backends(kubectl)?;
    scene::endpoints(kubectl, "empty", BACKENDS.len())?;
    let client = clients.get(Who::Outside);
    eventually("the fronts to answer the outside", || {
        for (target, attempt) in
            client.try_all(outer.iter().flat_map(|(address, port)| TOLD.map(|how| Target::new(how, address, *port))))?
        {
            attempt.answer().with_context(|| format!("{target:?}"))?;
        }
        Ok(())
    })
}

fn e2e_an_undefined_port_of_a_cluster_address_is_refused_at_once(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    scene::backends(kubectl)?;
    let service = scene::service(kubectl, "live", "type: NodePort")?;
    let targets: Vec<Target> =
        scene::cluster_addresses(&service)?.iter().flat_map(|address| TOLD.map(|how| Target::new(how, address, 81))).collect();
    for who in ASKERS.into_iter().filter(|who| *who != Who::Outside) {
        are_refused(&clients.get(who), who, &targets)?;
    }
    Ok(())
}

fn e2e_a_balanced_address_serves_its_source_ranges_only(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let (friend, stranger) = (Outside::attach(cluster, NETTOOL)?, Outside::attach(cluster, NETTOOL)?);
    scene::backends(kubectl)?;
    let [v4, v6] = friend.addresses();
    let service = scene::service(kubectl, "ranged", &format!("type: LoadBalancer, loadBalancerSourceRanges: [\"{v4}/32\", \"{v6}/128\"]"))?;
    let addresses = FAMILIES.map(|family| scene::free_address(family, 80));
    scene::balance(kubectl, "ranged", &addresses)?;
    for outside in [&friend, &stranger] {
        addresses.iter().try_for_each(|address| outside.route(address, MIDDLE))?;
    }
    let targets = || addresses.iter().flat_map(|address| TOLD.map(|how| Target::new(how, address, 80)));
    let (friend, stranger) = (Client::outside(&friend), Client::outside(&stranger));
    let are_answered = |client: &Client<'_>, targets: Vec<Target>| {
        eventually("answers", || {
            for (target, attempt) in client.try_all(targets.clone())? {
                attempt.answer().with_context(|| format!("{target:?}"))?;
            }
            Ok(())
        })
    };
    are_answered(&friend, targets().collect())?;
    for (target, attempt) in stranger.try_all(targets())? {
        ensure!(attempt.outcome == Outcome::Error("TimedOut".into()), "{target:?} from a foreign range: {attempt:?}");
    }
    // The ranges are those of the balancer's addresses, not of the node ports.
    let node_port = scene::node_port(&service)?;
    let at_node = node_addresses(MIDDLE)?.map(|address| Target::new(How::Tcp, &address.to_string(), node_port));
    are_answered(&stranger, at_node.to_vec())?;
    // Without ranges everybody is served.
    kubectl.run(&["patch", "service", "ranged", "--type=merge", "-p", r#"{"spec": {"loadBalancerSourceRanges": null}}"#])?;
    are_answered(&stranger, targets().collect())
}

/// Ownership is per address, port and protocol.
fn e2e_two_services_share_an_external_address(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let addresses = FAMILIES.map(|family| scene::free_address(family, 81));
    addresses.iter().try_for_each(|address| outside.route(address, NEAR))?;
    for (name, pod, port) in [("one", "near", 80), ("other", "middle", 81)] {
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{alone: {pod}}}, ipFamilyPolicy: RequireDualStack, externalIPs: {addresses:?}, ports: [{{port: {port}, targetPort: 8080}}]}}\n"
        ))?;
        kubectl.run(&["label", "pod", pod, &format!("alone={pod}")])?;
    }
    let is_answered_by = |port: u16, server: &str| {
        eventually(&format!("{server} to answer at port {port}"), || {
            for (target, attempt) in
                Client::outside(&outside).try_all(addresses.iter().map(|address| Target::new(How::Tcp, address, port)))?
            {
                let (answered, _) = attempt.answer().with_context(|| format!("{target:?}"))?;
                ensure!(answered == server, "{target:?} was answered by {answered}");
            }
            Ok(())
        })
    };
    is_answered_by(80, "near")?;
    is_answered_by(81, "middle")?;
    // One goes, the other stays.
    kubectl.run(&["delete", "service", "one"])?;
    eventually("the deleted Service to be gone", || {
        let attempts = Client::outside(&outside).try_all(addresses.iter().map(|address| Target::new(How::Tcp, address, 80)))?;
        ensure!(attempts.values().all(|attempt| attempt.answer().is_err()), "{attempts:?}");
        Ok(())
    })?;
    is_answered_by(81, "middle")
}
