//! Makes all volumes of a pod ready, or up to date: calling it again changes only what has changed. A volume that was ready once and
//! cannot be brought up to date keeps what it has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, ProjectedVolumeSource, Volume, VolumeProjection};

use super::payload::{self, Wanted};
use super::{atomic, empty_dir, host_path};
use crate::containers::env::Objects;
use crate::containers::fields::Facts;
use crate::error::Error;
use crate::pods::{Context, PodKey};

/// A volume that is ready to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it is on the node.
    pub path: PathBuf,
    /// No container may write to it.
    pub read_only: bool,
}

/// A volume that is not ready or not up to date, and why.
#[derive(Debug)]
pub struct NotReady {
    /// The volume's name.
    pub volume: String,
    /// For people.
    pub cause: String,
}

/// Makes every volume ready; answers with their places by name, and with what is not up to date.
///
/// # Errors
/// The first volume that cannot be made ready.
pub async fn setup(context: &Context, pod: &Pod, facts: &Facts) -> Result<(BTreeMap<String, Ready>, Vec<NotReady>), NotReady> {
    let (mut ready, mut stale) = (BTreeMap::new(), Vec::new());
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let one = match one(context, pod, facts, volume).await {
            Ok(one) => one,
            Err(error) => {
                let failure = NotReady { volume: volume.name.clone(), cause: error.to_string() };
                let Some(one) = ready_before(context, pod, volume) else { return Err(failure) };
                stale.push(failure);
                one
            }
        };
        ready.insert(volume.name.clone(), one);
    }
    Ok((ready, stale))
}

/// The place of a volume whose files are there already.
fn ready_before(context: &Context, pod: &Pod, volume: &Volume) -> Option<Ready> {
    let (kind, _) = as_projection(volume)?;
    let path = context.paths.volume(&PodKey::of(pod).uid, kind, &volume.name);
    atomic::is_there(&path).then_some(Ready { path, read_only: true })
}

async fn one(context: &Context, pod: &Pod, facts: &Facts, volume: &Volume) -> Result<Ready, Error> {
    let uid = PodKey::of(pod).uid;
    if let Some(source) = &volume.empty_dir {
        let path = context.paths.volume(&uid, "empty-dir", &volume.name);
        empty_dir::setup(&path, source, pod)?;
        return Ok(Ready { path, read_only: false });
    }
    if let Some(source) = &volume.host_path {
        host_path::check(&source.path, source.type_.as_deref().unwrap_or_default())?;
        return Ok(Ready { path: source.path.clone().into(), read_only: false });
    }
    let Some((kind, source)) = as_projection(volume) else {
        return Err(Error::Invalid("this kind of volume is not supported by this node".to_owned()));
    };
    let path = context.paths.volume(&uid, kind, &volume.name);
    let sources = source.sources.as_deref().unwrap_or_default();
    let objects = read_objects(context, pod, sources).await?;
    let tokens = context.tokens.for_sources(context, pod, sources).await?;
    let wanted = Wanted { pod, facts, objects: &objects, tokens: &tokens, sources, default_mode: source.default_mode };
    let files = payload::build(&wanted).map_err(Error::Invalid)?;
    // Secrets and tokens stay in memory; a ConfigMap may be on a disk.
    if kind != "configmap" {
        empty_dir::in_memory(&path, None)?;
    }
    atomic::write(&path, &files, pod)?;
    Ok(Ready { path, read_only: true })
}

/// ConfigMap, Secret and downwardAPI volumes are projected volumes with one source.
fn as_projection(volume: &Volume) -> Option<(&'static str, ProjectedVolumeSource)> {
    let (kind, default_mode, source) = if let Some(source) = &volume.config_map {
        let projection = k8s_openapi::api::core::v1::ConfigMapProjection {
            name: source.name.clone(),
            items: source.items.clone(),
            optional: source.optional,
        };
        ("configmap", source.default_mode, VolumeProjection { config_map: Some(projection), ..VolumeProjection::default() })
    } else if let Some(source) = &volume.secret {
        let projection = k8s_openapi::api::core::v1::SecretProjection {
            name: source.secret_name.clone().unwrap_or_default(),
            items: source.items.clone(),
            optional: source.optional,
        };
        ("secret", source.default_mode, VolumeProjection { secret: Some(projection), ..VolumeProjection::default() })
    } else if let Some(source) = &volume.downward_api {
        let projection = k8s_openapi::api::core::v1::DownwardAPIProjection { items: source.items.clone() };
        ("downward-api", source.default_mode, VolumeProjection { downward_api: Some(projection), ..VolumeProjection::default() })
    } else {
        return volume.projected.clone().map(|source| ("projected", source));
    };
    Some((kind, ProjectedVolumeSource { default_mode, sources: Some(vec![source]) }))
}

async fn read_objects(context: &Context, pod: &Pod, sources: &[VolumeProjection]) -> Result<Objects, Error> {
    let namespace = PodKey::of(pod).namespace;
    let mut objects = Objects::default();
    for source in sources {
        if let Some(reference) = &source.config_map
            && let Some(object) = context.cluster.config_map(&namespace, &reference.name).await?
        {
            objects.config_maps.insert(reference.name.clone(), object);
        }
        if let Some(reference) = &source.secret
            && let Some(object) = context.cluster.secret(&namespace, &reference.name).await?
        {
            objects.secrets.insert(reference.name.clone(), object);
        }
    }
    Ok(objects)
}
