//! Certificates for keys that others keep: what a certificate signing request (PKCS #10) asks for, signed by the cluster's authority. Whether it is to be
//! signed is not decided here.

use crate::pki::{BACKDATED, Pki, PkiError};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber, SigningKey,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// A certificate of a shorter life has the whole of it before it, though it begins in the past: five minutes are little of it only from here on.
const SHORT: Duration = Duration::from_secs(8 * 3600);

impl Pki {
    /// Signs a request (DER, whose signature is checked here once more): its subject, key and alternative names as they are, none of the extensions that it
    /// asks for, `usages` as the certificates API names them. Good for `life`, and never longer than the authority. Answers the certificate as PEM.
    ///
    /// # Errors
    /// A request that cannot be read, an unknown usage, an authority that has ended.
    pub fn sign_request(&self, der: &[u8], usages: &[String], life: Duration) -> Result<String, PkiError> {
        let refuse = |why: String| PkiError::Request(why);
        let (_, request) = X509CertificationRequest::from_der(der).map_err(|error| refuse(error.to_string()))?;
        request.verify_signature().map_err(|error| refuse(error.to_string()))?;
        let info = &request.certification_request_info;
        let mut params = CertificateParams::new(Vec::new())?;
        let now = OffsetDateTime::from(self.now());
        if now >= self.not_after {
            return Err(refuse("refusing to sign: the authority has ended".to_owned()));
        }
        params.not_before = now - BACKDATED;
        let end = if life < SHORT { now + life } else { now + life - BACKDATED };
        params.not_after = end.min(self.not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        // Random: one key may be certified more than once.
        params.serial_number = Some(SerialNumber::from_slice(&serial()?));
        (params.key_usages, params.extended_key_usages) = key_usages(usages).map_err(refuse)?;
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                params.subject_alt_names.extend(alternative(name)?);
            }
        }
        // The name of a subject may have many values of a type, which the library cannot write; that it has any makes the alternative names uncritical.
        let mut subject = DistinguishedName::new();
        if info.subject.iter().next().is_some() {
            subject.push(DnType::CommonName, "");
        }
        params.distinguished_name = subject;
        let draft = params.signed_by(self.issuer.key(), &self.issuer)?;
        let signed = with_subject(draft.der(), info.subject.as_raw(), info.subject_pki.raw, |tbs| Ok(self.issuer.key().sign(tbs)?))
            .ok_or_else(|| refuse("the draft of the certificate cannot be read".to_owned()))??;
        Ok(pem("CERTIFICATE", &signed))
    }
}

/// Key usages and extended key usages of what the certificates API names.
fn key_usages(usages: &[String]) -> Result<(Vec<KeyUsagePurpose>, Vec<ExtendedKeyUsagePurpose>), String> {
    use ExtendedKeyUsagePurpose as Extended;
    use KeyUsagePurpose as Usage;
    let (mut plain, mut extended) = (Vec::new(), Vec::new());
    for usage in usages {
        let usage = match usage.as_str() {
            "signing" | "digital signature" => Ok(Usage::DigitalSignature),
            "content commitment" => Ok(Usage::ContentCommitment),
            "key encipherment" => Ok(Usage::KeyEncipherment),
            "key agreement" => Ok(Usage::KeyAgreement),
            "data encipherment" => Ok(Usage::DataEncipherment),
            "cert sign" => Ok(Usage::KeyCertSign),
            "crl sign" => Ok(Usage::CrlSign),
            "encipher only" => Ok(Usage::EncipherOnly),
            "decipher only" => Ok(Usage::DecipherOnly),
            "any" => Err(Extended::Any),
            "server auth" => Err(Extended::ServerAuth),
            "client auth" => Err(Extended::ClientAuth),
            "code signing" => Err(Extended::CodeSigning),
            "email protection" | "s/mime" => Err(Extended::EmailProtection),
            "ipsec end system" => Err(Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 5])),
            "ipsec tunnel" => Err(Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 6])),
            "ipsec user" => Err(Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 7])),
            "timestamping" => Err(Extended::TimeStamping),
            "ocsp signing" => Err(Extended::OcspSigning),
            "microsoft sgc" => Err(Extended::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3])),
            "netscape sgc" => Err(Extended::Other(vec![2, 16, 840, 1, 113_730, 4, 1])),
            other => return Err(format!("unrecognized usage values: [{other:?}]")),
        };
        match usage {
            Ok(usage) if !plain.contains(&usage) => plain.push(usage),
            Err(usage) if !extended.contains(&usage) => extended.push(usage),
            _ => {}
        }
    }
    Ok((plain, extended))
}

