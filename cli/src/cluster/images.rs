//! The images of a local cluster, built from programs of this host as OCI archives (image-spec 1.0), and imported into containerd.
//! There is no registry to pull them from.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sandbox image: a process that waits.
pub const PAUSE: &str = "registry.orknet.local/pause:1";
/// A shell with the usual small programs.
pub const BUSYBOX: &str = "registry.orknet.local/busybox:1";

/// A file that goes into an image.
pub struct FileInImage {
    /// Path inside, without leading slash.
    pub path: String,
    pub content: Vec<u8>,
    pub mode: u32,
}

/// What an image is made of: one layer, and what runs by default.
pub struct Image {
    pub name: String,
    pub files: Vec<FileInImage>,
    /// Link (path inside) and what it points at.
    pub links: Vec<(String, String)>,
    pub directories: Vec<(&'static str, u32)>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
}

/// An image with the shell and programs of this host in /usr/local/bin, with the shared libraries that they need.
pub fn with_programs(name: &str, busybox: &Path, programs: &[PathBuf]) -> Result<Image> {
    let mut image = built_in(busybox)?.pop().context("there is no base image")?;
    image.name = name.to_owned();
    for program in programs {
        let base = program.file_name().with_context(|| format!("{} is no program", program.display()))?.to_string_lossy().into_owned();
        for file in from_host_with_libraries(program, &format!("usr/local/bin/{base}"))? {
            if !image.files.iter().any(|there| there.path == file.path) {
                image.files.push(file);
            }
        }
    }
    Ok(image)
}

/// A program of the host at `path`, and every shared library that it needs where the host has it.
fn from_host_with_libraries(program: &Path, path: &str) -> Result<Vec<FileInImage>> {
    let libraries = libraries(program)?;
    let libraries = libraries.iter().map(|library| from_host(Path::new(library), library.trim_start_matches('/')));
    [from_host(program, path)].into_iter().chain(libraries).collect()
}

fn from_host(source: &Path, path: &str) -> Result<FileInImage> {
    let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    Ok(file(path, content, 0o755))
}

/// What the dynamic linker would load: absolute paths. A static program needs nothing.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned).collect())
}

/// The images that every local cluster has, from the host's busybox, static or not: the sandbox's, then the shell.
pub fn built_in(busybox: &Path) -> Result<Vec<Image>> {
    let program = || from_host_with_libraries(busybox, "bin/busybox");
    let list = Command::new(busybox).arg("--list").output().with_context(|| format!("cannot run {}", busybox.display()))?;
    let applets = String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox").map(str::to_owned).collect::<Vec<_>>();
    let shell = Image {
        name: BUSYBOX.to_owned(),
        files: program()?
            .into_iter()
            .chain([
                file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_vec(), 0o644),
                file("etc/group", b"root:x:0:\nnogroup:x:65534:\n".to_vec(), 0o644),
            ])
            .collect(),
        links: applets.iter().map(|applet| (format!("bin/{applet}"), "busybox".to_owned())).collect(),
        directories: vec![
            ("bin", 0o755),
            ("etc", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("var", 0o755),
            ("proc", 0o755),
            ("sys", 0o755),
            ("dev", 0o755),
        ],
        entrypoint: vec![],
        command: vec!["sh".to_owned()],
    };
    let pause = Image {
        name: PAUSE.to_owned(),
        files: program()?,
        links: vec![],
        directories: vec![("bin", 0o755)],
        // As long as the applet can wait: 68 years.
        entrypoint: ["/bin/busybox", "sleep", "2147483647"].map(str::to_owned).to_vec(),
        command: vec![],
    };
    Ok(vec![pause, shell])
}

fn file(path: &str, content: Vec<u8>, mode: u32) -> FileInImage {
    FileInImage { path: path.to_owned(), content, mode }
}

/// Writes an OCI archive. The same image gives the same bytes.
pub fn write_archive(image: &Image, target: &Path) -> Result<()> {
    let layer = Blob::new(layer(image)?);
    let config = Blob::new(to_bytes(&json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Entrypoint": image.entrypoint, "Cmd": image.command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created_by": "orknet"}],
    }))?);
    let manifest = Blob::new(to_bytes(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?);
    let mut in_index = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    in_index["annotations"] = json!({"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag});
    let index = to_bytes(&json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [in_index]}))?;

    let fresh = target.with_extension("new");
    let output = File::create(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    let mut archive = tar::Builder::new(std::io::BufWriter::new(output));
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut archive, "index.json", &index, 0o644)?;
    for blob in [&layer, &config, &manifest] {
        append(&mut archive, &format!("blobs/sha256/{}", blob.digest.trim_start_matches("sha256:")), &blob.content, 0o644)?;
    }
    archive.into_inner().and_then(|mut buffer| buffer.flush()).context("cannot finish the archive")?;
    fs::rename(&fresh, target).with_context(|| format!("cannot write {}", target.display()))
}

fn layer(image: &Image) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode) in &image.directories {
        let mut header = header(0, *mode, tar::EntryType::Directory);
        layer.append_data(&mut header, format!("{path}/"), std::io::empty()).context("cannot write a layer")?;
    }
    for file in &image.files {
        append(&mut layer, &file.path, &file.content, file.mode)?;
    }
    for (path, target) in &image.links {
        let mut header = header(0, 0o777, tar::EntryType::Symlink);
        layer.append_link(&mut header, path, target).context("cannot write a layer")?;
    }
    layer.into_inner().context("cannot finish a layer")
}

fn append<W: Write>(archive: &mut tar::Builder<W>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = header(content.len() as u64, mode, tar::EntryType::Regular);
    archive.append_data(&mut header, path, content).with_context(|| format!("cannot add {path} to an archive"))
}

fn header(size: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

/// Content and its digest, which is computed once.
struct Blob {
    content: Vec<u8>,
    digest: String,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        let digest = digest(&content);
        Self { content, digest }
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.content.len()})
}

fn to_bytes(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("cannot write JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_program_comes_with_the_libraries_that_it_needs_and_no_others() {
        let paths = |program: &str| -> Vec<String> {
            from_host_with_libraries(Path::new(program), "bin/x").unwrap().into_iter().map(|file| file.path).collect()
        };
        let dynamic = paths("/bin/sh");
        assert_eq!(dynamic[0], "bin/x");
        assert!(
            dynamic.iter().any(|path| path.contains("ld-linux")) && dynamic.iter().any(|path| path.ends_with("libc.so.6")),
            "{dynamic:?}"
        );
        let script = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(paths(script.path().to_str().unwrap()), ["bin/x"]);
    }

    #[test]
    fn an_archive_names_its_image_and_its_digests_hold() {
        let directory = tempfile::tempdir().unwrap();
        let image = Image {
            name: "registry.example/x:7".into(),
            files: vec![file("bin/x", b"content".to_vec(), 0o755)],
            links: vec![("bin/y".into(), "x".into())],
            directories: vec![("bin", 0o755)],
            entrypoint: vec!["/bin/x".into()],
            command: vec![],
        };
        let path = directory.path().join("x.tar");
        write_archive(&image, &path).unwrap();
        let mut names = Vec::new();
        for entry in tar::Archive::new(File::open(&path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(expected) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(digest(&content), format!("sha256:{expected}"));
            }
            if name == "index.json" {
                assert!(String::from_utf8(content).unwrap().contains("registry.example/x:7"));
            }
            names.push(name);
        }
        assert_eq!(names.len(), 5);
    }
}
