//! Pods that get their first rules for a direction while they run: programs remember flows only where answers to them might be refused, so those
//! that are open by then are looked up among the pod's sockets. Before its entry is switched, so that the next packet of each finds its flow; and once more after
//! it, for what was opened in between.

use super::Programmer;
use orknet_abi::{Pod, PodKey};
use orknet_compiler::{MapImage, Plan, Step};
use orknet_dataplane::PodSockets;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The pods in the kernel by address: device, and whether they have rules for what comes in and for what goes out.
pub(super) type Ruled = BTreeMap<PodKey, (u32, [bool; 2])>;

/// Whether answers to what others send a pod, and to what it sends others, may be refused. What it sends itself is remembered anyway.
fn has_rules(pod: &Pod) -> [bool; 2] {
    [pod.ingress != 0, pod.egress != 0]
}

/// Those in these maps.
pub(super) fn ruled(image: &MapImage) -> Ruled {
    image.pods.iter().map(|(key, pod)| (*key, (pod.ifindex, has_rules(pod)))).collect()
}

/// The pods that get their first rules for a direction by a plan, by device, with the addresses concerned, and whether one had no rules at all.
fn first_rules(plan: &Plan, ruled: &Ruled) -> BTreeMap<u32, (BTreeSet<PodKey>, bool)> {
    let mut first: BTreeMap<u32, (BTreeSet<PodKey>, bool)> = BTreeMap::new();
    for step in &plan.steps {
        let Step::PutPod(key, pod) = step else { continue };
        let had = ruled.get(key).filter(|(device, _)| *device == pod.ifindex).map_or([false; 2], |(_, had)| *had);
        if has_rules(pod).into_iter().zip(had).any(|(has, had)| has && !had) {
            let (keys, was_open) = first.entry(pod.ifindex).or_default();
            keys.insert(*key);
            *was_open |= had == [false; 2];
        }
    }
    first
}

impl Programmer {
    /// The pods whose open flows must be known once a plan has been written; not those that are being attached, which have not run yet.
    pub(super) fn pods_with_first_rules(&self, plan: &Plan, new_devices: &BTreeSet<u32>) -> Vec<PodSockets> {
        let first = first_rules(plan, &self.ruled);
        let running = first.into_iter().filter(|(device, _)| !new_devices.contains(device));
        let sockets = running.filter_map(|(device, (keys, was_open))| {
            let namespace: Option<&PathBuf> = self.namespaces.get(&device);
            if namespace.is_none() {
                tracing::warn!(
                    device,
                    "a pod gets its first rules, and its network namespace is not known: what it has open may be cut off"
                );
            }
            Some(PodSockets { namespace: namespace?.clone(), addresses: keys.into_iter().map(|key| key.address).collect(), was_open })
        });
        sockets.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::Address;

    #[test]
    fn only_pods_that_had_no_rules_get_their_first() {
        let key = |last| PodKey { address: Address::from_v4([10, 244, 1, last]) };
        let pod = |ifindex, ingress| Pod { ifindex, ingress, ..Pod::default() };
        let mut image = MapImage::default();
        // Of two pods with rules the second one's address goes to another pod.
        image.pods.extend([(key(1), pod(1, 0)), (key(2), pod(2, 7)), (key(3), pod(3, 7)), (key(5), pod(1, 0))]);
        let ruled = ruled(&image);
        let puts = [(key(1), pod(1, 8)), (key(2), pod(2, 8)), (key(3), pod(4, 8)), (key(4), pod(5, 0)), (key(5), pod(1, 8))];
        let plan = Plan { steps: puts.into_iter().map(|(key, pod)| Step::PutPod(key, pod)).collect() };
        assert_eq!(first_rules(&plan, &ruled), BTreeMap::from([(1, ([key(1), key(5)].into(), true)), (4, ([key(3)].into(), true))]));
        let (own, both) = (Pod { own_egress: 1, ..pod(6, 0) }, Pod { egress: 9, ..pod(2, 7) });
        let plan = Plan { steps: vec![Step::PutPod(key(6), own), Step::PutPod(key(2), both), Step::DeletePod(key(3))] };
        assert_eq!(first_rules(&plan, &ruled), BTreeMap::from([(2, ([key(2)].into(), false))]), "the first ones for the other direction");
    }
}
