//! How extension servers know that a request comes from this server, and as whom it is to be answered: a client certificate of an authority of its own,
//! and headers that name the user. What they need for that is published in a ConfigMap (`kube-system/extension-apiserver-authentication`).

use crate::bootstrap;
use crate::error::ApiError;
use crate::object;
use crate::ownership::server_identity;
use crate::server::Server;
use crate::verbs::write::{Update, update};
use http::{HeaderMap, HeaderName, HeaderValue};
use orknet_auth::Identity;
use orknet_auth::pki::{KeyAndCertificate, Pki, PkiError, YEAR};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Common name of the certificate.
pub const NAME: &str = "front-proxy-client";
/// Its authority's place in the server's directory of keys. Each server has one of its own: extension servers are told of all.
pub const DIRECTORY: &str = "front-proxy";
/// A certificate that is older is made anew.
pub const RENEWAL: Duration = Duration::from_secs(30 * 86_400);

const NAMESPACE: &str = "kube-system";
const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// See the module.
pub struct FrontProxy {
    authority: Pki,
    current: Mutex<Option<(Instant, KeyAndCertificate)>>,
}

impl FrontProxy {
    /// Opens the authority below `pki_dir`, or makes it. Blocking.
    pub fn open(pki_dir: &Path) -> Result<Self, PkiError> {
        Ok(Self { authority: Pki::open_or_create(&pki_dir.join(DIRECTORY))?, current: Mutex::default() })
    }

    /// The certificate to show extension servers.
    pub fn certificate(&self) -> Result<KeyAndCertificate, String> {
        let mut current = self.current.lock();
        if let Some((_, pair)) = current.as_ref().filter(|(made, _)| made.elapsed() < RENEWAL) {
            return Ok(pair.clone());
        }
        let pair = self.authority.issue_client(NAME, None, YEAR).map_err(|error| error.to_string())?;
        *current = Some((Instant::now(), pair.clone()));
        Ok(pair)
    }

    /// The authority's certificate.
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }
}

/// What stays as it is in a header's name (RFC 9110, `token`), but for the sign of the encoding itself.
const TOKEN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Says in a request's headers whose it is. What was there of that kind must be gone.
pub fn vouch(headers: &mut HeaderMap, who: &Identity) -> Result<(), ApiError> {
    let value =
        |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| ApiError::bad_request("the user's name fits in no header"));
    headers.insert(HeaderName::from_static("x-remote-user"), value(&who.username)?);
    for group in &who.groups {
        headers.append(HeaderName::from_static("x-remote-group"), value(group)?);
    }
    for (key, values) in &who.extra {
        let name = format!("x-remote-extra-{}", utf8_percent_encode(&key.to_lowercase(), TOKEN));
        let name = HeaderName::try_from(name).map_err(|_| ApiError::bad_request("what is said of the user fits in no header"))?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(())
}

/// Makes or corrects the ConfigMap. The authorities of other servers stay in it.
pub async fn publish(server: &Server, front: &FrontProxy) -> Result<(), ApiError> {
    let wanted = |old: &Value| {
        let before = object::text(old, "/data/requestheader-client-ca-file");
        json!({
            "client-ca-file": server.pki.ca_pem(),
            "requestheader-client-ca-file": joined(before, front.ca_pem()),
            "requestheader-allowed-names": json!([NAME]).to_string(),
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
        })
    };
    let new = json!({ "metadata": { "name": CONFIG_MAP, "namespace": NAMESPACE }, "data": wanted(&Value::Null) });
    bootstrap::ensure_all(server, "", "configmaps", vec![new]).await?;
    let Some(kind) = server.kinds().find("", "v1", "configmaps") else { return Ok(()) };
    let is_right = |old: &Value| {
        let wanted = wanted(old);
        wanted.as_object().into_iter().flatten().all(|(key, value)| old["data"].get(key) == Some(value))
    };
    if server.storage.caches.get(kind.descriptor().stored_as, NAMESPACE, CONFIG_MAP).is_some_and(|old| is_right(&old.value())) {
        return Ok(());
    }
    let what = Update::own(&kind, NAMESPACE, CONFIG_MAP);
    let change = |old: &Value, _: u64| {
        let mut new = old.clone();
        for (key, value) in wanted(old).as_object().into_iter().flatten() {
            new["data"][key] = value.clone();
        }
        Ok(new)
    };
    update(server, &server_identity(), &what, change).await.map(drop)
}

/// A bundle with one more certificate, unless it has it.
fn joined(bundle: &str, own: &str) -> String {
    let own_der = CertificateDer::from_pem_slice(own.as_bytes()).ok();
    let has_own = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).any(|known| Some(known) == own_der);
    if has_own { bundle.to_owned() } else { format!("{bundle}{own}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_in_headers() {
        let mut who = Identity { username: "jörg".into(), groups: vec!["a".into(), "b".into()], ..Identity::default() };
        who.extra.insert("Example.com/Key%".into(), vec!["1".into(), "2".into()]);
        let mut headers = HeaderMap::new();
        vouch(&mut headers, &who).expect("fits");
        let all = |name: &str| headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(all("x-remote-user"), ["jörg".as_bytes()]);
        assert_eq!(all("x-remote-group"), [b"a", b"b"]);
        assert_eq!(all("x-remote-extra-example.com%2Fkey%25"), [b"1", b"2"]);
        let liar = Identity { username: "a\r\nx-remote-group: system:masters".into(), ..Identity::default() };
        assert!(vouch(&mut headers, &liar).is_err());
    }

    #[test]
    fn the_authorities_of_all_servers_are_told_once_each() {
        let made = || {
            let directory = tempfile::tempdir().expect("a directory");
            FrontProxy::open(directory.path()).expect("an authority")
        };
        let (one, other) = (made(), made());
        let both = joined(&joined("", one.ca_pem()), other.ca_pem());
        assert_eq!(both, format!("{}{}", one.ca_pem(), other.ca_pem()));
        assert_eq!(joined(&both, one.ca_pem()), both);
        assert_eq!(one.certificate().expect("one").certificate_pem, one.certificate().expect("the same").certificate_pem);
    }
}
