//! Writes what of the cluster is in this node's maps where the cluster can see it: one small object (networking.orknet.io, NodeProgramming)
//! with the node's name. Others sum up what all nodes say. What is newest always goes out, but never oftener than somebody can use it.

use crate::progress::{NAMED, Object, Progress};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Who writes it.
const MANAGER: &str = "orknet-agent";
/// Between two reports, if somebody may wait for what is new; and if nobody does.
const AWAITED: Duration = Duration::from_millis(200);
const USUAL: Duration = Duration::from_secs(10);
/// Until a report is written again although nothing is new: somebody may have removed it, or made the Node anew.
const RENEWAL: Duration = Duration::from_secs(300);
/// Before a report that was not taken is tried again; doubled up to a minute.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Reports until nobody knows of any progress any more.
pub async fn report(client: Client, node: String, mut progress: watch::Receiver<Option<Progress>>) {
    let writer = Writer { client, node };
    // What was reported last, and when that was tried last.
    let (mut told, mut last) = (None::<Progress>, None::<Instant>);
    let (mut retry, mut said) = (FIRST_RETRY, String::new());
    loop {
        let current = progress.borrow_and_update().clone();
        let due = current.as_ref().map(|current| last.map_or_else(Instant::now, |last| last + pause(current, told.as_ref())));
        let changed = match (current, due) {
            (Some(current), Some(due)) if due <= Instant::now() => {
                let written = writer.write(&current).await;
                last = Some(Instant::now());
                match written {
                    Ok(()) => {
                        (told, retry) = (Some(current), FIRST_RETRY);
                        said.clear();
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if said != error {
                            tracing::warn!(error, "cannot report what is programmed; trying again");
                        }
                        (said, last) = (error, last.map(|last| last + retry));
                        retry = (retry * 2).min(LAST_RETRY);
                    }
                }
                continue;
            }
            (_, Some(due)) => tokio::time::timeout_at(due, progress.changed()).await.unwrap_or(Ok(())),
            (_, None) => progress.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Time from one report to the next.
fn pause(current: &Progress, told: Option<&Progress>) -> Duration {
    match told {
        Some(told) if current == told => RENEWAL,
        Some(told) if !current.is_awaited_after(told) => USUAL,
        _ => AWAITED,
    }
}

struct Writer {
    client: Client,
    node: String,
}

impl Writer {
    /// The report belongs to the Node that there is now, and goes with it.
    async fn write(&self, progress: &Progress) -> Result<(), kube::Error> {
        let node = Api::<Node>::all(self.client.clone()).get(&self.node).await?;
        let kind = GroupVersionKind::gvk("networking.orknet.io", "v1alpha1", "NodeProgramming");
        let kind = ApiResource::from_gvk_with_plural(&kind, "nodeprogrammings");
        let reports: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let object = object(&self.node, node.metadata.uid.as_deref().unwrap_or_default(), progress);
        reports.patch(&self.node, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await.map(drop)
    }
}

fn object(node: &str, uid: &str, progress: &Progress) -> Value {
    let programmed: Vec<_> =
        progress.programmed.iter().map(|(kind, version)| json!({ "kind": kind.name(), "resourceVersion": version.to_string() })).collect();
    let failed: Vec<_> = progress.failed.iter().take(NAMED).map(|(object, why)| failed(object, why)).collect();
    let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid });
    json!({
        "apiVersion": "networking.orknet.io/v1alpha1", "kind": "NodeProgramming",
        "metadata": { "name": node, "ownerReferences": [owner] },
        "status": {
            "programmed": programmed, "failed": failed,
            "observedTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        },
    })
}

fn failed(object: &Object, why: &str) -> Value {
    let mut failed = json!({ "kind": object.kind.name(), "name": object.name, "message": why });
    if !object.namespace.is_empty() {
        failed["namespace"] = object.namespace.as_str().into();
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Kind;

    #[test]
    fn what_is_awaited_is_told_soon_the_rest_later_and_what_is_known_seldom() {
        let progress = |kind, version| Progress { programmed: [(kind, version)].into(), ..Progress::default() };
        let told = progress(Kind::Service, 1);
        assert_eq!(pause(&told, None), AWAITED);
        assert_eq!(pause(&progress(Kind::Service, 2), Some(&told)), AWAITED);
        assert_eq!(pause(&told, Some(&told)), RENEWAL);
        assert_eq!(pause(&progress(Kind::Pod, 2), Some(&progress(Kind::Pod, 1))), USUAL);
    }

    #[test]
    fn a_report_says_what_the_api_wants_to_know() {
        let failed = [
            (Object { kind: Kind::Service, namespace: "shop".into(), name: "web".into() }, "no room".to_owned()),
            (Object::of_cluster(Kind::ClusterNetworkPolicy, "base"), "not understood".to_owned()),
        ];
        let progress = Progress { programmed: [(Kind::Pod, 12), (Kind::Service, 7)].into(), failed: failed.into() };
        let object = object("node1", "1-2", &progress);
        assert_eq!(
            object["metadata"],
            json!({ "name": "node1", "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "1-2" }] })
        );
        let status = &object["status"];
        assert_eq!(
            status["programmed"],
            json!([{ "kind": "Service", "resourceVersion": "7" }, { "kind": "Pod", "resourceVersion": "12" }])
        );
        let expected = json!([
            { "kind": "Service", "namespace": "shop", "name": "web", "message": "no room" },
            { "kind": "ClusterNetworkPolicy", "name": "base", "message": "not understood" },
        ]);
        assert_eq!(status["failed"], expected);
        assert!(status["observedTime"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }
}
