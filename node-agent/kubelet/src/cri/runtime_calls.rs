//! The runtime service's calls, one method each, with the time limit that fits the call.

use std::collections::HashMap;
use std::time::Duration;

use super::client::{Cri, quick, within};
use super::proto::*;
use crate::error::Error;

/// A runtime that does not say how it is within this time is down.
const HEALTH: Duration = Duration::from_secs(10);
/// A sandbox start includes the CNI plugin, which may wait for the data plane.
const SANDBOX: Duration = Duration::from_secs(240);
/// Time that containerd gets on top of a container's own grace period.
const MARGIN: Duration = Duration::from_secs(120);

impl Cri {
    /// Name and version of the runtime.
    pub async fn version(&self) -> Result<VersionResponse, Error> {
        let call = self.runtime.clone().version(within(VersionRequest { version: "v1".into() }, HEALTH)).await;
        Ok(call.map_err(Error::cri("Version"))?.into_inner())
    }

    /// The runtime's conditions (RuntimeReady, NetworkReady).
    pub async fn status(&self) -> Result<Vec<RuntimeCondition>, Error> {
        let call = self.runtime.clone().status(within(StatusRequest { verbose: false }, HEALTH)).await;
        Ok(call.map_err(Error::cri("Status"))?.into_inner().status.map(|s| s.conditions).unwrap_or_default())
    }

