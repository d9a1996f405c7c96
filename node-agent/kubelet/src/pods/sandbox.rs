//! Makes a pod's sandbox: cgroup, directories, then containerd with the network.

use k8s_openapi::api::core::v1::Pod;

use super::{Context, PodKey};
use crate::cgroups::values::PodCgroup;
use crate::containers::sandbox;
use crate::cri::proto::PodSandboxConfig;
use crate::error::Error;

/// The sandbox's configuration; the same for every call about one sandbox.
pub(super) fn config(context: &Context, pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let resolver = std::fs::read_to_string(&context.config.resolv_conf).unwrap_or_default();
    let cgroup = context.cgroups.path(&PodKey::of(pod).uid);
    sandbox::config(pod, attempt, &context.config, &context.paths, &sandbox::parse_resolver(&resolver), cgroup)
}

/// Makes the pod's cgroup and directories. Doing it again is cheap.
pub(super) fn prepare(context: &Context, pod: &Pod) -> Result<(), Error> {
    let key = PodKey::of(pod);
    context.cgroups.ensure(&key.uid, &PodCgroup::of(pod, context.config.pod_pids_limit))?;
    for directory in [context.paths.pod(&key.uid), context.paths.pod_logs(&key)] {
        std::fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
    }
    Ok(())
}

/// Starts a sandbox; answers with its id.
pub(super) async fn create(context: &Context, pod: &Pod, attempt: u32) -> Result<String, Error> {
    if pod.spec.as_ref().is_some_and(|spec| spec.host_users == Some(false)) {
        // Running it as if nothing had been asked for would take away a protection that its author counts on.
        return Err(Error::Invalid("user namespaces (hostUsers: false) are not supported by this node".to_owned()));
    }
    let config = config(context, pod, attempt);
    context.cri.run_sandbox(config, context.config.runtime_handler.clone()).await
}
