//! Address management: one file per address that is in use, named by the address, with its owner inside.
//!
//! Rules: an address is given out by creating its file exclusively while holding the folder's lock, and the file is on disk before
//! anybody learns of it. So an address never has two owners, whatever process dies when. Search goes round the prefix, beginning
//! after the address given out last, so that a freed address rests as long as possible.

use crate::error::{CniError, Code};
use crate::protocol::AttachmentName;
use ipnet::IpNet;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The addresses of a state folder.
#[derive(Debug)]
pub struct Addresses {
    folder: PathBuf,
    last: PathBuf,
    lock: PathBuf,
}

impl Addresses {
    /// Opens the folder, making it if need be.
    pub fn open(state_dir: &Path) -> Result<Self, CniError> {
        let folder = state_dir.join("addresses");
        let io = |error| failed("making", &folder, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io)?;
        Ok(Self { last: state_dir.join("last-address"), lock: state_dir.join("lock"), folder })
    }

    /// One free address of every prefix, on disk as `owner`'s. Blocks while another process is choosing. All or none.
    pub fn allocate(&self, prefixes: &[IpNet], owner: &AttachmentName) -> Result<Vec<IpAddr>, CniError> {
        let _locked = self.lock()?;
        let mut taken = self.taken()?;
        let mut given = Vec::new();
        for prefix in prefixes {
            match self.take_one(prefix, &mut taken, owner) {
                Ok(address) => given.push(address),
                Err(error) => {
                    given.iter().for_each(|address| drop(fs::remove_file(self.path(*address))));
                    return Err(error);
                }
            }
        }
        Ok(given)
    }

    /// Frees what `owner` has; nothing is fine. Returns what was freed.
    pub fn free(&self, owner: &AttachmentName) -> Result<Vec<IpAddr>, CniError> {
        let _locked = self.lock()?;
        let mut freed = Vec::new();
        for (address, found) in self.owned()? {
            if found == *owner {
                self.remove(address)?;
                freed.push(address);
            }
        }
        self.sync_folder()?;
        Ok(freed)
    }

    /// Every address that has an owner.
    pub fn owned(&self) -> Result<Vec<(IpAddr, AttachmentName)>, CniError> {
        let mut owned = Vec::new();
        for address in self.taken()? {
            let path = self.path(address);
            match fs::read_to_string(&path) {
                Ok(text) => owned.extend(parse_owner(&text).map(|owner| (address, owner))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("reading", &path, error)),
            }
        }
        Ok(owned)
    }

    fn take_one(&self, prefix: &IpNet, taken: &mut HashSet<IpAddr>, owner: &AttachmentName) -> Result<IpAddr, CniError> {
        let last = self.last_given(prefix);
        for address in candidates(prefix, last, taken.len()) {
            // A file without an owner was left by a process that died while it held the lock that we hold now.
            if taken.contains(&address) && self.has_owner(address)? {
                continue;
            }
            self.write(address, owner)?;
            self.remember_last(prefix, address)?;
            taken.insert(address);
            return Ok(address);
        }
        Err(CniError::new(Code::TryAgainLater, format!("choosing an address of {prefix}"), "all are in use"))
    }

    fn write(&self, address: IpAddr, owner: &AttachmentName) -> Result<(), CniError> {
        let path = self.path(address);
        let create = || -> io::Result<()> {
            if path.exists() {
                fs::remove_file(&path)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(format!("{}\n{}\n", owner.container_id, owner.ifname).as_bytes())?;
            file.sync_all()
        };
        create().map_err(|error| {
            let _ = fs::remove_file(&path);
            failed("writing", &path, error)
        })?;
        self.sync_folder()
    }

    fn has_owner(&self, address: IpAddr) -> Result<bool, CniError> {
        let path = self.path(address);
        fs::read_to_string(&path).map(|text| parse_owner(&text).is_some()).map_err(|error| failed("reading", &path, error))
    }

    fn taken(&self) -> Result<HashSet<IpAddr>, CniError> {
        let read = || -> io::Result<HashSet<IpAddr>> {
            let mut taken = HashSet::new();
            for entry in fs::read_dir(&self.folder)? {
                taken.extend(entry?.file_name().to_str().and_then(|name| name.parse::<IpAddr>().ok()));
            }
            Ok(taken)
        };
        read().map_err(|error| failed("reading", &self.folder, error))
    }

    fn remove(&self, address: IpAddr) -> Result<(), CniError> {
        let path = self.path(address);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path, error)),
            _ => Ok(()),
        }
    }

    /// The lock is held until the file is closed, also by the death of the process.
    fn lock(&self) -> Result<File, CniError> {
        let lock = || -> io::Result<File> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.lock)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| failed("locking", &self.lock, error))
    }

    /// Losing this file costs no more than an early reuse, so it is not forced to disk.
    fn remember_last(&self, prefix: &IpNet, address: IpAddr) -> Result<(), CniError> {
        let path = self.last_path(prefix);
        fs::write(&path, address.to_string()).map_err(|error| failed("writing", &path, error))
    }

    fn last_given(&self, prefix: &IpNet) -> Option<IpAddr> {
        fs::read_to_string(self.last_path(prefix)).ok()?.trim().parse().ok().filter(|address| prefix.contains(address))
    }

    fn last_path(&self, prefix: &IpNet) -> PathBuf {
        self.last.with_extension(if prefix.addr().is_ipv4() { "v4" } else { "v6" })
    }

    fn path(&self, address: IpAddr) -> PathBuf {
        self.folder.join(address.to_string())
    }

    fn sync_folder(&self) -> Result<(), CniError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("writing", &self.folder, error))
    }
}

/// Addresses to try, going round from the one after `last`: one more than are taken is enough to meet a free one.
fn candidates(prefix: &IpNet, last: Option<IpAddr>, taken: usize) -> impl Iterator<Item = IpAddr> + use<> {
    let network = number(prefix.network());
    let bits = if prefix.addr().is_ipv4() { 32 } else { 128 } - u32::from(prefix.prefix_len());
    // Host part 0 names the network (in IPv6 the routers' anycast address), 1 is left for a gateway, the last IPv4 one is broadcast.
    let first: u128 = 2;
    let end = 1u128.checked_shl(bits).map_or(u128::MAX, |size| if prefix.addr().is_ipv4() { size.saturating_sub(1) } else { size });
    let count = end.saturating_sub(first);
    let start = last.map_or(0, |last| (number(last) - network).saturating_add(1).saturating_sub(first));
    let tries = count.min(taken as u128 + 1);
    let is_v4 = prefix.addr().is_ipv4();
    (0..tries).map(move |step| address(is_v4, network + first + (start + step) % count))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(is_v4: bool, number: u128) -> IpAddr {
    if is_v4 { IpAddr::V4((number as u32).into()) } else { IpAddr::V6(number.into()) }
}

fn parse_owner(text: &str) -> Option<AttachmentName> {
    // Without its last line break the file was not written to its end.
    let (container_id, ifname) = text.strip_suffix('\n')?.split_once('\n')?;
    Some(AttachmentName { container_id: container_id.to_owned(), ifname: ifname.to_owned() })
}

fn failed(doing: &str, path: &Path, error: io::Error) -> CniError {
    CniError::new(Code::Io, format!("{doing} {}", path.display()), error)
}

#[cfg(test)]
mod tests;
