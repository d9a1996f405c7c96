//! What does the server do when its disk is full?

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use orknet_tests::server::Server;
use orknet_tests::{Kubectl, eventually, faults};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

faults![root_a_full_disk_refuses_writes_with_a_status_and_loses_nothing];

/// More than the store keeps in reserve, so that it begins at all.
const DISK: &str = "size=128m,mode=0700";
const OBJECT: usize = 100_000;
const FULL: &str = "insufficient storage";

fn root_a_full_disk_refuses_writes_with_a_status_and_loses_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = Disk::mount(&directory.path().join("store"))?;
    let mut server = Server::start(directory.path())?;
    let kubectl = server.kubectl();
    let mut acknowledged = BTreeSet::new();
    for name in ["first", "second", "third"] {
        acknowledged.insert(create(&kubectl, name)?);
    }

    // The reserve is left: writes are refused, deletions are not.
    disk.fill(1 << 20)?;
    refused(&kubectl, &mut acknowledged)?;
    all_there(&kubectl, &acknowledged)?;
    kubectl.run(&["delete", "configmap", "first", "--wait=false"])?;
    acknowledged.remove("first");
    all_there(&kubectl, &acknowledged)?;

    // Not one byte is left: the server still lives and tells what it has.
    disk.fill(0)?;
    refused(&kubectl, &mut acknowledged)?;
    ensure!(kubectl.run(&["get", "--raw", "/livez"])? == "ok", "the server lives");
    // Killed now, it comes back with everything that it acknowledged.
    server.kill()?;
    server.start_again().context("the server does not start on a full disk")?;
    all_there(&kubectl, &acknowledged)?;

    // Room comes back, and writes are taken again.
    disk.empty()?;
    let name = eventually("writes to be taken again", || create(&kubectl, "room"))?;
    acknowledged.insert(name);
    kubectl.run(&["delete", "configmap", "second"])?;
    acknowledged.remove("second");
    server.kill()?;
    server.start_again()?;
    all_there(&kubectl, &acknowledged)
}

/// Writes until one is refused, which happens within a few: what was reserved before may be used up first.
fn refused(kubectl: &Kubectl, acknowledged: &mut BTreeSet<String>) -> Result<()> {
    for number in 0..50 {
        match create(kubectl, &format!("more{}-{number}", acknowledged.len())) {
            Ok(name) => acknowledged.insert(name),
            Err(error) => {
                let said = format!("{error:#}");
                ensure!(said.contains("Error from server") && said.contains(FULL), "{said}");
                return Ok(());
            }
        };
    }
    bail!("50 objects of {OBJECT} bytes fit on a full disk")
}

fn create(kubectl: &Kubectl, name: &str) -> Result<String> {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"test": "disk"}}, "data": {"long": "x".repeat(OBJECT)}});
    kubectl.run_with(&["create", "--request-timeout=60s", "-f", "-"], &object.to_string())?;
    Ok(name.to_owned())
}

/// Exactly these objects are there, each whole.
fn all_there(kubectl: &Kubectl, names: &BTreeSet<String>) -> Result<()> {
    let list = kubectl.json(&["get", "configmaps", "-l", "test=disk"])?;
    let objects = list["items"].as_array().context("there is no list")?;
    ensure!(objects.iter().all(|object| object["data"]["long"].as_str().is_some_and(|text| text.len() == OBJECT)), "one is not whole");
    let present: BTreeSet<String> = objects.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect();
    ensure!(present == *names, "acknowledged: {names:?}, there: {present:?}");
    Ok(())
}

/// A small file system in memory.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(DISK)).context("cannot mount a small disk")?;
        Ok(Self { path: path.to_owned() })
    }

    /// Until so many bytes are free.
    fn fill(&self, free: u64) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        loop {
            let status = statvfs(&self.path)?;
            let room = (status.blocks_available() * status.fragment_size()).saturating_sub(free);
            if room == 0 || file.write_all(&vec![0; room.min(1 << 20) as usize]).is_err() {
                return Ok(());
            }
        }
    }

    fn empty(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("cannot make room")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
