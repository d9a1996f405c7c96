//! Apply across the versions of a kind: behaviour known from structured-merge-diff's `Updater`, with a kind of two versions that name their fields
//! differently, and conversions that are there at once, late, or never.

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::sync::OnceLock;

const V1: Gvk<'_> = Gvk { group: "example.org", version: "v1", kind: "Thing" };
const V2: Gvk<'_> = Gvk { group: "example.org", version: "v2", kind: "Thing" };

/// Fields of the spec in v1, and the same in v2.
const RENAMED: [(&str, &str); 3] = [("size", "length"), ("color", "colour"), ("tags", "labels")];

/// Both versions: two scalars, and a map of texts.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let kind = |version: &str, names: [&str; 3]| {
            json!({"type": "object", "x-kubernetes-group-version-kind": [{"group": "example.org", "version": version, "kind": "Thing"}],
                "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "managedFields": {"type": "array", "items": {"type": "object"}}}},
                    "spec": {"type": "object", "properties": {names[0]: {"type": "integer"}, names[1]: {"type": "string"}, names[2]: texts}}}})
        };
        Schema::from_definitions(&json!({"V1": kind("v1", RENAMED.map(|pair| pair.0)), "V2": kind("v2", RENAMED.map(|pair| pair.1))})).unwrap()
    })
}

fn converted(object: &Value, version: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = version.into();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        for (one, two) in RENAMED {
            let (from, to) = if version == "example.org/v2" { (one, two) } else { (two, one) };
            if let Some(value) = spec.remove(from) {
                spec.insert(to.to_owned(), value);
            }
        }
    }
    object
}

/// What is at hand: all of it, or what was asked for before.
#[derive(Default)]
struct Both {
    late: bool,
    asked: RefCell<Vec<(Value, String)>>,
    known: RefCell<Vec<(Value, String)>>,
    fails: bool,
}

impl Both {
    /// Answers what was asked for; whether anything was.
    fn fetch(&self) -> bool {
        let asked = std::mem::take(&mut *self.asked.borrow_mut());
        let any = !asked.is_empty();
        self.known.borrow_mut().extend(asked);
        any
    }
}

impl Versions for Both {
    fn place<'s>(&'s self, version: &str, own: Place<'s>) -> Place<'s> {
        let known = version.split_once('/').and_then(|(group, version)| schema().root(group, version, "Thing"));
        known.unwrap_or(own)
    }

    fn convert(&self, object: &Value, version: &str) -> Result<Value, ConvertError> {
        if !["example.org/v1", "example.org/v2"].contains(&version) {
            return Err(ConvertError::Gone);
        }
        if self.fails {
            return Err(ConvertError::Failed("the webhook is away".to_owned()));
        }
        let question = (object.clone(), version.to_owned());
        if self.late && !self.known.borrow().contains(&question) {
            self.asked.borrow_mut().push(question);
            return Err(ConvertError::Pending);
        }
        Ok(converted(object, version))
    }
}

fn manager(name: &str) -> Manager<'_> {
    Manager { name, subresource: "", time: "2026-01-01T00:00:00Z", ignored: &["status"] }
}

fn thing(gvk: Gvk<'_>, spec: Value) -> Value {
    json!({"apiVersion": gvk.api_version(), "kind": "Thing", "metadata": {"name": "t"}, "spec": spec})
}

fn go(versions: &Both, gvk: Gvk<'_>, live: Option<&Value>, spec: Value, name: &str, force: bool) -> Result<Value, ApplyError> {
    apply_across(schema(), versions, gvk, live, &thing(gvk, spec), &manager(name), force)
}

/// The stored object as a request of a version sees it.
fn seen(object: &Value, gvk: Gvk<'_>) -> Value {
    if object["apiVersion"] == gvk.api_version() { object.clone() } else { converted(object, &gvk.api_version()) }
}

fn owned(object: &Value, name: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .filter(|entry| entry["manager"] == name)
        .map(|entry| json!([entry["apiVersion"], entry["fieldsV1"]["f:spec"]]))
        .next()
        .unwrap_or(Value::Null)
}

