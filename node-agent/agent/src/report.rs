//! Writes what of the cluster is in this node's maps where the cluster can see it: one small object (networking.orknet.io, NodeProgramming)
//! with the node's name. Others sum up what all nodes say. What somebody may wait for always goes out, but never oftener than it can be used;
//! the rest goes with it, and by itself seldom: on a thousand nodes there is always a new version of some pod.

use crate::progress::{NAMED, Object, Progress};
use crate::watch::NodesView;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Who writes it.
const MANAGER: &str = "orknet-agent";
/// From one report to the next, if somebody may wait for what is new.
const AWAITED: Duration = Duration::from_millis(200);
/// Until a report is written that nobody waits for: with versions that are told besides, or because somebody may have removed the last one.
const RENEWAL: Duration = Duration::from_secs(300);
/// Before a report that was not taken is tried again; doubled up to a minute.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Reports until nobody knows of any progress any more.
pub async fn report(
    client: Client,
    node: String,
    mut progress: watch::Receiver<Option<Progress>>,
    mut nodes: watch::Receiver<Arc<NodesView>>,
) {
    let (mut schedule, mut said) = (Schedule::default(), String::new());
    loop {
        let uid = nodes.borrow_and_update().own_uid.clone();
        // Without a Node there is nobody whose report it would be.
        let current = progress.borrow_and_update().clone().zip(uid).map(|(progress, uid)| Report { progress, uid });
        let due = current.as_ref().map(|current| schedule.due(current).unwrap_or_else(Instant::now));
        if let (Some(current), Some(due)) = (&current, due)
            && due <= Instant::now()
        {
            match write(&client, &node, current).await {
                Ok(()) => {
                    schedule.told(current.clone(), Instant::now());
                    said.clear();
                }
                Err(error) => {
                    let error = error.to_string();
                    if said != error {
                        tracing::warn!(error, "cannot report what is programmed; trying again");
                    }
                    said = error;
                    schedule.refused(Instant::now());
                }
            }
            continue;
        }
        let changed = async {
            tokio::select! {
                changed = progress.changed() => changed,
                changed = nodes.changed() => changed,
            }
        };
        let changed = match due {
            Some(due) => tokio::time::timeout_at(due, changed).await.unwrap_or(Ok(())),
            None => changed.await,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// What there is to write.
#[derive(Clone, Debug, PartialEq)]
struct Report {
    progress: Progress,
    /// The Node that there is now: the report belongs to it, and goes with it.
    uid: String,
}

/// What was written last, and when that was tried.
#[derive(Debug, Default)]
struct Schedule {
    told: Option<Report>,
    tried: Option<Instant>,
    /// Since the last attempt failed: before the next one.
    retry: Option<Duration>,
}

impl Schedule {
    /// When a report is to be written; `None` of the first one, which is at once.
    fn due(&self, current: &Report) -> Option<Instant> {
        let pause = || match &self.told {
            Some(told) if current.uid == told.uid && !current.progress.is_awaited_after(&told.progress) => RENEWAL,
            _ => AWAITED,
        };
        self.tried.map(|tried| tried + self.retry.unwrap_or_else(pause))
    }

    fn told(&mut self, report: Report, now: Instant) {
        *self = Self { told: Some(report), tried: Some(now), retry: None };
    }

    fn refused(&mut self, now: Instant) {
        self.tried = Some(now);
        self.retry = Some(self.retry.map_or(FIRST_RETRY, |retry| (retry * 2).min(LAST_RETRY)));
    }
}

async fn write(client: &Client, node: &str, report: &Report) -> Result<(), kube::Error> {
    let kind = GroupVersionKind::gvk("networking.orknet.io", "v1alpha1", "NodeProgramming");
    let kind = ApiResource::from_gvk_with_plural(&kind, "nodeprogrammings");
    let reports: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let object = object(node, &report.uid, &report.progress);
    reports.patch(node, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await.map(drop)
}

fn object(node: &str, uid: &str, progress: &Progress) -> Value {
    let programmed: Vec<_> =
        progress.programmed.iter().map(|(kind, version)| json!({ "kind": kind.name(), "resourceVersion": version.to_string() })).collect();
    let failed: Vec<_> = progress.failed.iter().take(NAMED).map(|(object, why)| failed(object, why)).collect();
    let behind: Vec<_> = progress.behind.iter().map(|(kind, why)| json!({ "kind": kind.name(), "message": why })).collect();
    let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid });
    json!({
        "apiVersion": "networking.orknet.io/v1alpha1", "kind": "NodeProgramming",
        "metadata": { "name": node, "ownerReferences": [owner] },
        "status": {
            "programmed": programmed, "failed": failed, "behind": behind,
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

    fn report(kind: Kind, version: u64, uid: &str) -> Report {
        Report { progress: Progress { programmed: [(kind, version)].into(), ..Progress::default() }, uid: uid.into() }
    }

    #[test]
    fn what_is_awaited_is_told_soon_and_the_rest_seldom() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let first = report(Kind::Service, 1, "a");
        assert_eq!(schedule.due(&first), None);
        schedule.told(first.clone(), now);
        let with_pods = {
            let mut report = first.clone();
            report.progress.programmed.extend([(Kind::Pod, 7), (Kind::Namespace, 7), (Kind::EndpointSlice, 7)]);
            report
        };
        for (current, pause) in [
            (first, RENEWAL),
            (with_pods, RENEWAL),
            (report(Kind::Service, 2, "a"), AWAITED),
            // Another Node of the name: the former one's report is none of it.
            (report(Kind::Service, 1, "b"), AWAITED),
        ] {
            assert_eq!(schedule.due(&current), Some(now + pause), "{current:?}");
        }
    }

    #[test]
    fn what_was_not_taken_is_tried_again_ever_later_whatever_it_says() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.told(report(Kind::Service, 1, "a"), now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            schedule.refused(now);
            // A renewal, too.
            assert_eq!(schedule.due(&report(Kind::Service, 1, "a")), schedule.due(&report(Kind::Service, 2, "a")));
            waits.push((schedule.due(&report(Kind::Service, 2, "a")).unwrap() - now).as_millis());
        }
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        schedule.told(report(Kind::Service, 2, "a"), now);
        assert_eq!(schedule.due(&report(Kind::Service, 3, "a")), Some(now + AWAITED));
    }

    #[test]
    fn a_report_says_what_the_api_wants_to_know() {
        let failed = [
            (Object { kind: Kind::Service, namespace: "shop".into(), name: "web".into() }, "no room".to_owned()),
            (Object::of_cluster(Kind::ClusterNetworkPolicy, "base"), "not understood".to_owned()),
        ];
        let progress = Progress {
            programmed: [(Kind::Pod, 12), (Kind::Service, 7)].into(),
            failed: failed.into(),
            behind: [(Kind::Pod, "full".into())].into(),
        };
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
        assert_eq!(status["behind"], json!([{ "kind": "Pod", "message": "full" }]));
        assert!(status["observedTime"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }
}