/// The kinds of names that are passed on; others are left out.
fn alternative(name: &GeneralName<'_>) -> Result<Option<SanType>, PkiError> {
    Ok(match name {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into()?)),
        GeneralName::RFC822Name(name) => Some(SanType::Rfc822Name((*name).try_into()?)),
        GeneralName::URI(name) => Some(SanType::URI((*name).try_into()?)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
            let v6 = <[u8; 16]>::try_from(*bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
            let address = v4.or(v6).map_err(|_| PkiError::Request(format!("an address of {} bytes", bytes.len())))?;
            Some(SanType::IpAddress(address))
        }
        _ => None,
    })
}

/// Twenty bytes of which the first is below 128, so that it is a positive number of the length that RFC 5280 allows.
fn serial() -> Result<[u8; 20], PkiError> {
    let mut bytes = [0; 20];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| PkiError::Request("there is no randomness".to_owned()))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(bytes)
}

/// The certificate with another subject and key (both DER), signed anew. `None` when it cannot be read.
fn with_subject(
    certificate: &[u8],
    subject: &[u8],
    key: &[u8],
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, PkiError>,
) -> Option<Result<Vec<u8>, PkiError>> {
    // Certificate ::= SEQUENCE { tbs, algorithm, signature }; tbs ::= SEQUENCE { version, serial, algorithm, issuer, validity, subject, key, extensions }
    let outer = elements(certificate)?;
    let parts = elements(outer.first()?.content)?;
    let (tbs, algorithm) = (parts.first()?, parts.get(1)?);
    let mut fields: Vec<&[u8]> = elements(tbs.content)?.iter().map(|element| element.whole).collect();
    *fields.get_mut(5)? = subject;
    *fields.get_mut(6)? = key;
    let tbs = element(0x30, &fields.concat());
    Some(sign(&tbs).map(|signature| {
        let signature = element(0x03, &[&[0], &signature[..]].concat());
        element(0x30, &[&tbs[..], algorithm.whole, &signature].concat())
    }))
}

/// One value of DER.
struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// The values that DER consists of, one after the other. `None` when it is none.
fn elements(mut der: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let first = usize::from(*der.get(1)?);
        let (length, head) = if first < 0x80 {
            (first, 2)
        } else {
            let count = first - 0x80;
            let bytes = der.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + count)
        };
        let whole = der.get(..head.checked_add(length)?)?;
        found.push(Element { whole, content: &whole[head..] });
        der = &der[whole.len()..];
    }
    Some(found)
}

/// A value of DER with this tag.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut der = vec![tag];
    if content.len() >= 0x80 {
        der.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
    }
    der.extend_from_slice(significant);
    der.extend_from_slice(content);
    der
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for start in (0..text.len()).step_by(64) {
        lines.push_str(&text[start..text.len().min(start + 64)]);
        lines.push('\n');
    }
    lines + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::identity_from_certificate;
    use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    use std::sync::Arc;
    use x509_parser::prelude::X509Certificate;

    fn usages(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_request_becomes_a_certificate_of_its_subject_and_key() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned(), "192.0.2.7".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        // As the library can have two of a type.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "ops");
        params.distinguished_name.push(DnType::CommonName, "jane");
        let mut request = params.clone();
        request.is_ca = IsCa::NoCa;
        let request = request.serialize_request(&key).unwrap();
        let day = Duration::from_secs(86_400);
        let text = pki.sign_request(request.der(), &usages(&["client auth", "digital signature"]), day).unwrap();
        let der = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let identity = identity_from_certificate(&der).unwrap();
        assert_eq!(identity.username, "jane");
        assert!(identity.is_in("dev") && identity.is_in("ops"));
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert!(!certificate.is_ca());
        assert_eq!(certificate.public_key().subject_public_key.data.to_vec(), rcgen::PublicKeyData::der_bytes(&key));
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 2);
        let left = certificate.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp();
        assert!((86_090..=86_100).contains(&left), "{left}");
        // The authority's clients are those whom its server lets in.
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        verifier.verify_client_cert(&der, &[], UnixTime::now()).unwrap();
        let serving = pki.sign_request(request.der(), &usages(&["server auth"]), day).unwrap();
        let serving = CertificateDer::from_pem_slice(serving.as_bytes()).unwrap();
        assert!(verifier.verify_client_cert(&serving, &[], UnixTime::now()).is_err(), "it is for servers alone");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let request = CertificateParams::new(Vec::new()).unwrap().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        let mut der = request.der().to_vec();
        assert!(pki.sign_request(&der, &usages(&["x"]), SHORT).is_err(), "an unknown usage");
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(pki.sign_request(&der, &usages(&["client auth"]), SHORT).is_err(), "a wrong signature");
        assert!(pki.sign_request(b"x", &[], SHORT).is_err());
    }
}
