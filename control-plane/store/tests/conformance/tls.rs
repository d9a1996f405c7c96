//! Certificates for etcd's members and those that ask them.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

/// An authority of its own, with what it issued in files.
pub struct Authority {
    /// The authority's certificate, PEM.
    pub file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("written");
        Self { file, issuer: Issuer::new(params, key), directory }
    }

    /// Files with a certificate for 127.0.0.1, of servers and clients alike, and with its key.
    pub fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let write = |file: String, pem: String| {
            let path = self.directory.path().join(file);
            std::fs::write(&path, pem).expect("written");
            path
        };
        (write(format!("{name}.pem"), certificate.pem()), write(format!("{name}.key"), key.serialize_pem()))
    }

    /// etcd's arguments by which it serves clients (or with `peer-` before each, members) with this certificate and asks for theirs.
    pub fn arguments(&self, whom: &str, (certificate, key): &(PathBuf, PathBuf)) -> [String; 4] {
        [
            format!("--{whom}cert-file={}", certificate.display()),
            format!("--{whom}key-file={}", key.display()),
            format!("--{whom}trusted-ca-file={}", self.file.display()),
            format!("--{whom}client-cert-auth"),
        ]
    }
}
