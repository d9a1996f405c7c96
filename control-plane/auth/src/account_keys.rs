//! The keys of service-account tokens: one signs, others are accepted. Files in the directory of keys:
//!
//! | file | |
//! | --- | --- |
//! | `sa.key` | signs; private |
//! | `sa-next.key` | will sign after the next rotation, and is accepted already, so that servers that come to it later believe those that came first; private |
//! | `sa-ID.pub` | signed before; its tokens are good until they end, or the file is removed |
//!
//! All are ECDSA P-256 (ES256). A server reads them at its start.

use crate::pki::{PkiError, read, write_file, write_private};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The key that signs.
pub const SIGNING: &str = "sa.key";
/// The key that will sign.
pub const NEXT: &str = "sa-next.key";

/// What comes before the point in a SubjectPublicKeyInfo of P-256 (RFC 5480), DER.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point: 0x04, x (32), y (32).
const POINT: usize = 65;

/// A key by which tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// SubjectPublicKeyInfo PEM.
    pub pem: String,
    /// `kid`: derived from the key.
    pub id: String,
    /// Uncompressed.
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads a PEM file's text (`PUBLIC KEY`). Errors: why it is none.
    pub fn from_pem(pem: String) -> Result<Self, String> {
        let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
        if !pem.contains("-----BEGIN PUBLIC KEY-----") {
            return Err("it is no PEM of a public key".to_owned());
        }
        let der = STANDARD.decode(body).map_err(|error| error.to_string())?;
        let point = der.strip_prefix(&P256).filter(|point| point.len() == POINT && point.first() == Some(&4));
        let point = point.ok_or_else(|| "it is no key of ECDSA P-256".to_owned())?;
        Ok(Self::of(pem, point.to_vec()))
    }

    fn of(pem: String, point: Vec<u8>) -> Self {
        Self { pem, id: URL_SAFE_NO_PAD.encode(point.get(1..33).unwrap_or_default()), point }
    }

    /// As a JSON Web Key (RFC 7517).
    pub fn jwk(&self) -> Value {
        let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(self.point.get(range).unwrap_or_default());
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": coordinate(1..33), "y": coordinate(33..65)})
    }
}

/// A key that signs.
#[derive(Clone)]
pub struct ServiceAccountKey {
    /// PKCS #8 PEM.
    pub private_pem: String,
    /// Its public half.
    pub public: PublicKey,
}

impl ServiceAccountKey {
    /// A new key.
    pub fn generate() -> Result<Self, rcgen::Error> {
        Ok(Self::from_pair(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads a PKCS #8 PEM file's text.
    pub fn from_pem(private_pem: String) -> Result<Self, rcgen::Error> {
        Ok(Self::from_pair(&KeyPair::from_pem(&private_pem)?))
    }

    fn from_pair(pair: &KeyPair) -> Self {
        Self { private_pem: pair.serialize_pem(), public: PublicKey::of(pair.public_key_pem(), pair.der_bytes().to_vec()) }
    }
}

/// The keys of a cluster.
#[derive(Clone)]
pub struct AccountKeys {
    pub signing: ServiceAccountKey,
    /// That will sign after the next rotation.
    pub next: Option<PublicKey>,
    /// That signed before.
    pub former: Vec<PublicKey>,
}

impl AccountKeys {
    /// Reads them. Blocking.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        let signing = open_private(directory, SIGNING)?;
        let (mut next, mut former) = (None, Vec::new());
        for name in files(directory)? {
            if name == NEXT {
                next = Some(open_private(directory, NEXT)?.public);
            } else if is_public(&name) {
                let path = directory.join(&name);
                former.push(PublicKey::from_pem(read(&path)?).map_err(|error| PkiError::Read(path, error))?);
            }
        }
        // A rotation that was cut short: what signs is all that counts.
        former.retain(|key| key.id != signing.public.id);
        Ok(Self { next: next.filter(|next| next.id != signing.public.id), former, signing })
    }

    /// Those that are accepted beside the one that signs.
    pub fn accepted(&self) -> impl Iterator<Item = &PublicKey> {
        self.next.iter().chain(&self.former)
    }
}

/// Makes the key that will sign after the next rotation, unless it is there. Its id. Blocking.
pub fn prepare(directory: &Path) -> Result<String, PkiError> {
    if let Some(next) = AccountKeys::open(directory)?.next {
        return Ok(next.id);
    }
    let key = ServiceAccountKey::generate()?;
    write_private(&directory.join(NEXT), &key.private_pem)?;
    Ok(key.public.id)
}

/// Lets the prepared key sign from the next start of a server on (a new one, where none is prepared), and what signed until now be accepted. The ids of the
/// one that signs and of the one that did. Blocking. Cut short anywhere, it can be done again and ends with the same keys, and no token is refused meanwhile.
pub fn rotate(directory: &Path) -> Result<(String, String), PkiError> {
    let former = open_private(directory, SIGNING)?.public;
    let next = directory.join(NEXT);
    if !next.exists() {
        write_private(&next, &ServiceAccountKey::generate()?.private_pem)?;
    }
    let key = open_private(directory, NEXT)?.public;
    if key.id == former.id {
        return Err(PkiError::Read(next, "it is the key that signs already; remedy: remove the file".to_owned()));
    }
    // Accepted before it signs no more.
    write_file(&directory.join(public_name(&former.id)), &former.pem, 0o644)?;
    let fail = |operation| move |source| PkiError::File { operation, path: directory.join(NEXT), source };
    // It may have been copied from another server with whatever permissions.
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).map_err(fail("protect"))?;
    // One step: before it the former key signs, after it this one, and none is prepared.
    fs::rename(&next, directory.join(SIGNING)).map_err(fail("rename"))?;
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("keep"))?;
    Ok((key.id, former.id))
}

