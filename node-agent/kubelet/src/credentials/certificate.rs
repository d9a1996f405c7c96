//! Keys, requests (PKCS #10) and certificates of a node. Pure but for randomness.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::when::Validity;

/// The group of nodes, as an organisation of their certificates.
const ORGANIZATION: &str = "system:nodes";

/// The common name of a node's certificates.
pub fn user(node: &str) -> String {
    format!("system:node:{node}")
}

/// What of a certificate counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub validity: Validity,
    /// Empty when it has none.
    pub common_name: String,
    pub names: Names,
    /// SubjectPublicKeyInfo, DER.
    key: Vec<u8>,
}

/// The alternative names of a certificate or of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub dns: BTreeSet<String>,
    pub ips: BTreeSet<IpAddr>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let mut names = Names::default();
        let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => {
                    names.dns.insert((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => names.ips.extend(address(bytes)),
                _ => {}
            }
        }
        let validity = parsed.validity();
        Ok(Self {
            validity: Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() },
            common_name: parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned(),
            names,
            key: parsed.public_key().raw.to_vec(),
        })
    }

    /// Whether it is about this private key (PEM).
    pub fn is_of(&self, key_pem: &str) -> bool {
        KeyPair::from_pem(key_pem).is_ok_and(|key| key.subject_public_key_info() == self.key)
    }
}

/// Whether the first certificate of a PEM text was signed by one of those in another.
pub fn is_signed_by(pem: &str, authorities_pem: &str) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    CertificateDer::pem_slice_iter(authorities_pem.as_bytes()).filter_map(Result::ok).any(|authority| {
        X509Certificate::from_der(&authority).is_ok_and(|(_, authority)| certificate.verify_signature(Some(authority.public_key())).is_ok())
    })
}

/// A new private key (ECDSA P-256), PKCS #8 PEM.
pub fn generate() -> Result<String, rcgen::Error> {
    Ok(KeyPair::generate()?.serialize_pem())
}

/// A request of a node for a certificate of its key, PEM: `O=system:nodes`, `CN=system:node:NODE`.
pub fn request(key_pem: &str, node: &str, names: &Names) -> Result<String, rcgen::Error> {
    let key = KeyPair::from_pem(key_pem)?;
    let mut params = CertificateParams::new(Vec::new())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, ORGANIZATION);
    subject.push(DnType::CommonName, user(node));
    params.distinguished_name = subject;
    for name in &names.dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(names.ips.iter().copied().map(SanType::IpAddress));
    params.serialize_request(&key)?.pem()
}

/// The public half of a private key: SubjectPublicKeyInfo, DER.
pub fn public(key_pem: &str) -> Result<Vec<u8>, rcgen::Error> {
    Ok(KeyPair::from_pem(key_pem)?.subject_public_key_info())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer};

    fn authority() -> (String, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    }

    #[test]
    fn a_request_comes_back_as_a_certificate_of_its_key_and_names() {
        let key = generate().unwrap();
        let names = Names { dns: ["n1".to_owned()].into(), ips: ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into() };
        let pem = request(&key, "n1", &names).unwrap();
        let (authority_pem, issuer) = authority();
        let signed = CertificateSigningRequestParams::from_pem(&pem).unwrap().signed_by(&issuer).unwrap().pem();
        let certificate = Certificate::parse(&signed).unwrap();
        assert_eq!((certificate.common_name.as_str(), &certificate.names), ("system:node:n1", &names));
        assert!(certificate.is_of(&key) && !certificate.is_of(&generate().unwrap()) && !certificate.is_of("x"));
        assert!(is_signed_by(&signed, &authority_pem) && !is_signed_by(&signed, &authority().0));
        assert!(is_signed_by(&signed, &(authority().0 + &authority_pem)), "any of a bundle");
        assert!(Certificate::parse("x").is_err());
    }
}
