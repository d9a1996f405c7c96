//! Credentials from a pod's `imagePullSecrets` for one registry. Pure; Secrets come in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::cri::proto::AuthConfig;

/// The credentials in `secrets` that fit the image's repository best: those for the longest path of its registry.
pub fn find<'a>(secrets: impl Iterator<Item = &'a Secret>, repository: &str) -> Option<AuthConfig> {
    let entries = secrets.filter_map(entries).flatten().filter(|(server, _)| fits(server, repository));
    // Of equally long ones the first wins.
    entries.reduce(|best, one| if place(&one.0).1.len() > place(&best.0).1.len() { one } else { best }).and_then(|(_, entry)| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut made = AuthConfig {
            username: text("username"),
            password: text("password"),
            identity_token: text("identitytoken"),
            ..AuthConfig::default()
        };
        if made.username.is_empty() {
            let decoded = STANDARD.decode(text("auth")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some((user, password)) = decoded.as_deref().and_then(|d| d.split_once(':')) {
                (made.username, made.password) = (user.to_owned(), password.to_owned());
            }
        }
        (!made.username.is_empty() || !made.identity_token.is_empty()).then_some(made)
    })
}

fn entries(secret: &Secret) -> Option<Vec<(String, Value)>> {
    let data = secret.data.as_ref()?;
    let map = match data.get(".dockerconfigjson") {
        Some(bytes) => serde_json::from_slice::<Value>(&bytes.0).ok()?.get("auths")?.clone(),
        None => serde_json::from_slice(&data.get(".dockercfg")?.0).ok()?,
    };
    Some(map.as_object()?.iter().map(|(server, entry)| (server.clone(), entry.clone())).collect())
}

/// True when the image is in the registry that an entry names, below its path. `*` stands for any part of one label of the host.
fn fits(server: &str, repository: &str) -> bool {
    let ((host, path), (image_host, image_path)) = (place(server), place(repository));
    let labels = host.split('.').count() == image_host.split('.').count();
    labels && host.split('.').zip(image_host.split('.')).all(|(pattern, label)| matches(pattern, label)) && image_path.starts_with(path)
}

fn matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((before, after)) => label
            .strip_prefix(before)
            .is_some_and(|rest| rest.char_indices().map(|(at, _)| &rest[at..]).chain([""]).any(|end| matches(after, end))),
    }
}

/// Host and path, without what only says how to speak to the registry.
fn place(server: &str) -> (&str, &str) {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = server.split_once('/').unwrap_or((server, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    let path = path.trim_end_matches('/');
    (host, if matches!(path, "v1" | "v2") { "" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_match_the_registrys_host() {
        let config = serde_json::json!({"auths": {"https://index.docker.io/v1/": {"auth": STANDARD.encode("u:p:q")}, "r.io": {"username": "a", "password": "b"}}});
        let data = serde_json::json!({"data": {".dockerconfigjson": STANDARD.encode(config.to_string())}});
        let secret: Secret = serde_json::from_value(data).unwrap();
        let found = |registry| find([&secret].into_iter(), registry).map(|a| (a.username, a.password));
        assert_eq!(found("docker.io/library/busybox"), Some(("u".into(), "p:q".into())));
        assert_eq!(found("r.io/x"), Some(("a".into(), "b".into())));
        assert_eq!(found("other.io/x"), None);
    }

    #[test]
    fn the_longest_path_wins_and_stars_stand_for_a_label() {
        let entry = |name: &str| serde_json::json!({"username": name, "password": "p"});
        let config = serde_json::json!({"auths": {"r.io": entry("all"), "r.io/team": entry("team"), "*.cloud.io": entry("star"), "x*y.io:5000": entry("port")}});
        let data = serde_json::json!({"data": {".dockerconfigjson": STANDARD.encode(config.to_string())}});
        let secret: Secret = serde_json::from_value(data).unwrap();
        for (repository, want) in [
            ("r.io/a", Some("all")),
            ("r.io/team/a", Some("team")),
            ("eu.cloud.io/a", Some("star")),
            ("cloud.io/a", None),
            ("a.eu.cloud.io/a", None),
            ("xy.io:5000/a", Some("port")),
            ("x-y.io:5000/a", Some("port")),
            ("x-y.io/a", None),
        ] {
            assert_eq!(find([&secret].into_iter(), repository).map(|a| a.username).as_deref(), want, "{repository}");
        }
    }
}
