//! Pure: what a Secret lacks.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use orknet_auth::tokens::{ACCOUNT_NAME, ACCOUNT_UID};

pub(super) const CA_FILE: &str = "ca.crt";
pub(super) const NAMESPACE: &str = "namespace";
pub(super) const TOKEN: &str = "token";

/// What to do about a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Nothing,
    /// Its account is gone.
    Delete,
    Fill(Lacks),
}

/// What is missing, or not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks {
    pub uid: bool,
    pub ca: bool,
    pub namespace: bool,
    pub token: bool,
}

/// The name of the account whose token a Secret holds.
pub(super) fn account_of(secret: &Secret) -> Option<&str> {
    annotation(secret, ACCOUNT_NAME)
}

/// `account`: the one that the Secret names. Without a certificate there is none to be put in.
pub(super) fn plan(secret: &Secret, account: Option<&ServiceAccount>, root_ca: &str) -> Plan {
    if secret.metadata.deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    let uid = account.and_then(|account| account.metadata.uid.as_deref());
    let said = annotation(secret, ACCOUNT_UID);
    // An account of the same name is another.
    if uid.is_none() || said.is_some() && said != uid {
        return Plan::Delete;
    }
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| &bytes.0[..]).unwrap_or_default();
    let lacks = Lacks {
        uid: said.is_none(),
        ca: !root_ca.is_empty() && data(CA_FILE) != root_ca.as_bytes(),
        namespace: data(NAMESPACE).is_empty(),
        token: data(TOKEN).is_empty(),
    };
    if lacks == Lacks::default() { Plan::Nothing } else { Plan::Fill(lacks) }
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let value = secret.metadata.annotations.as_ref()?.get(key)?;
    (!value.is_empty()).then_some(value)
}
