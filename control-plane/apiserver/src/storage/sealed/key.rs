//! One AES-GCM key, and the form of what it seals: `k8s:enc:aesgcm:v1:<key's name>:`, twelve bytes of nonce, ciphertext with its tag; the key in the store
//! is the additional data, so that a value opens at its own place alone. The form is that of kube-apiserver.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::fmt;

/// How everything that is sealed begins, whatever sealed it.
pub const SEALED: &[u8] = b"k8s:enc:";

/// See the module.
pub struct Key {
    name: String,
    /// What is before the nonce.
    head: Vec<u8>,
    cipher: RandomizedNonceKey,
}

/// Without the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the name {0:?} is empty or has a colon in it")]
    Name(String),
    #[error("the secret is no base64")]
    Base64,
    #[error("the secret has {0} bytes; AES keys have 16, 24 or 32")]
    Length(usize),
}

impl Key {
    /// `secret`: base64 of 16, 24 or 32 bytes.
    pub fn new(name: &str, secret: &str) -> Result<Self, KeyError> {
        if name.is_empty() || name.contains(':') {
            return Err(KeyError::Name(name.to_owned()));
        }
        let secret = STANDARD.decode(secret.trim()).map_err(|_| KeyError::Base64)?;
        let algorithm = match secret.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            other => return Err(KeyError::Length(other)),
        };
        let cipher = RandomizedNonceKey::new(algorithm, &secret).map_err(|_| KeyError::Length(secret.len()))?;
        Ok(Self { name: name.to_owned(), head: format!("k8s:enc:aesgcm:v1:{name}:").into_bytes(), cipher })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this key sealed the value, as that says itself.
    pub fn sealed(&self, value: &[u8]) -> bool {
        value.starts_with(&self.head)
    }

    /// Seals a value for its place. `None` only if the library fails, as for want of random bytes.
    pub fn seal(&self, place: &[u8], value: &[u8]) -> Option<Bytes> {
        let mut body = value.to_vec();
        let nonce = self.cipher.seal_in_place_append_tag(Aad::from(place), &mut body).ok()?;
        Some([&self.head, &nonce.as_ref()[..], &body].concat().into())
    }

    /// Opens a value that this key sealed for this place; `None` for any other.
    pub fn open(&self, place: &[u8], value: &[u8]) -> Option<Bytes> {
        let (nonce, body) = value.strip_prefix(&self.head[..])?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let length = self.cipher.open_in_place(nonce, Aad::from(place), &mut body).ok()?.len();
        body.truncate(length);
        Some(body.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::{FIRST, SECOND};
    use super::*;

    #[test]
    fn a_value_opens_at_its_place_with_its_key_alone() {
        let (key, other) = (Key::new("a", FIRST).expect("a key"), Key::new("a", SECOND).expect("a key"));
        for value in [&b""[..], b"{}", &[0; 100_000]] {
            let sealed = key.seal(b"/p", value).expect("sealed");
            assert!(sealed.starts_with(b"k8s:enc:aesgcm:v1:a:") && key.sealed(&sealed));
            assert_eq!(key.open(b"/p", &sealed).expect("opens"), value);
            assert_eq!(key.open(b"/q", &sealed), None, "another place");
            assert_eq!(other.open(b"/p", &sealed), None, "another key of the name");
            assert_ne!(key.seal(b"/p", value), Some(sealed), "a nonce of its own");
        }
    }

    #[test]
    fn no_bit_may_change_and_no_byte_may_lack() {
        let key = Key::new("a", "AAECAwQFBgcICQoLDA0ODw==").expect("a key of 16 bytes");
        let sealed = key.seal(b"/p", b"value").expect("sealed").to_vec();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"/p", &changed), None, "bit in byte {at}");
            assert_eq!(key.open(b"/p", &sealed[..at]), None, "{at} bytes");
        }
    }

    /// Test case 16 of the GCM specification (AES-256, additional data, a nonce of twelve bytes), put together as a sealed value.
    #[test]
    fn the_cipher_is_that_of_the_specification() {
        let hex =
            |text: &str| (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect::<Vec<_>>();
        let secret = STANDARD.encode(hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
        let text =
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662";
        let sealed =
            [b"k8s:enc:aesgcm:v1:k:".to_vec(), hex("cafebabefacedbaddecaf888"), hex(text), hex("76fc6ece0f4e1768cddf8853bb2d551b")]
                .concat();
        let opened = Key::new("k", &secret).expect("a key").open(&hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"), &sealed).expect("opens");
        let plain =
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
        assert_eq!(opened, hex(plain));
    }
}
