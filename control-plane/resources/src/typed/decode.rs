//! Reads a JSON value into a typed object the way the API does: unknown fields are noted with their path, `null` is a zero value,
//! quantities are put in canonical form, and an error names field, found and expected type. Knows no kind.

use super::go_type::go_type;
use crate::quantity;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;

/// Why a value has not the form of the type.
#[derive(Debug)]
pub struct FormError {
    /// Set by the innermost container that saw the error.
    place: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The JSON type is not the one of the field.
    Mismatch {
        found: String,
        expected: String,
    },
    /// Bytes that are no base64, from this offset on.
    NoBase64(usize),
    Other(String),
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    unknown: &'a RefCell<Vec<String>>,
    here: Here<'a>,
}

/// The way to the value being read.
#[derive(Clone, Copy)]
enum Here<'a> {
    Root,
    /// Parent, name of the Go-like type that holds the field, field.
    Field(&'a Here<'a>, &'static str, &'a str),
    Index(&'a Here<'a>, usize),
}

struct At<'a> {
    walk: Walk<'a>,
    value: Value,
}

struct Fields<'a> {
    walk: Walk<'a>,
    holder: &'static str,
    entries: serde_json::map::IntoIter,
    current: Option<(String, Value)>,
}

struct Items<'a> {
    walk: Walk<'a>,
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
}

/// Reads `value` as `T`; the second part lists the paths of fields that `T` does not have.
pub fn read<T: de::DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), FormError> {
    let unknown = RefCell::new(Vec::new());
    let object = T::deserialize(At { walk: Walk { unknown: &unknown, here: Here::Root }, value })?;
    Ok((object, unknown.into_inner()))
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.what, self.place.as_deref().filter(|p| !p.is_empty())) {
            (What::Mismatch { found, expected }, Some(place)) => {
                write!(f, "json: cannot unmarshal {found} into Go struct field {place} of type {expected}")
            }
            (What::Mismatch { found, expected }, None) => write!(f, "json: cannot unmarshal {found} into Go value of type {expected}"),
            (What::NoBase64(offset), _) => write!(f, "illegal base64 data at input byte {offset}"),
            (What::Other(text), Some(place)) => write!(f, "{place}: {text}"),
            (What::Other(text), None) => f.write_str(text),
        }
    }
}

impl std::error::Error for FormError {}

impl de::Error for FormError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        Self { place: None, what: base64_offset(&text).map_or(What::Other(text), What::NoBase64) }
    }
}

impl FormError {
    fn mismatch(value: &Value, expected: impl Into<String>) -> Self {
        let expected = expected.into();
        let found = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            // A number is quoted where a number is expected, and only does not fit.
            Value::Number(n) if expected.starts_with("int") => format!("number {n}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        Self { place: None, what: What::Mismatch { found, expected } }
    }

    fn within(mut self, here: &Here<'_>) -> Self {
        self.place.get_or_insert_with(|| here.with_holder());
        self
    }
}

impl Here<'_> {
    /// `Container.spec.containers[0].name`: the innermost holder's type, then the whole path.
    fn with_holder(&self) -> String {
        let mut at = self;
        loop {
            match at {
                Here::Root => return self.to_string(),
                Here::Field(_, holder, _) if !holder.is_empty() => return format!("{holder}.{self}"),
                Here::Field(parent, ..) | Here::Index(parent, _) => at = parent,
            }
        }
    }
}

impl fmt::Display for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Here::Root => Ok(()),
            Here::Field(Here::Root, _, name) => f.write_str(name),
            Here::Field(parent, _, name) => write!(f, "{parent}.{name}"),
            Here::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'a> At<'a> {
    fn map<'de, V: Visitor<'de>>(self, holder: &'static str, visitor: V) -> Result<V::Value, FormError> {
        let entries = match self.value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => return Err(FormError::mismatch(&other, go_type::<V::Value>())),
        };
        visitor.visit_map(Fields { walk: self.walk, holder, entries: entries.into_iter(), current: None })
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        let items = match self.value {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Err(FormError::mismatch(&other, go_type::<V::Value>())),
        };
        visitor.visit_seq(Items { walk: self.walk, items: items.into_iter().enumerate() })
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.value {
            Value::String(text) => visitor.visit_string(text),
            Value::Null => visitor.visit_str(""),
            other => Err(FormError::mismatch(&other, "string")),
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V, min: i64, max: i64, name: &str) -> Result<V::Value, FormError> {
        match &self.value {
            Value::Null => visitor.visit_i64(0),
            Value::Number(n) => match n.as_i64() {
                Some(n) if (min..=max).contains(&n) => visitor.visit_i64(n),
                _ => Err(FormError::mismatch(&self.value, name)),
            },
            other => Err(FormError::mismatch(other, name)),
        }
    }
}

