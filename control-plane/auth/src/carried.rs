//! A cluster's keys on their way to another host: one file, sealed with a key that is made for it and shown once. The file may be carried as one likes; the
//! key goes another way. What it is sealed with is not kept anywhere, so that a file that was forgotten somewhere is worth nothing.
//!
//! The form: the line `orknet-keys/1`, then base64 of twelve bytes of nonce and what AES-256-GCM makes of a JSON object of names and contents; the first
//! line is the additional data.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

const HEAD: &str = "orknet-keys/1";
/// Bytes.
const KEY: usize = 32;

/// Why a file cannot be made or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CarriedError {
    #[error("there are no random bytes to make a key of")]
    Random,
    #[error("this is no file of `orknet keys export`, or one of a newer version")]
    Form,
    #[error("the key is not {KEY} bytes in base64; remedy: give it as `orknet keys export` has shown it")]
    Key,
    #[error("the key does not open the file: it is another's, or the file was altered on its way")]
    Sealed,
}

/// Texts by name.
pub type Texts = BTreeMap<String, String>;

/// A file with these texts in it, and the key that opens it.
pub fn seal(texts: &Texts) -> Result<(String, String), CarriedError> {
    let mut secret = [0; KEY];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| CarriedError::Random)?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, &secret).map_err(|_| CarriedError::Key)?;
    // A map of strings always serialises.
    let mut body = serde_json::to_vec(texts).unwrap_or_default();
    let nonce = cipher.seal_in_place_append_tag(Aad::from(HEAD), &mut body).map_err(|_| CarriedError::Random)?;
    let sealed = [&nonce.as_ref()[..], &body].concat();
    Ok((format!("{HEAD}\n{}\n", STANDARD.encode(sealed)), STANDARD.encode(secret)))
}

/// The texts of a file that [`seal`] made, by its key.
pub fn open(file: &str, key: &str) -> Result<Texts, CarriedError> {
    let (head, sealed) = file.split_once('\n').ok_or(CarriedError::Form)?;
    let sealed = STANDARD.decode(sealed.trim()).ok().filter(|_| head == HEAD).ok_or(CarriedError::Form)?;
    let secret = STANDARD.decode(key.trim()).ok().filter(|secret| secret.len() == KEY).ok_or(CarriedError::Key)?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, &secret).map_err(|_| CarriedError::Key)?;
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(CarriedError::Form)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CarriedError::Form)?;
    let mut body = body.to_vec();
    let opened = cipher.open_in_place(nonce, Aad::from(HEAD), &mut body).map_err(|_| CarriedError::Sealed)?;
    serde_json::from_slice(opened).map_err(|_| CarriedError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_opens_with_its_own_key_alone_and_not_when_it_was_altered() {
        let texts = Texts::from([("ca.key".to_owned(), "the secret\n".to_owned())]);
        let (file, key) = seal(&texts).unwrap();
        assert!(!file.contains("secret"), "{file}");
        assert_eq!(open(&file, &format!("{key}\n")).unwrap(), texts);
        let (again, other) = seal(&texts).unwrap();
        assert!(again != file && other != key);
        assert_eq!(open(&file, &other), Err(CarriedError::Sealed));
        for wrong in ["", "?", &key[..20]] {
            assert_eq!(open(&file, wrong), Err(CarriedError::Key), "{wrong:?}");
        }
        assert_eq!(open(&file.replace(HEAD, "orknet-keys/2"), &key), Err(CarriedError::Form));
        assert_eq!(open(HEAD, &key), Err(CarriedError::Form));
        assert_eq!(open(&format!("{HEAD}\nAAAA\n"), &key), Err(CarriedError::Form));
        // Any character of what is sealed.
        let begin = HEAD.len() + 1;
        for at in (begin..file.trim_end().trim_end_matches('=').len() - 1).step_by(7) {
            let mut altered = file.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(&String::from_utf8(altered).unwrap(), &key), Err(CarriedError::Sealed), "at {at}");
        }
    }
}
