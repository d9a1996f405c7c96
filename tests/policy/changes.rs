//! What changes while there is traffic: labels, policies, pods.

use crate::held::Held;
use crate::scene::{NODES, addresses, client, expect_both, label, policy, server, without};
use anyhow::{Result, ensure};
use orknet_tests::talk::{self, TOOLS, at};
use orknet_tests::{Cluster, Kubectl, pods, tests};

tests![
    e2e_policy_follows_labels_of_pods_and_namespaces,
    e2e_policy_ends_and_resumes_connections_that_are_open,
    e2e_policy_lets_answers_pass,
    e2e_policy_holds_from_a_pods_first_packet_on,
];

fn e2e_policy_follows_labels_of_pods_and_namespaces(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[0])?;
    let clients = [client(kubectl, "near", NODES[0], "stranger")?, client(kubectl, "far", NODES[1], "stranger")?];
    policy(
        kubectl,
        "friends",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}, {namespaceSelector: {matchLabels: {all: friends}}}]}]}",
    )?;
    let web = addresses(kubectl, "web")?.map(|address| at(&address, talk::PORT));
    let expect_all = |when: &str, is_allowed: bool| {
        clients.iter().try_for_each(|client| web.iter().try_for_each(|address| expect_both(client, when, address, is_allowed)))
    };
    expect_all("as strangers", false)?;
    for name in ["near", "far"] {
        label(kubectl, &format!("pod/{name}"), "role=friend")?;
    }
    expect_all("as friends", true)?;
    for name in ["near", "far"] {
        label(kubectl, &format!("pod/{name}"), "role-")?;
    }
    expect_all("as nobody", false)?;
    let namespace = format!("namespace/{}", kubectl.namespace());
    label(kubectl, &namespace, "all=friends")?;
    expect_all("of a namespace of friends", true)?;
    label(kubectl, &namespace, "all-")?;
    expect_all("of any namespace", false)?;
    // The policy is about another pod.
    label(kubectl, "pod/web", "app=other")?;
    expect_all("to a pod that no policy selects any more", true)
}

fn e2e_policy_ends_and_resumes_connections_that_are_open(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[0])?;
    client(kubectl, "near", NODES[0], "friend")?;
    client(kubectl, "far", NODES[1], "friend")?;
    policy(
        kubectl,
        "friends",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}",
    )?;
    let held = Held::open(kubectl, &["near", "far"], "web")?;
    held.flow()?;
    policy(kubectl, "friends", "{podSelector: {matchLabels: {app: web}}}")?;
    held.stop()?;
    without(kubectl, "friends")?;
    held.flow()
}

fn e2e_policy_lets_answers_pass(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[0])?;
    talk::serve(kubectl, "web", "web", "")?;
    let clients = [("near", client(kubectl, "near", NODES[0], "asks")?), ("far", client(kubectl, "far", NODES[1], "asks")?)];
    policy(kubectl, "asks", "{podSelector: {matchLabels: {role: asks}}}")?;
    policy(kubectl, "answers", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}")?;
    let service = at(&talk::cluster_address(kubectl, "web")?, 80);
    for (name, client) in &clients {
        for address in addresses(kubectl, "web")? {
            expect_both(client, name, &at(&address, talk::PORT), true)?;
            client.ping(&address)?;
        }
        expect_both(client, name, &service, true)?;
    }
    // And nobody gets in the other way.
    let other = client(kubectl, "other", NODES[0], "none")?;
    for address in addresses(kubectl, "web")? {
        other.ping(&address)?;
    }
    for address in addresses(kubectl, "far")? {
        ensure!(other.ping(&address).is_err(), "a pod reached one that takes nobody");
    }
    Ok(())
}

fn e2e_policy_holds_from_a_pods_first_packet_on(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[0])?;
    let [web, _] = addresses(kubectl, "web")?;
    policy(kubectl, "early", "{podSelector: {matchLabels: {early: \"yes\"}}, policyTypes: [Egress]}")?;
    let early = |number: usize, labels: &str| {
        let node = NODES[number % 2];
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: early{number}, labels: {{{labels}}}}}\nspec: {{nodeName: {node}, restartPolicy: Never, containers: [{{name: asks, image: \"{TOOLS}\", command: [nettool, ask-udp, \"{}\", \"2\"]}}]}}\n",
            at(&web, talk::PORT)
        )
    };
    let policed: String = (0..6).map(|number| early(number, "early: \"yes\"")).collect();
    kubectl.apply(&(policed + &early(6, "early: \"no\"")))?;
    for number in 0..7 {
        let name = format!("early{number}");
        pods::phase(kubectl, &name, "Succeeded")?;
        let said = kubectl.run(&["logs", &name])?;
        let wanted = if number == 6 { "web 2" } else { "error WouldBlock 2" };
        ensure!(said.trim() == wanted, "{name}: {said:?}");
    }
    Ok(())
}