    /// Starts a pod's sandbox and its network; answers with the sandbox's id.
    pub async fn run_sandbox(&self, config: PodSandboxConfig, runtime_handler: String) -> Result<String, Error> {
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler };
        let call = self.runtime.clone().run_pod_sandbox(within(request, SANDBOX)).await;
        Ok(call.map_err(Error::cri("RunPodSandbox"))?.into_inner().pod_sandbox_id)
    }

    /// Stops a sandbox with all in it and releases its network. Stopping a stopped or missing one succeeds.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = StopPodSandboxRequest { pod_sandbox_id: id.into() };
        let call = self.runtime.clone().stop_pod_sandbox(within(request, MARGIN)).await;
        ignore_missing(call.map(drop).map_err(Error::cri("StopPodSandbox")))
    }

    /// Removes a stopped sandbox and its containers. Removing a missing one succeeds.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        let call = self.runtime.clone().remove_pod_sandbox(within(request, MARGIN)).await;
        ignore_missing(call.map(drop).map_err(Error::cri("RemovePodSandbox")))
    }

    /// A sandbox's state and addresses; none when there is no such sandbox.
    pub async fn sandbox_status(&self, id: &str) -> Result<Option<PodSandboxStatus>, Error> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: false };
        let call = self.runtime.clone().pod_sandbox_status(quick(request)).await;
        missing_is_none(call.map(|r| r.into_inner().status).map_err(Error::cri("PodSandboxStatus")))
    }

    /// All sandboxes that carry the labels.
    pub async fn list_sandboxes(&self, labels: HashMap<String, String>) -> Result<Vec<PodSandbox>, Error> {
        let filter = PodSandboxFilter { label_selector: labels, ..Default::default() };
        let call = self.runtime.clone().list_pod_sandbox(quick(ListPodSandboxRequest { filter: Some(filter) })).await;
        Ok(call.map_err(Error::cri("ListPodSandbox"))?.into_inner().items)
    }

    /// Creates a container in a sandbox; answers with its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> Result<String, Error> {
        let request = CreateContainerRequest { pod_sandbox_id: sandbox.into(), config: Some(config), sandbox_config: Some(sandbox_config) };
        let call = self.runtime.clone().create_container(within(request, MARGIN)).await;
        Ok(call.map_err(Error::cri("CreateContainer"))?.into_inner().container_id)
    }

    /// Starts a created container.
    pub async fn start_container(&self, id: &str) -> Result<(), Error> {
        let call = self.runtime.clone().start_container(within(StartContainerRequest { container_id: id.into() }, MARGIN)).await;
        call.map(drop).map_err(Error::cri("StartContainer"))
    }

    /// Sends the stop signal, and kills after `grace`. Stopping a stopped or missing container succeeds.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        // The protocol counts whole seconds; nobody gets less than promised.
        let seconds = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
        let timeout = i64::try_from(seconds).unwrap_or(i64::MAX);
        let request = StopContainerRequest { container_id: id.into(), timeout };
        let call = self.runtime.clone().stop_container(within(request, grace.saturating_add(MARGIN))).await;
        ignore_missing(call.map(drop).map_err(Error::cri("StopContainer")))
    }

    /// Removes a container. Removing a missing one succeeds.
    pub async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let call = self.runtime.clone().remove_container(within(RemoveContainerRequest { container_id: id.into() }, MARGIN)).await;
        ignore_missing(call.map(drop).map_err(Error::cri("RemoveContainer")))
    }

    /// All containers that carry the labels.
    pub async fn list_containers(&self, labels: HashMap<String, String>) -> Result<Vec<Container>, Error> {
        let filter = ContainerFilter { label_selector: labels, ..Default::default() };
        let call = self.runtime.clone().list_containers(quick(ListContainersRequest { filter: Some(filter) })).await;
        Ok(call.map_err(Error::cri("ListContainers"))?.into_inner().containers)
    }

    /// A container's full status; none when there is no such container.
    pub async fn container_status(&self, id: &str) -> Result<Option<ContainerStatus>, Error> {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: false };
        let call = self.runtime.clone().container_status(quick(request)).await;
        missing_is_none(call.map(|r| r.into_inner().status).map_err(Error::cri("ContainerStatus")))
    }

    /// Runs a command in a container and waits for it; containerd kills it after `limit` (whole seconds, 0 is no limit).
    pub async fn exec_sync(&self, id: &str, command: Vec<String>, limit: Duration) -> Result<ExecSyncResponse, Error> {
        let timeout = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let request = ExecSyncRequest { container_id: id.into(), cmd: command, timeout };
        let request = if limit.is_zero() { tonic::Request::new(request) } else { within(request, limit.saturating_add(MARGIN)) };
        let call = self.runtime.clone().exec_sync(request).await;
        Ok(call.map_err(Error::cri("ExecSync"))?.into_inner())
    }

    /// Prepares a command's stream; answers with the URL at which containerd serves it.
    pub async fn exec(&self, request: ExecRequest) -> Result<String, Error> {
        Ok(self.runtime.clone().exec(quick(request)).await.map_err(Error::cri("Exec"))?.into_inner().url)
    }

    /// Prepares a stream to a container's main process; answers with its URL.
    pub async fn attach(&self, request: AttachRequest) -> Result<String, Error> {
        Ok(self.runtime.clone().attach(quick(request)).await.map_err(Error::cri("Attach"))?.into_inner().url)
    }

    /// Prepares streams to a sandbox's ports; answers with their URL.
    pub async fn port_forward(&self, request: PortForwardRequest) -> Result<String, Error> {
        Ok(self.runtime.clone().port_forward(quick(request)).await.map_err(Error::cri("PortForward"))?.into_inner().url)
    }

    /// Makes containerd open a container's log file again, after a rotation.
    pub async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        let call = self.runtime.clone().reopen_container_log(quick(ReopenContainerLogRequest { container_id: id.into() })).await;
        call.map(drop).map_err(Error::cri("ReopenContainerLog"))
    }

    /// Container events, where the runtime has them (containerd 1.7 and later).
    pub async fn events(&self) -> Result<tonic::Streaming<ContainerEventResponse>, Error> {
        let call = self.runtime.clone().get_container_events(GetEventsRequest {}).await;
        Ok(call.map_err(Error::cri("GetContainerEvents"))?.into_inner())
    }
}

fn ignore_missing(result: Result<(), Error>) -> Result<(), Error> {
    result.or_else(|error| if error.is_missing() { Ok(()) } else { Err(error) })
}

fn missing_is_none<T>(result: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    result.or_else(|error| if error.is_missing() { Ok(None) } else { Err(error) })
}
