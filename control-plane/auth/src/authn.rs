//! Identities, and how a client certificate or a static token names one.

use aws_lc_rs::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fmt::Write;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Members may do everything; the name is Kubernetes'.
pub const GROUP_MASTERS: &str = "system:masters";
/// Everybody who has shown who they are.
pub const GROUP_AUTHENTICATED: &str = "system:authenticated";
/// Everybody who has not.
pub const GROUP_UNAUTHENTICATED: &str = "system:unauthenticated";
/// Every service account.
pub const GROUP_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// Kubelets and node agents.
pub const GROUP_NODES: &str = "system:nodes";

/// The key under which an identity's extra tells by which credentials it was shown, such as in the audit log.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// The part of a certificate's subject that has its holder's uid (Kubernetes, AllowParsingUserUIDFromCertAuth).
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);

/// Who is asking (`authentication.k8s.io/v1 UserInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// An identity that has proven itself: `system:authenticated` is added to its groups.
    pub fn authenticated(username: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == GROUP_AUTHENTICATED) {
            groups.push(GROUP_AUTHENTICATED.to_owned());
        }
        Self { username: username.into(), groups, ..Self::default() }
    }

    /// A service account, without the uid that its tokens tell.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [GROUP_SERVICE_ACCOUNTS.to_owned(), format!("{GROUP_SERVICE_ACCOUNTS}:{namespace}")];
        Self::authenticated(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { username: "system:anonymous".to_owned(), groups: vec![GROUP_UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// Whether `group` is one of its groups.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// The identity in a client certificate that TLS has verified: common name = user, organisations = groups, and a uid if the subject has one
/// (Kubernetes "X509 client certificates"). `None` when it is no certificate, or has not exactly one common name, or several uids: of several, one program
/// would take the first and another the last (Go does), and whoever asked for the certificate would be two people.
pub fn identity_from_certificate(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let mut names = subject.iter_common_name();
    let (Some(user), None) = (names.next(), names.next()) else { return None };
    let user = user.as_str().ok()?;
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    let mut uids = subject.iter_by_oid(&UID);
    let uid = match (uids.next(), uids.next()) {
        (None, _) => "",
        (Some(uid), None) => uid.as_str().ok()?,
        (Some(_), Some(_)) => return None,
    };
    let mut id = "X509SHA256=".to_owned();
    for byte in digest(&SHA256, der).as_ref() {
        // Writing to a string does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    let extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![id])]);
    (!user.is_empty()).then(|| Identity { uid: uid.to_owned(), extra, ..Identity::authenticated(user, groups) })
}

/// Tokens listed in a file, one a line: `token,user,uid[,"group1,group2"]`, as kube-apiserver's `--token-auth-file`.
#[derive(Clone, Debug, Default)]
pub struct StaticTokens {
    by_token: BTreeMap<String, Identity>,
}

/// A line of a token file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("token file, line {line}: expected token,user,uid[,\"group1,group2\"]")]
pub struct TokenFileError {
    line: usize,
}

impl StaticTokens {
    /// Reads the file's text; empty lines and lines beginning with `#` are passed over.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut by_token = BTreeMap::new();
        for (index, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut parts = line.splitn(4, ',').map(str::trim);
            let (Some(token), Some(user), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(TokenFileError { line: index });
            };
            if token.is_empty() || user.is_empty() {
                return Err(TokenFileError { line: index });
            }
            let groups = parts.next().unwrap_or_default().trim_matches('"').split(',').map(str::trim);
            let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned);
            by_token.insert(token.to_owned(), Identity { uid: uid.to_owned(), ..Identity::authenticated(user, groups) });
        }
        Ok(Self { by_token })
    }

    /// Whose token this is.
    pub fn identity(&self, token: &str) -> Option<Identity> {
        // Compared whole through a map: what a timing could tell is the order of unguessable tokens.
        self.by_token.get(token).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_files_name_users_and_groups() {
        let tokens = StaticTokens::parse("# a comment\n\nsecret,ann,7,\"dev, ops\"\nother,bob,8\n").unwrap();
        let ann = tokens.identity("secret").unwrap();
        assert_eq!((ann.username.as_str(), ann.uid.as_str()), ("ann", "7"));
        assert!(ann.is_in("dev") && ann.is_in("ops") && ann.is_in(GROUP_AUTHENTICATED));
        assert!(!tokens.identity("other").unwrap().is_in("dev"));
        assert_eq!(tokens.identity("secre"), None);
    }

    #[test]
    fn a_bad_line_of_a_token_file_is_named() {
        assert_eq!(StaticTokens::parse("a,b,c\nonly-a-token").unwrap_err().line, 2);
        assert!(StaticTokens::parse(",user,uid").is_err());
    }

    #[test]
    fn a_certificate_tells_a_uid_and_what_it_is_known_by() {
        let certificate = |uids: &[&str]| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
            for uid in uids {
                params.distinguished_name.push(rcgen::DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), *uid);
            }
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
        };
        let der = certificate(&["7"]);
        let known = identity_from_certificate(&der).unwrap();
        assert_eq!((&known.username[..], &known.uid[..]), ("ann", "7"));
        let [id] = &known.extra[CREDENTIAL_ID][..] else { panic!("{:?}", known.extra) };
        let hex = id.strip_prefix("X509SHA256=").unwrap();
        assert_eq!(hex.len(), 64);
        assert_eq!(identity_from_certificate(&der).unwrap().extra, known.extra, "the same each time");
        assert_ne!(identity_from_certificate(&certificate(&["7"])).unwrap().extra, known.extra, "another's is another");
    }

    #[test]
    fn who_has_two_names_is_nobody() {
        let certificate = |more: &[&str]| {
            let mut subject = rcgen::DistinguishedName::new();
            subject.push(rcgen::DnType::OrganizationName, GROUP_NODES);
            subject.push(rcgen::DnType::CommonName, "system:node:n");
            // As the library can have two of a type.
            more.iter().for_each(|name| subject.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]), *name));
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = subject;
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
        };
        let known = identity_from_certificate(&certificate(&[])).unwrap();
        assert_eq!((&known.username[..], known.is_in(GROUP_NODES), &known.uid[..]), ("system:node:n", true, ""));
        assert_eq!(identity_from_certificate(&certificate(&["system:node:m"])), None);
        assert_eq!(identity_from_certificate(&certificate(&["system:kube-controller-manager"])), None);
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        assert_eq!(identity_from_certificate(b"no certificate"), None);
    }
}
