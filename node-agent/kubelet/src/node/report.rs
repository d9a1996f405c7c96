//! Keeps the Node's status true: looks at the node every few seconds, writes when something changed, and every five minutes anyway.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use super::machine::{disk, memory, process_ids};
use super::object::{self, Observed};
use super::outage::Outage;
use super::{events, register};
use crate::cri::proto::Image;
use crate::error::Error;
use crate::pods::Context;

/// Time between looks; short, because readiness after a restart of the runtime depends on it.
const LOOK: Duration = Duration::from_secs(2);
/// Images are listed this often; the list is long and nobody is in a hurry.
const IMAGES: Duration = Duration::from_secs(30);
/// A status that did not change is written again after this.
const REFRESH: Duration = Duration::from_secs(300);
/// Tries per write when others write at the same time.
const TRIES: u32 = 5;

/// Reports until the future is dropped.
pub async fn run(client: Client, context: Arc<Context>) {
    let mut written: Option<(NodeStatus, Instant)> = None;
    let mut images: Option<(Vec<Image>, Instant)> = None;
    let name = &context.config.node_name;
    let mut unschedulable = false;
    let mut outage = Outage::new("status of the node not written");
    loop {
        let mut observed = observe(&context).await;
        if images.as_ref().is_none_or(|(_, at)| at.elapsed() >= IMAGES)
            && let Ok(listed) = context.cri.list_images().await
        {
            images = Some((listed, Instant::now()));
        }
        observed.images = images.as_ref().map(|(listed, _)| listed.clone()).unwrap_or_default();
        let before = written.as_ref().map(|(status, _)| status.clone()).unwrap_or_default();
        let wanted = object::status(&context.config, &context.machine, &observed, &before, Timestamp::now());
        // The node's controller writes over it when it has heard nothing for long.
        let shown = context.cluster.node().and_then(|node| node.status.clone());
        let contradicted = shown.is_some_and(|shown| !events::of_status(name, &shown, &wanted, false).is_empty());
        let due = contradicted || written.as_ref().is_none_or(|(status, at)| at.elapsed() >= REFRESH || !object::same(status, &wanted));
        if due {
            match write(&client, &context, &observed).await {
                Ok((before, status)) => {
                    outage.over();
                    let news = events::of_status(name, &before, &status, written.is_none());
                    news.into_iter().for_each(|news| events::tell(context.cluster.as_ref(), name, news));
                    written = Some((status, Instant::now()));
                }
                Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(s) if s.code == 404) => {
                    register::register(&client, &context.config).await;
                    continue;
                }
                Err(error) => outage.failed(&error),
            }
        }
        if let Some(node) = context.cluster.node() {
            let now = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
            if std::mem::replace(&mut unschedulable, now) != now {
                events::tell(context.cluster.as_ref(), name, events::of_schedulability(name, now));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks at the runtime and the host.
async fn observe(context: &Context) -> Observed {
    let mut observed = Observed::default();
    match tokio::try_join!(context.cri.version(), context.cri.status()) {
        Ok((version, conditions)) => {
            observed.runtime = Some(format!("{}://{}", version.runtime_name, version.runtime_version.trim_start_matches('v')));
            observed.runtime_conditions = conditions;
        }
        Err(error) => observed.runtime_error = Some(error.to_string()),
    }
    let floor = &context.config.eviction_hard;
    observed.memory_pressure = memory().is_some_and(|(left, whole)| floor.memory_available.is_crossed(left, whole));
    observed.pid_pressure = process_ids().is_some_and(|(left, whole)| floor.pid_available.is_crossed(left, whole));
    observed.disk_pressure = disk(&context.config.root_dir).is_some_and(|disk| {
        floor.nodefs_available.is_crossed(disk.available, disk.size) || floor.nodefs_inodes_free.is_crossed(disk.inodes_free, disk.inodes)
    });
    observed
}

/// Reads the Node, puts the status on top, and writes it back with its version, so that nobody's condition is lost. Answers with the status
/// before and after.
async fn write(client: &Client, context: &Context, observed: &Observed) -> Result<(NodeStatus, NodeStatus), Error> {
    let api: Api<Node> = Api::all(client.clone());
    let name = &context.config.node_name;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut node = api.get(name).await.map_err(Error::api(format!("get node {name}")))?;
        let before = node.status.take().unwrap_or_default();
        let status = object::status(&context.config, &context.machine, observed, &before, Timestamp::now());
        node.status = Some(status.clone());
        match api.replace_status(name, &PostParams::default(), &node).await {
            Ok(_) => return Ok((before, status)),
            Err(kube::Error::Api(answer)) if answer.code == 409 && tries < TRIES => {}
            Err(error) => return Err(Error::api(format!("write the status of node {name}"))(error)),
        }
    }
}
