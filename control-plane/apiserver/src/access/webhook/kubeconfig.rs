//! Where a token webhook is and how to reach it, in the form of a kubeconfig (kube-apiserver's `--authentication-token-webhook-config-file`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orknet_auth::pki::KeyAndCertificate;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A webhook.
#[derive(Debug)]
pub struct Target {
    /// Asked as it is, whatever its path.
    pub url: String,
    /// What its certificate must be for, if not for the URL's host.
    pub server_name: Option<String>,
    pub trust: Trust,
    /// The certificate to show.
    pub client: Option<Client>,
    pub authorization: Option<Authorization>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whom the system trusts.
    System,
    /// Those in this PEM.
    Authority(Vec<u8>),
    Anybody,
}

/// A key and its certificate, of which nothing is shown.
pub struct Client(pub KeyAndCertificate);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// How this server says who it is.
pub enum Authorization {
    Bearer(String),
    /// The token is read whenever it is needed: somebody renews it.
    BearerFile(PathBuf),
    Basic {
        username: String,
        password: String,
    },
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization")
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context", default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    #[serde(default)]
    server: String,
    tls_server_name: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    password: Option<String>,
    exec: Option<Value>,
    auth_provider: Option<Value>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

impl Target {
    /// Reads a file; paths in it are below its directory. Blocking. The error says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Of the context that the text says is current.
    fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|error| format!("it is no kubeconfig: {error}"))?;
        let current = &file.current_context;
        let context = file.contexts.into_iter().find(|context| context.name == *current);
        let context = context.ok_or_else(|| format!("context {current:?} does not exist"))?.context;
        let cluster = file.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.ok_or_else(|| format!("cluster {:?} does not exist", context.cluster))?.cluster;
        let user = match &context.user[..] {
            "" => User::default(),
            name => {
                let user = file.users.into_iter().find(|user| user.name == name);
                user.ok_or_else(|| format!("auth info {name:?} does not exist"))?.user
            }
        };
        if !cluster.server.starts_with("https://") {
            return Err(format!("the server {:?} is no https:// URL: tokens are told to nobody else", cluster.server));
        }
        let unsupported =
            [("proxy-url", cluster.proxy_url.is_some()), ("exec", user.exec.is_some()), ("auth-provider", user.auth_provider.is_some())];
        if let Some((name, _)) = unsupported.iter().find(|(_, is_there)| *is_there) {
            return Err(format!("{name} is not supported"));
        }
        let authority = content(cluster.certificate_authority_data, cluster.certificate_authority, directory, "certificate-authority")?;
        let trust = match (authority, cluster.insecure_skip_tls_verify) {
            (Some(_), true) => {
                return Err("specifying a root certificates file with the insecure flag is not allowed".to_owned());
            }
            (Some(pem), false) => Trust::Authority(pem.into_bytes()),
            (None, true) => Trust::Anybody,
            (None, false) => Trust::System,
        };
        let certificate = content(user.client_certificate_data, user.client_certificate, directory, "client-certificate")?;
        let key = content(user.client_key_data, user.client_key, directory, "client-key")?;
        let client = match (certificate, key) {
            (Some(certificate_pem), Some(key_pem)) => Some(Client(KeyAndCertificate { key_pem, certificate_pem })),
            (None, None) => None,
            _ => return Err("client-certificate and client-key belong together".to_owned()),
        };
        let authorization = match (user.token, user.token_file, user.username) {
            // As with client-go, a file wins.
            (_, Some(file), _) if !file.is_empty() => Some(Authorization::BearerFile(directory.join(file))),
            (Some(token), ..) if !token.is_empty() => Some(Authorization::Bearer(token)),
            (_, _, Some(username)) if !username.is_empty() => {
                Some(Authorization::Basic { username, password: user.password.unwrap_or_default() })
            }
            _ => None,
        };
        Ok(Self { url: cluster.server, server_name: cluster.tls_server_name, trust, client, authorization })
    }
}

/// What is embedded (base64), or else in a file.
fn content(data: Option<String>, file: Option<String>, directory: &Path, what: &str) -> Result<Option<String>, String> {
    let (data, file) = (data.filter(|data| !data.is_empty()), file.filter(|file| !file.is_empty()));
    match (data, file) {
        (Some(data), _) => {
            let bytes = STANDARD.decode(data.trim()).map_err(|error| format!("{what}-data: {error}"))?;
            String::from_utf8(bytes).map(Some).map_err(|_| format!("{what}-data is no PEM"))
        }
        (None, Some(file)) => {
            let path = directory.join(file);
            std::fs::read_to_string(&path).map(Some).map_err(|error| format!("{what} {}: {error}", path.display()))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "current-context: w\ncontexts: [{name: w, context: {cluster: c, user: u}}]\n";

    fn parse(cluster: &str, user: &str) -> Result<Target, String> {
        let text = format!("{BEGIN}clusters: [{{name: c, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n");
        Target::parse(&text, Path::new("/etc/orknet"))
    }

    #[test]
    fn a_kubeconfig_says_where_a_webhook_is_and_how_to_reach_it() {
        let target = parse("{server: 'https://a/b?c', tls-server-name: n, certificate-authority-data: eA==}", "{token: t}").expect("reads");
        assert_eq!((&target.url[..], target.server_name.as_deref()), ("https://a/b?c", Some("n")));
        assert_eq!(target.trust, Trust::Authority(b"x".to_vec()));
        assert!(matches!(target.authorization, Some(Authorization::Bearer(token)) if token == "t"));
        let target = parse("{server: 'https://a', insecure-skip-tls-verify: true}", "{tokenFile: t, token: u}").expect("reads");
        assert_eq!(target.trust, Trust::Anybody);
        assert!(matches!(target.authorization, Some(Authorization::BearerFile(path)) if path == Path::new("/etc/orknet/t")));
        let target = parse("{server: 'https://a'}", "{client-certificate-data: Yw==, client-key-data: aw==}").expect("reads");
        let client = target.client.expect("a certificate").0;
        assert_eq!((&client.certificate_pem[..], &client.key_pem[..], target.trust), ("c", "k", Trust::System));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (cluster, user, why) in [
            ("{server: 'http://a'}", "{}", "no https:// URL"),
            ("{server: 'https://a', proxy-url: 'http://p'}", "{}", "proxy-url is not supported"),
            ("{server: 'https://a'}", "{exec: {command: c}}", "exec is not supported"),
            ("{server: 'https://a'}", "{client-key-data: aw==}", "belong together"),
            ("{server: 'https://a', certificate-authority: no-such-file}", "{}", "/etc/orknet/no-such-file"),
            ("{server: 'https://a', certificate-authority-data: eA==, insecure-skip-tls-verify: true}", "{}", "insecure flag"),
        ] {
            let found = parse(cluster, user).expect_err(cluster);
            assert!(found.contains(why), "{found}");
        }
        assert!(Target::parse("current-context: x", Path::new("")).expect_err("no context").contains("does not exist"));
    }
}
