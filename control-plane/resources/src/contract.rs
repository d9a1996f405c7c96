//! What the API server asks of a kind. Objects travel as JSON values; typed forms stay inside the kind's folder.

use crate::go_value;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// Names and abilities of a kind, as discovery shows them. Names that come at run time are kept once each ([`crate::intern`]).
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// API group; empty for core.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub scope: Scope,
    /// Verbs of the main resource; review kinds (TokenReview, SubjectAccessReview …) only have `create`.
    pub verbs: &'static [&'static str],
    /// Subresources that the kind has: `status`, `scale`, `binding`, `eviction`, `log`, `exec`, `attach`, `portforward`, `token`, `finalize`, …
    pub subresources: &'static [&'static str],
    /// Whether `metadata.generation` is kept (moves when anything but metadata and status changes).
    pub has_generation: bool,
    /// Group and plural under which objects are stored, for kinds served under two names (events).
    pub stored_as: (&'static str, &'static str),
    /// Group and plural of the objects that objects of this kind are the companions of: those of the same namespace and name. A companion is
    /// made, follows ([`Resource::follow`]) and goes in the same transaction as its object.
    pub companion_of: Option<(&'static str, &'static str)>,
    /// Whether a read at any version (`resourceVersion=0`) is answered with the newest state, not with what is at hand: for what people wait for
    /// right after a change.
    pub read_newest: bool,
    /// What every answer about a deprecated kind warns of (`APILifecycleDeprecated` of the API's types).
    pub deprecated: Option<&'static str>,
}

impl Descriptor {
    /// `v1`, or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// An object as read from a request.
#[derive(Debug)]
pub struct Decoded {
    /// Normalised through the typed form, with defaults filled in.
    pub object: Value,
    /// Paths of fields that the kind does not have (`spec.replicsa`), for strict validation and warnings.
    pub unknown: Vec<String>,
}

/// The body does not have the kind's form. `Display` is what the user reads, naming the field where it is known.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Why a value was refused (`metav1.StatusCause.reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Required,
    Invalid,
    /// Not of the type that the schema asks for.
    TypeInvalid,
    NotSupported,
    Duplicate,
    Forbidden,
    TooLong,
    TooMany,
    NotFound,
}

/// One complaint about one field; printed as Kubernetes does: `spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub cause: Cause,
    /// Path such as `spec.ports[0].port` or `metadata.labels[app]`.
    pub field: String,
    /// The value refused, where it is shown.
    pub value: Option<Value>,
    pub detail: String,
}

impl Cause {
    /// `StatusCause.reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    /// The words that open the message.
    pub fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

impl FieldError {
    /// What follows the field: `Invalid value: 0: must be …` (`StatusCause.message`).
    pub fn message(&self) -> String {
        let shown = match (&self.value, self.cause) {
            (_, Cause::Required | Cause::Forbidden | Cause::TooLong | Cause::TooMany) | (None, _) => String::new(),
            (Some(value), _) => format!(": {}", go_value::shown(value)),
        };
        if self.detail.is_empty() {
            format!("{}{shown}", self.cause.text())
        } else {
            format!("{}{shown}: {}", self.cause.text(), self.detail)
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

/// A column of a table (`metav1.TableColumnDefinition`).
#[derive(Debug)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `date`, …
    pub kind: Cow<'static, str>,
    /// `name` for the name column, else empty.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0: always shown; 1: only with `-o wide`.
    pub priority: i32,
}

/// Where an object has what its `scale` subresource shows: field names from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The number that is wanted. An integer; 0 where it is absent.
    pub spec_replicas: Vec<String>,
    /// The number that is there.
    pub status_replicas: Vec<String>,
    /// A label selector in its text form.
    pub selector: Option<Vec<String>>,
}

/// A webhook that converts objects between the versions of their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConversion {
    /// `clientConfig`: where it is.
    pub client_config: Value,
    /// `conversionReviewVersions`: the forms of the question that it takes, the best first.
    pub reviews: Vec<String>,
}

/// A request's way into an object: the main resource or one of its subresources.
pub type Subresource<'a> = Option<&'a str>;

/// One kind. Every method is pure and total: any JSON value may come in, none panics.
pub trait Resource: Send + Sync + 'static {
    fn descriptor(&self) -> &Descriptor;

    /// Reads a body: form, defaults, unknown fields. `apiVersion` and `kind` must match or be absent.
    fn decode(&self, body: Value) -> Result<Decoded, DecodeError>;

    /// Before a create: drops what the client may not set (status, …) and fills in what the kind derives.
    fn prepare_create(&self, object: &mut Value);

