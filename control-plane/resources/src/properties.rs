//! What holds for every kind, for any JSON: nothing panics, decoding is idempotent, tables are complete.

use crate::contract::{Resource, Scope};
use crate::registry::registry;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

#[test]
fn names_are_unique_and_short_names_too() {
    let mut seen = HashSet::new();
    let mut short = HashMap::new();
    for kind in registry() {
        let d = kind.descriptor();
        assert!(seen.insert((d.group, d.version, d.plural)), "{} twice", d.plural);
        assert_eq!(d.singular, d.kind.to_ascii_lowercase());
        for name in d.short_names {
            // Another version of a kind has the same; so have events under their two names.
            let known = short.insert(*name, (d.group, d.plural));
            assert!(known.is_none_or(|known| known == (d.group, d.plural)) || *name == "ev", "{name} twice");
        }
    }
}

#[test]
fn every_row_has_a_cell_for_every_column() {
    for kind in registry() {
        for object in [
            json!({"metadata": {"name": "a"}}),
            json!({"metadata": {"name": "a"}, "spec": {}, "status": {}}),
            json!([]),
            json!({"spec": 1}),
        ] {
            assert_eq!(kind.cells(&object, 0).len(), kind.columns().len(), "{}", kind.descriptor().kind);
        }
    }
}

#[test]
fn every_kind_refuses_another_kinds_body_and_notes_unknown_fields() {
    for kind in registry() {
        assert!(kind.decode(json!({"kind": "Other"})).is_err());
        assert!(kind.decode(json!({"apiVersion": "other/v1"})).is_err());
        assert_eq!(kind.decode(json!({"nope": 1})).unwrap().unknown, ["nope"]);
        assert!(kind.decode(json!("text")).is_err());
    }
}

#[test]
fn stored_kinds_of_a_scope_want_its_namespace() {
    for kind in registry().iter().filter(|k| k.descriptor().verbs.contains(&"get")) {
        let found = kind.validate_create(&json!({"metadata": {"name": "a"}}));
        let wants = found.iter().any(|e| e.field == "metadata.namespace");
        assert_eq!(wants, kind.descriptor().scope == Scope::Namespaced, "{}", kind.descriptor().kind);
    }
}

/// Field names of the API, so that mutations reach deep, with values of all types.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5_i64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "A b",
            "1Gi",
            "-5m",
            "50%",
            "10.0.0.1",
            "2024-01-02T03:04:05Z",
            "None",
            "Always",
            "../x",
            "eA==",
            "é"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(FIELDS), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())),
        ]
    })
}

const FIELDS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "containers",
    "initContainers",
    "volumes",
    "volumeMounts",
    "ports",
    "port",
    "targetPort",
    "protocol",
    "env",
    "valueFrom",
    "resources",
    "limits",
    "requests",
    "cpu",
    "memory",
    "selector",
    "matchLabels",
    "matchExpressions",
    "template",
    "strategy",
    "rollingUpdate",
    "type",
    "replicas",
    "image",
    "data",
    "stringData",
    "subsets",
    "addresses",
    "endpoints",
    "rules",
    "subjects",
    "roleRef",
    "jobTemplate",
    "tolerations",
    "affinity",
    "livenessProbe",
    "httpGet",
    "ingress",
    "egress",
    "from",
    "to",
    "ipBlock",
    "cidr",
    "clusterIP",
    "conditions",
    "creationTimestamp",
    "eventTime",
    "series",
    "involvedObject",
    "taints",
    "capacity",
    "minAvailable",
    "x",
];

/// An object whose top-level parts are likely to have the right form.
fn any_object() -> impl Strategy<Value = Value> {
    let fields = prop::collection::vec((prop::sample::select(FIELDS), any_value()), 0..8);
    (fields, any_value(), any_value()).prop_map(|(fields, metadata, spec)| {
        let mut map: Map<String, Value> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        map.insert("metadata".to_owned(), metadata);
        map.insert("spec".to_owned(), spec);
        Value::Object(map)
    })
}

