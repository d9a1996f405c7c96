//! What network policies mean, as a pure model: API objects and a question in, the answer and the rules behind it out.
//!
//! It is written from the API's documents (networking.k8s.io/v1 NetworkPolicy, policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy) and
//! shares nothing with what it is the measure of: objects are JSON as the API gives them, every question is answered by going through all of
//! them again. Tests compare with it what the compiler, the programs and whole clusters do.

mod answer;
mod blocks;
mod generate;
mod judge;
mod objects;
mod ports;
mod scene;
mod selector;
mod sets;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Direction, Kind, Protocol, Question, RuleName, Said};
pub use generate::any_set;
pub use objects::World;
pub use scene::{End, NAMESPACES, NODES, OUTSIDE, PODS, PORTS, SERVICE_PORT, Scene, Spread, kinds, labels_of_pod, namespace, ports_of_pod};
pub use sets::{Set, cluster_policy, network_policy, sets};
