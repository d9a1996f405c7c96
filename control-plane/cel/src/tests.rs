//! The language as a whole: expressions, and what they are.

use crate::{Bindings, Budget, CompileError, Env, EvalError, OBJECT_LIMIT, Type, Value};
use serde_json::{Value as Json, json};

/// What the expression is as JSON, or what went wrong.
pub(crate) fn run(source: &str, object: &Json) -> Result<Json, String> {
    let env = Env::new(&[("object", Type::Dyn), ("text", Type::STRING), ("numbers", Type::list(Type::Int))]);
    let program = env.compile(source, &[Type::Dyn]).map_err(|e| e.to_string())?;
    let numbers = json!([1, 2, 3]);
    let numbers_type = Type::list(Type::Int);
    let bindings = Bindings(vec![
        ("object", Value::of(object)),
        ("text", Value::text("héllo")),
        ("numbers", Value::from_json(&numbers, &numbers_type)),
    ]);
    let mut budget = Budget::new(OBJECT_LIMIT);
    let value = program.evaluate(&bindings, &mut budget).map_err(|e| e.to_string())?;
    value.to_json(&mut budget).map_err(|e| e.to_string())
}

fn object() -> Json {
    json!({
        "metadata": {"name": "web", "namespace": "prod", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "ratio": 0.5, "none": null, "containers": [{"name": "a", "image": "x/a:1"}, {"name": "b", "image": "y/b:2"}]}
    })
}

