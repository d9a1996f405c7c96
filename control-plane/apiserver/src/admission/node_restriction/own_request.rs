//! What a kubelet may ask certificates for: as a kubelet, for itself alone. Whoever approves then need not compare names. Pure.

use crate::object;
use base64::{Engine, engine::general_purpose::STANDARD};
use orknet_resources::kinds::certificate_signing_request::request;
use serde_json::Value;

const SIGNERS: [&str; 2] = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

/// Why the kubelet of `node` may not make the request.
pub fn creation(node: &str, asked: &Value) -> Option<String> {
    if !SIGNERS.contains(&object::text(asked, "/spec/signerName")) {
        return None;
    }
    let pem = STANDARD.decode(object::text(asked, "/spec/request")).map_err(|error| error.to_string());
    match pem.and_then(|pem| request::parse(&pem)) {
        Err(error) => Some(format!("unable to parse csr: {error}")),
        Ok(found) if found.common_name.strip_prefix(super::PREFIX) == Some(node) => None,
        Ok(_) => Some(format!("can only create a node CSR with CN={}{node}", super::PREFIX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(signer: &str, name: &str) -> Value {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
        json!({ "spec": { "signerName": signer, "request": STANDARD.encode(pem) } })
    }

    #[test]
    fn a_kubelet_asks_as_a_kubelet_for_itself_alone() {
        for signer in SIGNERS {
            assert_eq!(creation("n1", &asked(signer, "system:node:n1")), None);
            for other in ["system:node:n2", "n1", "system:node:n11"] {
                let expected = "can only create a node CSR with CN=system:node:n1";
                assert_eq!(creation("n1", &asked(signer, other)).as_deref(), Some(expected), "{other}");
            }
            let broken = json!({ "spec": { "signerName": signer, "request": "eA==" } });
            assert!(creation("n1", &broken).is_some_and(|why| why.starts_with("unable to parse csr: ")));
        }
        assert_eq!(creation("n1", &asked("example.com/s", "system:node:n2")), None);
    }
}
