//! Keeps the routes, and the overlay if there is one, what the Nodes say they should be: when to look again, and what is worth a line
//! in the log. What should be there, and how it gets there, is [`crate::routes`]'s and [`crate::overlay`]'s.

use crate::error::Error;
use crate::nodes::Outlook;
use crate::overlay::{Overlay, Routing};
use crate::routes::{MAIN_TABLE, Router, Routes, barred, direct, failed};
use crate::watch::{self, NodesView};
use ipnet::IpNet;
use kube::Client;
use orknet_cni::protocol::NodeConfiguration;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch as latest};
use tokio_util::sync::CancellationToken;

/// Bytes, where no device has the node's address.
const DEFAULT_MTU: u32 = 1500;
/// How soon routes that could not be added are tried again; doubled while nothing changes, up to the resync interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How this host takes part in the network of the nodes.
#[derive(Clone, Debug, Default)]
pub struct Wires {
    pub routing: Routing,
    /// The UDP port of the overlay.
    pub vxlan_port: u16,
    /// Routes that are there whatever the Nodes say.
    pub always: Routes,
    /// Ranges of cluster addresses; those of ServiceCIDRs are barred as well.
    pub service_cidrs: Vec<IpNet>,
}

/// Who is told how our pods are addressed.
pub struct Pods {
    pub configure: latest::Sender<Option<NodeConfiguration>>,
    /// Bytes; what the network between the nodes leaves unless given.
    pub mtu: Option<u32>,
    /// Told the index of the overlay's device; 0 where there is none.
    pub overlay: latest::Sender<u32>,
}

impl Pods {
    fn tell(&self, outlook: &Outlook, mtu: u32) {
        self.configure.send_if_modified(|current| {
            let configuration = outlook.configuration(self.mtu.unwrap_or(mtu));
            if let (Some(current), Some(configuration)) = (&current, &configuration)
                && current.mtu != configuration.mtu
            {
                tracing::warn!(from = current.mtu, to = configuration.mtu, "the MTU of pods changed; those that run keep theirs");
            }
            configuration.is_some() && std::mem::replace(current, configuration.clone()) != configuration
        });
    }

    fn tell_overlay(&self, device: u32) {
        self.overlay.send_if_modified(|current| std::mem::replace(current, device) != device);
    }
}

/// Keeps the wires and tells `pods` how they are addressed, until nobody looks at the Nodes any more. Level-triggered: looks at what the
/// kernel has again every `resync`.
pub async fn keep_network(router: Router, mut views: latest::Receiver<Arc<NodesView>>, pods: Option<Pods>, wires: Wires, resync: Duration) {
    let mut troubles = Troubles::new(resync);
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let mut now = wires.clone();
        now.always.extend(barred(&view.service_ranges(&wires.service_cidrs)));
        let plan = Plan::of(&now, &view.nodes);
        let uplink = router.mtu_of(&plan.ends).await.ok().flatten().unwrap_or(DEFAULT_MTU);
        let mtu = plan.overlay.as_ref().map_or(uplink, |overlay| overlay.mtu(uplink));
        if let Some(pods) = &pods {
            pods.tell(&view.nodes, mtu);
        }
        let mut pause = resync;
        if view.is_complete && plan.is_ready {
            let (device, failures) = reconcile(&router, &plan, wires.vxlan_port, mtu).await;
            if let (Some(pods), Some(device)) = (&pods, device) {
                pods.tell_overlay(device);
            }
            pause = report(&mut troubles, &failures);
        }
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
        () = watch::nodes(client, "", messages, view, false) => Err(Error::Ended("Node watch")),
        () = keep_network(router, views, None, Wires::default(), resync) => Err(Error::Ended("route keeper")),
    }
}

/// What should be in the kernel.
struct Plan {
    /// Routes of the main table.
    routes: Routes,
    overlay: Option<Overlay>,
    /// Our addresses to which packets of other nodes come; their device tells the MTU.
    ends: BTreeSet<IpAddr>,
    /// Enough is known. An overlay without an end would be torn down.
    is_ready: bool,
}

impl Plan {
    fn of(wires: &Wires, outlook: &Outlook) -> Self {
        let mut routes = wires.always.clone();
        if wires.routing == Routing::Direct {
            routes.extend(direct(&outlook.own, &outlook.others));
            return Self { routes, overlay: None, ends: outlook.own_addresses(), is_ready: true };
        }
        let overlay = Overlay::of(&outlook.own, &outlook.others);
        routes.extend(overlay.iter().flat_map(|overlay| overlay.routes.clone()));
        Self { routes, ends: overlay.iter().map(|overlay| overlay.end).collect(), is_ready: overlay.is_some(), overlay }
    }
}

/// Makes the kernel hold what it should. The index of the overlay's device (0 for none) if all of it could be seen to, and what went
/// wrong.
async fn reconcile(router: &Router, plan: &Plan, port: u16, mtu: u32) -> (Option<u32>, Vec<Error>) {
    let made = match &plan.overlay {
        Some(overlay) => router.reconcile_overlay(overlay, port, mtu).await,
        None => router.reconcile(&plan.routes).await.map(|failures| (0, failures)),
    };
    let (device, mut failures) = match made {
        Ok(made) => made,
        Err(error) => return (None, vec![error]),
    };
    // Routes through the overlay need its device; without an overlay, what is left of one goes when nothing needs it any more.
    let rest = match &plan.overlay {
        Some(_) => router.reconcile_in(MAIN_TABLE, &plan.routes, device).await,
        None => router.remove_overlay().await,
    };
    match rest {
        Ok(rest) => failures.extend(rest),
        Err(error) => failures.push(error),
    }
    failures.extend(plan.overlay.iter().flat_map(|overlay| &overlay.left_out).map(|line| failed("reaching a node by the overlay", line)));
    (Some(device), failures)
}

/// Logs what is new about what is not as it should be. When to look again.
pub(crate) fn report(troubles: &mut Troubles, failures: &[Error]) -> Duration {
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
pub(crate) struct Troubles {
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
    pub(crate) fn new(resync: Duration) -> Self {
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
