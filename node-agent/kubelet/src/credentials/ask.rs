//! Asking for a certificate by a CertificateSigningRequest, and waiting until somebody has signed it. A request outlives the process that made it:
//! its key is kept in a file until the certificate is there, and its name is made of what it asks for, so that the next process finds it.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::certificate::{self, Certificate, Names};
use super::files;
use crate::error::Error;

/// The signers of a kubelet's certificates.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// How long somebody may take to approve and sign. The request stays, and is found again by the next attempt.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The first and the longest pause between two looks at a request.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub signer: &'static str,
    /// Name of the node.
    pub node: &'a str,
    /// Alternative names: of servers alone.
    pub names: &'a Names,
}

/// A private key and the certificate for it, PEM.
#[derive(Clone)]
pub struct Issued {
    pub key_pem: String,
    pub certificate_pem: String,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Pending,
    /// The certificate, PEM.
    Issued(String),
    /// By whom or what it was refused, for people.
    Refused(String),
}

/// Asks for a certificate and waits for it. `pending` is where the key is kept meanwhile, and afterwards until [`done`].
///
/// # Errors
/// The API or the file fails, the request is refused or nobody decides: then it may be tried again.
pub async fn certificate(client: &Client, wish: Wish<'_>, pending: &Path) -> Result<Issued, Error> {
    let key_pem = key(pending)?;
    let object = object(wish, &key_pem)?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let api = Api::<CertificateSigningRequest>::all(client.clone());
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => tracing::info!(request = name, signer = wish.signer, "asked for a certificate"),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get(&name).await.map_err(Error::api(format!("get certificate signing request {name}")))?;
            if !is_same(&there, &object) {
                // Another's by this name: the next key makes another name.
                files::remove(pending)?;
                return Err(Error::Invalid(format!("the certificate signing request {name} is somebody else's")));
            }
            tracing::info!(request = name, signer = wish.signer, "a certificate was asked for before");
        }
        Err(error) => return Err(Error::api("create a certificate signing request")(error)),
    }
    let waited = tokio::time::timeout(PATIENCE, wait(&api, &name)).await;
    let outcome =
        waited.map_err(|_| Error::Invalid(format!("nobody has approved and signed the certificate signing request {name}")))??;
    let refused = match outcome {
        Outcome::Issued(certificate_pem) => match Certificate::parse(&certificate_pem) {
            Ok(certificate) if certificate.is_of(&key_pem) => return Ok(Issued { key_pem, certificate_pem }),
            Ok(_) => "the certificate is of another key".to_owned(),
            Err(error) => format!("no certificate: {error}"),
        },
        Outcome::Refused(why) => why,
        Outcome::Pending => "it ended undecided".to_owned(),
    };
    // It stays refused: the next attempt is to be another request.
    files::remove(pending)?;
    Err(Error::Invalid(format!("certificate signing request {name}: {refused}")))
}

/// Forgets the key of a request: its certificate is where it belongs.
pub fn done(pending: &Path) -> Result<(), Error> {
    files::remove(pending)
}

