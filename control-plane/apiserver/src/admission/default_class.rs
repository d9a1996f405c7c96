//! Claims and Ingresses that name no class get the default one (DefaultStorageClass, DefaultIngressClass). Pure.

use crate::kinds::StoredAs;
use crate::object;
use serde_json::{Value, json};
use std::cmp::Reverse;

/// How objects of a kind refer to their class, and how a class is marked as the default.
pub struct Classes {
    pub of: StoredAs,
    pub classes: StoredAs,
    field: &'static str,
    /// The older place of the class: who has it, has a class.
    annotation: &'static str,
    marks: &'static [&'static str],
}

pub const STORAGE: Classes = Classes {
    of: ("", "persistentvolumeclaims"),
    classes: ("storage.k8s.io", "storageclasses"),
    field: "storageClassName",
    annotation: "volume.beta.kubernetes.io/storage-class",
    marks: &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"],
};

pub const INGRESS: Classes = Classes {
    of: ("networking.k8s.io", "ingresses"),
    classes: ("networking.k8s.io", "ingressclasses"),
    field: "ingressClassName",
    annotation: "kubernetes.io/ingress.class",
    marks: &["ingressclass.kubernetes.io/is-default-class"],
};

impl Classes {
    /// Whether the object says nothing of its class. An empty name says that it has none.
    pub fn is_open(&self, object: &Value) -> bool {
        let named = object.get("spec").and_then(|spec| spec.get(self.field)).is_some_and(|name| !name.is_null());
        !named && annotation(object, self.annotation).is_none()
    }

    /// The name of the object's class, in whichever place; empty for none.
    pub fn of_object<'a>(&self, object: &'a Value) -> &'a str {
        let named = object.get("spec").and_then(|spec| spec.get(self.field)).and_then(Value::as_str);
        annotation(object, self.annotation).or(named).unwrap_or_default()
    }

    /// Gives the object the newest of the default classes; of those of the same second, the first by name.
    pub fn set(&self, object: &mut Value, classes: &[Value]) {
        let defaults = classes.iter().filter(|class| self.marks.iter().any(|mark| annotation(class, mark) == Some("true")));
        let created = |class: &Value| object::unix_seconds(object::meta_str(class, "creationTimestamp"));
        let Some(class) = defaults.min_by_key(|class| (Reverse(created(class)), object::name(class))) else { return };
        object::map_at(object, "spec").insert(self.field.into(), json!(object::name(class)));
    }
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, created: &str, mark: &str, value: &str) -> Value {
        json!({ "metadata": { "name": name, "creationTimestamp": created, "annotations": { mark: value } } })
    }

    #[test]
    fn the_newest_default_is_taken_then_the_first_by_name() {
        let (one, two) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        for kind in [&STORAGE, &INGRESS] {
            for mark in kind.marks {
                let [old, new, other] = [("z", one), ("c", two), ("b", two)].map(|(name, created)| class(name, created, mark, "true"));
                let none = class("a", two, mark, "false");
                for (classes, expected) in [
                    (vec![], Value::Null),
                    (vec![none.clone()], Value::Null),
                    (vec![none.clone(), old.clone()], json!("z")),
                    (vec![old.clone(), new.clone()], json!("c")),
                    (vec![new.clone(), old.clone()], json!("c")),
                    (vec![new.clone(), none.clone(), other.clone(), old.clone()], json!("b")),
                ] {
                    let mut object = json!({ "metadata": {}, "spec": {} });
                    kind.set(&mut object, &classes);
                    assert_eq!(object["spec"][kind.field], expected, "{classes:?}");
                }
            }
        }
    }

    #[test]
    fn who_names_a_class_or_none_keeps_it() {
        for kind in [&STORAGE, &INGRESS] {
            for (object, open) in [
                (json!({ "spec": {} }), true),
                (json!({ "spec": { kind.field: null } }), true),
                (json!({ "spec": { kind.field: "" } }), false),
                (json!({ "spec": { kind.field: "a" } }), false),
                (json!({ "metadata": { "annotations": { "other": "a" } }, "spec": {} }), true),
                (json!({ "metadata": { "annotations": { kind.annotation: "" } }, "spec": {} }), false),
            ] {
                assert_eq!(kind.is_open(&object), open, "{object}");
            }
        }
    }
}
