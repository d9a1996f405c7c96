//! What is in a certificate signing request (PKCS #10, RFC 2986): its form, its signature, and whom it is for. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// What a request asks a certificate for. Kinds of names that no signer puts into certificates are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Empty when there is none.
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns: Vec<String>,
    pub emails: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub uris: Vec<String>,
    /// The whole request as DER.
    pub der: Vec<u8>,
}

/// Reads the first PEM block and checks that who signed it has the key that it is about. The error is what a client reads.
pub fn parse(pem: &[u8]) -> Result<Request, String> {
    let block = Pem::iter_from_buffer(pem).next().and_then(Result::ok).filter(|block| block.label == "CERTIFICATE REQUEST");
    let der = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?.contents;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|error| format!("x509: no certificate request: {error}"))?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    request.verify_signature().map_err(|error| format!("x509: the signature of the request cannot be verified: {error}"))?;
    let subject = &request.certification_request_info.subject;
    // The subject is signed as it is. Whatever is judged by it must be all that anybody could read out of it: a name beside the one that was looked at, or in a
    // form that others can read and this cannot, would make its holder somebody whom nobody has approved.
    let text = |name: &AttributeTypeAndValue<'_>| {
        name.as_str().map(str::to_owned).map_err(|_| "x509: the subject has a name that is neither UTF-8 nor ASCII".to_owned())
    };
    let mut names = subject.iter_common_name().map(text).collect::<Result<Vec<_>, _>>()?;
    if names.len() > 1 {
        return Err("x509: the subject has several common names".to_owned());
    }
    let mut found = Request {
        common_name: names.pop().unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect::<Result<_, _>>()?,
        ..Request::default()
    };
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => found.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => found.emails.push((*name).to_owned()),
                GeneralName::URI(name) => found.uris.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => found.ips.push(address(bytes)?),
                _ => {}
            }
        }
    }
    found.der = der;
    Ok(found)
}

fn address(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| format!("x509: cannot parse IP address of length {}", bytes.len()))?;
    Ok(Ipv6Addr::from(v6).into())
}

/// Whether the text is certificates in PEM and nothing else in PEM. The error is what a client reads.
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|error| error.to_string())?;
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        block.parse_x509().map_err(|error| format!("x509: {error}"))?;
        blocks += 1;
    }
    if blocks == 0 { Err("must contain at least one CERTIFICATE PEM block".to_owned()) } else { Ok(()) }
}

/// When the first certificate in PEM ends, in Unix seconds. `None` where there is none.
pub fn not_after(pem: &[u8]) -> Option<i64> {
    let block = Pem::iter_from_buffer(pem).next()?.ok()?;
    Some(block.parse_x509().ok()?.validity().not_after.timestamp())
}
