//! ServiceAccount: an identity for pods. Tokens are issued by the server through the `token` subresource.

use crate::contract::{Column, Descriptor};
use crate::table::{self, number};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct ServiceAccount;

impl Kind for ServiceAccount {
    type Object = v1::ServiceAccount;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["sa"],
        subresources: &["token"],
        ..namespaced::<v1::ServiceAccount>("serviceaccounts", "serviceaccount")
    };
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[table::NAME, number("Secrets", "Number of secrets that pods of the account may use"), table::AGE];

    fn cells(object: &v1::ServiceAccount, now: i64) -> Vec<Value> {
        let secrets = object.secrets.as_ref().map_or(0, Vec::len);
        vec![table::name(&object.metadata), secrets.into(), table::age(&object.metadata, now)]
    }
}
