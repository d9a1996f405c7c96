//! What a token says of its holder: its claims checked, and made an identity. Pure.
//! Source: `apiserver/plugin/pkg/authenticator/token/oidc` of Kubernetes 1.33 and the library behind it; faults are told in their words.

use super::config::Issuer;
use super::validate::{CLAIMS, USER};
use orknet_auth::Identity;
use orknet_cel::{Bindings, Budget, OBJECT_LIMIT, Program, Value as Cel};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How long before its `nbf` a token is good already: clocks differ.
const LEEWAY_SECONDS: f64 = 300.0;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    pub source: String,
    pub program: Program,
}

/// Where a part of the identity comes from.
#[derive(Debug, Default)]
pub enum Source {
    #[default]
    Nothing,
    Claim {
        claim: String,
        prefix: String,
    },
    Expression(Expression),
}

/// What is made of the claims of an issuer's tokens, and what must hold of them.
#[derive(Debug, Default)]
pub struct Mapper {
    pub username: Source,
    pub groups: Source,
    pub uid: Source,
    pub extra: Vec<(String, Expression)>,
    /// Claims and their values.
    pub required: Vec<(String, String)>,
    /// Expressions about the claims, and what to say when one of them is false.
    pub claim_rules: Vec<(Expression, String)>,
    /// The same about the identity.
    pub user_rules: Vec<(Expression, String)>,
}

/// The issuer that a token says it is of.
pub fn issuer(claims: &Map<String, Value>) -> &str {
    match claims.get("iss").and_then(Value::as_str).unwrap_or_default() {
        // Tokens of that issuer leave out how it is reached.
        "accounts.google.com" => "https://accounts.google.com",
        other => other,
    }
}

/// Whether the token is for this server, and of its time. `now`: in seconds since 1970.
pub fn check_registered(claims: &Map<String, Value>, issuer: &Issuer, now: f64) -> Result<(), String> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![&one[..]],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !issuer.audiences.iter().any(|wanted| audiences.contains(&&wanted[..])) {
        return Err(format!("oidc: expected audience in {:?} got {audiences:?}", issuer.audiences));
    }
    let seconds = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("oidc: failed to unmarshal claims: {name} is no number")),
    };
    match seconds("exp")? {
        Some(expiry) if now <= expiry => {}
        Some(expiry) => return Err(format!("oidc: token is expired (Token Expiry: {expiry})")),
        None => return Err("oidc: token is expired (it has no exp)".to_owned()),
    }
    match seconds("nbf")? {
        Some(begin) if now + LEEWAY_SECONDS < begin => Err(format!("oidc: current time {now} before the nbf (not before) time: {begin}")),
        _ => seconds("iat").map(drop),
    }
}

impl Mapper {
    /// Whose token with these claims is. They are those of a token that has been verified.
    pub fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, String> {
        let whole = Value::Object(claims.clone());
        let variables = Bindings(vec![("claims", Cel::from_json(&whole, &CLAIMS))]);
        let mut budget = Budget::new(OBJECT_LIMIT);
        let username = self.username(claims, &variables, &mut budget)?;
        if username.is_empty() {
            return Err("oidc: username is empty".to_owned());
        }
        let groups = self.groups(claims, &variables, &mut budget)?;
        let uid = self.uid(claims, &variables, &mut budget)?;
        let mut extra = BTreeMap::new();
        for (key, expression) in &self.extra {
            let fail = |why: String| format!("oidc: error evaluating extra claim expression: {}: {why}", expression.source);
            let values = texts(&value(expression, &variables, &mut budget).map_err(fail)?).map_err(fail)?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        for (claim, wanted) in &self.required {
            let found = claims.get(claim).ok_or_else(|| format!("oidc: required claim {claim} not present in ID token"))?;
            let found = found.as_str().ok_or_else(|| format!("oidc: parse claim {claim}: it is no string"))?;
            if found != wanted {
                return Err(format!("oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"));
            }
        }
        hold(&self.claim_rules, &variables, &mut budget)
            .map_err(|why| format!("oidc: error evaluating claim validation expression: {why}"))?;
        let mut user = json!({ "username": username, "groups": groups, "extra": extra });
        if !uid.is_empty() {
            user["uid"] = uid.clone().into();
        }
        let about_user = Bindings(vec![("user", Cel::from_json(&user, &USER))]);
        hold(&self.user_rules, &about_user, &mut budget)
            .map_err(|why| format!("oidc: error evaluating user info validation rule: {why}"))?;
        Ok(Identity { uid, extra, ..Identity::authenticated(username, groups) })
    }

    fn username<'a>(&'a self, claims: &Map<String, Value>, variables: &Bindings<'a>, budget: &mut Budget) -> Result<String, String> {
        match &self.username {
            Source::Nothing => Ok(String::new()),
            Source::Claim { claim, prefix } => {
                let name = text(claims, claim).map_err(|why| format!("oidc: parse username claims {claim:?}: {why}"))?;
                if claim == "email" {
                    match claims.get("email_verified") {
                        None | Some(Value::Bool(true)) => {}
                        Some(Value::Bool(false)) => return Err("oidc: email not verified".to_owned()),
                        Some(_) => return Err("oidc: parse 'email_verified' claim: it is no boolean".to_owned()),
                    }
                }
                // A prefix alone names nobody.
                Ok(if name.is_empty() { String::new() } else { format!("{prefix}{name}") })
            }
            Source::Expression(expression) => one_text(expression, variables, budget, "username"),
        }
    }

