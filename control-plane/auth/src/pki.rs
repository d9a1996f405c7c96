//! The cluster's certificate authority and service-account key: files made at first start, keys private to root. An authority is never
//! replaced: its certificate, written last, marks it as complete, and is worth nothing without the key that it was made with.

use crate::account_keys::{self, AccountKeys, ServiceAccountKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long an issued certificate is good for unless said otherwise.
pub const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);

/// How long before the moment of their making certificates begin to be good.
pub(crate) const BACKDATED: Duration = Duration::minutes(5);

/// Common name of the certificate with which the API server calls kubelets.
pub const KUBELET_CLIENT: &str = "system:kube-apiserver";

/// The files of an authority with their permissions, in the order in which they are written: the certificate marks it as complete.
pub const FILES: [(&str, u32); 3] = [("ca.key", 0o600), ("sa.key", 0o600), ("ca.crt", 0o644)];

/// With which permissions a file of a cluster's keys is kept; `None`: it is none. Beside [`FILES`] those of further service-account keys are.
pub fn mode_of(name: &str) -> Option<u32> {
    let own = FILES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode);
    own.or_else(|| account_keys::mode_of(name))
}

/// The names of the further keys' files that are there, beside [`FILES`]. Blocking.
pub fn more_files(directory: &Path) -> Result<Vec<String>, PkiError> {
    let mut names = account_keys::files(directory)?;
    names.retain(|name| !FILES.iter().any(|(known, _)| known == name));
    Ok(names)
}

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot {operation} {path}")]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{certificate} is there but its key {key} is missing: restore the key, or remove the certificate to begin a new authority")]
    KeyMissing { certificate: PathBuf, key: PathBuf },
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("{0} does not hold what it should: {1}")]
    Read(PathBuf, String),
    #[error("cannot sign the request: {0}")]
    Request(String),
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// A private key and the certificate for it, as PEM.
#[derive(Clone)]
pub struct KeyAndCertificate {
    pub key_pem: String,
    pub certificate_pem: String,
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The authority of one cluster.
pub struct Pki {
    ca_pem: String,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// When the authority's own certificate ends: none that it signs outlives it.
    pub(crate) not_after: OffsetDateTime,
    account_keys: AccountKeys,
    clock: Clock,
}

impl std::fmt::Debug for Pki {
    /// Nothing of its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Pki {
    /// Opens the authority in `directory` (`ca.crt`, `ca.key`, `sa.key`). Makes one where there is no `ca.crt`, and the service-account key
    /// where that is missing. Blocking.
    pub fn open_or_create(directory: &Path) -> Result<Self, PkiError> {
        fs::create_dir_all(directory).map_err(|source| PkiError::File { operation: "create", path: directory.to_owned(), source })?;
        let (ca_path, key_path) = (directory.join("ca.crt"), directory.join("ca.key"));
        if !ca_path.exists() {
            let authority = make_authority()?;
            // The certificate last: it is the mark that both are there.
            write_private(&key_path, &authority.key_pem)?;
            write_file(&ca_path, &authority.certificate_pem, 0o644)?;
        }
        let sa_path = directory.join("sa.key");
        if !sa_path.exists() {
            write_private(&sa_path, &ServiceAccountKey::generate()?.private_pem)?;
        }
        Self::open(directory)
    }

