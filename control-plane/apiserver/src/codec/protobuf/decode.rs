//! Messages into JSON objects, by the table.

use super::ProtobufError;
use super::table::{Field, Kind, Message, Shape, Table};
use super::wire::{Fields, Raw, utf8, varint};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Deepest nesting of messages.
const DEEPEST: usize = 64;

/// The JSON object of a message.
pub fn object(table: &Table, message: Message, bytes: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    Decoder { table, depth: 0 }.fill(message, bytes, &mut object)?;
    Ok(object)
}

#[derive(Clone, Copy)]
struct Decoder<'t> {
    table: &'t Table,
    depth: usize,
}

impl Decoder<'_> {
    fn fill(self, message: Message, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        let inner = Self { depth: self.depth + 1, ..self };
        if inner.depth > DEEPEST {
            return Err(ProtobufError::TooDeep);
        }
        for field in Fields::new(bytes) {
            let (number, raw) = field?;
            // Numbers of later versions are passed over, as Go does.
            let Some(field) = self.table.field(message, number) else { continue };
            inner.add(field, raw, object)?;
        }
        Ok(())
    }

    fn add(self, field: &Field, raw: Raw<'_>, object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        match (field.shape, field.kind, raw) {
            (Shape::One, Kind::Message(message), Raw::Bytes(bytes)) if field.name == "." => self.fill(message, bytes, object),
            (Shape::One, ..) => {
                let value = self.value(field.kind, raw)?;
                if field.keeps_zero || !is_zero(field.kind, &value) {
                    object.insert(field.name.into(), value);
                }
                Ok(())
            }
            (Shape::Many, Kind::Integer, Raw::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    let (number, rest) = varint(packed)?;
                    push(object, field.name, integer(number));
                    packed = rest;
                }
                Ok(())
            }
            (Shape::Many, ..) => {
                push(object, field.name, self.value(field.kind, raw)?);
                Ok(())
            }
            (Shape::Map, _, Raw::Bytes(entry)) => {
                let (mut key, mut value) = (String::new(), None);
                for part in Fields::new(entry) {
                    match part? {
                        (1, Raw::Bytes(text)) => key = utf8(text)?.to_owned(),
                        (2, raw) => value = Some(self.value(field.kind, raw)?),
                        _ => {}
                    }
                }
                let slot = object.entry(field.name).or_insert_with(|| json!({}));
                if let Value::Object(map) = slot {
                    map.insert(key, value.unwrap_or_else(|| json!("")));
                }
                Ok(())
            }
            (Shape::Map, ..) => Err(ProtobufError::Broken("a map")),
        }
    }

    fn value(self, kind: Kind, raw: Raw<'_>) -> Result<Value, ProtobufError> {
        Ok(match (kind, raw) {
            (Kind::Text, Raw::Bytes(text)) => utf8(text)?.into(),
            (Kind::Integer, Raw::Varint(number)) => integer(number),
            (Kind::Boolean, Raw::Varint(number)) => (number != 0).into(),
            (Kind::Double, Raw::Fixed64(bits)) => json!(f64::from_bits(bits)),
            (Kind::Bytes, Raw::Bytes(bytes)) => STANDARD.encode(bytes).into(),
            (Kind::Quantity, Raw::Bytes(bytes)) => first_text(bytes)?.unwrap_or_else(|| "0".into()).into(),
            (Kind::IntOrText, Raw::Bytes(bytes)) => int_or_text(bytes)?,
            (Kind::Time, Raw::Bytes(bytes)) => time(bytes, false)?,
            (Kind::MicroTime, Raw::Bytes(bytes)) => time(bytes, true)?,
            (Kind::FieldSet | Kind::Json, Raw::Bytes(bytes)) => embedded(bytes)?,
            (Kind::Texts, Raw::Bytes(bytes)) => {
                let mut texts = Vec::new();
                for field in Fields::new(bytes) {
                    if let (1, Raw::Bytes(text)) = field? {
                        texts.push(Value::from(utf8(text)?));
                    }
                }
                texts.into()
            }
            (Kind::Message(message), Raw::Bytes(bytes)) => {
                let mut object = Map::new();
                self.fill(message, bytes, &mut object)?;
                object.into()
            }
            (Kind::SchemaOrBoolean(schema) | Kind::SchemaOrSchemas(schema) | Kind::SchemaOrTexts(schema), Raw::Bytes(bytes)) => {
                self.schema_or(kind, schema, bytes)?
            }
            _ => return Err(ProtobufError::Broken("a field of another type")),
        })
    }

    /// A JSON schema, or what may stand in its place.
    fn schema_or(self, kind: Kind, schema: Message, bytes: &[u8]) -> Result<Value, ProtobufError> {
        let read = |bytes| {
            let mut object = Map::new();
            self.fill(schema, bytes, &mut object).map(|()| Value::from(object))
        };
        let (mut one, mut many, mut allows) = (None, Vec::new(), false);
        for field in Fields::new(bytes) {
            match (kind, field?) {
                (Kind::SchemaOrBoolean(_), (1, Raw::Varint(value))) => allows = value != 0,
                (Kind::SchemaOrBoolean(_), (2, Raw::Bytes(bytes))) | (_, (1, Raw::Bytes(bytes))) => one = Some(read(bytes)?),
                (Kind::SchemaOrTexts(_), (2, Raw::Bytes(text))) => many.push(utf8(text)?.into()),
                (Kind::SchemaOrSchemas(_), (2, Raw::Bytes(bytes))) => many.push(read(bytes)?),
                _ => {}
            }
        }
        Ok(match (one, kind) {
            (Some(schema), _) => schema,
            (None, Kind::SchemaOrBoolean(_)) => allows.into(),
            (None, _) => many.into(),
        })
    }
}