    fn groups<'a>(&'a self, claims: &Map<String, Value>, variables: &Bindings<'a>, budget: &mut Budget) -> Result<Vec<String>, String> {
        match &self.groups {
            Source::Nothing => Ok(Vec::new()),
            Source::Claim { claim, prefix } => {
                let fail = || format!("oidc: parse groups claim {claim:?}: it is neither a string nor a list of strings");
                let names = match claims.get(claim) {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::String(one)) => vec![&one[..]],
                    Some(Value::Array(several)) => {
                        several.iter().map(|name| name.as_str().ok_or_else(fail)).collect::<Result<Vec<_>, _>>()?
                    }
                    Some(_) => return Err(fail()),
                };
                Ok(names.into_iter().map(|name| format!("{prefix}{name}")).collect())
            }
            Source::Expression(expression) => {
                let fail = |why: String| format!("oidc: error evaluating group claim expression: {why}");
                texts(&value(expression, variables, budget).map_err(fail)?).map_err(fail)
            }
        }
    }

    fn uid<'a>(&'a self, claims: &Map<String, Value>, variables: &Bindings<'a>, budget: &mut Budget) -> Result<String, String> {
        match &self.uid {
            Source::Nothing => Ok(String::new()),
            Source::Claim { claim, .. } => {
                text(claims, claim).map(str::to_owned).map_err(|why| format!("oidc: parse uid claim {claim:?}: {why}"))
            }
            Source::Expression(expression) => one_text(expression, variables, budget, "uid"),
        }
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a str, &'static str> {
    claims.get(name).ok_or("claim not present")?.as_str().ok_or("it is no string")
}

fn value<'a>(expression: &'a Expression, variables: &Bindings<'a>, budget: &mut Budget) -> Result<Cel<'a>, String> {
    let source = &expression.source;
    expression.program.evaluate(variables, budget).map_err(|error| format!("expression '{source}' resulted in error: {error}"))
}

fn one_text<'a>(expression: &'a Expression, variables: &Bindings<'a>, budget: &mut Budget, what: &str) -> Result<String, String> {
    let fail = |why: String| format!("oidc: error evaluating {what} claim expression: {why}");
    let value = value(expression, variables, budget).map_err(fail)?;
    value.as_str().map(str::to_owned).ok_or_else(|| fail(format!("{what} claim expression must return a string")))
}

/// A text or a list of texts; empty ones and what is not there count for nothing.
fn texts(value: &Cel<'_>) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let mut found = match value {
        Cel::Null => Vec::new(),
        Cel::String(one) => vec![one.to_string()],
        Cel::List(list) => {
            let mut found = Vec::new();
            for item in list.iter() {
                found.push(item.as_str().ok_or_else(wrong)?.to_owned());
            }
            found
        }
        _ => return Err(wrong()),
    };
    found.retain(|text| !text.is_empty());
    Ok(found)
}

/// Whether all are true; the error says which is not.
fn hold<'a>(rules: &'a [(Expression, String)], variables: &Bindings<'a>, budget: &mut Budget) -> Result<(), String> {
    for (expression, message) in rules {
        match value(expression, variables, budget)?.as_bool() {
            Some(true) => {}
            Some(false) => return Err(format!("validation expression '{}' failed: {message}", expression.source)),
            None => return Err("validation expression must return a boolean".to_owned()),
        }
    }
    Ok(())
}
