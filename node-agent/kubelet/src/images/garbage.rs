//! Image garbage: when the disk that holds images is nearly full, images go that no container uses, those used longest ago first. Only
//! images that this kubelet has pulled go; what was put on the node in another way may not be had again. One empty file per pulled
//! image, named by its id, says by its time when the image was last used.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::error::Error;
use crate::node::machine::{Disk, disk};
use crate::paths::Paths;
use crate::pods::Context;

/// Time between looks.
const PERIOD: Duration = Duration::from_secs(300);
/// An image stays at least this long after its last use: a pod that needs it may be about to start.
const YOUNGEST: Duration = Duration::from_secs(120);

/// An image that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unused {
    id: String,
    size: u64,
    used: SystemTime,
}

/// Collects until the future is dropped.
pub async fn run(context: Arc<Context>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        match collect(&context, SystemTime::now()).await {
            Ok(removed) if !removed.is_empty() => tracing::info!(?removed, "images removed: the disk is nearly full"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "images not collected"),
        }
    }
}

/// Remembers that this kubelet has pulled an image.
///
/// # Errors
/// The file cannot be written; the image stays for good then.
pub fn record(paths: &Paths, id: &str) -> Result<(), Error> {
    let directory = paths.pulled_images();
    let path = directory.join(id);
    fs::create_dir_all(&directory).and_then(|()| File::create(&path)).map(drop).map_err(Error::file("create", &path))
}

/// Removes what may go at `now`; answers with the ids.
///
/// # Errors
/// containerd cannot be asked, or refuses to remove an image.
pub async fn collect(context: &Context, now: SystemTime) -> Result<Vec<String>, Error> {
    let directory = context.paths.pulled_images();
    let mut times = last_uses(&directory);
    if times.is_empty() {
        return Ok(Vec::new());
    }
    let containers = context.cri.list_containers(HashMap::new()).await?;
    let used: HashSet<String> = containers.into_iter().flat_map(|c| [c.image_ref, c.image.unwrap_or_default().image]).collect();
    let mut unused = Vec::new();
    for image in context.cri.list_images().await? {
        let Some(time) = times.remove(&image.id) else { continue };
        let names = [&image.id].into_iter().chain(&image.repo_tags).chain(&image.repo_digests);
        if names.into_iter().any(|name| used.contains(name)) {
            // Its time is the last at which it was seen in use. An image whose file cannot be touched goes a little early at worst.
            let _ = File::open(directory.join(&image.id)).and_then(|file| file.set_modified(now));
        } else if !image.pinned {
            unused.push(Unused { id: image.id, size: image.size, used: time });
        }
    }
    // What is left was removed by somebody else.
    times.keys().for_each(|id| drop(fs::remove_file(directory.join(id))));
    let systems = context.cri.image_file_systems().await?;
    let place = systems.first().and_then(|s| s.fs_id.as_ref()).map(|id| id.mountpoint.clone()).unwrap_or_default();
    let Some(disk) = disk(Path::new(&place)) else { return Ok(Vec::new()) };
    let chosen = choose(unused, disk, &context.config, now);
    let mut removed = Vec::new();
    for id in chosen {
        // One that cannot go must not keep the others on a full disk.
        if let Err(error) = context.cri.remove_image(&id).await {
            tracing::warn!(image = id, %error, "an unused image is not removed");
            continue;
        }
        let _ = fs::remove_file(directory.join(&id));
        removed.push(id);
    }
    Ok(removed)
}

fn last_uses(directory: &Path) -> HashMap<String, SystemTime> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.modified().ok()?))).collect()
}

/// The images to remove so that use falls to the low mark, if it has reached the high one.
fn choose(mut unused: Vec<Unused>, disk: Disk, config: &Config, now: SystemTime) -> Vec<String> {
    let percent = |part: u8| i128::from(disk.size) * i128::from(part.min(100)) / 100;
    let in_use = i128::from(disk.size) - i128::from(disk.available);
    // At 100 there is no collection at all.
    if config.image_gc_high_percent >= 100 || in_use < percent(config.image_gc_high_percent) {
        return Vec::new();
    }
    let mut excess = in_use - percent(config.image_gc_low_percent);
    unused.retain(|image| now.duration_since(image.used).is_ok_and(|age| age >= YOUNGEST));
    unused.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.id.cmp(&b.id)));
    let needed = unused.into_iter().take_while(|image| {
        let more = excess > 0;
        excess -= i128::from(image.size);
        more
    });
    needed.map(|image| image.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_go_until_there_is_room() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let image = |id: &str, size, used| Unused { id: id.into(), size, used: at(used) };
        let all = || vec![image("new", 50, 950), image("b", 6, 200), image("a", 5, 100), image("c", 9, 300)];
        let disk = |available| Disk { size: 100, available, inodes: 0, inodes_free: 0 };
        let config = Config::default();
        for (available, want) in [(16, vec![]), (15, vec!["a"]), (14, vec!["a", "b"]), (9, vec!["a", "b"]), (0, vec!["a", "b", "c"])] {
            assert_eq!(choose(all(), disk(available), &config, at(1000)), want, "{available} left");
        }
        let never = Config { image_gc_high_percent: 100, ..Config::default() };
        assert!(choose(all(), disk(0), &never, at(1000)).is_empty());
    }
}
