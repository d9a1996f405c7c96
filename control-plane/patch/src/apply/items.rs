//! How the items of a list are told apart.

use crate::fields::Segment;
use crate::{Place, schema::ListType};
use serde_json::Value;

/// The segment of an item of a set or keyed list; the error says which key is missing.
pub(super) fn segment(list: Place<'_>, list_type: ListType<'_>, item: &Value) -> Result<Segment, String> {
    match list_type {
        ListType::Map(keys) => {
            let fields = match item {
                Value::Object(fields) => fields,
                Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
                _ => return Err("associative list with keys may not have non-map elements".to_owned()),
            };
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                let value = fields.get(&**key).filter(|value| !value.is_null()).cloned().or_else(|| list.item().key_default(key));
                let missing =
                    || format!("associative list with keys has an element that omits key field {key:?} (and doesn't have default value)");
                values.push((&**key, value.ok_or_else(missing)?));
            }
            Ok(Segment::key(values))
        }
        ListType::Set | ListType::Atomic => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(Segment::value(scalar)),
        },
    }
}

/// All items with their segments; items that have none (only possible in stored objects that predate a rule) are left out.
pub(super) fn segments<'v>(list: Place<'_>, list_type: ListType<'_>, items: &'v [Value]) -> Vec<(Segment, &'v Value)> {
    items.iter().filter_map(|item| Some((segment(list, list_type, item).ok()?, item))).collect()
}