    /// Before an update: keeps from `old` what this way in may not change (status on the main resource, spec on `status`, …).
    fn prepare_update(&self, new: &mut Value, old: &Value, subresource: Subresource<'_>);

    /// Fields that this way in does not write, whatever a client sends (`GetResetFields` of Kubernetes' strategies): an applier does not own them, and whoever
    /// does keeps them. Dotted paths.
    fn reset_fields(&self, subresource: Subresource<'_>) -> &'static [&'static str] {
        match subresource {
            None if self.descriptor().subresources.contains(&"status") => &["status"],
            Some("status") => &["spec"],
            _ => &[],
        }
    }

    /// Whether a replacement must say which version of the object it is of (Kubernetes: no "unconditional updates").
    fn replaces_known_versions_only(&self) -> bool {
        false
    }

    /// Whether a PUT of an object that is not there creates it (`AllowCreateOnUpdate` of Kubernetes' strategies).
    fn creates_on_update(&self) -> bool {
        false
    }

    /// Before the deletion of an object begins: what holds it until somebody has done what is to be done first (a finalizer), and what its status
    /// says of that. `now`: RFC 3339.
    fn prepare_delete(&self, object: &mut Value, now: &str) {
        let _ = (object, now);
    }

    /// The rules for a new object, metadata included. All complaints at once.
    fn validate_create(&self, object: &Value) -> Vec<FieldError>;

    /// The rules for a change, immutability included.
    fn validate_update(&self, new: &Value, old: &Value, subresource: Subresource<'_>) -> Vec<FieldError>;

    /// What `kubectl get` shows.
    fn columns(&self) -> &[Column];

    /// One cell per column. `now_seconds` is Unix time, for ages (`5m3s`) that are not timestamps of creation.
    fn cells(&self, object: &Value, now_seconds: i64) -> Vec<Value>;

    /// Fields that `--field-selector` may name besides `metadata.name` and `metadata.namespace`, with the object's values. Every cached object keeps
    /// them: paths that come at run time are [`crate::intern`]ed.
    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)>;

    /// Warnings to send with the answer (deprecated fields and the like).
    fn warnings(&self, object: &Value) -> Vec<String> {
        let _ = object;
        Vec::new()
    }

    /// What every answer about a deprecated kind warns of, where it is a text that came at run time; else the descriptor's.
    fn deprecation(&self) -> Option<&str> {
        self.descriptor().deprecated
    }

    /// Whether objects are stored in this kind's own form as they are: reads then send the stored bytes. `false` for a kind that is served from
    /// another's place, and for one of several versions as soon as one object may be stored in another.
    fn has_own_form(&self) -> bool {
        let names = self.descriptor();
        names.stored_as == (names.group, names.plural)
    }

    /// The `apiVersion` that objects are written to the store in, where that may change while the server runs.
    fn stored_version(&self) -> Option<&str> {
        None
    }

    /// Who converts objects between the versions of the kind, where it is not [`Resource::to_stored`] and [`Resource::from_stored`] alone: those then take
    /// objects that have been converted.
    fn conversion(&self) -> Option<&WebhookConversion> {
        None
    }

    /// The form in which a (decoded, validated) object is written to the store. Differs from the object only for kinds that are served
    /// in two forms and stored in one ([`Resource::has_own_form`]): the stored form's `apiVersion` and `kind` are those of the stored kind.
    fn to_stored(&self, object: Value) -> Value {
        object
    }

    /// The kind's own form of an object read from the store; takes back what [`Resource::to_stored`] did.
    #[allow(clippy::wrong_self_convention, reason = "the kind converts, and is an object of a trait")]
    fn from_stored(&self, stored: Value) -> Value {
        stored
    }

    /// Brings a companion (`Descriptor::companion_of`) into line with its object as that now is: afterwards it says nothing of what the object was
    /// before. `now`: RFC 3339.
    fn follow(&self, companion: &mut Value, object: &Value, now: &str) {
        let _ = (companion, object, now);
    }

    /// Whether patches may be strategic merges. What their lists merge by is a fact of the API's own types: custom resources have none.
    fn merges_strategically(&self) -> bool {
        true
    }

    /// Where the `scale` subresource reads and writes, for kinds that say so; else `spec.replicas`, `status.replicas`, and `spec.selector` as a structure.
    fn scale(&self) -> Option<&ScalePaths> {
        None
    }

    /// JSON schema of the object; types it refers to become definitions of the generator.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let _ = generator;
        schemars::json_schema!({"type": "object"})
    }
}
