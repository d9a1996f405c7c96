//! Starts one container, step by step: image, environment, mounts, create, start, postStart. Every failure becomes the reason that
//! Kubernetes shows.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;

use super::declared::Declared;
use super::hooks::{self, Target};
use super::plan::Start;
use super::terminate::{self, StopRequest};
use super::view::{PodView, SandboxView};
use super::{Context, PodKey, sandbox};
use crate::containers::config::{Prepared, config};
use crate::containers::env::{self, Objects};
use crate::containers::{security, service_links};
use crate::error::Error;
use crate::images::{Ensured, Puller, garbage};
use crate::status::reason::{self, Waiting};
use crate::volumes::mounts;
use crate::volumes::setup::Ready;

/// A start that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// What users see.
    pub waiting: Waiting,
    /// When to try again, when the failure knows.
    pub retry_at: Option<Timestamp>,
}

/// What a start needs besides the pod.
pub(super) struct Place<'a> {
    pub context: &'a Context,
    pub pod: &'a Pod,
    pub sandbox: &'a SandboxView,
    pub view: &'a PodView,
    pub volumes: &'a BTreeMap<String, Ready>,
    /// The delay of the restart after this one.
    pub restart_delay: Option<Duration>,
}

/// Starts a container.
pub(super) async fn start(place: &Place<'_>, declared: &Declared<'_>, start: &Start, puller: &mut Puller) -> Result<(), Failed> {
    let (context, pod) = (place.context, place.pod);
    let container: &Container = &declared.container;
    let fail = |reason: &str, message: String| Failed { waiting: Waiting::new(reason, message), retry_at: None };

    // 1. The image.
    let sandbox_config = sandbox::config(context, pod, place.sandbox.attempt);
    let tell = |warning, reason, message| context.note_container(pod, &container.name, warning, reason, message);
    let ensured = puller.ensure(&context.cri, context.cluster.as_ref(), pod, container, &sandbox_config, &tell).await;
    let image = ensured.map_err(|(waiting, retry_at)| {
        tell(true, "Failed", format!("Error: {}", waiting.reason));
        Failed { waiting, retry_at }
    })?;

    if image.pulled
        && let Err(error) = garbage::record(&context.paths, &image.image.id)
    {
        tracing::warn!(%error, image = image.image.id, "pulled image not remembered");
    }

    // 2. Everything the configuration is made from.
    let prepared = prepare(place, container, start, &image).await.map_err(|message| {
        tell(true, "Failed", format!("Error: {message}"));
        fail(reason::CREATE_CONTAINER_CONFIG_ERROR, message)
    })?;

    // 3. Create and start.
    let config = config(pod, container, prepared);
    let id = context.cri.create_container(&place.sandbox.id, config, sandbox_config).await.map_err(|error| {
        tell(true, "Failed", format!("Error: {}", error.said()));
        fail(reason::CREATE_CONTAINER_ERROR, error.said())
    })?;
    tell(false, "Created", format!("Created container: {}", container.name));
    context.cri.start_container(&id).await.map_err(|error| {
        tell(true, "Failed", format!("Error: {}", error.said()));
        fail(reason::RUN_CONTAINER_ERROR, error.said())
    })?;
    tell(false, "Started", format!("Started container {}", container.name));

    // 4. The hook, before which nothing else of the pod goes on.
    let Some(handler) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(()) };
    let address = place.sandbox.ips.first().or(context.config.addresses.first()).copied();
    if let Err(cause) = hooks::run(context, handler, Target { container, id: &id, address }).await {
        tell(true, "FailedPostStartHook", format!("PostStartHook failed: {cause}"));
        let request = StopRequest { id: &id, name: &container.name, message: "FailedPostStartHook".to_owned(), address, run_hook: true };
        if let Err(error) = terminate::stop(context, pod, &request, terminate::grace(pod)).await {
            tracing::warn!(pod = %PodKey::of(pod), container = container.name, %error, "container not stopped after its failed hook");
        }
        return Err(fail(reason::POST_START_HOOK_ERROR, cause));
    }
    Ok(())
}

/// Environment, mounts and user checks; the message says what is wrong.
async fn prepare(place: &Place<'_>, container: &Container, start: &Start, image: &Ensured) -> Result<Prepared, String> {
    let (context, pod) = (place.context, place.pod);
    let uid = image.image.uid.as_ref().map(|u| u.value);
    security::check_non_root(pod, container, uid, &image.image.username)?;
    let objects = read_objects(context, pod, container).await.map_err(|e| e.to_string())?;
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let services = context.cluster.services().ok_or("services have not yet been read at least once, cannot construct envvars")?;
    let namespace = PodKey::of(pod).namespace;
    let services = service_links::variables(services.iter().map(AsRef::as_ref), &namespace, links);
    let host_network = pod.spec.as_ref().and_then(|s| s.host_network).unwrap_or(false);
    let facts = if host_network { context.facts(&context.config.host_ips()) } else { context.facts(&place.sandbox.ips) };
    let environment = env::environment(pod, container, &objects, &services, &facts).map_err(|e| e.to_string())?;
    let mounts = mounts::mounts(&context.paths, pod, container, start.attempt, place.volumes, &environment);
    let target = target(pod, &container.name, place.view);
    Ok(Prepared {
        attempt: start.attempt,
        restart_delay: place.restart_delay,
        image_ref: image.reference.clone(),
        mounts: mounts.map_err(|e| e.to_string())?,
        environment,
        memory_capacity: context.machine.memory_bytes,
        unified: context.cgroups.is_unified(),
        target,
    })
}

/// For an ephemeral container: the id of the container it looks into.
fn target(pod: &Pod, name: &str, view: &PodView) -> Option<String> {
    let ephemeral = pod.spec.as_ref()?.ephemeral_containers.as_ref()?.iter().find(|c| c.name == name)?;
    let target = ephemeral.target_container_name.as_deref().filter(|t| !t.is_empty())?;
    view.running().find(|c| c.name == target).map(|c| c.id.clone())
}

async fn read_objects(context: &Context, pod: &Pod, container: &Container) -> Result<Objects, Error> {
    let namespace = PodKey::of(pod).namespace;
    let (config_maps, secrets) = env::references(container);
    let mut objects = Objects::default();
    for name in config_maps {
        if let Some(object) = context.cluster.config_map(&namespace, &name).await? {
            objects.config_maps.insert(name, object);
        }
    }
    for name in secrets {
        if let Some(object) = context.cluster.secret(&namespace, &name).await? {
            objects.secrets.insert(name, object);
        }
    }
    Ok(objects)
}
