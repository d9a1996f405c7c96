//! JSON and YAML into a value, with the paths of keys that occur twice in one object (the last one counts, as in Kubernetes).

use orknet_resources::field::Path;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Duplicates that are told: nobody reads more, and each is told with its whole path.
const MOST: usize = 100;

/// A parsed body.
#[derive(Debug, PartialEq)]
pub struct Document {
    pub value: Value,
    /// Paths such as `metadata.labels.app`, in the order of appearance; the first hundred.
    pub duplicates: Vec<String>,
}

/// Reads JSON; nothing may follow the value.
pub fn from_json(body: &[u8]) -> Result<Document, serde_json::Error> {
    let duplicates = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Node { path: &Path::Root, duplicates: &duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Document { value, duplicates: duplicates.into_inner() })
}

/// Reads one YAML document. One in which more than [`MOST_OPEN`] brackets seem to be open at once is refused unread.
pub fn from_yaml(body: &[u8]) -> Result<Document, serde_yaml_ng::Error> {
    if open_brackets(body) > MOST_OPEN {
        return Err(Error::custom(format!("more than {MOST_OPEN} brackets are open at once; JSON may have them in texts")));
    }
    let duplicates = RefCell::default();
    let deserializer = serde_yaml_ng::Deserializer::from_slice(body);
    let value = Node { path: &Path::Root, duplicates: &duplicates }.deserialize(deserializer)?;
    Ok(Document { value, duplicates: duplicates.into_inner() })
}

/// The scanner of libyaml looks at all brackets that are open for every token: 3 MiB of `[` would take it hours. No value nests so deeply (the reader
/// ends at 128), but brackets in texts are counted here, too.
const MOST_OPEN: usize = 1000;

/// How many brackets are open at once, those in quotes, texts and comments among them.
fn open_brackets(body: &[u8]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in body {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

struct Node<'a> {
    path: &'a Path<'a>,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Node { path: &self.path.index(array.len()), duplicates: self.duplicates })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            let path = self.path.field(&key);
            let value = entries.next_value_seed(Node { path: &path, duplicates: self.duplicates })?;
            let mut duplicates = self.duplicates.borrow_mut();
            if object.contains_key(&key) && duplicates.len() < MOST {
                duplicates.push(path.to_string());
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// A key as text: YAML also has numbers and booleans as keys.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_given_twice_are_told_with_their_path() {
        let document = from_json(br#"{"a":{"b":1,"b":2},"c":[{"d":1,"d":3}]}"#).expect("parses");
        assert_eq!(document.value, json!({ "a": { "b": 2 }, "c": [{ "d": 3 }] }));
        assert_eq!(document.duplicates, ["a.b", "c[0].d"]);
    }

    #[test]
    fn a_body_takes_time_by_its_length_whatever_its_form() {
        // Every element is below a key of a megabyte: paths that were made for each would be as much as a million times that.
        let key = "k".repeat(1 << 20);
        let started = std::time::Instant::now();
        let document = from_json(format!("{{\"{key}\":[{}{{\"d\":1,\"d\":2}}]}}", "0,".repeat(500_000)).as_bytes()).expect("parses");
        assert_eq!(document.duplicates, [format!("{key}[500000].d")]);
        let document = from_json(format!("{{\"{key}\":{{{}\"e\":0}}}}", "\"d\":1,".repeat(150_000)).as_bytes()).expect("parses");
        assert_eq!(document.duplicates.len(), MOST);
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn yaml_means_the_same_as_json() {
        let document = from_yaml(b"a: {b: 1}\nc:\n- d: x\n- null\n- 1.5\n- true\n").expect("parses");
        assert_eq!(document.value, json!({ "a": { "b": 1 }, "c": [{ "d": "x" }, null, 1.5, true] }));
        assert!(document.duplicates.is_empty());
    }

    #[test]
    fn broken_bodies_are_errors_not_panics() {
        let deep = "[".repeat(100_000);
        for body in ["", "{", "{}x", "{\"a\":1e999}", "\u{1}", deep.as_str()] {
            assert!(from_json(body.as_bytes()).is_err());
        }
        assert!(from_yaml(b"a: [").is_err());
        // These would take a scanner hours, or the stack.
        for open in ["[", "{a: ", "- "] {
            assert!(from_yaml(open.repeat(100_000).as_bytes()).is_err(), "{open}");
        }
        let beside = format!("a: [{}]", "{b: [c]}, ".repeat(10_000));
        assert!(from_yaml(beside.as_bytes()).is_ok());
        assert!(from_yaml(&[0xff, 0xfe, 0x00]).is_err());
    }
}
