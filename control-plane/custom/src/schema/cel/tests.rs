//! Rules as Kubernetes' documentation has them, what they say, and what they may cost.

use super::*;
use crate::schema::problems;
use serde_json::{Value, json};

fn schema(spec: Value) -> Value {
    json!({ "type": "object", "properties": { "spec": spec } })
}

/// What is said of an object with this spec, under a schema of the spec with rules.
fn said(spec: &Value, new: Value, old: Option<Value>) -> Vec<String> {
    let schema = schema(spec.clone());
    assert_eq!(problems(&schema, "s"), vec![], "{schema}");
    let node = Node::compile(&schema).expect("compiles");
    let rules = Rules::compile(&node, &Path::Root, &mut Vec::new()).expect("has rules");
    let object = |spec: Value| json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "a" }, "spec": spec });
    rules.complaints(&node, &object(new), old.map(object).as_ref()).iter().map(ToString::to_string).collect()
}

fn ruled(rule: Value) -> Value {
    json!({ "type": "object", "x-kubernetes-validations": [rule], "properties": {
        "min": { "type": "integer" }, "max": { "type": "integer" }, "name": { "type": "string", "maxLength": 20 },
        "port": { "x-kubernetes-int-or-string": true }, "odd-name": { "type": "string", "maxLength": 20 } } })
}

