//! The files of a cluster's keys, taken from a directory of keys and put into another one.

use anyhow::{Context, Result, bail};
use orknet_auth::pki::{self, Pki};
use orknet_store::snapshot::KeptFile;
use std::path::Path;
use std::{fs, io};

/// Reads all of them. `remedy`: what to do where one is not there.
pub fn read(directory: &Path, remedy: &str) -> Result<Vec<KeptFile>> {
    let read = |name: &str| {
        let path = directory.join(name);
        let contents = fs::read(&path).with_context(|| format!("cannot read {}; remedy: {remedy}", path.display()))?;
        Ok(KeptFile { name: name.to_owned(), mode: pki::mode_of(name).unwrap_or(0o600), contents: contents.into() })
    };
    let own: Vec<KeptFile> = pki::FILES.iter().map(|(name, _)| read(name)).collect::<Result<_>>()?;
    // After the reads above, which say what to do about a directory that is not there.
    let more = pki::more_files(directory)?;
    more.iter().map(|name| read(name)).chain(own.into_iter().map(Ok)).collect()
}

/// Those of the files that are not there yet. Errors: one that is there is another; `whence` they come, and the `remedy`, are for these.
pub fn missing(files: &[KeptFile], directory: &Path, whence: &str, remedy: &str) -> Result<Vec<KeptFile>> {
    let mut missing = Vec::new();
    for file in files {
        if pki::mode_of(&file.name).is_none() {
            bail!("{whence} holds a file {}, which is none of a cluster's keys", file.name);
        }
        std::str::from_utf8(&file.contents).with_context(|| format!("{whence}'s {} is no text", file.name))?;
        let path = directory.join(&file.name);
        match fs::read(&path) {
            Ok(contents) if contents == file.contents => {}
            Ok(_) => bail!("{} is another than {whence}'s; remedy: {remedy}", path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(file.clone()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok(missing)
}

/// Writes them, and looks whether the directory can be used then.
pub fn put(files: &[KeptFile], directory: &Path) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // Those that complete the directory come last, in their order.
    let order = |file: &&KeptFile| pki::FILES.iter().position(|(name, _)| *name == file.name).map_or(0, |index| index + 1);
    let mut sorted: Vec<&KeptFile> = files.iter().collect();
    sorted.sort_by_key(order);
    for file in sorted {
        let (name, Some(mode)) = (&file.name, pki::mode_of(&file.name)) else { continue };
        let text = std::str::from_utf8(&file.contents).with_context(|| format!("{name} is no text"))?;
        pki::write_file(&directory.join(name), text, mode)?;
    }
    Pki::open(directory).with_context(|| format!("the keys in {} cannot be used", directory.display())).map(drop)
}
