//! The ServiceCIDRs: ranges of cluster addresses beside those of the settings. What is sent there is for Services, as in the first.

use super::{Follower, NodesView, follow_if_served};
use crate::nodes::Outlook;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Follows them; a server that does not know the kind has none.
pub async fn service_cidrs(client: Client, ranges: watch::Sender<Arc<BTreeSet<IpNet>>>) {
    let (known, was_served) = oneshot::channel();
    // What they are is asked of the server alone.
    let _ = known.send(false);
    let feed = RangeFeed { ranges, known: BTreeMap::new(), listed: BTreeMap::new() };
    follow_if_served(Api::all(client), "ServiceCIDR", feed, was_served).await;
}

/// The Nodes' view with the ranges, whichever of both changes, until nobody tells of Nodes.
pub async fn with_ranges(
    mut nodes: watch::Receiver<Arc<NodesView>>,
    mut ranges: watch::Receiver<Arc<BTreeSet<IpNet>>>,
    both: watch::Sender<Arc<NodesView>>,
) {
    loop {
        let (view, further) = (Arc::clone(&nodes.borrow_and_update()), Arc::clone(&ranges.borrow_and_update()));
        let service_cidrs = further.iter().copied().collect();
        let view = NodesView { nodes: view.nodes.clone(), own_uid: view.own_uid.clone(), is_complete: view.is_complete, service_cidrs };
        both.send_replace(Arc::new(view));
        let told = tokio::select! {
            changed = nodes.changed() => changed,
            changed = ranges.changed() => changed,
        };
        if told.is_err() {
            return;
        }
    }
}

impl NodesView {
    /// The ranges of the settings and those of ServiceCIDRs. One of these that has addresses of nodes or pods is passed over: nobody would reach
    /// them any more.
    pub fn service_ranges(&self, configured: &[IpNet]) -> Vec<IpNet> {
        let further = self.service_cidrs.iter().filter(|range| !configured.contains(range) && is_nobodys(range, &self.nodes));
        configured.iter().chain(further).copied().collect()
    }
}

fn is_nobodys(range: &IpNet, nodes: &Outlook) -> bool {
    nodes.others.values().chain([&nodes.own]).all(|node| {
        let has_node = node.internal.iter().any(|address| range.contains(address));
        let has_pods = node.pod_cidrs.iter().any(|pods| range.contains(&pods.addr()) || pods.contains(&range.addr()));
        !has_node && !has_pods
    })
}

struct RangeFeed {
    ranges: watch::Sender<Arc<BTreeSet<IpNet>>>,
    /// By the names of their objects.
    known: BTreeMap<String, Vec<IpNet>>,
    /// Those of a list that is not complete yet.
    listed: BTreeMap<String, Vec<IpNet>>,
}

impl RangeFeed {
    fn tell(&self) {
        let all: BTreeSet<IpNet> = self.known.values().flatten().copied().collect();
        self.ranges.send_if_modified(|told| {
            let differs = **told != all;
            if differs {
                *told = Arc::new(all);
            }
            differs
        });
    }
}

/// Also of one that is not ready, or that goes: Services may still have its addresses.
fn ranges_of(object: &ServiceCIDR) -> (String, Vec<IpNet>) {
    let cidrs = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    let ranges = cidrs.filter_map(|cidr| cidr.parse::<IpNet>().ok()).map(|cidr| cidr.trunc()).collect();
    (object.metadata.name.clone().unwrap_or_default(), ranges)
}

impl Follower<ServiceCIDR> for RangeFeed {
    async fn event(&mut self, event: Event<ServiceCIDR>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                let (name, ranges) = ranges_of(&object);
                self.listed.insert(name, ranges);
            }
            Event::InitDone => {
                self.known = mem::take(&mut self.listed);
                self.tell();
            }
            Event::Apply(object) => {
                let (name, ranges) = ranges_of(&object);
                self.known.insert(name, ranges);
                self.tell();
            }
            Event::Delete(object) => {
                self.known.remove(&ranges_of(&object).0);
                self.tell();
            }
        }
    }

    async fn failed(&mut self) -> bool {
        false
    }

    async fn goes_on(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::NodeNetwork;
    use serde_json::json;

    fn cidr(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn object(name: &str, cidrs: &[&str]) -> ServiceCIDR {
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "cidrs": cidrs } })).unwrap()
    }

    #[test]
    fn further_ranges_follow_those_of_the_settings_but_not_over_nodes_and_pods() {
        let nodes = Outlook { own: NodeNetwork::of(&["10.244.1.0/24"], &["192.0.2.1"]), others: BTreeMap::new(), is_leaving: false };
        let further = ["10.96.0.0/16", "10.97.0.0/16", "192.0.2.0/24", "10.244.0.0/16", "10.244.1.128/25"];
        let view = NodesView { nodes, service_cidrs: further.iter().map(|text| cidr(text)).collect(), ..NodesView::default() };
        assert_eq!(view.service_ranges(&[cidr("10.96.0.0/16")]), [cidr("10.96.0.0/16"), cidr("10.97.0.0/16")]);
    }

    #[tokio::test]
    async fn what_a_list_does_not_have_is_gone() {
        let (sender, told) = watch::channel(Arc::default());
        let mut feed = RangeFeed { ranges: sender, known: BTreeMap::new(), listed: BTreeMap::new() };
        let shown = || told.borrow().iter().map(ToString::to_string).collect::<Vec<_>>();
        feed.event(Event::Init).await;
        feed.event(Event::InitApply(object("a", &["10.97.0.0/16", "fd01::/112"]))).await;
        assert_eq!(shown(), [""; 0]);
        feed.event(Event::InitDone).await;
        feed.event(Event::Apply(object("b", &["10.98.0.0/16"]))).await;
        assert_eq!(shown(), ["10.97.0.0/16", "10.98.0.0/16", "fd01::/112"]);
        feed.event(Event::Delete(object("a", &["10.97.0.0/16"]))).await;
        assert_eq!(shown(), ["10.98.0.0/16"]);
        feed.event(Event::Init).await;
        feed.event(Event::InitDone).await;
        assert_eq!(shown(), [""; 0]);
    }
}
