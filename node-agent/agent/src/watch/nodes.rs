//! The Nodes: our own for the programmer, all of them for whoever keeps the routes, and as the other end of connections.

use super::{Follower, Sight, follow, version};
use crate::nodes::{Nodes, Outlook};
use crate::programmer::{Listed, Message};
use crate::progress::Kind;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use orknet_compiler::{Change, Names, PeerNodeFacts};
use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// Follows the Nodes; the programmer hears of those other than our own if there are policies that may speak of them.
pub async fn nodes(client: Client, own: &str, sender: mpsc::Sender<Message>, view: watch::Sender<Arc<NodesView>>, are_peers: bool) {
    let (nodes, sight) = (Nodes::new(own), Sight { kind: are_peers.then_some(Kind::Node), ..Sight::default() });
    let feed = NodeFeed { sender, view, nodes, seen: HashSet::new(), is_complete: false, sight, names: Names::default() };
    follow(Api::all(client), "Node", feed).await;
}

/// What the Nodes amount to for this node's own network.
#[derive(Debug, Default)]
pub struct NodesView {
    pub nodes: Outlook,
    /// The uid of our Node, while there is one.
    pub own_uid: Option<String>,
    /// All Nodes have been seen, so routes that are not wanted may go.
    pub is_complete: bool,
    /// The ranges of ServiceCIDRs, where they are looked at.
    pub service_cidrs: Vec<IpNet>,
}

struct NodeFeed {
    sender: mpsc::Sender<Message>,
    view: watch::Sender<Arc<NodesView>>,
    nodes: Nodes,
    seen: HashSet<String>,
    is_complete: bool,
    /// There are policies that may speak of them.
    sight: Sight,
    names: Names,
}

impl NodeFeed {
    async fn send(&self, change: Change, seen: Instant, version: u64) {
        let _ = self.sender.send(Message::Change { change, seen, version }).await;
    }

    async fn send_peer(&mut self, node: &Node, is_there: bool, seen: Instant, version: u64) {
        if self.sight.kind.is_some() {
            let name = self.names.intern(node.metadata.name.as_deref().unwrap_or_default());
            let facts = is_there.then(|| PeerNodeFacts::of(node, &mut self.names));
            self.send(Change::PeerNode(name, facts), seen, version).await;
        }
    }
}

impl Follower<Node> for NodeFeed {
    async fn event(&mut self, event: Event<Node>) {
        let now = Instant::now();
        let shows_all = !matches!(event, Event::Init | Event::InitApply(_));
        let changed = match event {
            Event::Init => {
                self.seen.clear();
                false
            }
            Event::InitApply(node) => {
                self.seen.extend(node.metadata.name.clone());
                self.send_peer(&node, true, now, 0).await;
                self.nodes.put(&node)
            }
            Event::InitDone => {
                let seen = mem::take(&mut self.seen);
                let removed = self.nodes.retain(&seen);
                if self.sight.kind.is_some() {
                    let names = seen.iter().map(|name| self.names.intern(name)).collect();
                    let _ = self.sender.send(Message::Listed(Listed::Nodes(names), 0)).await;
                }
                !mem::replace(&mut self.is_complete, true) || removed
            }
            Event::Apply(node) => {
                self.send_peer(&node, true, now, version(&node)).await;
                self.nodes.put(&node)
            }
            Event::Delete(node) => {
                self.send_peer(&node, false, now, version(&node)).await;
                self.nodes.remove(node.metadata.name.as_deref().unwrap_or_default())
            }
        };
        if shows_all {
            self.goes_on().await;
        }
        if !changed {
            return;
        }
        if let Some(facts) = self.nodes.own_facts() {
            // The state ignores facts that it has already.
            self.send(Change::Node(facts.clone()), now, 0).await;
        }
        let (nodes, own_uid) = (self.nodes.outlook(), self.nodes.own_uid().map(str::to_owned));
        self.view.send_replace(Arc::new(NodesView { nodes, own_uid, is_complete: self.is_complete, service_cidrs: Vec::new() }));
    }

    async fn failed(&mut self) -> bool {
        self.sight.lose(&self.sender).await
    }

    async fn goes_on(&mut self) {
        self.sight.regain(&self.sender).await;
    }
}