impl<'de> de::Deserializer<'de> for At<'_> {
    type Error = FormError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(n), ..) => visitor.visit_i64(n),
                (_, Some(n), _) => visitor.visit_u64(n),
                (.., Some(n)) => visitor.visit_f64(n),
                _ => visitor.visit_unit(),
            },
            Value::String(s) => visitor.visit_string(s),
            Value::Array(_) => self.list(visitor),
            Value::Object(_) => self.map("", visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.value {
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Null => visitor.visit_bool(false),
            other => Err(FormError::mismatch(&other, "bool")),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.integer(visitor, i32::MIN.into(), i32::MAX.into(), "int32")
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.integer(visitor, i64::MIN, i64::MAX, "int64")
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match &self.value {
            Value::Number(n) => visitor.visit_f64(n.as_f64().unwrap_or_default()),
            Value::Null => visitor.visit_f64(0.0),
            other => Err(FormError::mismatch(other, "float64")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match &self.value {
            Value::String(text) if text.contains(['\r', '\n']) && is_base64(&visitor) => {
                let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
                visitor.visit_string(text)
            }
            _ => self.text(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, FormError> {
        match (name, &self.value) {
            ("Quantity", Value::String(text)) => visitor.visit_string(canonical(text)?),
            ("Quantity", Value::Number(number)) => visitor.visit_string(canonical(&number.to_string())?),
            ("Quantity", Value::Null) => visitor.visit_str("0"),
            ("Quantity", other) => Err(FormError::mismatch(other, "Quantity")),
            ("Time" | "MicroTime", Value::String(text)) if !is_rfc3339(text) => {
                Err(de::Error::custom(format!("parsing time {text:?}: not a time of the form 2006-01-02T15:04:05Z07:00")))
            }
            // The zero time: of a map's value, which cannot be absent.
            ("Time" | "MicroTime", Value::Null) => visitor.visit_newtype_struct("0001-01-01T00:00:00Z".into_deserializer()),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.map("", visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        self.map(name, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.walk.unknown.borrow_mut().push(self.walk.here.to_string());
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 u8 u16 u32 u64 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = FormError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FormError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let (key, _) = self.current.insert((key, value));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FormError> {
        let Some((key, value)) = self.current.take() else { return Err(de::Error::custom("a value without a key")) };
        let here = Here::Field(&self.walk.here, self.holder, &key);
        let walk = Walk { unknown: self.walk.unknown, here };
        seed.deserialize(At { walk, value }).map_err(|e| e.within(&here))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = FormError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormError> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let here = Here::Index(&self.walk.here, index);
        let walk = Walk { unknown: self.walk.unknown, here };
        seed.deserialize(At { walk, value }).map(Some).map_err(|e| e.within(&here))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

fn canonical(text: &str) -> Result<String, FormError> {
    quantity::canonical(text).map_err(de::Error::custom)
}

/// Whether k8s-openapi's `ByteString` is asked for, which only its error says. In base64 of Kubernetes (Go's `encoding/base64`) line breaks count for
/// nothing, wherever they are.
fn is_base64<'de>(visitor: &impl Visitor<'de>) -> bool {
    (visitor as &dyn de::Expected).to_string() == "a base64-encoded string"
}

/// Where the decoder that k8s-openapi uses says that text stops being base64.
fn base64_offset(complaint: &str) -> Option<usize> {
    let offset =
        complaint.strip_prefix("Invalid input length: ").or_else(|| complaint.rsplit_once(", offset ").map(|(_, offset)| offset))?;
    (complaint.starts_with("Invalid ")).then_some(offset.trim_end_matches('.').parse().ok()).flatten()
}

/// Years 0001 to 9999, `T` between date and time, a zone (RFC 3339); the year 0001 only in UTC, so that no time leaves the range.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && &bytes[..4] != b"0000"
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
        && bytes[16] == b':'
        && bytes.last() != Some(&b']')
        && (&bytes[..4] != b"0001" || bytes.ends_with(b"Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn refused(value: Value) -> String {
        read::<Deployment>(value).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn unknown_fields_are_listed_with_their_paths() {
        let (_, unknown) = read::<Pod>(json!({
            "metadata": {"nmae": "x", "labels": {"any": "thing"}},
            "spec": {"containers": [{"name": "a", "imagee": {"deep": 1}}], "nope": null},
        }))
        .unwrap();
        assert_eq!(unknown, ["metadata.nmae", "spec.containers[0].imagee", "spec.nope"]);
    }

    #[test]
    fn a_wrong_type_names_field_found_and_expected() {
        assert_eq!(
            refused(json!({"spec": {"replicas": "three"}})),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            refused(json!({"spec": {"template": {"spec": {"containers": [{"env": [{"name": "a", "value": 1}]}]}}}})),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers[0].env[0].value of type string"
        );
        assert_eq!(
            refused(json!({"metadata": {"labels": {"a": true}}})),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels.a of type string"
        );
        assert_eq!(
            refused(json!({"spec": {"template": {"spec": {"containers": {}}}}})),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
        );
        assert_eq!(refused(json!([])), "json: cannot unmarshal array into Go value of type v1.Deployment");
    }

    #[test]
    fn types_are_named_as_in_the_api() {
        for (body, expected) in [
            (json!({"spec": "x"}), "string into Go struct field Deployment.spec of type v1.DeploymentSpec"),
            (json!({"metadata": {"labels": []}}), "array into Go struct field ObjectMeta.metadata.labels of type map[string]string"),
            (json!({"metadata": {"finalizers": "x"}}), "string into Go struct field ObjectMeta.metadata.finalizers of type []string"),
            (
                json!({"metadata": {"ownerReferences": {}}}),
                "object into Go struct field ObjectMeta.metadata.ownerReferences of type []v1.OwnerReference",
            ),
            (json!({"spec": {"replicas": 1.5}}), "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ] {
            assert_eq!(refused(body), format!("json: cannot unmarshal {expected}"));
        }
    }

    #[test]
    fn what_is_no_base64_is_told_from_where_on() {
        let refused =
            |text: &str| read::<k8s_openapi::api::core::v1::Secret>(json!({"data": {"k": text}})).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused("!!"), "illegal base64 data at input byte 0");
        assert_eq!(refused("YWJj*A=="), "illegal base64 data at input byte 4");
        let (secret, _) = read::<k8s_openapi::api::core::v1::Secret>(json!({"data": {"k": "YW\r\nJj\n"}})).unwrap();
        assert_eq!(secret.data.unwrap()["k"].0, b"abc", "line breaks count for nothing");
    }

    #[test]
    fn null_is_a_zero_value() {
        let (pod, unknown) =
            read::<Pod>(json!({"metadata": null, "spec": {"containers": null, "nodeSelector": {"a": null}, "nodeName": null}})).unwrap();
        assert!(unknown.is_empty());
        let spec = pod.spec.unwrap();
        assert!(spec.containers.is_empty() && spec.node_name.is_none());
        assert_eq!(spec.node_selector.unwrap()["a"], "");
    }

    #[test]
    fn quantities_may_be_numbers_and_become_canonical() {
        let (pod, _) =
            read::<Pod>(json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1.5Gi", "x.y/z": 2}}}]}})).unwrap();
        let limits = pod.spec.unwrap().containers[0].resources.clone().unwrap().limits.unwrap();
        assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str(), limits["x.y/z"].0.as_str()), ("500m", "1536Mi", "2"));
        let wrong = read::<Pod>(json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "abc"}}}]}})).map(|_| ()).unwrap_err();
        assert!(wrong.to_string().contains("spec.containers[0].resources.limits.cpu"), "{wrong}");
    }

    #[test]
    fn times_must_be_rfc3339() {
        for (text, good) in [
            ("2024-01-02T03:04:05Z", true),
            ("2024-01-02T03:04:05.5+01:00", true),
            ("2024-01-02 03:04:05Z", false),
            ("yesterday", false),
            ("0000-01-02T03:04:05Z", false),
        ] {
            let read = read::<Pod>(json!({"metadata": {"creationTimestamp": text}}));
            assert_eq!(read.is_ok(), good, "{text}");
        }
    }
}
