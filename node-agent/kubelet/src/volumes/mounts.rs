//! A container's mounts: its volume mounts, `/etc/hosts`, the termination message.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::setup::Ready;
use super::sub_path;
use crate::containers::config::TERMINATION_PATH;
use crate::containers::expand::{expand, unresolved};
use crate::cri::proto::{Mount, MountPropagation};
use crate::error::Error;
use crate::paths::Paths;
use crate::pods::PodKey;

/// Makes the mounts of one container run, with the files they need.
///
/// # Errors
/// A volume is not there, a sub-path leads out of its volume or has an unknown variable, or a file cannot be made.
pub fn mounts(
    paths: &Paths,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    volumes: &BTreeMap<String, Ready>,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, Error> {
    let uid = PodKey::of(pod).uid;
    let mut made = Vec::new();
    for (index, declared) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = volumes.get(&declared.name).ok_or_else(|| Error::Invalid(format!("volume {} is not ready", declared.name)))?;
        let sub = sub_path_of(declared, environment)?;
        let host_path = match sub {
            Some(sub) => {
                let parent = paths.sub_paths(&uid).join(&declared.name).join(&container.name).join(attempt.to_string());
                let place = parent.join(index.to_string());
                sub_path::bind(&volume.path, &sub, &place)?
            }
            None => volume.path.clone(),
        };
        made.push(Mount {
            container_path: declared.mount_path.clone(),
            host_path: host_path.to_string_lossy().into_owned(),
            readonly: declared.read_only.unwrap_or(false) || volume.read_only,
            propagation: match declared.mount_propagation.as_deref() {
                Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
                Some("Bidirectional") => MountPropagation::PropagationBidirectional,
                _ => MountPropagation::PropagationPrivate,
            } as i32,
            ..Mount::default()
        });
    }
    let taken = |path: &str| container.volume_mounts.iter().flatten().any(|m| Path::new(&m.mount_path) == Path::new(path));
    if !taken("/etc/hosts") {
        made.push(own("/etc/hosts", &paths.etc_hosts(&uid)));
    }
    let termination = container.termination_message_path.as_deref().filter(|p| !p.is_empty()).unwrap_or(TERMINATION_PATH);
    if !taken(termination) {
        let file = paths.termination_message(&uid, &container.name, attempt);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        }
        fs::write(&file, "").map_err(Error::file("create", &file))?;
        // Whoever the container runs as must be able to write it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).map_err(Error::file("change the mode of", &file))?;
        made.push(own(termination, &file));
    }
    Ok(made)
}

fn own(container_path: &str, host_path: &Path) -> Mount {
    Mount { container_path: container_path.to_owned(), host_path: host_path.to_string_lossy().into_owned(), ..Mount::default() }
}

fn sub_path_of(mount: &VolumeMount, environment: &BTreeMap<String, String>) -> Result<Option<String>, Error> {
    if let Some(expression) = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
        let lookup = |name: &str| environment.get(name).cloned();
        if let Some(name) = unresolved(expression, lookup) {
            return Err(Error::Invalid(format!("missing value for \"{name}\" in subPathExpr \"{expression}\"")));
        }
        return Ok(Some(expand(expression, lookup)));
    }
    Ok(mount.sub_path.clone().filter(|s| !s.is_empty()))
}