    /// Opens an authority that is there. Blocking.
    ///
    /// # Errors
    /// [`PkiError::KeyMissing`] for a certificate without its key; otherwise the file that is missing or does not hold what it should.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        let (ca_path, key_path) = (directory.join("ca.crt"), directory.join("ca.key"));
        let ca_pem = read(&ca_path)?;
        if !key_path.exists() {
            return Err(PkiError::KeyMissing { certificate: ca_path, key: key_path });
        }
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|error| PkiError::Read(key_path.clone(), error.to_string()))?;
        let wrong = |error: String| PkiError::Read(ca_path.clone(), error);
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(|error| wrong(error.to_string()))?;
        let der = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| wrong(error.to_string()))?;
        let not_after = certificate.validity().not_after.to_datetime();
        let account_keys = AccountKeys::open(directory)?;
        Ok(Self { ca_pem, issuer, not_after, account_keys, clock: Arc::new(SystemTime::now) })
    }

    /// The same authority by another clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// What its clock says.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// The authority's certificate, to be trusted by clients.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The key that signs service-account tokens.
    pub fn service_account_key(&self) -> &ServiceAccountKey {
        &self.account_keys.signing
    }

    /// All keys of service-account tokens: that one, and those that are accepted beside it.
    pub fn account_keys(&self) -> &AccountKeys {
        &self.account_keys
    }

    /// A client certificate: `user` as common name, `group` as organisation (one: the library behind keeps one value a type).
    pub fn issue_client(&self, user: &str, group: Option<&str>, lifetime: std::time::Duration) -> Result<KeyAndCertificate, PkiError> {
        let mut params = self.leaf(user, group, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// A serving certificate for these DNS names and addresses.
    pub fn issue_serving(
        &self,
        name: &str,
        dns: &[String],
        ips: &[IpAddr],
        lifetime: std::time::Duration,
    ) -> Result<KeyAndCertificate, PkiError> {
        let mut params = self.leaf(name, None, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(ips.iter().copied().map(SanType::IpAddress));
        self.sign(params)
    }

    fn leaf(&self, name: &str, group: Option<&str>, lifetime: std::time::Duration) -> Result<CertificateParams, PkiError> {
        let mut params = template(name, group, self.now().into(), lifetime)?;
        params.not_after = params.not_after.min(self.not_after);
        Ok(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<KeyAndCertificate, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(KeyAndCertificate { key_pem: key.serialize_pem(), certificate_pem: certificate.pem() })
    }
}

/// TLS for a server that asks clients for a certificate of this authority but takes clients without one too (they may have a
/// token). Offers HTTP/2 and HTTP/1.1.
pub fn server_tls(ca_pem: &str, serving: &KeyAndCertificate) -> Result<rustls::ServerConfig, PkiError> {
    server_tls_with(ca_pem, Arc::new(SingleCertAndKey::from(certified(serving)?)))
}

/// The same with certificates that come from somewhere, such as one that is renewed ([`crate::renewed::Renewed`]).
pub fn server_tls_with(ca_pem: &str, serving: Arc<dyn ResolvesServerCert>) -> Result<rustls::ServerConfig, PkiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| PkiError::Tls(error.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PkiError::Tls(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(serving);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS for a client that trusts this authority and shows a certificate. Offers HTTP/1.1 only, since its connections are upgraded.
pub fn client_tls(ca_pem: &str, client: &KeyAndCertificate) -> Result<rustls::ClientConfig, PkiError> {
    client_tls_with(ca_pem, Arc::new(SingleCertAndKey::from(certified(client)?)))
}

/// The same with certificates that come from somewhere.
pub fn client_tls_with(ca_pem: &str, client: Arc<dyn ResolvesClientCert>) -> Result<rustls::ClientConfig, PkiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PkiError::Tls(error.to_string()))?
        .with_root_certificates(roots(ca_pem)?)
        .with_client_cert_resolver(client);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Writes a file that only its owner may read, whole or not at all. Blocking.
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    write_file(path, text, 0o600)
}

/// Writes a file with these permissions, whole or not at all. Blocking.
pub fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let fail = |operation| move |source| PkiError::File { operation, path: path.to_owned(), source };
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    // What a process of this id left when it was killed may be readable by others: in a container every process has the same id.
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(fail("create"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail("write"))?;
    fs::rename(&fresh, path).map_err(fail("replace"))?;
    // The name too must outlive a power failure: a lost authority would make every certificate of the cluster worthless.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("keep"))
}

pub(crate) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { operation: "read", path: path.to_owned(), source })
}

fn make_authority() -> Result<KeyAndCertificate, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = template("orknet-ca", None, OffsetDateTime::now_utc(), 10 * YEAR)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?;
    Ok(KeyAndCertificate { key_pem: key.serialize_pem(), certificate_pem: certificate.pem() })
}

fn template(name: &str, group: Option<&str>, now: OffsetDateTime, lifetime: std::time::Duration) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new())?;
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    // Clocks of nodes differ a little.
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::seconds(i64::try_from(lifetime.as_secs()).unwrap_or(i64::from(u32::MAX)));
    Ok(params)
}

fn roots(ca_pem: &str) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| PkiError::Tls(format!("the authority's certificate: {error}")))?;
        roots.add(certificate).map_err(|error| PkiError::Tls(error.to_string()))?;
    }
    Ok(roots)
}

/// A key with its certificate as TLS takes them.
pub(crate) fn certified(pair: &KeyAndCertificate) -> Result<CertifiedKey, PkiError> {
    let fail = |error: rustls::pki_types::pem::Error| PkiError::Tls(error.to_string());
    let certificates = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(fail)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(certificates, key, &provider).map_err(|error| PkiError::Tls(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::identity_from_certificate;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_killed_process_left_makes_no_key_readable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        // As `ca.crt` leaves it: the same name, and everybody may read it.
        let left = path.with_extension(format!("new-{}", std::process::id()));
        fs::write(&left, "half").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "key").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left.exists());
    }

    #[test]
    fn the_authority_is_made_once_and_its_keys_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let first = Pki::open_or_create(directory.path()).unwrap();
        let second = Pki::open_or_create(directory.path()).unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.service_account_key().public, second.service_account_key().public);
        for name in ["ca.key", "sa.key"] {
            assert_eq!(fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let ca_pem = Pki::open_or_create(directory.path()).unwrap().ca_pem().to_owned();
        fs::remove_file(directory.path().join("ca.key")).unwrap();
        let error = Pki::open_or_create(directory.path()).expect_err("there is no key").to_string();
        assert!(error.contains("ca.key is missing: restore the key") && !error.contains('\n'), "{error}");
        assert_eq!(fs::read_to_string(directory.path().join("ca.crt")).unwrap(), ca_pem);
        assert!(!directory.path().join("ca.key").exists());
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_made_good() {
        let directory = tempfile::tempdir().unwrap();
        write_private(&directory.path().join("ca.key"), "unfinished").unwrap();
        let first = Pki::open_or_create(directory.path()).unwrap();
        assert_eq!(first.ca_pem(), Pki::open(directory.path()).unwrap().ca_pem());
    }

    #[test]
    fn a_client_certificate_names_its_user_and_group() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let pair = pki.issue_client("system:node:n1", Some("system:nodes"), YEAR).unwrap();
        let der = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap();
        let identity = identity_from_certificate(&der).unwrap();
        assert_eq!(identity.username, "system:node:n1");
        assert!(identity.is_in("system:nodes"));
    }

    #[test]
    fn both_sides_of_tls_can_be_set_up() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let serving = pki.issue_serving("api", &["kubernetes".into()], &["127.0.0.1".parse().unwrap()], YEAR).unwrap();
        let client = pki.issue_client("u", None, YEAR).unwrap();
        server_tls(pki.ca_pem(), &serving).unwrap();
        client_tls(pki.ca_pem(), &client).unwrap();
    }
}