/// Accepts a former key's tokens no more from the next start of a server on; whether there was such a key. Blocking.
pub fn remove(directory: &Path, id: &str) -> Result<bool, PkiError> {
    let name = public_name(id);
    let is_there = is_public(&name) && directory.join(&name).exists();
    if is_there {
        remove_file(&directory.join(name))?;
    }
    Ok(is_there)
}

/// With which permissions a file of these keys is kept; `None`: it is none.
pub(crate) fn mode_of(name: &str) -> Option<u32> {
    match name {
        SIGNING | NEXT => Some(0o600),
        _ => is_public(name).then_some(0o644),
    }
}

/// The names of those files that are there, sorted. Blocking.
pub(crate) fn files(directory: &Path) -> Result<Vec<String>, PkiError> {
    let fail = |source| PkiError::File { operation: "list", path: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        names.extend(name.to_str().filter(|name| mode_of(name).is_some()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn public_name(id: &str) -> String {
    format!("sa-{id}.pub")
}

/// Whether a file is called as a former key's.
fn is_public(name: &str) -> bool {
    let id = name.strip_prefix("sa-").and_then(|rest| rest.strip_suffix(".pub")).unwrap_or_default();
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn open_private(directory: &Path, name: &str) -> Result<ServiceAccountKey, PkiError> {
    let path = directory.join(name);
    ServiceAccountKey::from_pem(read(&path)?).map_err(|error| PkiError::Read(path, error.to_string()))
}

fn remove_file(path: &Path) -> Result<(), PkiError> {
    fs::remove_file(path).map_err(|source| PkiError::File { operation: "remove", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        write_private(&directory.path().join(SIGNING), &ServiceAccountKey::generate().unwrap().private_pem).unwrap();
        directory
    }

    fn ids(directory: &Path) -> (String, Vec<String>) {
        let keys = AccountKeys::open(directory).unwrap();
        (keys.signing.public.id.clone(), keys.accepted().map(|key| key.id.clone()).collect())
    }

    #[test]
    fn a_public_key_is_read_as_it_was_written() {
        let key = ServiceAccountKey::generate().unwrap().public;
        assert_eq!(PublicKey::from_pem(key.pem.clone()), Ok(key.clone()));
        assert_eq!(key.jwk()["kid"], key.id.as_str());
        assert!(PublicKey::from_pem("sa".into()).is_err());
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".into()).is_err());
    }

    #[test]
    fn a_prepared_key_is_accepted_then_signs_and_the_former_is_accepted_until_it_is_removed() {
        let directory = directory();
        let path = directory.path();
        let (first, none) = ids(path);
        assert!(none.is_empty());
        let second = prepare(path).unwrap();
        assert_eq!(prepare(path).unwrap(), second);
        assert_eq!(ids(path), (first.clone(), vec![second.clone()]));
        assert_eq!(rotate(path).unwrap(), (second.clone(), first.clone()));
        assert_eq!(ids(path), (second.clone(), vec![first.clone()]));
        assert!(!path.join(NEXT).exists());
        // Without preparing: for a single server.
        let (third, former) = rotate(path).unwrap();
        assert_eq!(former, second);
        assert_eq!(ids(path).1.len(), 2);
        assert!(remove(path, &first).unwrap() && !remove(path, &first).unwrap());
        assert!(!remove(path, "../ca").unwrap());
        assert_eq!(ids(path), (third, vec![second]));
    }

    #[test]
    fn a_rotation_that_was_cut_short_is_done_by_the_next() {
        let directory = directory();
        let path = directory.path();
        let second = prepare(path).unwrap();
        let first = ids(path).0;
        // Everything but the last step; the prepared key as another server's administrator has copied it.
        let keys = AccountKeys::open(path).unwrap();
        write_file(&path.join(public_name(&first)), &keys.signing.public.pem, 0o644).unwrap();
        fs::set_permissions(path.join(NEXT), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(ids(path), (first.clone(), vec![second.clone()]), "what signs is not among the former");
        // No third key: other servers would not know it.
        assert_eq!(rotate(path).unwrap(), (second.clone(), first.clone()));
        assert_eq!(ids(path), (second.clone(), vec![first]));
        assert!(!path.join(NEXT).exists());
        assert_eq!(fs::metadata(path.join(SIGNING)).unwrap().permissions().mode() & 0o777, 0o600);
        // A copy of what signs is not taken for a prepared key.
        fs::copy(path.join(SIGNING), path.join(NEXT)).unwrap();
        assert!(rotate(path).is_err());
        assert_eq!(ids(path).0, second);
    }

    #[test]
    fn only_files_of_keys_are_taken_for_keys() {
        for (name, mode) in [
            ("sa.key", Some(0o600)),
            ("sa-next.key", Some(0o600)),
            ("sa-aB_-9.pub", Some(0o644)),
            ("sa-.pub", None),
            ("sa-../x.pub", None),
            ("ca.key", None),
        ] {
            assert_eq!(mode_of(name), mode, "{name}");
        }
    }
}
