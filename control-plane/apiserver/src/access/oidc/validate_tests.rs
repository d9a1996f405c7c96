//! What is complained of in a configuration, in Kubernetes' words, and what claims come to by one that is right.

use super::claims::{check_registered, issuer};
use super::config::{AuthenticationConfiguration, Issuer};
use super::validate::{Checked, check};
use serde_json::{Map, Value, json};

const OWN: &str = "https://own";

fn checked(jwt: &Value) -> Result<Checked, String> {
    let file = json!({ "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt });
    check(AuthenticationConfiguration::parse(&file.to_string())?, OWN)
}

/// One issuer whose tokens name users by `sub`, changed.
fn one(change: impl FnOnce(&mut Value)) -> Value {
    let mut jwt = json!({
        "issuer": { "url": "https://i", "audiences": ["a"] },
        "claimMappings": { "username": { "claim": "sub", "prefix": "" } },
    });
    change(&mut jwt);
    jwt
}

fn set(pointer: &str, value: Value) -> impl FnOnce(&mut Value) {
    let pointer = pointer.to_owned();
    move |jwt| {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        jwt.pointer_mut(parent).expect("a parent")[field] = value;
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { panic!("no object") }
}

#[test]
fn faults_are_told_in_kubernetes_words() {
    for (pointer, value, expected) in [
        ("/issuer/url", json!(""), "jwt[0].issuer.url: Required value"),
        ("/issuer/url", json!("http://i"), "jwt[0].issuer.url: Invalid value: \"http://i\": URL scheme must be https"),
        (
            "/issuer/url",
            json!("https://u:p@i"),
            "jwt[0].issuer.url: Invalid value: \"https://u:p@i\": URL must not contain a username or password",
        ),
        ("/issuer/url", json!("https://i?q"), "jwt[0].issuer.url: Invalid value: \"https://i?q\": URL must not contain a query"),
        ("/issuer/url", json!("https://i#f"), "jwt[0].issuer.url: Invalid value: \"https://i#f\": URL must not contain a fragment"),
        (
            "/issuer/url",
            json!(OWN),
            "jwt[0].issuer.url: Invalid value: \"https://own\": URL must not overlap with disallowed issuers: [https://own]",
        ),
        (
            "/issuer/discoveryURL",
            json!("https://i/"),
            "jwt[0].issuer.discoveryURL: Invalid value: \"https://i/\": discoveryURL must be different from URL",
        ),
        ("/issuer/audiences", json!([]), "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"),
        ("/issuer/audiences", json!([""]), "jwt[0].issuer.audiences[0]: Required value"),
        (
            "/issuer/audiences",
            json!(["a", "b"]),
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
        ),
        (
            "/issuer/certificateAuthority",
            json!("x"),
            "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates",
        ),
        ("/claimMappings/username", json!({}), "jwt[0].claimMappings.username: Required value: claim or expression is required"),
        (
            "/claimMappings/username",
            json!({ "claim": "sub" }),
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to \
             disable prefixing",
        ),
        (
            "/claimMappings/groups",
            json!({ "expression": "claims.g", "prefix": "p" }),
            "jwt[0].claimMappings.groups.prefix: Invalid value: \"p\": may not be specified when expression is set",
        ),
        (
            "/claimMappings/extra",
            json!([{ "key": "a", "valueExpression": "'x'" }]),
            "jwt[0].claimMappings.extra[0].key: Invalid value: \"a\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
        (
            "/claimMappings/extra",
            json!([{ "key": "x.k8s.io/a", "valueExpression": "'x'" }]),
            "jwt[0].claimMappings.extra[0].key: Invalid value: \"x.k8s.io/a\": k8s.io, kubernetes.io and their subdomains are reserved for \
             Kubernetes use",
        ),
        (
            "/claimValidationRules",
            json!([{ "claim": "c", "message": "m" }]),
            "jwt[0].claimValidationRules[0].message: Invalid value: \"m\": may not be specified when claim is set",
        ),
        (
            "/claimValidationRules",
            json!([{ "expression": "'a'" }]),
            "jwt[0].claimValidationRules[0].expression: Invalid value: \"'a'\": must evaluate to bool",
        ),
        (
            "/userValidationRules",
            json!([{ "expression": "true" }, { "expression": "true" }]),
            "jwt[0].userValidationRules[1].expression: Duplicate value: \"true\"",
        ),
    ] {
        let found = checked(&json!([one(set(pointer, value))])).expect_err(expected);
        assert_eq!(found, expected);
    }
    let twice = checked(&json!([one(|_| {}), one(|_| {})])).expect_err("twice");
    assert_eq!(twice, "jwt[1].issuer.url: Duplicate value: \"https://i\"");
    let several = checked(&json!([one(|jwt| jwt["issuer"] = json!({}))])).expect_err("two faults");
    assert!(several.starts_with("[jwt[0].issuer.url: Required value, jwt[0].issuer.audiences: Required value"), "{several}");
    let faulty = checked(&json!([one(set("/claimMappings/username", json!({ "expression": "claims.(" })))])).expect_err("no expression");
    assert!(
        faulty.contains("jwt[0].claimMappings.username.expression: Invalid value: \"claims.(\": compilation failed: ERROR"),
        "{faulty}"
    );
}

#[test]
fn an_email_names_nobody_before_it_is_looked_at_whether_it_is_verified() {
    let by_email = |jwt: &mut Value| jwt["claimMappings"]["username"] = json!({ "expression": "claims.email" });
    let why = checked(&json!([one(by_email)])).expect_err("not verified");
    assert!(why.contains("claims.email_verified must be used in"), "{why}");
    let looked_at = one(|jwt| {
        by_email(jwt);
        jwt["claimValidationRules"] = json!([{ "expression": "claims.?email_verified.orValue(true) == true" }]);
    });
    checked(&json!([looked_at])).expect("is right");
}

#[test]
fn claims_come_to_an_identity() {
    let jwt = one(|jwt| {
        jwt["claimMappings"] = json!({
            "username": { "claim": "sub", "prefix": "oidc:" },
            "groups": { "expression": "claims.roles.map(role, 'r:' + role)" },
            "uid": { "claim": "id" },
            "extra": [{ "key": "example.org/tenant", "valueExpression": "claims.tenant" }, { "key": "example.org/no", "valueExpression": "''" }],
        });
        jwt["claimValidationRules"] = json!([
            { "claim": "hd", "requiredValue": "example.org" },
            { "expression": "claims.exp - claims.iat <= 3600", "message": "too long" },
        ]);
        jwt["userValidationRules"] = json!([{ "expression": "!user.username.startsWith('oidc:system:')", "message": "reserved" }]);
    });
    let (_, mapper) = checked(&json!([jwt])).expect("is right").issuers.remove(0);
    let claims = json!({ "sub": "ann", "roles": ["dev", ""], "id": "7", "tenant": "t", "hd": "example.org", "iat": 100, "exp": 200 });
    let who = mapper.identity(&object(claims.clone())).expect("somebody");
    assert_eq!((&who.username[..], &who.uid[..]), ("oidc:ann", "7"));
    assert_eq!(who.groups, ["r:dev", "r:", "system:authenticated"]);
    assert_eq!(who.extra.into_iter().collect::<Vec<_>>(), [("example.org/tenant".to_owned(), vec!["t".to_owned()])]);
    for (claim, value, why) in [
        ("sub", json!(7), "oidc: parse username claims \"sub\": it is no string"),
        ("sub", json!(""), "oidc: username is empty"),
        ("sub", json!("system:admin"), "failed: reserved"),
        ("roles", json!("dev"), "oidc: error evaluating group claim expression"),
        ("tenant", json!({}), "expression must return a string or a list of strings"),
        ("hd", json!("example.com"), "oidc: required claim hd value does not match. Got = example.com, want = example.org"),
        ("exp", json!(99_999), "validation expression 'claims.exp - claims.iat <= 3600' failed: too long"),
    ] {
        let mut changed = claims.clone();
        changed[claim] = value;
        let found = mapper.identity(&object(changed)).expect_err(why);
        assert!(found.contains(why), "{found}");
    }
    let mut without = object(claims);
    without.remove("hd");
    assert_eq!(mapper.identity(&without), Err("oidc: required claim hd not present in ID token".to_owned()));
}

#[test]
fn groups_and_emails_by_claims() {
    let jwt = one(|jwt| {
        let mappings = json!({ "username": { "claim": "email", "prefix": "" }, "groups": { "claim": "g", "prefix": "p:" } });
        jwt["claimMappings"] = mappings;
    });
    let (_, mapper) = checked(&json!([jwt])).expect("is right").issuers.remove(0);
    let groups = |claims: Value| mapper.identity(&object(claims)).map(|who| who.groups);
    let texts = |groups: &[&str]| Ok(groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>());
    assert_eq!(groups(json!({ "email": "a@b" })), texts(&["system:authenticated"]));
    assert_eq!(groups(json!({ "email": "a@b", "g": "x", "email_verified": true })), texts(&["p:x", "system:authenticated"]));
    assert_eq!(groups(json!({ "email": "a@b", "g": ["x", "y"] })), texts(&["p:x", "p:y", "system:authenticated"]));
    assert!(groups(json!({ "email": "a@b", "g": 7 })).is_err());
    assert_eq!(groups(json!({ "email": "a@b", "email_verified": false })), Err("oidc: email not verified".to_owned()));
    assert!(groups(json!({ "email": "a@b", "email_verified": "true" })).is_err());
}

#[test]
fn tokens_are_for_this_server_and_of_their_time() {
    let trusted = Issuer { audiences: vec!["a".into(), "b".into()], ..Issuer::default() };
    let told = |claims: Value| check_registered(&object(claims), &trusted, 1000.0);
    assert_eq!(told(json!({ "aud": "b", "exp": 1000 })), Ok(()));
    assert_eq!(told(json!({ "aud": ["x", "a"], "exp": 1000.5, "nbf": 1300, "iat": 5000 })), Ok(()));
    for (claims, why) in [
        (json!({ "aud": "x", "exp": 2000 }), "expected audience"),
        (json!({ "exp": 2000 }), "expected audience"),
        (json!({ "aud": "a" }), "token is expired"),
        (json!({ "aud": "a", "exp": 999 }), "token is expired"),
        (json!({ "aud": "a", "exp": "2000" }), "exp is no number"),
        (json!({ "aud": "a", "exp": 2000, "nbf": 1301 }), "before the nbf"),
        (json!({ "aud": "a", "exp": 2000, "iat": "x" }), "iat is no number"),
    ] {
        let found = told(claims).expect_err(why);
        assert!(found.contains(why), "{found}");
    }
    assert_eq!(issuer(&object(json!({ "iss": "accounts.google.com" }))), "https://accounts.google.com");
    assert_eq!(issuer(&object(json!({}))), "");
}