/// Looks at the request until it is decided. One that is gone is an error: the next attempt makes it again, with the same key.
async fn wait(api: &Api<CertificateSigningRequest>, name: &str) -> Result<Outcome, Error> {
    let mut pause = FIRST_LOOK;
    loop {
        match api.get(name).await {
            Ok(request) => match outcome(&request) {
                Outcome::Pending => {}
                decided => return Ok(decided),
            },
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 404) => {
                return Err(Error::api(format!("get certificate signing request {name}"))(kube::Error::Api(status)));
            }
            Err(error) => tracing::debug!(%error, request = name, "a certificate signing request cannot be read"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

/// The key of a request that was made and not answered, or a new one that is kept for that case.
fn key(pending: &Path) -> Result<String, Error> {
    let kept = files::read(pending)?.filter(|text| certificate::public(text).is_ok());
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let fresh = certificate::generate().map_err(|error| Error::Invalid(format!("cannot make a key: {error}")))?;
    files::write(pending, &fresh)?;
    Ok(fresh)
}

/// The request, named by what it asks for.
fn object(wish: Wish<'_>, key_pem: &str) -> Result<CertificateSigningRequest, Error> {
    let fail = |error: rcgen::Error| Error::Invalid(format!("cannot make a certificate signing request: {error}"));
    let public = certificate::public(key_pem).map_err(fail)?;
    let pem = certificate::request(key_pem, wish.node, wish.names).map_err(fail)?;
    let role = if wish.signer == SERVING_SIGNER { "server auth" } else { "client auth" };
    let spec = CertificateSigningRequestSpec {
        request: ByteString(pem.into_bytes()),
        signer_name: wish.signer.to_owned(),
        // Of a key that signs and does not encipher.
        usages: Some(vec!["digital signature".to_owned(), role.to_owned()]),
        ..CertificateSigningRequestSpec::default()
    };
    let metadata = ObjectMeta { name: Some(name(wish, &public)), ..ObjectMeta::default() };
    Ok(CertificateSigningRequest { metadata, spec, status: None })
}

fn name(wish: Wish<'_>, public: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(public);
    let names = wish.names.dns.iter().cloned().chain(wish.names.ips.iter().map(ToString::to_string));
    for text in [wish.signer.to_owned(), wish.node.to_owned()].into_iter().chain(names) {
        // None of them has a zero in it.
        digest.update(text.as_bytes());
        digest.update([0]);
    }
    let hex: String = digest.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    format!("node-csr-{hex}")
}

/// Whether a request that is there asks for what ours does: the signer, the usages, the key. Signatures of ECDSA differ each time.
fn is_same(there: &CertificateSigningRequest, ours: &CertificateSigningRequest) -> bool {
    let sorted = |request: &CertificateSigningRequest| {
        let mut usages = request.spec.usages.clone().unwrap_or_default();
        usages.sort();
        usages
    };
    let content = |request: &CertificateSigningRequest| content(&request.spec.request.0);
    there.spec.signer_name == ours.spec.signer_name
        && sorted(there) == sorted(ours)
        && content(there).is_some()
        && content(there) == content(ours)
}

/// What a request signs: its subject, key and names, DER.
fn content(pem: &[u8]) -> Option<Vec<u8>> {
    let der = CertificateSigningRequestDer::from_pem_slice(pem).ok()?;
    let (_, request) = X509CertificationRequest::from_der(&der).ok()?;
    Some(request.certification_request_info.raw.to_vec())
}

/// What became of a request.
pub fn outcome(request: &CertificateSigningRequest) -> Outcome {
    let Some(status) = &request.status else { return Outcome::Pending };
    let mut conditions = status.conditions.iter().flatten();
    if let Some(condition) = conditions.find(|condition| ["Denied", "Failed"].contains(&condition.type_.as_str())) {
        let words = [Some(condition.type_.as_str()), condition.reason.as_deref(), condition.message.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
        return Outcome::Refused(words.join(": "));
    }
    let approved = status.conditions.iter().flatten().any(|condition| condition.type_ == "Approved");
    let pem = status.certificate.as_ref().and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).filter(|pem| !pem.is_empty());
    match pem {
        Some(pem) if approved && CertificateDer::from_pem_slice(pem.as_bytes()).is_ok() => Outcome::Issued(pem.to_owned()),
        Some(_) if approved => Outcome::Refused("what was issued is no certificate".to_owned()),
        _ => Outcome::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn names(dns: &[&str]) -> Names {
        Names { dns: dns.iter().map(|name| (*name).to_owned()).collect(), ..Names::default() }
    }

    #[test]
    fn a_key_is_kept_until_its_certificate_is_there_and_names_the_request() {
        let directory = tempfile::tempdir().unwrap();
        let pending = directory.path().join("key.pending");
        let first = key(&pending).unwrap();
        assert_eq!(key(&pending).unwrap(), first);
        let named = |names: &Names, key_pem: &str| {
            object(Wish { signer: SERVING_SIGNER, node: "n", names }, key_pem).unwrap().metadata.name.unwrap()
        };
        let n = names(&["n"]);
        assert_eq!(named(&n, &first), named(&n, &first));
        assert_ne!(named(&n, &first), named(&names(&["n", "m"]), &first));
        done(&pending).unwrap();
        let second = key(&pending).unwrap();
        assert_ne!(second, first);
        assert_ne!(named(&n, &first), named(&n, &second));
        files::write(&pending, "half a k").unwrap();
        assert_ne!(key(&pending).unwrap(), second, "what is no key is replaced");
    }

    #[test]
    fn only_a_request_for_the_same_is_ours() {
        let (a, b) = (certificate::generate().unwrap(), certificate::generate().unwrap());
        let (none, n) = (names(&[]), names(&["n"]));
        let make = |signer, key_pem: &str, names| object(Wish { signer, node: "n", names }, key_pem).unwrap();
        let ours = make(CLIENT_SIGNER, &a, &none);
        assert!(is_same(&make(CLIENT_SIGNER, &a, &none), &ours), "another signature of the same");
        for other in [make(CLIENT_SIGNER, &b, &none), make(SERVING_SIGNER, &a, &none), make(CLIENT_SIGNER, &a, &n)] {
            assert!(!is_same(&other, &ours));
        }
        assert_eq!(ours.spec.usages.unwrap(), ["digital signature", "client auth"]);
    }

    #[test]
    fn what_became_of_a_request() {
        let of = |status: Value| {
            let spec = json!({"request": "", "signerName": "s"});
            outcome(&serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap())
        };
        let approved = json!([{"type": "Approved", "status": "True"}]);
        assert_eq!(of(json!({})), Outcome::Pending);
        assert_eq!(of(json!({"conditions": approved})), Outcome::Pending);
        let denied = json!([{"type": "Denied", "status": "True", "reason": "No", "message": "not you"}]);
        assert_eq!(of(json!({"conditions": denied})), Outcome::Refused("Denied: No: not you".to_owned()));
        let failed = json!([{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]);
        assert_eq!(of(json!({"conditions": failed})), Outcome::Refused("Failed".to_owned()));
        let pem = rcgen::CertificateParams::default().self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        let issued = ByteString(pem.clone().into_bytes());
        assert_eq!(of(json!({"conditions": approved, "certificate": issued})), Outcome::Issued(pem));
        assert!(matches!(of(json!({"conditions": approved, "certificate": "eA=="})), Outcome::Refused(_)));
    }
}
