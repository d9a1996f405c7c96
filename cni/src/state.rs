//! Attachments on disk: one JSON file each. The plugin's memory between ADD and DEL, and what the agent rebuilds itself from.

use crate::error::{CniError, Code};
use crate::protocol::{Attachment, AttachmentName};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The attachments of a state folder.
#[derive(Debug)]
pub struct Attachments {
    folder: PathBuf,
}

impl Attachments {
    /// Names the folder; it is made when something is written.
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("attachments") }
    }

    /// Writes one attachment so that a crash leaves either all of it or nothing.
    pub fn put(&self, attachment: &Attachment) -> Result<(), CniError> {
        let path = self.path(&attachment.attachment);
        let partial = path.with_extension("partial");
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec(attachment)?)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| failed("writing", &path, error))
    }

    /// One attachment, if it is known.
    pub fn get(&self, name: &AttachmentName) -> Result<Option<Attachment>, CniError> {
        read(&self.path(name))
    }

    /// Names of all attachments that have a file, whether or not it can be read.
    pub fn names(&self) -> Result<Vec<AttachmentName>, CniError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("reading", &self.folder, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| failed("reading", &self.folder, error))?.file_name();
            names.extend(file.to_str().and_then(name_of));
        }
        Ok(names)
    }

    /// Every attachment. Files that cannot be read are named in the second list and do not hide the others.
    pub fn all(&self) -> Result<(Vec<Attachment>, Vec<CniError>), CniError> {
        let (mut attachments, mut unreadable) = (Vec::new(), Vec::new());
        for name in self.names()? {
            match self.get(&name) {
                Ok(found) => attachments.extend(found),
                Err(error) => unreadable.push(error),
            }
        }
        Ok((attachments, unreadable))
    }

    /// Removes one attachment; nothing is fine.
    pub fn remove(&self, name: &AttachmentName) -> Result<(), CniError> {
        let path = self.path(name);
        for path in [path.with_extension("partial"), path] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing", &path, error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Container ids have no slash and interface names have none either, so the path stays in the folder.
    fn path(&self, name: &AttachmentName) -> PathBuf {
        self.folder.join(format!("{}@{}.json", name.container_id, name.ifname))
    }
}

/// The inverse of [`Attachments::path`]; `None` for files that are not whole.
fn name_of(file: &str) -> Option<AttachmentName> {
    // No container id has an @ (it is alphanumeric, with dots, dashes and underscores).
    let (container_id, ifname) = file.strip_suffix(".json")?.split_once('@')?;
    Some(AttachmentName { container_id: container_id.to_owned(), ifname: ifname.to_owned() })
}

fn read(path: &Path) -> Result<Option<Attachment>, CniError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed("reading", path, error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path, error)),
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> CniError {
    CniError::new(Code::Io, format!("{doing} {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MacAddress, PodName};

    fn attachment(container_id: &str) -> Attachment {
        Attachment {
            attachment: AttachmentName { container_id: container_id.into(), ifname: "eth0".into() },
            pod: PodName::default(),
            netns: "/run/netns/x".into(),
            host_ifname: "ork0".into(),
            host_ifindex: 7,
            host_mac: MacAddress([2, 0, 0, 0, 0, 1]),
            pod_mac: MacAddress([2, 0, 0, 0, 0, 2]),
            addresses: vec!["10.0.0.2".parse().unwrap()],
            host_ports: Vec::new(),
        }
    }

    #[test]
    fn what_was_written_is_read_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let attachments = Attachments::new(folder.path());
        let one = attachment("c1");
        assert_eq!(attachments.get(&one.attachment).unwrap(), None);
        attachments.put(&one).unwrap();
        assert_eq!(attachments.get(&one.attachment).unwrap(), Some(one.clone()));
        attachments.remove(&one.attachment).unwrap();
        attachments.remove(&one.attachment).unwrap();
        assert_eq!(attachments.all().unwrap().0, []);
    }

    #[test]
    fn one_broken_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let attachments = Attachments::new(folder.path());
        attachments.put(&attachment("c1")).unwrap();
        fs::write(folder.path().join("attachments/c2@eth0.json"), "{").unwrap();
        fs::write(folder.path().join("attachments/c3@eth0.partial"), "{").unwrap();
        let mut names: Vec<_> = attachments.names().unwrap().into_iter().map(|name| name.container_id).collect();
        names.sort();
        assert_eq!(names, ["c1", "c2"]);
        let (good, bad) = attachments.all().unwrap();
        assert_eq!((good, bad.len()), (vec![attachment("c1")], 1));
    }
}
