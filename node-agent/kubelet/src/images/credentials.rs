//! Credentials from a pod's `imagePullSecrets` for one registry. Pure; Secrets come in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::cri::proto::AuthConfig;

/// The first credentials in `secrets` for the registry's host.
pub fn find<'a>(secrets: impl Iterator<Item = &'a Secret>, registry: &str) -> Option<AuthConfig> {
    secrets.filter_map(entries).flat_map(|entries| entries.into_iter()).find(|(server, _)| host(server) == host(registry)).and_then(
        |(_, entry)| {
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
        },
    )
}

fn entries(secret: &Secret) -> Option<Vec<(String, Value)>> {
    let data = secret.data.as_ref()?;
    let map = match data.get(".dockerconfigjson") {
        Some(bytes) => serde_json::from_slice::<Value>(&bytes.0).ok()?.get("auths")?.clone(),
        None => serde_json::from_slice(&data.get(".dockercfg")?.0).ok()?,
    };
    Some(map.as_object()?.iter().map(|(server, entry)| (server.clone(), entry.clone())).collect())
}

fn host(server: &str) -> &str {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    match server.split('/').next().unwrap_or(server) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
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
        assert_eq!(found("docker.io"), Some(("u".into(), "p:q".into())));
        assert_eq!(found("r.io"), Some(("a".into(), "b".into())));
        assert_eq!(found("other.io"), None);
    }
}
