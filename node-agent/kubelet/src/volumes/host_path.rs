//! hostPath volumes: checks what is on the node, and makes what the type allows to make.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use crate::error::Error;

/// Checks `path` against the volume's type, as the API defines the types.
///
/// # Errors
/// The path is not of the type, or cannot be made.
pub fn check(path: &str, kind: &str) -> Result<(), Error> {
    let place = Path::new(path);
    if place.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(Error::Invalid(format!("hostPath {path} must not contain '..'")));
    }
    let metadata = fs::metadata(place).ok();
    let file_type = metadata.as_ref().map(fs::Metadata::file_type);
    let holds = match kind {
        "" => return if metadata.is_some() { Ok(()) } else { make_directory(place) },
        "DirectoryOrCreate" if metadata.is_none() => return make_directory(place),
        "FileOrCreate" if metadata.is_none() => return make_file(place),
        "Directory" | "DirectoryOrCreate" => file_type.is_some_and(|t| t.is_dir()),
        "File" | "FileOrCreate" => file_type.is_some_and(|t| t.is_file()),
        "Socket" => file_type.is_some_and(|t| t.is_socket()),
        "CharDevice" => file_type.is_some_and(|t| t.is_char_device()),
        "BlockDevice" => file_type.is_some_and(|t| t.is_block_device()),
        other => return Err(Error::Invalid(format!("hostPath type {other} is not known"))),
    };
    if holds { Ok(()) } else { Err(Error::Invalid(format!("hostPath type check failed: {path} is not a {}", describe(kind)))) }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::file("change the mode of", path))
}

fn make_file(path: &Path) -> Result<(), Error> {
    fs::OpenOptions::new().create(true).append(true).open(path).map_err(Error::file("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(Error::file("change the mode of", path))
}

fn describe(kind: &str) -> &'static str {
    match kind {
        "Directory" | "DirectoryOrCreate" => "directory",
        "Socket" => "socket",
        "CharDevice" => "character device",
        "BlockDevice" => "block device",
        _ => "file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_the_or_create_types_make_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        for (name, kind, ok) in [
            ("none", "Directory", false),
            ("none", "File", false),
            ("d", "DirectoryOrCreate", true),
            ("d", "Directory", true),
            ("d", "File", false),
            ("f", "FileOrCreate", true),
            ("f", "File", true),
            ("f", "Socket", false),
            ("f", "DirectoryOrCreate", false),
            ("x", "", true),
            ("x", "Directory", true),
            ("../x", "", false),
            ("x", "Nonsense", false),
        ] {
            assert_eq!(check(&at(name), kind).is_ok(), ok, "{name} {kind}");
        }
        assert!(check("/dev/null", "CharDevice").is_ok());
    }
}
