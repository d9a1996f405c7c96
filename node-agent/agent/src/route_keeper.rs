//! Keeps the routes what the Nodes say they should be: when to look again, and what is worth a line in the log. What should be there,
//! and how it gets there, is [`crate::routes`]'s.

use crate::error::Error;
use crate::nodes::Outlook;
use crate::routes::{Router, Routes};
use crate::watch::{self, NodesView};
use kube::Client;
use orknet_cni::protocol::NodeConfiguration;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch as latest};
use tokio_util::sync::CancellationToken;

/// Bytes, where no device has the node's address.
const DEFAULT_MTU: u32 = 1500;
/// How soon routes that could not be added are tried again; doubled while nothing changes, up to the resync interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Who is told how our pods are addressed.
pub struct Pods {
    pub configure: latest::Sender<Option<NodeConfiguration>>,
    /// Bytes; that of the device with the node's address unless given.
    pub mtu: Option<u32>,
}

impl Pods {
    async fn tell(&self, outlook: &Outlook, router: &Router) {
        let mtu = match self.mtu {
            Some(mtu) => mtu,
            None => router.mtu_of(&outlook.own_addresses()).await.ok().flatten().unwrap_or(DEFAULT_MTU),
        };
        self.configure.send_if_modified(|current| {
            let configuration = outlook.configuration(mtu);
            configuration.is_some() && std::mem::replace(current, configuration.clone()) != configuration
        });
    }
}

/// Keeps the routes, `always` among them, and tells `pods` how they are addressed, until nobody looks at the Nodes any more.
/// Level-triggered: looks at the kernel's routes again every `resync`.
pub async fn keep_network(
    router: Router,
    mut views: latest::Receiver<Arc<NodesView>>,
    pods: Option<Pods>,
    always: Routes,
    resync: Duration,
) {
    let mut troubles = Troubles::new(resync);
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        if let Some(pods) = &pods {
            pods.tell(&view.nodes, &router).await;
        }
        let pause = if view.is_complete { reconcile(&router, &view.nodes.routes, &always, &mut troubles).await } else { resync };
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Keeps routes to the pods of all nodes until the shutdown, on a host that is no node itself: a control plane on a host of its own
/// reaches pods by them, and its answers reach pods. Must be called in the host's network namespace, as root. Needs no data plane.
///
/// # Errors
/// When netlink is not to be had. Routes that cannot be added are logged and tried again.
pub async fn keep_pod_routes(client: Client, resync: Duration, shutdown: CancellationToken) -> Result<(), Error> {
    let router = Router::connect()?;
    let (view, views) = latest::channel(Arc::new(NodesView::default()));
    // Facts of an own node have nobody to go to: there is none.
    let (messages, _) = mpsc::channel(1);
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = watch::nodes(client, "", messages, view) => Err(Error::Ended("Node watch")),
        () = keep_network(router, views, None, Routes::new(), resync) => Err(Error::Ended("route keeper")),
    }
}

/// Makes the routes what they should be, and logs what is new about those that are not. When to look again.
async fn reconcile(router: &Router, to_pods: &Routes, always: &Routes, troubles: &mut Troubles) -> Duration {
    let mut routes = always.clone();
    routes.extend(to_pods);
    let failures = router.reconcile(&routes).await.unwrap_or_else(|error| vec![error]);
    let report = troubles.follow(failures.iter().map(Error::to_string).collect());
    for error in &report.new {
        tracing::warn!(error, "a route is not as it should be; trying again");
    }
    for error in &report.over {
        tracing::info!(error, "this no longer keeps a route from being as it should be");
    }
    report.pause
}

/// What goes wrong at the moment, and how long it has gone wrong in the same way.
#[derive(Debug)]
struct Troubles {
    current: BTreeSet<String>,
    /// Before the next try.
    retry: Duration,
    resync: Duration,
}

/// What one look at the routes changes.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    new: Vec<String>,
    over: Vec<String>,
    pause: Duration,
}

impl Troubles {
    fn new(resync: Duration) -> Self {
        Self { current: BTreeSet::new(), retry: FIRST_RETRY, resync }
    }

    /// Takes what went wrong this time.
    fn follow(&mut self, failures: BTreeSet<String>) -> Report {
        let new: Vec<_> = failures.difference(&self.current).cloned().collect();
        let over: Vec<_> = self.current.difference(&failures).cloned().collect();
        self.retry = if new.is_empty() && over.is_empty() { (self.retry * 2).min(self.resync) } else { FIRST_RETRY.min(self.resync) };
        let pause = if failures.is_empty() { self.resync } else { self.retry };
        self.current = failures;
        Report { new, over, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_failing_is_said_once_and_tried_less_and_less_often() {
        let seconds = Duration::from_secs;
        let mut troubles = Troubles::new(seconds(5));
        let mut follow = |failures: &[&str]| {
            let report = troubles.follow(failures.iter().map(|text| (*text).to_owned()).collect());
            (report.new.join(","), report.over.join(","), report.pause.as_secs())
        };
        let said = |new: &str, over: &str, pause: u64| (new.to_owned(), over.to_owned(), pause);
        assert_eq!(follow(&[]), said("", "", 5));
        assert_eq!(follow(&["a"]), said("a", "", 1));
        for pause in [2, 4, 5, 5] {
            assert_eq!(follow(&["a"]), said("", "", pause));
        }
        // Something changed, so trying soon is worth it.
        assert_eq!(follow(&["a", "b"]), said("b", "", 1));
        assert_eq!(follow(&["b"]), said("", "a", 1));
        assert_eq!(follow(&[]), said("", "b", 5));
        assert_eq!(follow(&["b"]), said("b", "", 1));
    }
}
