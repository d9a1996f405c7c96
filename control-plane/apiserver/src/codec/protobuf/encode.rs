//! JSON objects into messages, by the table, as Go writes them: fields in the order of their numbers, maps in the order of their keys, and what is no
//! pointer in Go's types even when it is zero.

use super::table::{Field, Kind, Message, Shape, Table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// Nanoseconds.
const SECOND: i128 = 1_000_000_000;

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Appends the fields of a message. What has not the form that the table says is as if it were not there: objects that are kept have it.
pub fn message(table: &Table, message: Message, object: &Map<String, Value>, out: &mut Vec<u8>) {
    for field in table.fields(message) {
        field_of(table, field, object, out);
    }
}

/// Appends a field that has a length: its key, the length, and what `content` appends.
pub fn delimited(number: u32, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    key(number, BYTES, out);
    let at = out.len();
    // Most lengths have one byte.
    out.push(0);
    content(out);
    let length = out.len() - at - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[at] = short;
        return;
    }
    let mut bytes = Vec::with_capacity(5);
    varint(length as u64, &mut bytes);
    out.splice(at..=at, bytes);
}

/// Appends text or bytes.
pub fn bytes(number: u32, value: &[u8], out: &mut Vec<u8>) {
    key(number, BYTES, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Appends a number, which is signed whatever its width.
pub fn number(field: u32, value: i64, out: &mut Vec<u8>) {
    key(field, VARINT, out);
    varint(value.cast_unsigned(), out);
}

/// Appends a boolean.
pub fn boolean(field: u32, value: bool, out: &mut Vec<u8>) {
    number(field, value.into(), out);
}

/// Appends a double.
pub fn double(field: u32, value: f64, out: &mut Vec<u8>) {
    key(field, FIXED64, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn key(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | wire_type), out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field_of(table: &Table, field: &Field, object: &Map<String, Value>, out: &mut Vec<u8>) {
    // Its fields are those of the object around it.
    if let (".", Kind::Message(inline)) = (field.name, field.kind) {
        delimited(field.number, out, |out| message(table, inline, object, out));
        return;
    }
    let given = object.get(field.name).filter(|value| !value.is_null());
    match (field.shape, given) {
        (Shape::One, Some(given)) => value(table, field.number, field.kind, given, out),
        (Shape::One, None) if field.always => value(table, field.number, field.kind, &Value::Null, out),
        (Shape::Many, Some(Value::Array(items))) => {
            for item in items {
                value(table, field.number, field.kind, item, out);
            }
        }
        (Shape::Map, Some(Value::Object(entries))) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            for (key, entry) in sorted {
                delimited(field.number, out, |out| {
                    bytes(1, key.as_bytes(), out);
                    value(table, 2, field.kind, entry, out);
                });
            }
        }
        _ => {}
    }
}

/// One value; null is the zero of its kind.
fn value(table: &Table, field: u32, kind: Kind, value: &Value, out: &mut Vec<u8>) {
    match kind {
        Kind::Text => bytes(field, value.as_str().unwrap_or_default().as_bytes(), out),
        Kind::Integer => number(field, integer(value), out),
        Kind::Boolean => boolean(field, value.as_bool().unwrap_or_default(), out),
        Kind::Double => double(field, value.as_f64().unwrap_or_default(), out),
        Kind::Bytes => bytes(field, &STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default(), out),
        Kind::Quantity => delimited(field, out, |out| match value {
            Value::String(quantity) => bytes(1, quantity.as_bytes(), out),
            Value::Number(quantity) => bytes(1, quantity.to_string().as_bytes(), out),
            _ => bytes(1, b"0", out),
        }),
        Kind::IntOrText => delimited(field, out, |out| {
            boolean(1, value.is_string(), out);
            number(2, integer(value), out);
            bytes(3, value.as_str().unwrap_or_default().as_bytes(), out);
        }),
        Kind::Time | Kind::MicroTime => delimited(field, out, |out| {
            let Some(time) = value.as_str().and_then(|time| time.parse::<Timestamp>().ok()) else { return };
            // Nanoseconds count up from the second before, also before 1970; Go leaves out what JSON does not have.
            let seconds = time.as_nanosecond().div_euclid(SECOND);
            let micros = time.as_nanosecond().rem_euclid(SECOND) / 1000 * 1000;
            number(1, seconds as i64, out);
            number(2, if kind == Kind::MicroTime { micros as i64 } else { 0 }, out);
        }),
        Kind::FieldSet | Kind::Json => delimited(field, out, |out| {
            if !value.is_null() {
                // A value made of JSON always serialises.
                bytes(1, &serde_json::to_vec(value).unwrap_or_default(), out);
            }
        }),
        Kind::Texts => delimited(field, out, |out| {
            for text in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                bytes(1, text.as_bytes(), out);
            }
        }),
        Kind::Message(inner) => delimited(field, out, |out| message(table, inner, value.as_object().unwrap_or(&NOTHING), out)),
        Kind::SchemaOrBoolean(schema) => delimited(field, out, |out| {
            boolean(1, value.as_bool().unwrap_or(value.is_object()), out);
            if let Value::Object(object) = value {
                delimited(2, out, |out| message(table, schema, object, out));
            }
        }),
        Kind::SchemaOrSchemas(schema) => delimited(field, out, |out| {
            if let Value::Object(object) = value {
                delimited(1, out, |out| message(table, schema, object, out));
            }
            for item in value.as_array().into_iter().flatten() {
                delimited(2, out, |out| message(table, schema, item.as_object().unwrap_or(&NOTHING), out));
            }
        }),
        Kind::SchemaOrTexts(schema) => delimited(field, out, |out| {
            if let Value::Object(object) = value {
                delimited(1, out, |out| message(table, schema, object, out));
            }
            for text in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                bytes(2, text.as_bytes(), out);
            }
        }),
    }
}

fn integer(value: &Value) -> i64 {
    value.as_i64().or_else(|| Some(value.as_f64()? as i64)).unwrap_or_default()
}