/// Numbers are signed on the wire, whatever their width.
fn integer(number: u64) -> Value {
    number.cast_signed().into()
}

fn is_zero(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Text, Value::String(text)) => text.is_empty(),
        (Kind::Integer, value) => value.as_i64() == Some(0),
        (Kind::Boolean, value) => value.as_bool() == Some(false),
        (_, value) => value.is_null(),
    }
}

fn push(object: &mut Map<String, Value>, name: &str, value: Value) {
    if let Value::Array(list) = object.entry(name).or_insert_with(|| json!([])) {
        list.push(value);
    }
}

fn first_text(bytes: &[u8]) -> Result<Option<String>, ProtobufError> {
    for field in Fields::new(bytes) {
        if let (1, Raw::Bytes(text)) = field? {
            return Ok(Some(utf8(text)?.to_owned()));
        }
    }
    Ok(None)
}

fn int_or_text(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Fields::new(bytes) {
        match field? {
            (1, Raw::Varint(kind)) => is_text = kind == 1,
            (2, Raw::Varint(value)) => number = value,
            (3, Raw::Bytes(value)) => text = utf8(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { integer(number) })
}

/// Seconds and nanoseconds; nothing at all is no time.
fn time(bytes: &[u8], micros: bool) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(bytes) {
        match field? {
            (1, Raw::Varint(value)) => seconds = value.cast_signed(),
            (2, Raw::Varint(value)) => nanos = value,
            _ => {}
        }
    }
    let nanos = if micros { i32::try_from(nanos).unwrap_or_default() } else { 0 };
    let time = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Broken("a time"))?;
    Ok(if micros { format!("{time:.6}") } else { time.to_string() }.into())
}

fn embedded(bytes: &[u8]) -> Result<Value, ProtobufError> {
    for field in Fields::new(bytes) {
        if let (1, Raw::Bytes(json)) = field?
            && !json.is_empty()
        {
            return serde_json::from_slice(json).map_err(|_| ProtobufError::EmbeddedJson);
        }
    }
    Ok(Value::Null)
}
