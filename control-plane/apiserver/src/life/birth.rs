//! A new object: identity, time and generation are the server's to set.

use crate::kinds::Kind;
use crate::object;
use rand::Rng;
use serde_json::Value;

/// Letters of generated names: no vowels, no look-alikes.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Longest prefix that is kept of `generateName`.
const LONGEST_PREFIX: usize = 58;

/// Sets what a client may not: uid, times, generation. `namespace` is empty for cluster-wide kinds.
pub fn before_create(kind: &Kind, object: &mut Value, namespace: &str) {
    born(kind, object, namespace, uuid::Uuid::new_v4().to_string(), object::timestamp(0));
}

/// The same for an object that was changed after [`before_create`]: it stays the one that it was.
pub fn still_before_create(kind: &Kind, object: &mut Value, namespace: &str, uid: String, created: String) {
    born(kind, object, namespace, uid, created);
}

fn born(kind: &Kind, object: &mut Value, namespace: &str, uid: String, created: String) {
    let names = kind.descriptor();
    object["apiVersion"] = names.api_version().into();
    object["kind"] = names.kind.into();
    let meta = object::meta_mut(object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"] {
        meta.remove(field);
    }
    meta.insert("uid".into(), uid.into());
    meta.insert("creationTimestamp".into(), created.into());
    if !namespace.is_empty() {
        meta.insert("namespace".into(), namespace.into());
    }
    if names.has_generation {
        meta.insert("generation".into(), 1.into());
    }
    // Last: jobs select their pods by the uid.
    kind.prepare_create(object);
}

/// A name that begins with `prefix`.
pub fn generate_name(prefix: &str) -> String {
    let mut end = prefix.len().min(LONGEST_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut random = rand::rng();
    let suffix: String = (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
    format!("{}{suffix}", &prefix[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_their_prefix_and_fit() {
        let name = generate_name("web-");
        assert!(name.starts_with("web-") && name.len() == 9);
        assert_eq!(generate_name(&"x".repeat(100)).len(), 63);
        assert!(generate_name(&"é".repeat(50)).len() <= 63);
    }
}