/// Each kind's schema, and the definitions that they refer to.
static SCHEMAS: LazyLock<(Map<String, Value>, Map<String, Value>)> = LazyLock::new(|| {
    let mut generator = schemars::SchemaGenerator::default();
    let mut of = |kind: &dyn Resource| Value::from(kind.schema(&mut generator));
    let roots = registry().iter().map(|kind| (kind.descriptor().api_version() + kind.descriptor().kind, of(*kind))).collect();
    (roots, generator.take_definitions(false))
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_json_makes_any_kind_panic(body in prop_oneof![any_object(), any_value()], other in any_object()) {
        for kind in registry() {
            let (mut new, mut created) = (body.clone(), body.clone());
            kind.prepare_create(&mut created);
            for subresource in [None, Some("status"), Some("scale"), Some("finalize"), Some("binding")] {
                kind.prepare_update(&mut new, &other, subresource);
                kind.validate_update(&new, &other, subresource);
            }
            for object in [&body, &created, &new] {
                kind.validate_create(object);
                kind.cells(object, i64::MIN);
                kind.selectable_fields(object);
                kind.warnings(object);
                kind.from_stored(kind.to_stored(object.clone()));
            }
        }
    }

    #[test]
    fn decoding_what_was_decoded_changes_nothing(body in any_object()) {
        for kind in registry() {
            decode_twice(*kind, body.clone())?;
        }
    }

    /// Every kind with all the fields that its schema has, as far as `bytes` say so.
    #[test]
    fn objects_after_the_schema_are_read_whole_and_once_for_all(bytes in prop::collection::vec(any::<u8>(), 200..600)) {
        for kind in registry() {
            let mut bytes = bytes.iter().copied().cycle();
            let root = &SCHEMAS.0[&(kind.descriptor().api_version() + kind.descriptor().kind)];
            let mut object = instance(root, &SCHEMAS.1, &mut bytes, 0);
            object["apiVersion"] = kind.descriptor().api_version().into();
            object["kind"] = kind.descriptor().kind.into();
            let decoded = kind.decode(object.clone());
            prop_assert!(decoded.is_ok(), "{}: {:?}\n{object}", kind.descriptor().kind, decoded);
            prop_assert_eq!(decoded.unwrap().unknown, Vec::<String>::new());
            decode_twice(*kind, object.clone())?;
            let mut created = object.clone();
            kind.prepare_create(&mut created);
            kind.cells(&created, 0);
            kind.selectable_fields(&created);
            kind.warnings(&created);
            let decoded = kind.decode(object).unwrap().object;
            kind.validate_create(&decoded);
            prop_assert!(kind.validate_update(&decoded, &decoded, None).iter().all(|e| e.detail != "field is immutable"));
            let stored = kind.from_stored(kind.to_stored(decoded.clone()));
            prop_assert_eq!(kind.decode(stored).unwrap().object, decoded);
        }
    }
}

fn decode_twice(kind: &dyn Resource, body: Value) -> Result<(), TestCaseError> {
    let Ok(once) = kind.decode(body) else { return Ok(()) };
    let twice = kind.decode(once.object.clone());
    prop_assert!(twice.is_ok(), "{}: {:?}", kind.descriptor().kind, twice);
    let twice = twice.unwrap();
    prop_assert_eq!(&twice.object, &once.object);
    prop_assert!(twice.unknown.is_empty());
    kind.validate_create(&once.object);
    Ok(())
}

/// A value of the schema's type; which fields it has and what they hold is up to `bytes`.
fn instance(schema: &Value, definitions: &Map<String, Value>, bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Value {
    let byte = bytes.next().unwrap_or_default();
    let pick = |choices: &[Value]| choices[usize::from(byte) % choices.len()].clone();
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap().replace("~1", "/");
        let quantity = name.ends_with(".Quantity");
        if quantity {
            return pick(&[json!("1Gi"), json!("500m"), json!(2), json!("0"), json!("-1"), json!(1.5), json!("1e3")]);
        }
        return instance(&definitions[&name], definitions, bytes, depth);
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return pick(&[json!(0), json!(80), json!("25%"), json!("http"), json!("")]);
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("date-time")) => pick(&[json!("2024-01-02T03:04:05Z"), json!("2024-01-02T03:04:05.123456Z")]),
        (Some("string"), Some("byte")) => pick(&[json!("eA=="), json!("")]),
        (Some("string"), _) => pick(&[json!("a"), json!(""), json!("Always"), json!("10.0.0.1"), json!("/x"), json!("A b"), Value::Null]),
        (Some("integer"), _) => pick(&[json!(0), json!(1), json!(-1), json!(80), json!(70_000)]),
        (Some("number"), _) => pick(&[json!(0.5), json!(1)]),
        (Some("boolean"), _) => pick(&[json!(true), json!(false)]),
        (Some("array"), _) => {
            let items = if depth > 9 { 0 } else { usize::from(byte) % 3 };
            (0..items).map(|_| instance(&schema["items"], definitions, bytes, depth + 1)).collect()
        }
        (Some("object"), _) => {
            let mut map = Map::new();
            if depth > 12 {
                return Value::Object(map);
            }
            // An object inside of an object names its own kind, or none.
            let is_whole = !schema["properties"]["metadata"].is_null();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                if is_whole && matches!(&name[..], "apiVersion" | "kind") {
                    continue;
                }
                // Deep down fewer fields, or objects would never end.
                let required = schema["required"].as_array().is_some_and(|r| r.contains(&json!(name)));
                if required || usize::from(bytes.next().unwrap_or_default()) % (1 + depth / 2) == 0 {
                    map.insert(name.clone(), instance(field, definitions, bytes, depth + 1));
                }
            }
            if schema["additionalProperties"].is_object() && !byte.is_multiple_of(3) {
                map.insert("cpu".to_owned(), instance(&schema["additionalProperties"], definitions, bytes, depth + 1));
            }
            Value::Object(map)
        }
        _ => json!({"any": ["thing"]}),
    }
}
