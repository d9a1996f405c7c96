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

/// Directories of every ABI version below a pin directory.
pub(crate) fn versions(pin_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_version = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix('v')).is_some_and(|number| number.parse::<u32>().is_ok())
    };
    Ok(entries(pin_dir)?.into_iter().filter(is_version).collect())
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
