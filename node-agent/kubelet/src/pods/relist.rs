//! Notices what happens in containerd: a cheap listing every second, sooner when the runtime sends events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::PodKey;
use crate::cri::{Cri, labels};

/// Time between listings.
const PERIOD: Duration = Duration::from_secs(1);

/// All pods containerd knows, with a value that changes whenever one of the pod's sandboxes or containers changes its state.
pub type Listing = HashMap<PodKey, u64>;

/// Sends a listing every second until `shutdown`. Fails silently while containerd is away: the node's status tells about that.
pub async fn follow(cri: Cri, listings: mpsc::Sender<Listing>, shutdown: CancellationToken) {
    let hint = Arc::new(Notify::new());
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(hints(cri.clone(), hint.clone())));
    loop {
        match list(&cri).await {
            Ok(listing) => {
                if listings.send(listing).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "containerd not listed"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
            () = hint.notified() => {}
        }
    }
}

async fn list(cri: &Cri) -> Result<Listing, crate::Error> {
    let (sandboxes, containers) = tokio::try_join!(cri.list_sandboxes(HashMap::new()), cri.list_containers(HashMap::new()))?;
    let mut listing = Listing::new();
    let mut add = |labels: &HashMap<String, String>, id: &str, state: i32| {
        if let Some(pod) = labels::pod_of(labels) {
            // Addition: the order of a listing means nothing.
            let entry = listing.entry(pod).or_default();
            *entry = entry.wrapping_add(digest(id, state));
        }
    };
    for sandbox in &sandboxes {
        add(&sandbox.labels, &sandbox.id, sandbox.state);
    }
    for container in &containers {
        add(&container.labels, &container.id, container.state);
    }
    Ok(listing)
}

fn digest(id: &str, state: i32) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (id, state).hash(&mut hasher);
    hasher.finish()
}

/// Turns runtime events into early listings. Older runtimes have none; then this ends.
async fn hints(cri: Cri, hint: Arc<Notify>) {
    loop {
        match cri.events().await {
            Ok(mut events) => {
                while let Ok(Some(_)) = events.message().await {
                    hint.notify_one();
                }
            }
            Err(crate::Error::Cri { source, .. }) if source.code() == tonic::Code::Unimplemented => return,
            Err(_) => {}
        }
        tokio::time::sleep(PERIOD * 10).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_change_changes_the_digest() {
        assert_ne!(digest("a", 0), digest("a", 1));
        assert_ne!(digest("a", 0), digest("b", 0));
    }
}