/// Every expression is true.
pub(crate) fn all_true(expressions: &[&str]) {
    let object = object();
    let wrong: Vec<String> = expressions
        .iter()
        .filter_map(|source| match run(source, &object) {
            Ok(Json::Bool(true)) => None,
            other => Some(format!("{source}: {other:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every expression compiles, and evaluating it fails in these words.
pub(crate) fn all_fail(expressions: &[(&str, &str)]) {
    let object = object();
    for (source, expected) in expressions {
        let found = run(source, &object);
        assert!(matches!(&found, Err(words) if words.contains(expected)), "{source}: {found:?}, expected {expected}");
    }
}

#[test]
fn operators_follow_the_languages_rules() {
    all_true(&[
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "-7 / 2 == -3 && -7 % 2 == -1 && 7u / 2u == 3u",
        "1.5 + 1.5 == 3.0",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
        "1 < 2 && 1u < 2 && 1 < 1.5 && 2u > 1.5 && 'a' < 'b' && false < true",
        "!false && !!true && !(1 > 2) || false",
        "1 == 1 ? true : 1 / 0 == 0",
        "2 in [1, 2] && !(3 in [1, 2]) && 'a' in {'a': 1} && !('b' in {'a': 1})",
        "size('héllo') == 5 && size([1, 2]) == 2 && size({'a': 1}) == 1 && size(b'abc') == 3 && text.size() == 5",
        "[1, 2, 3][1] == 2 && {'a': {'b': 1}}['a'].b == 1 && {1: 'x'}[1] == 'x'",
        "dyn(1) == 1.0 && dyn(1) == 1u && dyn(1u) == 1.0 && dyn(1) != dyn('1') && dyn(9007199254740993) != dyn(9007199254740992.0)",
        "{'a': dyn(1), 'b': dyn([1, 2])} == {'b': dyn([1, 2]), 'a': dyn(1)} && {'a': 1} != {'a': 2}",
        "type(1) == int && type('a') == string && type([]) == list && type({}) == map && type(null) == null_type && type(int) == type",
        "'\\u00e9' == 'é' && r'\\d' == '\\\\d' && \"\"\"a\nb\"\"\" == 'a\\nb'",
        "0x1F == 31 && 0xffu == 255u && -9223372036854775808 < 0 && 1e3 == 1000.0 && .5 == 0.5",
    ]);
}

#[test]
fn an_error_beside_an_outcome_does_not_count() {
    all_true(&[
        "true || 1 / 0 == 0",
        "1 / 0 == 0 || true",
        "!(1 / 0 == 0 && false)",
        "[0, 1].exists(x, 1 / x == 1)",
        "![0, 2].all(x, 1 / x == 1)",
    ]);
    all_fail(&[
        ("1 / 0 == 0 || false", "division by zero"),
        ("[0, 1].all(x, 1 / x == 1)", "division by zero"),
        ("1 % 0 == 0", "modulus by zero"),
        ("9223372036854775807 + 1 == 0", "integer overflow"),
        ("0u - 1u == 0u", "unsigned integer overflow"),
        ("-(-9223372036854775808) == 0", "integer overflow"),
        ("[1][1] == 1", "index out of bounds: 1"),
        ("{'a': 1}['b'] == 1", "no such key: b"),
        ("dyn(1) + dyn('a') == 2", "no such overload"),
        ("dyn('a') && true", "no such overload"),
        ("{'a': 1, 'a': 2}.size() == 1", "repeated key"),
    ]);
}

#[test]
fn objects_are_looked_into() {
    all_true(&[
        "object.metadata.name == 'web' && object['metadata']['namespace'] == 'prod'",
        "has(object.spec.replicas) && !has(object.spec.paused) && has(object.spec.none) && object.spec.none == null",
        "object.spec.replicas == 3 && object.spec.replicas <= 3.5 && object.spec.ratio == 0.5",
        "object.spec.containers.all(c, c.image.startsWith('x/') || c.name == 'b')",
        "object.spec.containers.exists_one(c, c.name == 'a') && object.spec.containers.map(c, c.name) == ['a', 'b']",
        "object.spec.containers.filter(c, c.name != 'a').size() == 1",
        "object.spec.containers.map(c, c.name == 'a', c.image) == ['x/a:1']",
        "object.metadata.labels.all(k, k == 'app') && object.metadata.labels.exists(k, object.metadata.labels[k] == 'web')",
        "size(object.metadata.labels) == 1 && 'app' in object.metadata.labels",
    ]);
    all_fail(&[
        ("object.spec.missing == 1", "no such key: missing"),
        ("object.metadata.name.first == 'w'", "no such overload"),
        ("has(object.nothing.here)", "no such key: nothing"),
        ("object.spec.replicas == 3 && object.spec.replicas.all(x, true)", "no such overload"),
    ]);
}

#[test]
fn macros_of_two_variables_know_places_and_keys() {
    all_true(&[
        "[1, 2].all(i, v, v == i + 1) && [1, 2].exists(i, v, i == 1 && v == 2) && [1, 2].existsOne(i, v, v > 1)",
        "{'a': 1}.all(k, v, k == 'a' && v == 1)",
        "[1, 2, 3].transformList(i, v, i * v) == [0, 2, 6] && [1, 2, 3].transformList(i, v, i > 0, v) == [2, 3]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v + 1) == {'a': 2, 'b': 3} && {'a': 1, 'b': 2}.transformMap(k, v, k == 'a', v) == {'a': 1}",
        "{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}",
        "['a', 'b'].transformMapEntry(i, v, {v: i}) == {'a': 0, 'b': 1}",
    ]);
}

#[test]
fn optional_values_chain() {
    all_true(&[
        "object.?spec.?missing.orValue(7) == 7 && object.?spec.replicas.orValue(7) == 3",
        "object.?metadata.labels[?'app'].orValue('') == 'web' && object.metadata.labels[?'none'] == optional.none()",
        "optional.of(1).hasValue() && !optional.none().hasValue() && optional.of(1).value() == 1",
        "optional.none().or(optional.of(2)).value() == 2 && optional.ofNonZeroValue('') == optional.none()",
        "optional.of(2).optMap(x, x * 2).value() == 4 && optional.of(2).optFlatMap(x, optional.of(x + 1)).value() == 3",
        "[1, ?optional.none(), ?optional.of(2)] == [1, 2] && {?'a': optional.none(), 'b': 1} == {'b': 1}",
        "[1, 2][?5] == optional.none() && [1, 2][?0].value() == 1",
        "has(object.?spec.replicas) && !has(object.?nothing.here)",
        "optional.of(1).orValue(1 / 0) == 1",
    ]);
    all_fail(&[("optional.none().value() == 1", "optional.none() dereference")]);
}

#[test]
fn faults_of_sources_are_told_in_upstreams_words() {
    for (source, expected) in [
        ("1 + x", "ERROR: <input>:1:5: undeclared reference to 'x' (in container '')\n | 1 + x\n | ....^"),
        ("foo(1)", "ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^"),
        ("text.foo()", "ERROR: <input>:1:9: undeclared reference to 'foo' (in container '')"),
        ("1 + 'a'", "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'"),
        ("text.size(1)", "found no matching overload for 'size' applied to 'string.(int)'"),
        ("1 == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("1 && true", "found no matching overload for '_&&_' applied to '(int, bool)'"),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'"),
        ("text.field", "ERROR: <input>:1:5: type 'string' does not support field selection"),
        ("1.all(x, true)", "expression of type 'int' cannot be range of a comprehension"),
        ("text.all(x, true)", "expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)"),
        ("numbers.all(x, x)", "found no matching overload for '_&&_' applied to '(bool, int)'"),
        ("has(text)", "invalid argument to has() macro"),
        ("numbers.all(1, true)", "argument must be a simple name"),
        ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!',"),
        ("1 2", "ERROR: <input>:1:3: Syntax error: extraneous input '2' expecting <EOF>"),
        ("if", "reserved identifier: if"),
        ("'a", "Syntax error: token recognition error at: ''a'"),
        ("text.matches('(')", "error parsing regexp"),
        ("duration('x') == duration('1s')", "invalid duration argument"),
        ("Thing{a: 1}", "undeclared reference to 'Thing' (in container '')"),
        ("true\n&& y", "ERROR: <input>:2:4: undeclared reference to 'y' (in container '')\n | && y\n | ...^"),
    ] {
        let found = run(source, &json!({})).unwrap_err();
        assert!(found.contains(expected), "{source}: {found}");
    }
    let env = Env::new(&[("object", Type::Dyn)]);
    let wrong = env.compile("1 + 1", &[Type::Bool]).unwrap_err();
    assert!(matches!(wrong, CompileError::Result { .. }));
    assert_eq!(wrong.to_string(), "must evaluate to bool but got int");
    assert_eq!(env.compile("1", &[Type::STRING, Type::Null]).unwrap_err().to_string(), "must evaluate to one of [string null] but got int");
    assert_eq!(env.compile("object.x", &[Type::Bool]).unwrap_err().to_string(), "must evaluate to bool but got dyn");
}

#[test]
fn declared_fields_are_checked_and_named_as_expressions_can() {
    let port = Type::object("port", [("port".to_owned(), Type::Int), ("x-y".to_owned(), Type::Double)]);
    let self_ = Type::object(
        "self",
        [
            ("ports".to_owned(), Type::list(port)),
            ("namespace".to_owned(), Type::STRING),
            ("at".to_owned(), Type::Timestamp),
            ("day".to_owned(), Type::Timestamp),
            ("wait".to_owned(), Type::Duration),
            ("none".to_owned(), Type::list(Type::Double)),
            ("waits".to_owned(), Type::list(Type::Duration)),
        ],
    );
    let env = Env::new(&[("self", self_.clone())]);
    let object = json!({"ports": [{"port": 80, "x-y": 1}], "namespace": "n", "at": "2026-01-02T03:04:05Z", "day": "2024-02-29", "wait": "2 hours 3 min",
        "none": [], "waits": []});
    for source in [
        "self.ports.all(p, p.port > 0 && p.x__dash__y == 1.0)",
        "self.__namespace__ == 'n'",
        "self.at.getFullYear() == 2026",
        "type(self.ports[0].x__dash__y) == double",
        "self.day == timestamp('2024-02-29T00:00:00Z') && self.day.getDate() == 29",
        "self.wait == duration('2h3m')",
        "self.none.sum() + 0.5 <= 1.0 && type(self.none.filter(x, x > 1.0).sum()) == double",
        "self.waits.sum() == duration('0s')",
        "[1, 2, 3].exists_one(i, v, v == i + 1 && v == 3)",
    ] {
        let program = env.compile(source, &[Type::Bool]).unwrap_or_else(|e| panic!("{source}: {e}"));
        let bindings = Bindings(vec![("self", Value::from_json(&object, &self_))]);
        let value = program.evaluate(&bindings, &mut Budget::new(OBJECT_LIMIT)).unwrap();
        assert_eq!(value.as_bool(), Some(true), "{source}");
    }
    let wrong = env.compile("self.portz.size() == 1", &[Type::Bool]).unwrap_err().to_string();
    assert!(wrong.starts_with("ERROR: <input>:1:5: undefined field 'portz'"), "{wrong}");
    let missing = env.compile("self.__namespace__ == ''", &[Type::Bool]).unwrap();
    let (empty, bindings) = (json!({}), |json| Bindings(vec![("self", Value::from_json(json, &self_))]));
    assert_eq!(missing.evaluate(&bindings(&empty), &mut Budget::new(1000)).unwrap_err(), EvalError::NoSuchKey("__namespace__".to_owned()));
}
