//! Expressions made to cost much: each ends with an error, soon, and with little stack.

use crate::{Bindings, Budget, Env, EvalError, OBJECT_LIMIT, PER_CALL_LIMIT, Program, Type, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// Far more than an expression may take with optimised code, and so far less than what a bomb would take.
const SOON: Duration = Duration::from_secs(30);

fn env() -> Env {
    Env::new(&[("object", Type::Dyn), ("text", Type::STRING), ("list", Type::list(Type::Int))])
}

fn compile(source: &str) -> Program {
    env().compile(source, &[Type::Dyn]).unwrap_or_else(|e| panic!("{source:.200}: {e:.500}"))
}

/// What evaluating ends with, on a thread with as little stack as a server's workers have left.
fn end_of(source: &str, object: &Json) -> Result<String, EvalError> {
    let program = compile(source);
    let text = "a".repeat(20_000);
    let list = Json::from((0..3000).collect::<Vec<i64>>());
    let list_type = Type::list(Type::Int);
    let began = Instant::now();
    let end = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn_scoped(scope, || {
                let bindings = Bindings(vec![
                    ("object", Value::of(object)),
                    ("text", Value::text(&text)),
                    ("list", Value::from_json(&list, &list_type)),
                ]);
                let mut budget = Budget::new(OBJECT_LIMIT);
                let end = program.evaluate(&bindings, &mut budget).map(|value| value.shown());
                assert!(budget.left() >= OBJECT_LIMIT - 2 * PER_CALL_LIMIT || end == Err(EvalError::CostExceeded), "{source:.200}");
                end
            })
            .unwrap()
            .join()
            .unwrap()
    });
    println!("{:?} {end:.60?} {source:.60}", began.elapsed());
    assert!(began.elapsed() < SOON, "{source:.200} took {:?}", began.elapsed());
    end
}

#[test]
fn bombs_end_with_the_budget() {
    let object = json!({"deep": deep(100), "wide": vec!["x".repeat(1000); 3000]});
    for source in [
        "list.all(x, list.all(y, list.all(z, x + y + z >= 0)))",
        "list.map(x, list.map(y, list.map(z, z))).size() > 0",
        "list.map(x, list).size() == 3000 && list.map(x, list + list + list + list).size() > 0",
        "list.map(x, text + text).size() > 0",
        "list.all(x, 1 in list)",
        "list.all(x, list == list)",
        "list.exists(x, text.matches('(a*)*b'))",
        "list.exists(x, text.matches('(a{1,30}){1,30}b'))",
        "list.all(x, text.findAll('a').size() > 0)",
        "text.findAll('.*[^A-Z]|[A-Z]').size() > 0 && list.all(x, text.findAll('.*[^A-Z]|[A-Z]').size() > 0)",
        "list.all(x, text.replace('', text).size() > 0)",
        "text.replace('a', text).replace('a', text).size() > 0",
        "list.map(x, text).join(text).size() > 0",
        "list.all(x, text.split('').size() > 0)",
        "list.all(x, '%s %s %s'.format([text, text, list]).size() > 0)",
        "list.all(x, object.wide == object.wide)",
        "list.all(x, sets.contains(list, list))",
        "list.transformMap(i, v, list.transformMap(j, w, list)).size() > 0",
        "list.all(x, text.contains(text))",
        "list.all(y, list.all(x, quantity('1') == quantity('1') && ip('::1') == ip('::1') && semver('1.2.3') == semver('1.2.3') && url('/a').getHost() == ''))",
        "list.all(x, list.isSorted() && list.sum() > 0 && list.max() > 0)",
        "list.all(y, list.all(x, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20].size() > 0))",
        "list.all(x, list.all(y, true))",
    ] {
        assert_eq!(end_of(source, &object), Err(EvalError::CostExceeded), "{source}");
    }
    assert_eq!(end_of("object.deep == object.deep", &object).as_deref(), Ok("true"));
}

/// An object with so many levels.
fn deep(levels: usize) -> Json {
    (0..levels).fold(json!(1), |inner, _| json!({ "a": [inner] }))
}

