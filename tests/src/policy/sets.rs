//! Sets of policies, written by hand, one for each line of what policies mean and for what is easily got wrong; with some of what must
//! come of each, as a check on the model.
//!
//! In `sets/*.yaml`, `policies` are NetworkPolicies by `NAMESPACE/NAME`, `cluster` ClusterNetworkPolicies by name; each has its `spec`.
//! `allowed` and `refused` say `CLIENT > SERVER [PROTOCOL [PORT]] [v4|v6]` of [`super::Scene`] with all pods on one node; what is left out
//! holds for all of its kind.

use super::answer::{Protocol, Question};
use super::scene::{Scene, Spread, kinds};
use super::{World, scene};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FILES: [&str; 6] = [
    include_str!("sets/ingress.yaml"),
    include_str!("sets/egress.yaml"),
    include_str!("sets/selectors.yaml"),
    include_str!("sets/blocks.yaml"),
    include_str!("sets/ports.yaml"),
    include_str!("sets/cluster.yaml"),
];

/// One set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Set {
    #[serde(rename = "set")]
    pub name: String,
    /// Whether the API server would refuse it, so that it can only be there if it is in the store already.
    pub stored: bool,
    policies: BTreeMap<String, Value>,
    cluster: BTreeMap<String, Value>,
    pub allowed: Vec<String>,
    pub refused: Vec<String>,
}

/// All that there are.
///
/// # Panics
/// If a file is damaged.
pub fn sets() -> Vec<Set> {
    FILES.iter().flat_map(|file| serde_yaml_ng::from_str::<Vec<Set>>(file).unwrap_or_else(|error| panic!("{error}"))).collect()
}

impl Set {
    /// Its policies.
    pub fn objects(&self) -> Vec<Value> {
        let policies = self.policies.iter().map(|(name, spec)| {
            let (namespace, name) = name.split_once('/').unwrap_or_else(|| panic!("{name} has no namespace"));
            network_policy(namespace, name, spec.clone())
        });
        policies.chain(self.cluster.iter().map(|(name, spec)| cluster_policy(name, spec.clone()))).collect()
    }

    /// Says which of its expectations the model does not have.
    pub fn complaints(&self) -> Vec<String> {
        let scene = Scene::new(Spread::OneNode);
        let world = World::of(scene.objects().iter().chain(&self.objects()));
        let mut complaints = Vec::new();
        for (wanted, lines) in [(true, &self.allowed), (false, &self.refused)] {
            for question in lines.iter().flat_map(|line| expectation(&scene, line)) {
                let answer = world.answer(&question);
                if answer.allowed() != wanted {
                    complaints.push(format!("{}: {question:?}: {answer:?}", self.name));
                }
            }
        }
        complaints
    }
}

/// A NetworkPolicy; `metadata.uid` is made of its names.
pub fn network_policy(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("np {namespace}/{name}")}, "spec": spec})
}

/// A ClusterNetworkPolicy; `metadata.uid` is made of its name.
pub fn cluster_policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name, "uid": format!("cnp {name}")}, "spec": spec})
}

/// The questions that a line stands for.
fn expectation(scene: &Scene, line: &str) -> Vec<Question> {
    let words: Vec<&str> = line.split(' ').collect();
    let [client, ">", server, more @ ..] = words.as_slice() else { panic!("{line:?} says nothing") };
    let (client, server) = (scene.end(client), scene.end(server));
    let is_meant = |(protocol, port): &(Protocol, u16), family: usize| {
        more.iter().all(|word| match *word {
            "v4" => family == 0,
            "v6" => family == 1,
            "tcp" => *protocol == Protocol::Tcp,
            "udp" => *protocol == Protocol::Udp,
            "sctp" => *protocol == Protocol::Sctp,
            "icmp" => *protocol == Protocol::Icmp,
            number => number.parse() == Ok(*port),
        })
    };
    let mut questions = Vec::new();
    for family in 0..2 {
        let meant = scene::kinds().filter(|kind| is_meant(kind, family));
        questions.extend(meant.map(|(protocol, port)| Question::new(client.addresses[family], server.addresses[family], protocol, port)));
    }
    assert!(!questions.is_empty(), "{line:?} means nothing of {:?}", kinds().collect::<Vec<_>>());
    questions
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_many_and_each_has_a_name_of_its_own() {
        let names: BTreeSet<String> = sets().into_iter().map(|set| set.name).collect();
        assert_eq!(names.len(), sets().len());
        assert!(names.len() >= 60, "{}", names.len());
    }

    #[test]
    fn the_model_says_what_is_expected_of_each() {
        let complaints: Vec<String> = sets().iter().flat_map(Set::complaints).collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    #[test]
    fn nearly_each_refuses_or_names_something() {
        let scene = Scene::new(Spread::OneNode);
        let plain = World::of(&scene.objects());
        let says_nothing = |set: &&Set| {
            let world = World::of(scene.objects().iter().chain(&set.objects()));
            scene.questions().iter().all(|(_, _, asked)| world.answer(asked) == plain.answer(asked))
        };
        let names: Vec<String> = sets().iter().filter(says_nothing).map(|set| set.name.clone()).collect();
        assert_eq!(names, ["nothing", "a policy that selects nobody changes nothing"]);
    }
}
