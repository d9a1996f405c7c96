//! Rotates logs that have grown too large: renames the file, tells containerd to open a new one, removes the oldest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::cri::proto::ContainerState;
use crate::error::Error;
use crate::pods::Context;

/// Time between looks.
const PERIOD: Duration = Duration::from_secs(10);

/// Rotates until the future is dropped.
pub async fn run(context: Arc<Context>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let large = large_files(&context.paths.logs(), context.config.log_max_bytes);
        if !large.is_empty()
            && let Err(error) = rotate(&context, &large).await
        {
            tracing::warn!(%error, "logs not rotated");
        }
    }
}

/// Current logs above the size, in `<pod>/<container>/<attempt>.log`.
fn large_files(root: &Path, max_bytes: u64) -> Vec<PathBuf> {
    let children = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let files = children(root).into_iter().flat_map(|pod| children(&pod)).flat_map(|container| children(&container));
    files
        .filter(|file| file.extension().is_some_and(|e| e == "log"))
        .filter(|file| std::fs::metadata(file).is_ok_and(|m| m.len() > max_bytes))
        .collect()
}

async fn rotate(context: &Context, large: &[PathBuf]) -> Result<(), Error> {
    for container in context.cri.list_containers(Default::default()).await? {
        if container.state != ContainerState::ContainerRunning as i32 {
            continue;
        }
        let Some(status) = context.cri.container_status(&container.id).await? else { continue };
        let Some(file) = large.iter().find(|f| f.as_os_str() == status.log_path.as_str()) else { continue };
        if let Err(error) = rotate_one(context, &container.id, file).await {
            tracing::warn!(log = %file.display(), %error, "a log is not rotated; trying again");
        }
    }
    Ok(())
}

async fn rotate_one(context: &Context, container: &str, file: &Path) -> Result<(), Error> {
    let aside = aside(file, Timestamp::now());
    std::fs::rename(file, &aside).map_err(Error::file("rename", file))?;
    if let Err(error) = context.cri.reopen_log(container).await {
        // containerd still writes into the old file: it must have its name back.
        std::fs::rename(&aside, file).map_err(Error::file("rename", &aside))?;
        return Err(error);
    }
    remove_oldest(file, context.config.log_max_files);
    Ok(())
}

fn aside(file: &Path, now: Timestamp) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{:020}", now.as_nanosecond()));
    name.into()
}

/// Keeps `max_files` files of a run, the current one included.
fn remove_oldest(file: &Path, max_files: u32) {
    let (Some(parent), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str())) else { return };
    let prefix = format!("{name}.");
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut old: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(&prefix))).map(|e| e.path()).collect();
    old.sort();
    let kept = usize::try_from(max_files.saturating_sub(1)).unwrap_or(usize::MAX);
    for path in old.iter().rev().skip(kept) {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::debug!(%error, path = %path.display(), "old log not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_found_and_the_oldest_go() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("n_p_u/c");
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("0.log");
        std::fs::write(&file, "0123456789").unwrap();
        std::fs::write(directory.join("1.log"), "x").unwrap();
        assert_eq!(large_files(root.path(), 5), vec![file.clone()]);
        let at = |s| aside(&file, Timestamp::from_second(s).unwrap());
        for second in [3, 1, 2] {
            std::fs::write(at(second), "").unwrap();
        }
        remove_oldest(&file, 3);
        assert!(at(3).exists() && at(2).exists() && !at(1).exists() && file.exists());
    }
}