#[test]
fn the_deepest_expressions_need_little_stack() {
    let object = json!({});
    let nested = |open: &str, inner: &str, close: &str, n: usize| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    for source in [
        nested("(", "1", ")", 240),
        nested("[", "1", "]", 240) + " == " + &nested("[", "1", "]", 240),
        nested("list.exists(x, ", "true", ")", 240),
        nested("[1].map(x, ", "1", ")", 240),
        nested("{'a': ", "1", "}", 240) + ".size() == 1",
        nested("size([", "1", "])", 120) + " == 1",
        format!("1{}", " + 1".repeat(240)),
        nested("true ? (", "1", ") : 2", 200),
        format!("object{}", ".?a".repeat(240)),
        format!("[1]{}", ".map(x, [x])".repeat(240)) + ".size() == 1",
        nested("[1].map(a, {'k': a}).map(b, ", "[b]", ")", 100),
        nested("optional.of(", "1", ")", 120),
    ] {
        // Whether it has a value, and of what type, is not the point.
        let _ = end_of(&source, &object);
    }
    // One more level is one too many, of whatever.
    for source in [
        nested("(", "1", ")", 251),
        nested("[", "1", "]", 251),
        nested("list.all(x, ", "true", ")", 251),
        format!("1{}", " + 1".repeat(251)),
        format!("object{}", ".a".repeat(251)),
        nested("(", "1", ")", 40_000),
        "[".repeat(100_000),
        format!("{}1", "-(".repeat(40_000)),
    ] {
        let error = env().compile(&source, &[Type::Dyn]).unwrap_err().to_string();
        assert!(error.contains("expression recursion limit exceeded: 250"), "{error:.300}");
    }
    let long = format!("'{}'", "a".repeat(100_000));
    let error = env().compile(&long, &[Type::Dyn]).unwrap_err().to_string();
    assert!(error.contains("expression code point size exceeds limit: size: 100002, limit 100000"), "{error:.200}");
}

#[test]
fn sources_made_to_be_slow_to_check_are_checked_soon() {
    let began = Instant::now();
    for source in [
        format!("[{}]", vec!["1+1"; 24_000].join(",")),
        format!("[{}]", vec!["[]"; 24_000].join(",")),
        format!("[{}]", vec!["[]+[]"; 16_000].join(",")),
        vec!["1==1"; 12_000].join("&&"),
        format!("{{{}}}", (0..9_000).map(|i| format!("{i}:[[]]")).collect::<Vec<_>>().join(",")),
        format!("[{}]", vec!["-x"; 24_000].join(",")),
        vec!["object.a"; 8_000].join("||"),
    ] {
        let one = Instant::now();
        let _ = env().compile(&source, &[Type::Dyn]);
        println!("{:?} {source:.40}", one.elapsed());
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

fn source() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "object",
        "text",
        "list",
        "x",
        "a",
        "1",
        "0",
        "1u",
        "1.5",
        "'s'",
        "b'y'",
        "true",
        "null",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        ".",
        ".?",
        "[?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "!",
        "in",
        "has(object.a)",
        ".all(x, ",
        ".exists(x, ",
        ".map(x, ",
        ".filter(x, ",
        ".size()",
        ".matches('a*')",
        ".findAll('a|b', 2)",
        ".split('', 2)",
        ".replace('a', 'b')",
        ".substring(1, 2)",
        ".indexOf('l')",
        ".lastIndexOf('', 3)",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
        ".getHours('+25:99')",
        "quantity('1Ki')",
        "ip('::1')",
        "cidr('10.0.0.0/8')",
        ".containsIP('10.1.2.3')",
        "semver('1.2.3')",
        "url('http://a:1/b?c=d')",
        "optional.of(",
        "optional.none()",
        ".orValue(",
        ".value()",
        "'%s %.3f %x'.format([",
        "string(",
        "int(",
        "uint(",
        "double(",
        "bytes(",
        "type(",
        "dyn(",
        "sets.contains(",
        ".join(',')",
        ".sum()",
        ".min()",
        ".transformMap(i, v, ",
        "format.dns1123Label().validate('a')",
        "'é'.charAt(",
        "9223372036854775807",
        "-9223372036854775808",
    ];
    proptest::collection::vec(proptest::sample::select(WORDS), 1..24).prop_map(|words| words.join(" "))
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[aé\\n%0-9]{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn evaluate(source: &str, object: &Json) {
    let Ok(program) = env().compile(source, &[Type::Dyn]) else { return };
    let (list, list_type) = (json!([3, 1, 2]), Type::list(Type::Int));
    let bindings =
        Bindings(vec![("object", Value::of(object)), ("text", Value::text("héllo")), ("list", Value::from_json(&list, &list_type))]);
    let mut budget = Budget::new(OBJECT_LIMIT);
    if let Ok(value) = program.evaluate(&bindings, &mut budget) {
        let _ = value.to_json(&mut budget);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_source_and_no_value_makes_it_panic(source in source(), object in value()) {
        evaluate(&source, &object);
    }

    #[test]
    fn no_text_makes_it_panic(source in "\\PC{0,40}", object in value()) {
        evaluate(&source, &object);
    }

    #[test]
    fn functions_of_any_values_do_not_panic(object in value(), name in proptest::sample::select(crate::declarations::FUNCTIONS.keys().copied().collect::<Vec<_>>()), args in proptest::collection::vec(value(), 0..4)) {
        let Some(function) = crate::functions::native(name) else { return Ok(()) };
        let values: Vec<Value<'_>> = std::iter::once(&object).chain(&args).map(Value::of).collect();
        for n in 0..=values.len() {
            let _ = function(&mut Budget::new(OBJECT_LIMIT), &values[..n]);
        }
    }
}