#[test]
fn a_conflict_is_found_in_the_version_of_the_owner_and_told_in_its_words() {
    let versions = Both::default();
    let live = go(&versions, V1, None, json!({"size": 1, "color": "red"}), "one", false).unwrap();
    let error = go(&versions, V2, Some(&seen(&live, V2)), json!({"length": 2}), "two", false).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"one\": .spec.size");
    let forced = go(&versions, V2, Some(&seen(&live, V2)), json!({"length": 2}), "two", true).unwrap();
    assert_eq!(forced["spec"], json!({"length": 2, "colour": "red"}));
    assert_eq!(owned(&forced, "one"), json!(["example.org/v1", {"f:color": {}}]));
    assert_eq!(owned(&forced, "two"), json!(["example.org/v2", {"f:length": {}}]));
}

#[test]
fn an_update_in_one_version_takes_fields_from_owners_in_another() {
    let live = seen(&go(&Both::default(), V1, None, json!({"size": 1, "color": "red"}), "one", false).unwrap(), V2);
    let mut new = live.clone();
    new["spec"] = json!({"length": 1, "colour": "blue"});
    track_update_across(schema(), &Both::default(), V2, Some(&live), &mut new, &manager("two")).unwrap();
    assert_eq!(owned(&new, "one"), json!(["example.org/v1", {"f:size": {}}]));
    assert_eq!(owned(&new, "two"), json!(["example.org/v2", {"f:colour": {}}]));
    let before = new.clone();
    new["spec"].as_object_mut().unwrap().remove("length");
    track_update_across(schema(), &Both::default(), V2, Some(&before), &mut new, &manager("two")).unwrap();
    assert_eq!(owned(&new, "one"), Value::Null, "what is gone is nobody's, in any version");
}

#[test]
fn an_applier_that_changes_versions_prunes_what_it_had_applied_in_the_old_one() {
    let versions = Both::default();
    let live = go(&versions, V1, None, json!({"size": 1, "color": "red", "tags": {"a": "1", "b": "2"}}), "one", false).unwrap();
    let now = go(&versions, V2, Some(&seen(&live, V2)), json!({"length": 1, "labels": {"b": "2"}}), "one", false).unwrap();
    assert_eq!(now["spec"], json!({"length": 1, "labels": {"b": "2"}}));
    assert_eq!(owned(&now, "one"), json!(["example.org/v2", {"f:labels": {"f:b": {}}, "f:length": {}}]));
}

#[test]
fn what_others_own_in_another_version_is_not_pruned() {
    let versions = Both::default();
    let first = go(&versions, V1, None, json!({"size": 1, "color": "red"}), "one", false).unwrap();
    let both = go(&versions, V2, Some(&seen(&first, V2)), json!({"length": 1}), "two", false).unwrap();
    let left = go(&versions, V1, Some(&seen(&both, V1)), json!({}), "one", false).unwrap();
    assert_eq!(left["spec"], json!({"size": 1}));
    assert_eq!(owned(&left, "two"), json!(["example.org/v2", {"f:length": {}}]));
}

#[test]
fn entries_of_versions_that_are_gone_go_and_what_they_held_stays() {
    let versions = Both::default();
    let mut live = go(&versions, V1, None, json!({"size": 1}), "one", false).unwrap();
    live["spec"]["color"] = "red".into();
    let gone = json!({"manager": "old", "operation": "Apply", "apiVersion": "example.org/v1beta1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:hue": {}}}});
    live["metadata"]["managedFields"].as_array_mut().unwrap().push(gone);
    let mut updated = live.clone();
    updated["spec"]["size"] = 2.into();
    track_update_across(schema(), &versions, V1, Some(&live), &mut updated, &manager("two")).unwrap();
    assert_eq!(owned(&updated, "old"), Value::Null);
    let applied = go(&versions, V1, Some(&live), json!({"size": 1}), "one", false).unwrap();
    assert_eq!((owned(&applied, "old"), &applied["spec"]), (Value::Null, &json!({"size": 1, "color": "red"})));
    // Not even their own applier prunes by them.
    let back = go(&versions, V1, Some(&live), json!({"size": 1}), "old", false).unwrap();
    assert_eq!(back["spec"], json!({"size": 1, "color": "red"}));
}

