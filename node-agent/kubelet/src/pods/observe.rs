//! Reads from containerd what it runs for one pod.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;

use super::Context;
use super::view::{ContainerState, ContainerView, PodView, SandboxView};
use crate::cri::proto::{ContainerState as CriState, ContainerStatus, PodSandbox, PodSandboxState};
use crate::cri::{Cri, labels};
use crate::error::Error;
use crate::logs::tail;

/// Longest termination message, in bytes.
const MESSAGE_MAX: u64 = 4096;
/// Longest part of a log that stands in for a message.
const LOG_MAX_BYTES: usize = 2048;
const LOG_MAX_LINES: usize = 80;
/// How long after the end of a killed container containerd may still learn that it was for want of memory, and how often it is asked meanwhile.
const WHY_LATE: Duration = Duration::from_millis(500);
const WHY_AGAIN: Duration = Duration::from_millis(50);
/// The exit code of what SIGKILL ended.
const KILLED: i32 = 128 + 9;

/// Everything containerd has for the pod.
///
/// # Errors
/// A CRI call failed.
pub async fn observe(context: &Context, uid: &str) -> Result<PodView, Error> {
    let selector = labels::by_uid(uid);
    let (sandboxes, containers) = tokio::try_join!(context.cri.list_sandboxes(selector.clone()), context.cri.list_containers(selector))?;
    let sandboxes = try_join_all(sandboxes.into_iter().map(|s| sandbox(&context.cri, s))).await?;
    let statuses = try_join_all(containers.iter().map(|c| status(&context.cri, &c.id))).await?;
    let containers = containers.iter().zip(statuses).filter_map(|(listed, status)| {
        let mut view = container(status?);
        view.sandbox_id = listed.pod_sandbox_id.clone();
        Some(view)
    });
    let mut view = PodView { sandboxes: sandboxes.into_iter().flatten().collect(), containers: containers.collect() };
    for one in view.containers.iter_mut().filter(|c| c.state == ContainerState::Exited) {
        add_message(context, uid, one);
    }
    view.sort();
    Ok(view)
}

/// A container's status. containerd hears of an end and of a want of memory by two events, in either order, and who is told an end in between would
/// be told the wrong reason.
async fn status(cri: &Cri, id: &str) -> Result<Option<ContainerStatus>, Error> {
    loop {
        let status = cri.container_status(id).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if !status.as_ref().is_some_and(|status| may_lack_its_reason(status, now)) {
            return Ok(status);
        }
        tokio::time::sleep(WHY_AGAIN).await;
    }
}

/// Whether the reason of an end may still be on its way. `now`: since the epoch.
fn may_lack_its_reason(status: &ContainerStatus, now: Duration) -> bool {
    let ended = Duration::from_nanos(u64::try_from(status.finished_at).unwrap_or(0));
    status.state() == CriState::ContainerExited
        && status.exit_code == KILLED
        && status.reason == "Error"
        && now.checked_sub(ended).is_some_and(|since| since < WHY_LATE)
}

async fn sandbox(cri: &Cri, listed: PodSandbox) -> Result<Option<SandboxView>, Error> {
    let Some(status) = cri.sandbox_status(&listed.id).await? else { return Ok(None) };
    let network = status.network.unwrap_or_default();
    let texts = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|a| a.ip));
    let ips: Vec<IpAddr> = texts.filter_map(|ip| ip.parse().ok()).collect();
    Ok(Some(SandboxView {
        id: listed.id,
        attempt: listed.metadata.map_or(0, |m| m.attempt),
        ready: status.state == PodSandboxState::SandboxReady as i32,
        ips,
    }))
}

fn container(status: ContainerStatus) -> ContainerView {
    let annotation = |name: &str| status.annotations.get(name).cloned().unwrap_or_default();
    let metadata = status.metadata.clone().unwrap_or_default();
    let image = status.image.clone().unwrap_or_default();
    let falls_back = annotation(labels::TERMINATION_POLICY) == "FallbackToLogsOnError";
    ContainerView {
        name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or(metadata.name),
        attempt: annotation(labels::RESTART_COUNT).parse().unwrap_or(metadata.attempt),
        state: match status.state() {
            CriState::ContainerCreated => ContainerState::Created,
            CriState::ContainerRunning => ContainerState::Running,
            CriState::ContainerExited => ContainerState::Exited,
            CriState::ContainerUnknown => ContainerState::Unknown,
        },
        hash: annotation(labels::HASH),
        restart_delay: annotation(labels::RESTART_DELAY).parse().ok(),
        sandbox_id: String::new(),
        created_at: status.created_at,
        started_at: status.started_at,
        finished_at: status.finished_at,
        exit_code: status.exit_code,
        message: status.message,
        reason: status.reason,
        image: image.image,
        image_id: status.image_ref,
        log_path: status.log_path,
        log_fallback: falls_back && status.exit_code != 0,
        id: status.id,
    }
}

/// The message that the container left in its file, else the end of its log where the policy wants that, else what containerd says.
fn add_message(context: &Context, uid: &str, container: &mut ContainerView) {
    let file = context.paths.termination_message(uid, &container.name, container.attempt);
    // The container decides how long its file is.
    let mut bytes = Vec::new();
    let _ = std::fs::File::open(file).and_then(|file| file.take(MESSAGE_MAX).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !text.is_empty() {
        container.message = text;
    } else if container.log_fallback
        && let Ok(end) = tail::text(Path::new(&container.log_path), LOG_MAX_LINES, LOG_MAX_BYTES)
    {
        container.message = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_killed_container_without_a_better_reason_is_asked_again_and_only_for_a_while() {
        let ended = Duration::from_secs(1_000);
        let killed = ContainerStatus {
            state: CriState::ContainerExited.into(),
            exit_code: KILLED,
            reason: "Error".into(),
            finished_at: i64::try_from(ended.as_nanos()).unwrap(),
            ..ContainerStatus::default()
        };
        assert!(may_lack_its_reason(&killed, ended + WHY_LATE / 2));
        assert!(!may_lack_its_reason(&killed, ended + WHY_LATE));
        assert!(!may_lack_its_reason(&killed, ended - WHY_AGAIN), "a clock that was set back is not waited for");
        let now = ended;
        assert!(!may_lack_its_reason(&ContainerStatus { reason: "OOMKilled".into(), ..killed.clone() }, now));
        assert!(!may_lack_its_reason(&ContainerStatus { exit_code: 1, ..killed.clone() }, now));
        assert!(!may_lack_its_reason(&ContainerStatus { state: CriState::ContainerRunning.into(), ..killed }, now));
    }
}
