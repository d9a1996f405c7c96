//! Image references: whether one can be read, and what it means in full. Pure.

/// The reference with its tag: `latest` when it has neither tag nor digest. None when it cannot be read.
pub fn normalize(reference: &str) -> Option<String> {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if let Some(digest) = digest {
        let (algorithm, hex) = digest.split_once(':')?;
        let known = algorithm.chars().all(|c| c.is_ascii_alphanumeric() || "+._-".contains(c)) && !algorithm.is_empty();
        if !known || hex.len() < 32 || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
    }
    let last = name.rsplit('/').next()?;
    let (path, tag) = match last.split_once(':') {
        Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag)),
        None => (name, None),
    };
    if let Some(tag) = tag {
        let first = tag.chars().next()?;
        let fine = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !(first.is_ascii_alphanumeric() || first == '_') || tag.len() > 128 || !tag.chars().all(fine) {
            return None;
        }
    }
    let (_, components) = split_registry(path);
    let component = |c: &str| {
        !c.is_empty()
            && c.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
            && !c.starts_with(['.', '_', '-'])
            && !c.ends_with(['.', '_', '-'])
    };
    if path.len() > 255 || components.is_empty() || !components.split('/').all(component) {
        return None;
    }
    Some(if tag.is_none() && digest.is_none() { format!("{reference}:latest") } else { reference.to_owned() })
}

/// Where the image of a readable reference is: registry and path, without tag and digest. Docker's registry when it names none.
pub fn repository(reference: &str) -> String {
    let name = reference.split('@').next().unwrap_or(reference);
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or(0, |(_, tag)| tag.len() + 1);
    match split_registry(&name[..name.len() - tag]) {
        (Some(host), path) => format!("{host}/{path}"),
        (None, path) if path.contains('/') => format!("docker.io/{path}"),
        (None, path) => format!("docker.io/library/{path}"),
    }
}

fn split_registry(path: &str) -> (Option<&str>, &str) {
    match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_read_as_documented() {
        let digest = format!("busybox@sha256:{}", "a".repeat(64));
        for (reference, want) in [
            ("busybox", Some("busybox:latest")),
            ("busybox:1.36", Some("busybox:1.36")),
            ("localhost/orknet/x", Some("localhost/orknet/x:latest")),
            ("registry:5000/a/b", Some("registry:5000/a/b:latest")),
            ("registry.example/a/b:v1", Some("registry.example/a/b:v1")),
            (digest.as_str(), Some(digest.as_str())),
            ("", None),
            ("UPPER", None),
            ("a b", None),
            ("a:", None),
            ("a:-x", None),
            ("a//b", None),
            ("a/b/", None),
            ("a@sha256:zz", None),
            ("-a", None),
        ] {
            assert_eq!(normalize(reference).as_deref(), want, "{reference}");
        }
    }

    #[test]
    fn a_repository_has_its_registry_and_no_tag() {
        for (reference, want) in [
            ("a/b:c", "docker.io/a/b"),
            ("busybox", "docker.io/library/busybox"),
            ("x.io/a", "x.io/a"),
            ("localhost/a:1", "localhost/a"),
            ("r:5000/a@sha256:0", "r:5000/a"),
            ("r:5000/a/b:v1@sha256:0", "r:5000/a/b"),
        ] {
            assert_eq!(repository(reference), want);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-zA-Z0-9:@/._ -]{0,40}") {
            let _ = normalize(&text);
        }
    }
}
