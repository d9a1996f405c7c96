//! An address goes from pod to pod: what policies say of it is what they say of the pod that has it, and what the one before had open neither helps
//! nor harms the next.

use crate::scene::{NODES, addresses, client, expect_both, policy, server};
use anyhow::{Result, ensure};
use orknet_tests::probes::Prober;
use orknet_tests::talk::{self, How, TOOLS, Target, at};
use orknet_tests::{Cluster, Kubectl, Stream, eventually, pods, programmed};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

orknet_tests::tests![e2e_policy_of_an_address_is_that_of_the_pod_that_has_it];

/// Every pod asks from the same ports first.
const PORT: &str = "40000";

fn e2e_policy_of_an_address_is_that_of_the_pod_that_has_it(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[1])?;
    let asker = client(kubectl, "asker", NODES[1], "asker")?;
    policy(
        kubectl,
        "friends",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}",
    )?;
    policy(
        kubectl,
        "open",
        "{podSelector: {matchLabels: {role: friend}}, ingress: [{from: [{podSelector: {matchLabels: {role: asker}}}]}]}",
    )?;
    policy(kubectl, "closed", "{podSelector: {matchLabels: {role: stranger}}}")?;
    let place = Place { cluster, kubectl, targets: targets(kubectl)? };

    place.start("first", "friend")?;
    let own = addresses(kubectl, "first")?;
    place.is_answered("first", true)?;
    let mut streams = Vec::new();
    for address in &own {
        streams.push(Stream::pod(kubectl, "asker", "ask-connected-socket", &at(address, talk::PORT))?);
    }
    streams.iter().try_for_each(|stream| stream.until("first"))?;

    place.hand_over("first", &own)?;
    place.start("second", "stranger")?;
    ensure!(addresses(kubectl, "second")? == own, "another address was given");
    // From its first packet on: nobody helps it.
    place.is_answered("second", false)?;
    for address in &own {
        expect_both(&asker, "to the second", &at(address, talk::PORT), false)?;
    }
    for stream in &streams {
        let said = stream.hear(3)?;
        ensure!(!said.iter().any(|line| line == "second"), "{}: {said:?}", stream.name());
    }
    let answered = place.probes("second")?.into_iter().find(|(_, is_answered)| *is_answered);
    ensure!(answered.is_none(), "the second was answered: {answered:?}");

    place.hand_over("second", &own)?;
    let known = place.start("third", "friend")?;
    ensure!(addresses(kubectl, "third")? == own, "another address was given");
    // Nobody harms it, on ports and sockets that were refused either.
    place.is_answered("third", true)?;
    streams.iter().try_for_each(|stream| stream.until("third"))?;
    for address in &own {
        expect_both(&asker, "to the third", &at(address, talk::PORT), true)?;
    }
    let refused = place.probes("third")?.into_iter().find(|(began, is_answered)| *began >= known && !is_answered);
    ensure!(refused.is_none(), "the third was refused: {refused:?}, and known since {known}");
    Ok(())
}

fn targets(kubectl: &Kubectl) -> Result<Vec<Target>> {
    let web = addresses(kubectl, "web")?;
    Ok(web.iter().flat_map(|address| [How::Tcp, How::Udp].map(|how| Target::new(how, address, talk::PORT))).collect())
}

/// Where the pods are of which one has the address.
struct Place<'a> {
    cluster: &'a Cluster,
    kubectl: &'a Kubectl,
    targets: Vec<Target>,
}

impl Place<'_> {
    /// A pod that serves, and asks all targets: from the same ports as every other first, then again and again from any. Since when all nodes know of
    /// it.
    fn start(&self, name: &str, role: &str) -> Result<u64> {
        let mut pod = Prober::manifest(name, NODES[0], json!({ "role": role }), &self.targets);
        let words = |first: &[&str]| {
            let targets = self.targets.iter().map(Target::to_string);
            first.iter().map(|word| (*word).to_owned()).chain(targets).collect::<Vec<_>>().join(" ")
        };
        let first = words(&["nettool", "ask-all", PORT, "1"]);
        let script =
            format!("nettool serve [::]:{} & {first} > /first; exec {}", talk::PORT, words(&["nettool", "probe", "100000", "200"]));
        pod["spec"]["containers"][0] = json!({"name": "asks", "image": TOOLS, "command": ["sh", "-c", script]});
        self.kubectl.apply(&pod.to_string())?;
        talk::wait_ready(self.kubectl, name)?;
        programmed::settle(self.kubectl)?;
        programmed::of_object(self.kubectl, &self.kubectl.json(&["get", "pod", name])?)?;
        Ok(orknet_tests::probes::now())
    }

    /// What it asks now from the ports that all ask from, and whatever it asked from its start on: what came of that is checked where nobody may
    /// answer; where all may, the server's node may have learnt of the pod after its first questions.
    fn is_answered(&self, name: &str, is_answered: bool) -> Result<()> {
        let mut command = vec!["exec", name, "--", "nettool", "ask-all", PORT, "1"];
        let targets: Vec<String> = self.targets.iter().map(Target::to_string).collect();
        command.extend(targets.iter().map(String::as_str));
        let now = self.kubectl.run(&command)?;
        let first = eventually("the first questions to be over", || {
            let said = pods::sh(self.kubectl, name, "cat /first")?;
            ensure!(said.lines().count() == self.targets.len(), "{said}");
            Ok(said)
        })?;
        for (when, said) in [("now", &now), ("at first", &first)] {
            let must_be = when == "now" || !is_answered;
            let is_right = said.lines().all(|line| line.contains(" error TimedOut ") != is_answered);
            ensure!(is_right || !must_be, "{name} asked {when}: {said}");
        }
        Ok(())
    }

    /// When each question of the pod's began, and whether it was answered.
    fn probes(&self, name: &str) -> Result<Vec<(u64, bool)>> {
        let prober = Prober::find(self.cluster, self.kubectl, name)?;
        prober.asks_on(&self.targets, orknet_tests::probes::now(), 2)?;
        prober.probes()?.into_iter().map(|probe| Ok((probe.began, probe.is_answered()?))).collect()
    }

    /// The pod goes, and its addresses are those that the next pod on its node gets. (The allocator goes round a node's range, so that an address
    /// rests as long as possible; it is told that it has just come to there.)
    fn hand_over(&self, pod: &str, addresses: &[String]) -> Result<()> {
        self.kubectl.run(&["delete", "pod", pod, "--now"])?;
        let state = self.cluster.state_dir().join(NODES[0]).join("cni/state");
        for address in addresses {
            eventually("the address to be free", || {
                ensure!(!state.join("addresses").join(address).exists(), "{address} is taken");
                Ok(())
            })?;
            let (before, family) = match address.parse()? {
                IpAddr::V4(v4) => (IpAddr::from(Ipv4Addr::from_bits(v4.to_bits() - 1)), "v4"),
                IpAddr::V6(v6) => (IpAddr::from(Ipv6Addr::from_bits(v6.to_bits() - 1)), "v6"),
            };
            std::fs::write(state.join("last-address").with_extension(family), before.to_string())?;
        }
        Ok(())
    }
}
