//! Keeps the way of the node's own packets to Services what Services and Nodes say it should be: when to look again, and what is worth a
//! line in the log. What should be there is [`crate::own_routes`]'s, how it gets there [`crate::own_way`]'s and the data plane's.

use crate::dataplane::Dataplane;
use crate::error::Error;
use crate::own_routes::{Fronts, OwnRoutes};
use crate::route_keeper::{Troubles, report};
use crate::routes::Router;
use crate::watch::NodesView;
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as latest;
use tokio::time::Instant;

/// Time for more Services to come, since each look costs as much as there are routes.
const PACE: Duration = Duration::from_millis(100);

/// Keeps it until nobody looks at the Nodes any more, or tells of Services. Level-triggered: looks at what the kernel has again every
/// `resync`. Before both are known, what a former run left stays.
pub async fn keep_own_way(
    router: Router,
    dataplane: Arc<dyn Dataplane>,
    service_cidrs: Vec<IpNet>,
    mut views: latest::Receiver<Arc<NodesView>>,
    mut fronts: latest::Receiver<Option<Arc<Fronts>>>,
    resync: Duration,
) {
    let mut troubles = Troubles::new(resync);
    let (mut kept, mut next) = (None, Instant::now());
    loop {
        if next <= Instant::now() {
            // Whatever it was: another may have changed it since.
            (kept, next) = (None, Instant::now() + resync);
        }
        let (view, known) = (Arc::clone(&views.borrow_and_update()), fronts.borrow_and_update().clone());
        if let Some(known) = known.filter(|_| view.is_complete) {
            let wanted = OwnRoutes::of(&known, &view.service_ranges(&service_cidrs), &view.nodes);
            if kept.as_ref() != Some(&wanted) {
                let failures = keep(&router, &dataplane, &wanted).await.unwrap_or_else(|error| vec![error]);
                next = Instant::now() + report(&mut troubles, &failures);
                kept = Some(wanted);
                tokio::time::sleep(PACE).await;
            }
        }
        let looked = tokio::select! {
            changed = views.changed() => changed,
            changed = fronts.changed() => changed,
            () = tokio::time::sleep_until(next) => Ok(()),
        };
        if looked.is_err() {
            return;
        }
    }
}

/// The device, its program, then what leads there.
async fn keep(router: &Router, dataplane: &Arc<dyn Dataplane>, wanted: &OwnRoutes) -> Result<Vec<Error>, Error> {
    if wanted.is_empty() {
        let failures = router.remove_own_way().await?;
        keep_program(dataplane, None).await?;
        return Ok(failures);
    }
    let far = router.keep_pair().await?;
    keep_program(dataplane, Some(far)).await?;
    router.keep_own_routes(wanted).await
}

async fn keep_program(dataplane: &Arc<dyn Dataplane>, device: Option<u32>) -> Result<(), Error> {
    let dataplane = Arc::clone(dataplane);
    let kept = tokio::task::spawn_blocking(move || dataplane.keep_node_device(device)).await;
    Ok(kept.map_err(|_| Error::Ended("keeper of the node's own way"))??)
}