#[test]
fn broken_rules_say_what_they_have_to() {
    let spec = json!({ "min": 3, "max": 2, "name": "x" });
    for (rule, words) in [
        (json!({ "rule": "self.min <= self.max" }), r#"spec: Invalid value: "object": failed rule: self.min <= self.max"#),
        (json!({ "rule": "self.min <= self.max", "message": "too small" }), r#"spec: Invalid value: "object": too small"#),
        (
            json!({ "rule": "self.min <= self.max", "messageExpression": "'max must be ' + string(self.min)" }),
            r#"spec: Invalid value: "object": max must be 3"#,
        ),
        // What makes no message leaves the word to the rule's own.
        (
            json!({ "rule": "self.min <= self.max", "message": "m", "messageExpression": "self.name.substring(9)" }),
            r#"spec: Invalid value: "object": m"#,
        ),
        (
            json!({ "rule": "self.min <= self.max", "message": "m", "reason": "FieldValueForbidden", "fieldPath": ".max" }),
            "spec.max: Forbidden: m",
        ),
        (json!({ "rule": "self.min <= self.max", "message": "m", "reason": "FieldValueRequired" }), "spec: Required value: m"),
        (json!({ "rule": "self.min <= self.max", "reason": "FieldValueDuplicate" }), r#"spec: Duplicate value: "object""#),
        (
            json!({ "rule": "has(self.port) && self.port == 'x'" }),
            r#"spec: Invalid value: "object": failed rule: has(self.port) && self.port == 'x'"#,
        ),
        (
            json!({ "rule": "self.min / (self.max - 2) > 0" }),
            r#"spec: Invalid value: "object": division by zero evaluating rule: self.min / (self.max - 2) > 0"#,
        ),
        (
            json!({ "rule": "self.odd__dash__name == ''" }),
            r#"spec: Invalid value: "object": no such key: odd__dash__name evaluating rule: self.odd__dash__name == ''"#,
        ),
    ] {
        assert_eq!(said(&ruled(rule.clone()), spec.clone(), None), [words], "{rule}");
    }
    assert_eq!(said(&ruled(json!({ "rule": "self.min >= self.max" })), spec, None), Vec::<String>::new());
}

#[test]
fn rules_about_changes_are_asked_of_changes() {
    let rule = ruled(json!({ "rule": "self.min >= oldSelf.min", "message": "may not shrink" }));
    assert_eq!(said(&rule, json!({ "min": 1 }), None), Vec::<String>::new());
    assert_eq!(said(&rule, json!({ "min": 1 }), Some(json!({ "min": 2 }))), [r#"spec: Invalid value: "object": may not shrink"#]);
    let rule = ruled(json!({ "rule": "oldSelf.hasValue() || self.min == 1", "optionalOldSelf": true }));
    assert_eq!(said(&rule, json!({ "min": 2 }), None).len(), 1);
    assert_eq!(said(&rule, json!({ "min": 2 }), Some(json!({ "min": 2 }))), Vec::<String>::new());
    // What was broken may stay, but not what a change must keep.
    let rule = ruled(json!({ "rule": "self.min < self.max" }));
    assert_eq!(said(&rule, json!({ "min": 2, "max": 1 }), Some(json!({ "min": 2, "max": 1 }))), Vec::<String>::new());
    assert_eq!(said(&rule, json!({ "min": 3, "max": 1 }), Some(json!({ "min": 2, "max": 1 }))).len(), 1);
    let rule = ruled(json!({ "rule": "self.min != oldSelf.min" }));
    assert_eq!(said(&rule, json!({ "min": 2 }), Some(json!({ "min": 2 }))).len(), 1);
}

#[test]
fn rules_stand_at_any_place() {
    let rule = json!([{ "rule": "self.n >= 0 && (self.n == oldSelf.n || oldSelf.n == 0)", "message": "n is set once" }]);
    let part = json!({ "type": "object", "required": ["name"], "x-kubernetes-validations": rule,
        "properties": { "name": { "type": "string", "maxLength": 9 }, "n": { "type": "integer" } } });
    let spec = json!({ "type": "object", "properties": {
        "parts": { "type": "array", "maxItems": 9, "items": part, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] },
        "map": { "type": "object", "maxProperties": 9, "additionalProperties": { "type": "integer", "nullable": true, "x-kubernetes-validations": [{ "rule": "self > 0" }] } },
    } });
    let old = json!({ "parts": [{ "name": "a", "n": 1 }, { "name": "b", "n": 0 }] });
    let new = json!({ "parts": [{ "name": "c", "n": 7 }, { "name": "b", "n": 2 }, { "name": "a", "n": 2 }], "map": { "x": 1, "y": 0, "z": null } });
    assert_eq!(
        said(&spec, new, Some(old)),
        [r#"spec.map[y]: Invalid value: "integer": failed rule: self > 0"#, r#"spec.parts[2]: Invalid value: "object": n is set once"#]
    );
}

#[test]
fn the_object_has_its_names() {
    let mut whole = schema(json!({ "type": "object", "properties": { "x": { "type": "string", "maxLength": 9 } } }));
    whole["x-kubernetes-validations"] =
        json!([{ "rule": "self.metadata.name == self.spec.x && self.kind == 'Widget' && self.apiVersion != ''" }]);
    assert_eq!(problems(&whole, "s"), vec![]);
    let node = Node::compile(&whole).expect("compiles");
    let rules = Rules::compile(&node, &Path::Root, &mut Vec::new()).expect("has rules");
    let object = |x: &str| json!({ "apiVersion": "v1", "kind": "Widget", "metadata": { "name": "a" }, "spec": { "x": x } });
    assert_eq!(rules.complaints(&node, &object("a"), None), vec![]);
    assert_eq!(rules.complaints(&node, &object("b"), None)[0].field, "<nil>");
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let about = |spec: Value| {
        let found = problems(&schema(spec), "s");
        found.iter().map(|error| error.to_string().replace("s.properties[spec].x-kubernetes-validations[0]", "r")).collect::<Vec<_>>()
    };
    for (rule, part) in [
        (json!({ "rule": "self.minn > 0" }), "undefined field 'minn'"),
        (json!({ "rule": "self.min +" }), "compilation failed: ERROR: <input>"),
        (json!({ "rule": "self.min" }), "cel expression must evaluate to a bool"),
        (json!({ "rule": "self.min > 0", "messageExpression": "self.min" }), "messageExpression must evaluate to a string"),
        (
            json!({ "rule": "self.min > 0", "optionalOldSelf": true }),
            "r.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
    ] {
        let found = about(ruled(rule.clone()));
        assert!(found.len() == 1 && found[0].contains(part), "{rule}: {found:?}");
    }
    let uncorrelated = json!({ "type": "array", "maxItems": 3, "items": { "type": "integer", "x-kubernetes-validations": [{ "rule": "self > oldSelf" }] } });
    let found = about(uncorrelated);
    assert!(
        found[0].ends_with("oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[spec]"),
        "{found:?}"
    );
}

#[test]
fn rules_that_may_cost_too_much_are_refused() {
    let list = |max: Option<u32>| {
        let mut items = json!({ "type": "array", "items": { "type": "string", "maxLength": 10 } });
        if let Some(max) = max {
            items["maxItems"] = max.into();
        }
        json!({ "type": "object", "properties": { "words": items },
            "x-kubernetes-validations": [{ "rule": "self.words.all(x, self.words.all(y, x != y || x == y))", "message": "m" }] })
    };
    assert_eq!(problems(&schema(list(Some(50))), "s"), vec![]);
    let found = problems(&schema(list(None)), "s");
    assert!(found[0].to_string().starts_with(
        "s.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"
    ));
    assert!(found.iter().any(|error| error.to_string().starts_with("s: Forbidden: x-kubernetes-validations estimated rule cost total")));
}

#[test]
fn an_object_that_is_too_wrong_is_not_asked() {
    let error = |cause| FieldError { cause, field: "f".to_owned(), value: None, detail: String::new() };
    assert!(not_checked(&[error(Cause::Invalid)]).is_none());
    assert!(
        not_checked(&[error(Cause::Invalid), error(Cause::TypeInvalid)])
            .is_some_and(|error| error.to_string().starts_with("<nil>: Invalid"))
    );
}

/// Rules of the size that definitions in use have: listeners that are told apart by three fields, matches in rules in a list.
#[test]
fn rules_that_people_write_cost_little_enough() {
    let text = |max: u32| json!({ "type": "string", "minLength": 1, "maxLength": max });
    let listener = json!({ "type": "object", "required": ["name", "port", "protocol"], "properties": {
        "name": text(253), "hostname": text(253), "port": { "type": "integer", "format": "int32" }, "protocol": text(255),
        "tls": { "type": "object", "properties": {
            "mode": { "type": "string", "enum": ["Terminate", "Passthrough"], "default": "Terminate" },
            "options": { "type": "object", "maxProperties": 16, "additionalProperties": { "type": "string", "maxLength": 4096 } },
            "certificateRefs": { "type": "array", "maxItems": 64, "items": { "type": "object", "properties": { "name": text(253) } } } },
            "x-kubernetes-validations": [{ "rule": "self.mode == 'Terminate' ? size(self.certificateRefs) > 0 || size(self.options) > 0 : true",
                "message": "certificateRefs or options must be specified when mode is Terminate" }] } } });
    let same = "l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : \
                !has(l1.hostname) && !has(l2.hostname))";
    let listeners = json!({ "type": "array", "minItems": 1, "maxItems": 64, "items": listener, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "x-kubernetes-validations": [
            { "rule": "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)", "message": "tls must not be specified" },
            { "rule": "self.all(l1, self.exists_one(l2, l1.name == l2.name))", "message": "names must be unique" },
            { "rule": format!("self.all(l1, self.exists_one(l2, {same}))"), "message": "must be unique" }] });
    let matches = json!({ "type": "array", "maxItems": 64, "default": [{ "path": { "type": "PathPrefix", "value": "/" } }], "items": {
        "type": "object", "properties": { "path": { "type": "object", "default": { "type": "PathPrefix", "value": "/" }, "properties": {
            "type": { "type": "string", "enum": ["Exact", "PathPrefix", "RegularExpression"], "default": "PathPrefix" },
            "value": { "type": "string", "maxLength": 1024, "default": "/" } },
            "x-kubernetes-validations": [
                { "rule": "(self.type in ['Exact', 'PathPrefix']) ? self.value.startsWith('/') : true", "message": "must start with /" },
                { "rule": "(self.type in ['Exact', 'PathPrefix']) ? !self.value.contains('//') : true", "message": "must not contain //" },
                { "rule": r"(self.type in ['Exact', 'PathPrefix']) ? self.value.matches(r'''^(?:[-A-Za-z0-9/._~!$&\'()*+,;=:@]|[%][0-9a-fA-F]{2})+$''') : true",
                  "message": "must only contain valid characters" }] } } } });
    let counted: Vec<String> = (0..16).map(|at| format!("(self.size() > {at} ? self[{at}].matches.size() : 0)")).collect();
    let rules = json!({ "type": "array", "maxItems": 16, "items": { "type": "object", "properties": { "matches": matches } },
        "x-kubernetes-validations": [{ "rule": format!("{} <= 128", counted.join(" + ")), "message": "too many matches" }] });
    let spec = json!({ "type": "object", "required": ["listeners"], "properties": { "listeners": listeners, "rules": rules } });
    let one = json!({ "name": "a", "port": 80, "protocol": "HTTP" });
    let right = json!({ "listeners": [one, { "name": "b", "port": 443, "protocol": "HTTPS", "hostname": "a.b", "tls": { "mode": "Passthrough" } }],
        "rules": [{ "matches": [{ "path": { "type": "Exact", "value": "/a-b%20c" } }] }, { "matches": [] }] });
    assert_eq!(said(&spec, right, None), Vec::<String>::new());
    let wrong = json!({ "listeners": [one, { "name": "b", "port": 80, "protocol": "HTTP", "tls": { "mode": "Passthrough" } }],
        "rules": [{ "matches": [{ "path": { "type": "Exact", "value": "a" } }] }] });
    assert_eq!(
        said(&spec, wrong, None),
        [
            r#"spec.listeners: Invalid value: "array": tls must not be specified"#,
            r#"spec.listeners: Invalid value: "array": must be unique"#,
            r#"spec.rules[0].matches[0].path: Invalid value: "object": must start with /"#,
        ]
    );
}
