//! Two images from the host's static busybox, as one OCI archive: a shell, and the sandbox's image.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A shell with busybox's programs.
pub const SHELL: &str = "localhost/orknet-test/shell:1";
/// The sandbox's image.
pub const PAUSE: &str = "localhost/orknet-test/pause:1";

/// Writes the archive.
pub fn write(target: &Path) -> Result<()> {
    let program = std::fs::read("/bin/busybox").context("busybox-static is not installed")?;
    let listed = Command::new("/bin/busybox").arg("--list").output()?;
    ensure!(listed.status.success(), "busybox does not list its programs");
    let names = String::from_utf8(listed.stdout)?;
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "bin/busybox", &program, 0o755)?;
    for name in names.lines().filter(|name| *name != "busybox") {
        let mut header = header(0, 0o777);
        header.set_entry_type(tar::EntryType::Symlink);
        layer.append_link(&mut header, format!("bin/{name}"), "busybox")?;
    }
    for directory in ["tmp", "proc", "sys", "dev", "etc"] {
        let mut header = header(0, 0o1777);
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, format!("{directory}/"), std::io::empty())?;
    }
    let layer = layer.into_inner()?;
    let mut archive = tar::Builder::new(std::fs::File::create(target)?);
    add(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    add_blob(&mut archive, &layer)?;
    let mut manifests = Vec::new();
    for (name, command) in [(SHELL, json!(["/bin/sh"])), (PAUSE, json!(["/bin/busybox", "sleep", "2147483647"]))] {
        let config = serde_json::to_vec(&json!({"architecture": "amd64", "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}}))?;
        let manifest = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config), "layers": [descriptor("layer.v1.tar", &layer)]}))?;
        add_blob(&mut archive, &config)?;
        add_blob(&mut archive, &manifest)?;
        let mut entry = descriptor("manifest.v1+json", &manifest);
        entry["annotations"] = json!({"io.containerd.image.name": name});
        manifests.push(entry);
    }
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": manifests}))?;
    add(&mut archive, "index.json", &index, 0o644)?;
    archive.finish().context("finish the archive")
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header
}

fn add<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    archive.append_data(&mut header(bytes.len() as u64, mode), path, bytes).with_context(|| format!("add {path}"))
}

fn add_blob<W: std::io::Write>(archive: &mut tar::Builder<W>, bytes: &[u8]) -> Result<()> {
    add(archive, &format!("blobs/sha256/{}", digest(bytes).trim_start_matches("sha256:")), bytes, 0o644)
}
