//! Puts a set of files into a directory so that readers see the old set or the new one, never a mixture: the files live in a fresh
//! directory, `..data` is a link to it that is swapped by one rename, and every visible name is a link through `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::ownership;
use super::payload::File;
use crate::error::Error;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes `directory` show exactly `files`. Does nothing when it already does.
///
/// # Errors
/// A file operation failed; the old set is still whole.
pub fn write(directory: &Path, files: &BTreeMap<String, File>, pod: &Pod) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).map_err(Error::file("change the mode of", directory))?;
    let data = directory.join(DATA);
    if is_current(&data, files) {
        // Whoever wrote them may have died before the last steps.
        show_names(directory, files)?;
        return remove_old_sets(directory);
    }
    let stamp = Timestamp::now().as_nanosecond();
    let fresh_name = format!("..{stamp}");
    let fresh = directory.join(&fresh_name);
    fs::create_dir(&fresh).map_err(Error::file("create", &fresh))?;
    for (path, file) in files {
        write_file(&fresh.join(path), file)?;
    }
    ownership::read_only(&fresh, pod)?;
    let next = directory.join(NEXT);
    let _ = fs::remove_file(&next);
    symlink(&fresh_name, &next).map_err(Error::file("link", &next))?;
    fs::rename(&next, &data).map_err(Error::file("rename", &next))?;
    show_names(directory, files)?;
    remove_old_sets(directory)
}

/// True when a whole set of files was put there before.
pub fn is_there(directory: &Path) -> bool {
    directory.join(DATA).exists()
}

/// Removes every set but the one that is shown.
fn remove_old_sets(directory: &Path) -> Result<(), Error> {
    let shown = fs::read_link(directory.join(DATA)).unwrap_or_default();
    for entry in fs::read_dir(directory).map_err(Error::file("read", directory))?.flatten() {
        let name = entry.file_name();
        let is_set = name.to_str().is_some_and(|n| n.starts_with("..")) && entry.file_type().is_ok_and(|t| t.is_dir());
        if is_set
            && name != shown.as_os_str()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, path = %entry.path().display(), "old files of a volume not removed");
        }
    }
    Ok(())
}

fn write_file(path: &Path, file: &File) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    fs::write(path, &file.data).map_err(Error::file("write", path))?;
    // The umask has a say at creation; the mode must be exact.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode)).map_err(Error::file("change the mode of", path))?;
    if file.owner.is_some() {
        std::os::unix::fs::chown(path, file.owner, None).map_err(Error::file("change the owner of", path))?;
    }
    Ok(())
}

/// Makes the visible links equal to the top-level names of the files.
fn show_names(directory: &Path, files: &BTreeMap<String, File>) -> Result<(), Error> {
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(Error::file("link", &link))?;
        }
    }
    for entry in fs::read_dir(directory).map_err(Error::file("read", directory))?.flatten() {
        let name = entry.file_name();
        let shown = name.to_str().is_some_and(|n| n.starts_with("..") || names.contains(n));
        if !shown {
            fs::remove_file(entry.path()).map_err(Error::file("remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn is_current(data: &Path, files: &BTreeMap<String, File>) -> bool {
    if !data.exists() {
        return false;
    }
    let mut found = BTreeSet::new();
    list(data, Path::new(""), &mut found);
    found.len() == files.len()
        && files.iter().all(|(path, file)| found.contains(path) && fs::read(data.join(path)).is_ok_and(|bytes| bytes == file.data))
}

fn list(root: &Path, below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            list(root, &path, found);
        } else if let Some(text) = path.to_str() {
            found.insert(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
        list.iter().map(|(p, d)| ((*p).to_owned(), File { data: d.as_bytes().to_vec(), mode: 0o640, owner: None })).collect()
    }

    fn visible(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.starts_with(".."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_set_replaces_the_old_one_and_nothing_stays_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v");
        write(&path, &files(&[("a", "1"), ("d/b", "2")]), &Pod::default()).unwrap();
        assert_eq!(fs::read_to_string(path.join("d/b")).unwrap(), "2");
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o7777, 0o640);
        let link = fs::read_link(path.join(DATA)).unwrap();
        write(&path, &files(&[("a", "1"), ("d/b", "2")]), &Pod::default()).unwrap();
        assert_eq!(fs::read_link(path.join(DATA)).unwrap(), link, "an equal set is left alone");
        write(&path, &files(&[("a", "3"), ("c", "4")]), &Pod::default()).unwrap();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "3");
        assert_eq!(visible(&path), ["a", "c"]);
        assert!(!path.join(link).exists());
    }

    #[test]
    fn what_a_writer_that_died_left_behind_is_mended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let wanted = files(&[("a", "1"), ("b", "2")]);
        write(path, &wanted, &Pod::default()).unwrap();
        fs::remove_file(path.join("b")).unwrap();
        fs::create_dir(path.join("..5")).unwrap();
        write(path, &wanted, &Pod::default()).unwrap();
        assert_eq!(visible(path), ["a", "b"]);
        assert!(!path.join("..5").exists());
        assert!(is_there(path) && !is_there(&path.join("none")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn after_any_two_writes_the_second_set_is_visible(
            first in prop::collection::btree_map("[a-c](/[a-c])?", "[a-z]{0,3}", 0..4),
            second in prop::collection::btree_map("[d-f](/[a-c])?", "[a-z]{0,3}", 0..4),
        ) {
            let clean = |m: BTreeMap<String, String>| -> BTreeMap<String, File> {
                // A name cannot be a file and a directory at once.
                let names: BTreeSet<String> = m.keys().filter(|k| !k.contains('/')).cloned().collect();
                m.into_iter().filter(|(k, _)| !k.contains('/') || !names.contains(&k[..1])).map(|(k, v)| (k, File { data: v.into_bytes(), mode: 0o600, owner: None })).collect()
            };
            let directory = tempfile::tempdir().unwrap();
            write(directory.path(), &clean(first), &Pod::default()).unwrap();
            let second = clean(second);
            write(directory.path(), &second, &Pod::default()).unwrap();
            for (path, file) in &second {
                prop_assert_eq!(&fs::read(directory.path().join(path)).unwrap(), &file.data);
            }
            let tops: BTreeSet<&str> = second.keys().map(|k| &k[..1]).collect();
            prop_assert_eq!(visible(directory.path()).len(), tops.len());
        }
    }
}
