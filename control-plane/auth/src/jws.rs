//! JSON Web Tokens of others (RFC 7515, 7518, 7519), checked with the keys that their issuers publish (RFC 7517). Pure.
//!
//! Asymmetric algorithms alone: a key that everybody may read proves nothing where it also signs.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Most keys of one set that are kept.
const MOST_KEYS: usize = 256;

/// How a token may be signed (`alg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// All of them by name, in the order of the alphabet.
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("ES512", Algorithm::Es512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
];

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// As a header has it.
    pub fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| *name)
    }
}

/// A token whose form is right and whose signature nobody has looked at: nothing in it can be believed.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// What was signed.
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: String,
    key_id: Option<String>,
    /// Parameters that must be understood.
    critical: bool,
    claims: Map<String, Value>,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("id token signed with unsupported algorithm, expected {expected:?} got {got:?}")]
    Algorithm { expected: Vec<&'static str>, got: String },
    #[error("the token's header names extensions that are not known")]
    Critical,
    /// None of the keys made it. Others may have been published since.
    #[error("failed to verify signature: failed to verify id token signature")]
    Key,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Unverified<'a> {
    /// Reads the compact form; `None` for what has another.
    pub fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let claims = serde_json::from_slice(&decode(payload)?).ok()?;
        let signature = decode(signature)?;
        Some(Self { signed, signature, algorithm: header.alg, key_id: header.kid, critical: header.crit.is_some(), claims })
    }

    /// What it says of itself.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Checks that one of the keys made the signature.
    pub fn verify(&self, keys: &KeySet) -> Result<(), SignatureError> {
        let Some(algorithm) = Algorithm::named(&self.algorithm) else {
            let expected = ALGORITHMS.iter().map(|(name, _)| *name).collect();
            return Err(SignatureError::Algorithm { expected, got: self.algorithm.clone() });
        };
        if self.critical {
            return Err(SignatureError::Critical);
        }
        let may_be = |key: &&Key| self.key_id.as_deref().is_none_or(|id| key.id.as_deref() == Some(id));
        let made = keys.0.iter().filter(may_be).any(|key| key.made(algorithm, self.signed.as_bytes(), &self.signature));
        made.then_some(()).ok_or(SignatureError::Key)
    }
}

