//! The BPF file system: where pins live, and mounting it where nobody has.

use crate::Error;
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use orknet_abi::ABI_VERSION;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where distributions mount the BPF file system; nothing can be made there before.
const STANDARD: &str = "/sys/fs/bpf";

/// The pins of one ABI version below one pin directory.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    pub(crate) fn new(pin_dir: &Path) -> Self {
        Self { root: pin_dir.join(version_name(ABI_VERSION)) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Gives the directory another name, under which everything in it goes on working; answers the name. [`versions`] finds it.
    pub(crate) fn set_aside(&self) -> Result<PathBuf, Error> {
        let free = (1_u32..).map(|number| aside_name(&self.root, number)).find(|path| !path.exists());
        let aside = free.ok_or_else(|| Error::file("find a name beside", &self.root)(io::ErrorKind::AlreadyExists.into()))?;
        fs::rename(&self.root, &aside).map_err(Error::file("set aside", &self.root))?;
        Ok(aside)
    }

    pub(crate) fn make(&self) -> Result<(), Error> {
        for folder in [self.root.join("maps"), self.links()] {
            fs::create_dir_all(&folder).map_err(Error::file("make the pin directory", &folder))?;
        }
        Ok(())
    }
}

/// The directory of one ABI version.
fn version_name(version: u32) -> String {
    format!("v{version}")
}

/// Where maps of the same version go that do not fit: `v1-1`, `v1-2`.
fn aside_name(root: &Path, number: u32) -> PathBuf {
    let mut name = root.as_os_str().to_owned();
    name.push(format!("-{number}"));
    name.into()
}

/// Directories of every ABI version below a pin directory, and those that were set aside.
pub(crate) fn versions(pin_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries(pin_dir)?.into_iter().filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_version)).collect())
}

/// The same without ours, the newest first.
pub(crate) fn other_versions(pin_dir: &Path, ours: &Pins) -> Result<Vec<PathBuf>, Error> {
    let mut others: Vec<PathBuf> = versions(pin_dir)?.into_iter().filter(|version| version != ours.root()).collect();
    others.sort_by_key(|path| std::cmp::Reverse(path.file_name().and_then(|name| name.to_str()).and_then(age)));
    Ok(others)
}

/// The version of a directory of pins, also of one that was set aside.
pub(crate) fn version_of(path: &Path) -> Option<u64> {
    path.file_name().and_then(|name| name.to_str()).and_then(age).map(|(version, _)| version)
}

/// `v` and a number, perhaps a dash and a second one.
fn is_version(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix('v').is_some_and(|numbers| match numbers.split_once('-') {
        Some((version, aside)) => is_number(version) && is_number(aside),
        None => is_number(numbers),
    })
}

/// The numbers of a version's name, in the order in which versions came to be: what is set aside is older than what took its place.
fn age(name: &str) -> Option<(u64, u64)> {
    let numbers = name.strip_prefix('v')?;
    match numbers.split_once('-') {
        Some((version, aside)) => Some((version.parse().ok()?, aside.parse().ok()?)),
        None => Some((numbers.parse().ok()?, u64::MAX)),
    }
}

/// What is in a directory; nothing if there is no such directory.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("list", folder)(error)),
    };
    listing.map(|entry| entry.map(|entry| entry.path()).map_err(Error::file("list", folder))).collect()
}

/// Sees to it that the directory exists and is on a BPF file system; mounts one if need be.
pub(crate) fn ensure(pin_dir: &Path) -> Result<(), Error> {
    let standard = Path::new(STANDARD);
    if pin_dir.starts_with(standard) && !is_bpffs(standard)? {
        mount_at(standard)?;
    }
    fs::create_dir_all(pin_dir).map_err(Error::file("make the pin directory", pin_dir))?;
    if !is_bpffs(pin_dir)? {
        mount_at(pin_dir)?;
    }
    Ok(())
}

/// Whether a directory is on a BPF file system.
pub(crate) fn is_bpffs(path: &Path) -> Result<bool, Error> {
    let info = statfs(path).map_err(|error| Error::file("inspect the file system of", path)(error.into()))?;
    Ok(info.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_at(path: &Path) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|error| Error::file("mount a BPF file system at", path)(error.into()))?;
    tracing::info!(path = %path.display(), "mounted a BPF file system");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_versions_are_told_from_others() {
        assert!(["v1", "v0", "v4711", "v1-1", "v12-34"].into_iter().all(is_version));
        assert!(age("v2") > age("v2-10") && age("v2-10") > age("v2-9") && age("v2-1") > age("v1"));
        assert!(!["", "v", "1", "v1-", "v-1", "va", "v1-2-3", "node1", "v1.old"].into_iter().any(is_version));
    }
}
