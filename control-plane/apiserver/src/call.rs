//! One API call after the filters: who asks what of which kind, with everything that a verb reads from the request.

use crate::admission::{self, Asked, Operation};
use crate::codec::{self, BodyFormat};
use crate::error::{ApiError, qualified};
use crate::http::accept::Accept;
use crate::http::options::{FieldValidation, Options};
use crate::http::request_info::ResourcePath;
use crate::kinds::Kind;
use crate::present::encode::has_form;
use crate::server::Server;
use crate::storage::keys;
use bytes::Bytes;
use orknet_auth::Identity;
use orknet_resources::{Decoded, Descriptor};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// See the module.
pub struct Call {
    pub server: Arc<Server>,
    pub who: Identity,
    /// Where the call is from; `None`: this process.
    pub address: Option<IpAddr>,
    pub verb: &'static str,
    pub path: ResourcePath,
    pub kind: Kind,
    pub options: Options,
    pub accept: Accept,
    pub content_type: Option<String>,
    pub user_agent: String,
    pub body: Bytes,
}

impl Call {
    /// The names of the kind.
    pub fn names(&self) -> &Descriptor {
        self.kind.descriptor()
    }

    /// The subresource, if one is meant.
    pub fn subresource(&self) -> Option<&str> {
        (!self.path.subresource.is_empty()).then_some(&self.path.subresource[..])
    }

    /// The namespace of namespaced kinds; empty for cluster-wide ones (whose requests may name one, as for namespaces themselves).
    pub fn namespace(&self) -> &str {
        if crate::kinds::is_namespaced(self.names()) { &self.path.namespace } else { "" }
    }

    /// What admission is to be asked about the object of the path.
    pub fn admission(&self, operation: Operation) -> admission::Request<'_> {
        admission::Request {
            server: &self.server,
            who: &self.who,
            kind: &self.kind,
            subresource: self.subresource(),
            operation,
            namespace: self.namespace(),
            name: &self.path.name,
            dry_run: self.options.dry_run,
            form: None,
            revision: 0,
            options: Asked::Write { verb: self.verb, options: &self.options },
        }
    }

    /// The object's key in the store.
    pub fn key(&self) -> String {
        self.key_of(&self.path.name)
    }

    /// The key of another object of the same kind in the same namespace.
    pub fn key_of(&self, name: &str) -> String {
        keys::object(self.names().stored_as, self.namespace(), name)
    }

    /// The version that a read asks for, `None` for the newest.
    pub fn resource_version(&self) -> Option<u64> {
        self.options.resource_version.filter(|version| *version != 0 || !self.names().read_newest)
    }

    /// 404 for the object.
    pub fn not_found(&self) -> ApiError {
        ApiError::not_found(self.names(), &self.path.name)
    }

    /// 404 for the parent of a subresource or an object of this kind, 405 otherwise.
    pub fn method_not_allowed(&self) -> ApiError {
        let resource = match self.subresource() {
            Some(subresource) => format!("{}/{subresource}", self.names().plural),
            None => self.names().plural.to_owned(),
        };
        ApiError::method_not_allowed(format!(
            "{} is not supported on resources of kind {:?}",
            self.verb,
            qualified(&resource, self.names().group)
        ))
    }

    /// Who owns the fields that the call sets: `fieldManager`, or the program's name.
    pub fn field_manager(&self) -> &str {
        if self.options.field_manager.is_empty() {
            self.user_agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown")
        } else {
            &self.options.field_manager
        }
    }

    /// Reads the body as an object of the kind. Unknown and repeated fields fail the call or become warnings, as asked for.
    pub fn decode(&self, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
        let format = BodyFormat::of(self.content_type.as_deref())?;
        if format == BodyFormat::Protobuf && !has_form(&self.kind) {
            return Err(ApiError::unsupported_media_type("application/json, application/yaml"));
        }
        let document = codec::parse(format, &self.body)?;
        self.decode_value(document.value, document.duplicates, warnings)
    }

    /// The same for an object that has been read already (a patched one).
    pub fn decode_value(&self, value: Value, duplicates: Vec<String>, warnings: &mut Vec<String>) -> Result<Value, ApiError> {
        if !value.is_object() {
            return Err(ApiError::bad_request("the object provided is unrecognized (must be of type Object)"));
        }
        let Decoded { object, unknown } = self.kind.decode(value).map_err(|error| ApiError::bad_request(error.to_string()))?;
        check_fields(self.options.field_validation, self.names(), &duplicates, &unknown, warnings)?;
        Ok(object)
    }
}

/// Complaints about fields that are told of one object, as with Kubernetes: nobody reads more.
const MOST_COMPLAINTS: usize = 100;

/// Refuses fields that are unknown or given twice, or turns them into warnings.
pub fn check_fields(
    validation: FieldValidation,
    names: &Descriptor,
    duplicates: &[String],
    unknown: &[String],
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let complaints: Vec<String> = (duplicates.iter().map(|path| format!("duplicate field {path:?}")))
        .chain(unknown.iter().map(|path| format!("unknown field {path:?}")))
        .take(MOST_COMPLAINTS)
        .collect();
    match validation {
        FieldValidation::Ignore => Ok(()),
        _ if complaints.is_empty() => Ok(()),
        FieldValidation::Warn => {
            warnings.extend(complaints);
            Ok(())
        }
        FieldValidation::Strict => {
            let (kind, version) = (names.kind, names.version);
            let why = complaints.join(", ");
            Err(ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {why}")))
        }
    }
}
