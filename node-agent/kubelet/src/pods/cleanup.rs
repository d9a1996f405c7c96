//! Removes what a pod leaves on the node. Each function can be called again until it has nothing to do.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;

use super::observe::observe;
use super::view::ContainerView;
use super::{Context, PodKey};
use crate::cri::labels;
use crate::cri::proto::Container;
use crate::error::Error;
use crate::volumes;

/// Stops all sandboxes: releases the network.
pub(super) async fn stop_sandboxes(context: &Context, uid: &str) -> Result<(), Error> {
    for sandbox in context.cri.list_sandboxes(labels::by_uid(uid)).await? {
        context.cri.stop_sandbox(&sandbox.id).await?;
    }
    Ok(())
}

/// Removes all sandboxes with their containers.
pub(super) async fn remove_sandboxes(context: &Context, uid: &str) -> Result<(), Error> {
    for container in context.cri.list_containers(labels::by_uid(uid)).await? {
        context.cri.remove_container(&container.id).await?;
    }
    for sandbox in context.cri.list_sandboxes(labels::by_uid(uid)).await? {
        context.cri.remove_sandbox(&sandbox.id).await?;
    }
    Ok(())
}

/// Removes volumes and cgroups. What users still read (logs, dead containers) stays.
pub(super) async fn release(context: &std::sync::Arc<Context>, uid: &str) -> Result<(), Error> {
    context.tokens.forget(uid);
    let (shared, uid) = (context.clone(), uid.to_owned());
    let work = move || {
        volumes::remove(&shared.paths.pod(&uid))?;
        if shared.cgroups.remove(&uid) { Ok(()) } else { Err(Error::Invalid(format!("cgroups of pod {uid} are still in use"))) }
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Invalid(format!("remove a pod's directory: {e}")))?
}

/// Removes the files of one run: its log with what was rotated, its termination message, its sub-path mounts.
pub(super) fn remove_files(context: &Context, pod: &PodKey, run: &ContainerView) {
    let log = Path::new(&run.log_path);
    if let (Some(directory), Some(name)) = (log.parent(), log.file_name().and_then(|n| n.to_str())) {
        let of_run = |file: &str| file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(of_run) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    let _ = std::fs::remove_file(context.paths.termination_message(&pod.uid, &run.name, run.attempt));
    for volume in std::fs::read_dir(context.paths.sub_paths(&pod.uid)).into_iter().flatten().flatten() {
        let place = volume.path().join(&run.name).join(run.attempt.to_string());
        if let Err(error) = volumes::remove(&place) {
            tracing::debug!(%pod, %error, "sub-path of a dead container not removed");
        }
    }
}

/// Removes a pod's logs.
pub(super) fn remove_logs(context: &Context, pod: &PodKey) -> Result<(), Error> {
    let directory = context.paths.pod_logs(pod);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &directory)(error)),
        _ => Ok(()),
    }
}

/// Stops and removes all of a pod that the API does not know any more.
pub(super) async fn remove_orphan(context: &std::sync::Arc<Context>, pod: &PodKey) -> Result<(), Error> {
    let containers: HashMap<String, Container> =
        context.cri.list_containers(labels::by_uid(&pod.uid)).await?.into_iter().map(|c| (c.id.clone(), c)).collect();
    let view = observe(context, &pod.uid).await?;
    let stops = view.running().map(|container| {
        let grace = containers.get(&container.id).and_then(|c| c.annotations.get(labels::GRACE_PERIOD)).and_then(|g| g.parse().ok());
        context.cri.stop_container(&container.id, Duration::from_secs(grace.unwrap_or(30)))
    });
    join_all(stops).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
    stop_sandboxes(context, &pod.uid).await?;
    remove_sandboxes(context, &pod.uid).await?;
    release(context, &pod.uid).await?;
    remove_logs(context, pod)
}
