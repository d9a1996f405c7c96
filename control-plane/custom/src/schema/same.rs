//! Whether a part of an object is what it was before a change: then it may stay wrong (ratcheting).
//!
//! Asked only where something is wrong, and answered once for each pair of parts: what is known of a part is not found out again for the parts around it.
//! So all questions of one change together cost what one comparison of the two objects costs, however deep they are.

use super::validate::{by_key, identity};
use super::{List, Node};
use serde_json::Value;
use std::collections::HashMap;

/// What is known of pairs of parts, by where they are in memory: both objects and the schema stay where they are meanwhile.
#[derive(Debug, Default)]
pub(super) struct Unchanged {
    known: HashMap<[usize; 3], bool>,
    /// Pairs that were compared.
    #[cfg(test)]
    pub compared: usize,
}

fn place<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

impl Unchanged {
    /// Whether two values mean the same: items of a map list may change places.
    pub fn same(&mut self, node: &Node, one: &Value, other: &Value) -> bool {
        if !matches!((one, other), (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_))) {
            return one == other;
        }
        let pair = [place(node), place(one), place(other)];
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        #[cfg(test)]
        {
            self.compared += 1;
        }
        let same = self.compare(node, one, other);
        self.known.insert(pair, same);
        same
    }

    fn compare(&mut self, node: &Node, one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(name, value)| {
                        other.get(name).is_some_and(|other| match node.field(name) {
                            Some(below) => self.same(below, value, other),
                            None => value == other,
                        })
                    })
            }
            (Value::Array(items), Value::Array(others)) => match (&node.list, &node.items) {
                (List::Map(keys), Some(below)) if items.len() == others.len() => {
                    let by_key = by_key(others, keys);
                    // Which is meant by a key that several have, nobody can say.
                    if by_key.len() < others.len() {
                        return one == other;
                    }
                    items.iter().all(|item| by_key.get(&identity(item, keys)).is_some_and(|other| self.same(below, item, other)))
                }
                _ => one == other,
            },
            _ => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Maps within maps, with `leaf` in the innermost.
    fn deep(levels: usize, leaf: Value) -> Value {
        (0..levels).fold(leaf, |inner, _| json!({ "a": inner, "b": 1 }))
    }

    fn schema(levels: usize) -> Node {
        let schema = (0..levels).fold(
            json!({ "type": "string" }),
            |inner, _| json!({ "type": "object", "properties": { "a": inner, "b": { "type": "integer" } } }),
        );
        Node::compile(&schema).unwrap()
    }

    #[test]
    fn asking_at_every_level_compares_each_part_once() {
        let levels = 30;
        let (node, new, old) = (schema(levels), deep(levels, json!("x")), deep(levels, json!("y")));
        let mut known = Unchanged::default();
        let (mut node, mut new, mut old) = (&node, &new, &old);
        for _ in 0..levels {
            assert!(!known.same(node, new, old));
            (node, new, old) = (&node.properties["a"], &new["a"], &old["a"]);
        }
        assert_eq!(known.compared, levels);
    }

    #[test]
    fn items_of_a_map_list_may_change_places() {
        let schema = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" }, "v": { "type": "integer" } } } });
        let node = Node::compile(&schema).unwrap();
        let same = |one: Value, other: Value| Unchanged::default().same(&node, &one, &other);
        let item = |k: &str, v: i64| json!({ "k": k, "v": v });
        assert!(same(json!([item("a", 1), item("b", 2)]), json!([item("b", 2), item("a", 1)])));
        assert!(!same(json!([item("a", 1), item("b", 2)]), json!([item("b", 1), item("a", 1)])));
        // Of two with one key each is itself.
        let twice = || json!([item("a", 1), item("a", 2)]);
        assert!(same(twice(), twice()));
        assert!(!same(twice(), json!([item("a", 1), item("a", 1)])));
    }
}