/// Public keys of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, where its issuer says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of other sorts, and those for encryption, are passed over.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if set.keys.len() > MOST_KEYS {
            return Err(format!("it has {} keys; at most {MOST_KEYS} are read", set.keys.len()));
        }
        Ok(Self(set.keys.into_iter().filter_map(|key| Key::read(serde_json::from_value(key).ok()?)).collect()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        // Number of bytes that leading zeros do not count to.
        let number = |text: Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
            let start = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[start..].to_vec())
        };
        let material = match &jwk.kty[..] {
            "RSA" => Material::Rsa { n: number(jwk.n)?, e: number(jwk.e)? },
            "EC" => {
                let (curve, length) = match jwk.crv.as_deref()? {
                    "P-256" => (Curve::P256, 32),
                    "P-384" => (Curve::P384, 48),
                    "P-521" => (Curve::P521, 66),
                    _ => return None,
                };
                let mut point = vec![4];
                for coordinate in [number(jwk.x)?, number(jwk.y)?] {
                    point.extend(std::iter::repeat_n(0, usize::checked_sub(length, coordinate.len())?));
                    point.extend(coordinate);
                }
                Material::Ec { curve, point }
            }
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm: jwk.alg, material })
    }

    /// Whether it made the signature of the message.
    fn made(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|only| only != algorithm.name()) {
            return false;
        }
        match &self.material {
            Material::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => return false,
                };
                RsaPublicKeyComponents { n: &n[..], e: &e[..] }.verify(parameters, message, signature).is_ok()
            }
            Material::Ec { curve, point } => {
                let parameters = match (algorithm, curve) {
                    (Algorithm::Es256, Curve::P256) => &ECDSA_P256_SHA256_FIXED,
                    (Algorithm::Es384, Curve::P384) => &ECDSA_P384_SHA384_FIXED,
                    (Algorithm::Es512, Curve::P521) => &ECDSA_P521_SHA512_FIXED,
                    _ => return false,
                };
                UnparsedPublicKey::new(parameters, point).verify(message, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaSignatureEncoding,
    };
    use serde_json::json;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn token(header: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(json!({ "iss": "i" }).to_string()));
        format!("{signed}.{}", encode(sign(signed.as_bytes())))
    }

    fn set(keys: &Value) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set")
    }

    fn verified(token: &str, keys: &KeySet) -> Result<(), SignatureError> {
        Unverified::parse(token).expect("a token").verify(keys)
    }

    /// The two numbers of a DER `SEQUENCE { INTEGER, INTEGER }`.
    fn numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
        fn part(der: &[u8]) -> (&[u8], &[u8]) {
            let (length, start) = match der[1] {
                short @ ..0x80 => (usize::from(short), 2),
                long => {
                    let bytes = usize::from(long & 0x7f);
                    (der[2..2 + bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + bytes)
                }
            };
            der[start..].split_at(length)
        }
        let (n, rest) = part(part(der).0);
        (n.to_vec(), part(rest).0.to_vec())
    }

    #[test]
    fn every_algorithm_is_verified_with_its_key_and_no_other() {
        let rng = SystemRandom::new();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let (n, e) = numbers(rsa.public_key().as_ref());
        let rsa_key = json!({ "kty": "RSA", "kid": "r", "n": encode(n), "e": encode(e) });
        let all_rsa: [(&str, &'static RsaSignatureEncoding); 6] = [
            ("RS256", &RSA_PKCS1_SHA256),
            ("RS384", &RSA_PKCS1_SHA384),
            ("RS512", &RSA_PKCS1_SHA512),
            ("PS256", &RSA_PSS_SHA256),
            ("PS384", &RSA_PSS_SHA384),
            ("PS512", &RSA_PSS_SHA512),
        ];
        let mut made = Vec::new();
        for (name, encoding) in all_rsa {
            let sign = |message: &[u8]| {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(encoding, &rng, message, &mut signature).expect("signs");
                signature
            };
            made.push((name, rsa_key.clone(), token(&json!({ "alg": name, "kid": "r" }), sign)));
        }
        let all_ec: [(&str, &str, &'static EcdsaSigningAlgorithm); 3] = [
            ("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            ("ES512", "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
        ];
        for (name, curve, algorithm) in all_ec {
            let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
            let point: &[u8] = pair.public_key().as_ref();
            let (x, y) = point[1..].split_at(point.len() / 2);
            let key = json!({ "kty": "EC", "crv": curve, "kid": name, "x": encode(x), "y": encode(y), "use": "sig" });
            let sign = |message: &[u8]| {
                let signature = pair.sign(&rng, message).expect("signs");
                let bytes: &[u8] = signature.as_ref();
                bytes.to_vec()
            };
            made.push((name, key, token(&json!({ "alg": name, "kid": name }), sign)));
        }
        assert_eq!(made.len(), ALGORITHMS.len());
        for (name, key, token) in &made {
            assert_eq!(verified(token, &set(&json!([key]))), Ok(()), "{name}");
            let mut only_another = key.clone();
            only_another["alg"] = if *name == "RS256" { "PS256" } else { "RS256" }.into();
            assert_eq!(verified(token, &set(&json!([only_another]))), Err(SignatureError::Key), "{name}");
            for (other, key, _) in &made {
                let works = verified(token, &set(&json!([key]))).is_ok();
                let same_rsa = !name.starts_with('E') && !other.starts_with('E');
                assert_eq!(works, name == other || same_rsa, "{name} with the key of {other}");
            }
        }
        let (_, key, whole) = &made[0];
        let (signed, signature) = whole.rsplit_once('.').expect("parts");
        let forged = format!("{}.{}.{signature}", signed.split_once('.').expect("parts").0, encode(r#"{"iss":"j"}"#));
        assert_eq!(verified(&forged, &set(&json!([key]))), Err(SignatureError::Key));
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        for algorithm in ["none", "HS256", "EdDSA", "rs256"] {
            let why = verified(&token(&json!({ "alg": algorithm }), |_| Vec::new()), &KeySet::default()).expect_err("refused");
            assert!(matches!(&why, SignatureError::Algorithm { got, .. } if got == algorithm), "{why}");
            assert!(why.to_string().contains(r#"expected ["ES256", "ES384""#), "{why}");
        }
        let critical = token(&json!({ "alg": "RS256", "crit": ["x"] }), |_| Vec::new());
        assert_eq!(verified(&critical, &KeySet::default()), Err(SignatureError::Critical));
        for text in ["", "a.b", "a.b.c", "a.b.c.d", "{}"] {
            assert!(Unverified::parse(text).is_none(), "{text}");
        }
        assert!(Unverified::parse(&token(&json!({}), |_| Vec::new())).is_none(), "no algorithm");
    }

    #[test]
    fn keys_of_other_sorts_are_passed_over() {
        let keys = json!([
            { "kty": "oct", "k": "eA" },
            { "kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc" },
            { "kty": "EC", "crv": "secp256k1", "x": "AQ", "y": "AQ" },
            { "kty": "EC", "crv": "P-256", "x": encode([1; 33]), "y": "AQ" },
            { "kty": 7 },
            { "kty": "RSA", "n": "AQAB", "e": "AQAB" },
        ]);
        assert_eq!(set(&keys).len(), 1);
        assert!(KeySet::parse(b"{}").is_err());
        let many = vec![json!({ "kty": "oct" }); MOST_KEYS + 1];
        assert!(KeySet::parse(json!({ "keys": many }).to_string().as_bytes()).is_err());
    }
}