#[test]
fn what_cannot_be_converted_is_no_apply_and_leaves_an_update_without_owners() {
    let live = seen(&go(&Both::default(), V1, None, json!({"size": 1}), "one", false).unwrap(), V2);
    let away = Both { fails: true, ..Both::default() };
    let error = go(&away, V2, Some(&live), json!({"length": 2}), "two", true).unwrap_err();
    assert_eq!(error, ApplyError::Conversion("failed to convert old object: the webhook is away".to_owned()));
    let mut new = live.clone();
    new["spec"]["length"] = 2.into();
    track_update_across(schema(), &away, V2, Some(&live), &mut new, &manager("two")).unwrap();
    assert_eq!(new["metadata"], json!({"name": "t"}));
}

fn spec() -> impl Strategy<Value = Value> {
    let tags = prop::collection::btree_map(prop_oneof![Just("a"), Just("b"), Just("c")], prop_oneof![Just("1"), Just("2")], 0..3);
    let color = prop_oneof![Just("red"), Just("blue")];
    (prop::option::of(0..3i64), prop::option::of(color), prop::option::of(tags)).prop_map(|(size, color, tags)| {
        let mut spec = Map::new();
        spec.extend(size.map(|size| ("size".to_owned(), json!(size))));
        spec.extend(color.map(|color| ("color".to_owned(), json!(color))));
        spec.extend(tags.map(|tags| ("tags".to_owned(), json!(tags))));
        Value::Object(spec)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// One has the version of the first, the other that of the second; `spec`s are of v1.
    #[test]
    fn the_version_of_a_request_does_not_matter(steps in prop::collection::vec((spec(), any::<bool>(), 0..3usize), 1..5)) {
        let names = ["one", "two", "three"];
        let versions = Both::default();
        let (mut mixed, mut plain): (Option<Value>, Option<Value>) = (None, None);
        for (spec, is_second, who) in steps {
            let gvk = if is_second { V2 } else { V1 };
            let config = seen(&thing(V1, spec.clone()), gvk)["spec"].clone();
            let live = mixed.as_ref().map(|live| seen(live, gvk));
            mixed = Some(go(&versions, gvk, live.as_ref(), config, names[who], true).unwrap());
            plain = Some(go(&versions, V1, plain.as_ref(), spec, names[who], true).unwrap());
            let (mixed, plain) = (seen(mixed.as_ref().unwrap(), V1), plain.as_ref().unwrap());
            let bare = |object: &Value| {
                let mut spec = object["spec"].clone();
                // Whether an empty map stays is up to who names it; what is in it is not.
                if spec["tags"] == json!({}) { spec.as_object_mut().unwrap().remove("tags"); }
                if spec == json!({}) { Value::Null } else { spec }
            };
            prop_assert_eq!(bare(&mixed), bare(plain));
        }
    }

    #[test]
    fn applying_twice_changes_nothing_across_versions(theirs in spec(), mine in spec()) {
        let versions = Both::default();
        let first = go(&versions, V1, None, theirs, "them", false).unwrap();
        let config = seen(&thing(V1, mine), V2)["spec"].clone();
        let once = go(&versions, V2, Some(&seen(&first, V2)), config.clone(), "me", true).unwrap();
        prop_assert_eq!(go(&versions, V2, Some(&once), config, "me", false), Ok(once));
    }

    #[test]
    fn conversions_that_come_late_change_no_outcome(theirs in spec(), before in spec(), now in spec()) {
        let at_once = Both::default();
        let first = go(&at_once, V1, None, theirs, "them", false).unwrap();
        let second = go(&at_once, V1, Some(&first), before, "me", true).unwrap();
        let (live, config) = (seen(&second, V2), seen(&thing(V1, now), V2)["spec"].clone());
        let expected = go(&at_once, V2, Some(&live), config.clone(), "me", true);
        let late = Both { late: true, ..Both::default() };
        let mut outcome = go(&late, V2, Some(&live), config.clone(), "me", true);
        let mut rounds = 0;
        while late.fetch() {
            prop_assert_eq!(&outcome, &Err(ApplyError::Pending));
            outcome = go(&late, V2, Some(&live), config.clone(), "me", true);
            rounds += 1;
            prop_assert!(rounds <= 16);
        }
        prop_assert_eq!(outcome, expected);
    }
}
