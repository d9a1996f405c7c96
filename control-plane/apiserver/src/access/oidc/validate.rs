//! Whether an AuthenticationConfiguration makes sense, and its expressions compiled. Pure.
//! Source: `apiserver/pkg/apis/apiserver/validation` of Kubernetes 1.33.

use super::claims::{Expression, Mapper, Source};
use super::config::{
    Anonymous, AuthenticationConfiguration, ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator, PrefixedClaimOrExpression,
    UserValidationRule,
};
use crate::admission::webhooks::connect::verifying;
use crate::admission::webhooks::destination::Destination;
use orknet_cel::{CompileError, Env, Type, selects};
use orknet_resources::FieldError;
use orknet_resources::expressions::words;
use orknet_resources::field::{Errors, Path};
use orknet_resources::names;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Most issuers.
const MOST: usize = 64;
const MATCH_ANY: &str = "MatchAny";
const EMAIL_UNVERIFIED: &str = "claims.email_verified must be used in claimMappings.username.expression or \
    claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression";

/// The variables of expressions about claims, and their type.
pub static CLAIMS: LazyLock<Type> = LazyLock::new(|| Type::map(Type::STRING, Type::Dyn));

/// The type of `user`.
pub static USER: LazyLock<Type> = LazyLock::new(|| {
    let fields = [
        ("username", Type::STRING),
        ("uid", Type::STRING),
        ("groups", Type::list(Type::STRING)),
        ("extra", Type::map(Type::STRING, Type::list(Type::STRING))),
    ];
    Type::native("kubernetes.UserInfo", fields.into_iter().map(|(name, type_)| (name.to_owned(), type_)))
});

static OF_CLAIMS: LazyLock<Env> = LazyLock::new(|| Env::new(&[("claims", CLAIMS.clone())]));
static OF_USER: LazyLock<Env> = LazyLock::new(|| Env::new(&[("user", USER.clone())]));

/// What an AuthenticationConfiguration comes to.
#[derive(Debug)]
pub struct Checked {
    /// Each with what its tokens say.
    pub issuers: Vec<(Issuer, Mapper)>,
    pub anonymous: Option<Anonymous>,
}

/// Checks it all. `own`: the issuer of this server's tokens, which nobody else may be. The error has every complaint in the form in which
/// kube-apiserver ends.
pub fn check(configuration: AuthenticationConfiguration, own: &str) -> Result<Checked, String> {
    let mut errors = Errors::default();
    let root = Path::Root.field("jwt");
    let mut issuers = Vec::new();
    if configuration.jwt.len() > MOST {
        errors.too_many(&root, configuration.jwt.len(), MOST);
        return Err(shown(&errors.into_list()));
    }
    let (mut urls, mut discovery_urls) = (HashSet::new(), HashSet::new());
    for (index, JwtAuthenticator { issuer, claim_validation_rules, claim_mappings, user_validation_rules }) in
        configuration.jwt.into_iter().enumerate()
    {
        let at = root.index(index);
        let at_issuer = at.field("issuer");
        check_issuer(&issuer, own, &at_issuer, &mut errors);
        let mut mapper = Mapper::default();
        let rules_verify = check_claim_rules(&claim_validation_rules, &mut mapper, &at.field("claimValidationRules"), &mut errors);
        check_mappings(claim_mappings, rules_verify, &mut mapper, &at.field("claimMappings"), &mut errors);
        check_user_rules(&user_validation_rules, &mut mapper, &at.field("userValidationRules"), &mut errors);
        if !urls.insert(issuer.url.clone()) {
            errors.duplicate(&at_issuer.field("url"), issuer.url.clone());
        }
        if !issuer.discovery_url.is_empty() && !discovery_urls.insert(issuer.discovery_url.clone()) {
            errors.duplicate(&at_issuer.field("discoveryURL"), issuer.discovery_url.clone());
        }
        issuers.push((issuer, mapper));
    }
    if let Some(anonymous) = configuration.anonymous.as_ref().filter(|anonymous| !anonymous.enabled && !anonymous.conditions.is_empty()) {
        let at = Path::Root.field("anonymous");
        errors.invalid(&at.field("conditions"), json!(anonymous.conditions), "enabled should be set to true when conditions are defined");
    }
    let found = errors.into_list();
    if found.is_empty() { Ok(Checked { issuers, anonymous: configuration.anonymous }) } else { Err(shown(&found)) }
}

/// As Go shows several errors.
fn shown(found: &[FieldError]) -> String {
    match found {
        [only] => only.to_string(),
        several => format!("[{}]", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn check_issuer(issuer: &Issuer, own: &str, at: &Path<'_>, errors: &mut Errors) {
    let (url, discovery_url) = (&issuer.url[..], &issuer.discovery_url[..]);
    let (at_url, at_discovery) = (at.field("url"), at.field("discoveryURL"));
    if url.is_empty() {
        errors.required(&at_url, "");
    } else {
        if url == own {
            errors.invalid(&at_url, url, format!("URL must not overlap with disallowed issuers: [{own}]"));
        }
        check_url(url, &at_url, errors);
    }
    if !discovery_url.is_empty() {
        if !url.is_empty() && url.trim_end_matches('/') == discovery_url.trim_end_matches('/') {
            errors.invalid(&at_discovery, discovery_url, "discoveryURL must be different from URL");
        }
        check_url(discovery_url, &at_discovery, errors);
    }
    check_audiences(issuer, at, errors);
    let ca = &issuer.certificate_authority;
    if !ca.is_empty() && verifying(Some(ca.as_bytes()), None).is_err() {
        let why = "data does not contain any valid RSA or ECDSA certificates";
        errors.invalid(&at.field("certificateAuthority"), "<omitted>", why);
    }
}

fn check_url(url: &str, at: &Path<'_>, errors: &mut Errors) {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let faults = [
        (!rest.starts_with("https://"), "URL scheme must be https"),
        (authority.contains('@'), "URL must not contain a username or password"),
        (!query.is_empty(), "URL must not contain a query"),
        (!fragment.is_empty(), "URL must not contain a fragment"),
    ];
    for (_, why) in faults.iter().filter(|(wrong, _)| *wrong) {
        errors.invalid(at, url, *why);
    }
    if !faults.iter().any(|(wrong, _)| *wrong)
        && let Err(why) = Destination::from_client_config(&json!({ "url": url }))
    {
        errors.invalid(at, url, why);
    }
}

fn check_audiences(issuer: &Issuer, at: &Path<'_>, errors: &mut Errors) {
    let (at_audiences, at_policy) = (at.field("audiences"), at.field("audienceMatchPolicy"));
    let (audiences, policy) = (&issuer.audiences, &issuer.audience_match_policy[..]);
    if audiences.is_empty() {
        errors.required(&at_audiences, format!("at least one {at_audiences} is required"));
        return;
    }
    let mut seen = HashSet::new();
    for (index, audience) in audiences.iter().enumerate() {
        let at = at_audiences.index(index);
        if audience.is_empty() {
            errors.required(&at, "");
        }
        if !seen.insert(audience) {
            errors.duplicate(&at, audience.clone());
        }
    }
    if audiences.len() > 1 && policy != MATCH_ANY {
        errors.invalid(&at_policy, policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
    }
    if audiences.len() == 1 && !matches!(policy, "" | MATCH_ANY) {
        errors.invalid(&at_policy, policy, "audienceMatchPolicy must be empty or MatchAny for single audience");
    }
}

/// Whether one of the rules looks at `claims.email_verified`.
fn check_claim_rules(rules: &[ClaimValidationRule], mapper: &mut Mapper, at: &Path<'_>, errors: &mut Errors) -> bool {
    let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
    let mut verify = false;
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (false, false) => errors.invalid(&at, rule.claim.clone(), "claim and expression can't both be set"),
            (true, true) => errors.required(&at, "claim or expression is required"),
            (false, true) => {
                if !rule.message.is_empty() {
                    errors.invalid(&at.field("message"), rule.message.clone(), "may not be specified when claim is set");
                }
                if !claims.insert(&rule.claim) {
                    errors.duplicate(&at.field("claim"), rule.claim.clone());
                }
                mapper.required.push((rule.claim.clone(), rule.required_value.clone()));
            }
            (true, false) => {
                if !rule.required_value.is_empty() {
                    let why = "may not be specified when expression is set";
                    errors.invalid(&at.field("requiredValue"), rule.required_value.clone(), why);
                }
                if !expressions.insert(&rule.expression) {
                    errors.duplicate(&at.field("expression"), rule.expression.clone());
                    continue;
                }
                verify |= selects(&rule.expression, "claims", "email_verified");
                let compiled = compile(&OF_CLAIMS, &rule.expression, Type::Bool, &at.field("expression"), errors);
                mapper.claim_rules.extend(compiled.map(|expression| (expression, rule.message.clone())));
            }
        }
    }
    verify
}

fn check_mappings(mappings: ClaimMappings, rules_verify: bool, mapper: &mut Mapper, at: &Path<'_>, errors: &mut Errors) {
    let at_username = at.field("username");
    let username = &mappings.username.expression;
    let uses_email = selects(username, "claims", "email");
    let mut verifies = rules_verify || selects(username, "claims", "email_verified");
    mapper.username = check_source(&mappings.username, true, &at_username, errors);
    mapper.groups = check_source(&mappings.groups, false, &at.field("groups"), errors);
    let at_uid = at.field("uid");
    mapper.uid = match (mappings.uid.claim.is_empty(), mappings.uid.expression.is_empty()) {
        (false, false) => {
            errors.invalid(&at_uid, "", "claim and expression can't both be set");
            Source::Nothing
        }
        (true, false) => compiled_source(&mappings.uid.expression, &at_uid.field("expression"), errors),
        (false, true) => Source::Claim { claim: mappings.uid.claim, prefix: String::new() },
        (true, true) => Source::Nothing,
    };
    let at_extra = at.field("extra");
    let mut keys = HashSet::new();
    for (index, mapping) in mappings.extra.iter().enumerate() {
        let at = at_extra.index(index);
        check_extra_key(&mapping.key, &at.field("key"), errors);
        if !keys.insert(&mapping.key) {
            errors.duplicate(&at.field("key"), mapping.key.clone());
            continue;
        }
        if mapping.value_expression.is_empty() {
            errors.required(&at.field("valueExpression"), "");
            continue;
        }
        verifies |= selects(&mapping.value_expression, "claims", "email_verified");
        let compiled = compile(&OF_CLAIMS, &mapping.value_expression, Type::Dyn, &at.field("valueExpression"), errors);
        mapper.extra.extend(compiled.map(|expression| (mapping.key.clone(), expression)));
    }
    if uses_email && !verifies {
        errors.invalid(&at_username.field("expression"), username.clone(), EMAIL_UNVERIFIED);
    }
}

fn check_source(mapping: &PrefixedClaimOrExpression, required: bool, at: &Path<'_>, errors: &mut Errors) -> Source {
    match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
        (false, false) => errors.invalid(at, "", "claim and expression can't both be set"),
        (true, true) if required => errors.required(at, "claim or expression is required"),
        (true, true) => {}
        (true, false) => {
            if let Some(prefix) = &mapping.prefix {
                errors.invalid(&at.field("prefix"), prefix.clone(), "may not be specified when expression is set");
            }
            return compiled_source(&mapping.expression, &at.field("expression"), errors);
        }
        (false, true) => {
            let Some(prefix) = &mapping.prefix else {
                let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                errors.required(&at.field("prefix"), why);
                return Source::Nothing;
            };
            return Source::Claim { claim: mapping.claim.clone(), prefix: prefix.clone() };
        }
    }
    Source::Nothing
}

/// `domain/path`, in lower case, of a domain that is not Kubernetes'.
fn check_extra_key(key: &str, at: &Path<'_>, errors: &mut Errors) {
    match key.split_once('/') {
        _ if key.is_empty() => errors.required(at, ""),
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            errors.format(at, domain, names::subdomain(domain));
            if !path.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c)) {
                let why = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
                errors.invalid(at, path, why);
            }
        }
        _ => errors.invalid(at, key, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
    if key != key.to_lowercase() {
        errors.invalid(at, key, "must be lowercase");
    }
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let is_in = |reserved: &str| domain.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if is_in("k8s.io") || is_in("kubernetes.io") {
        errors.invalid(at, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    }
}

fn check_user_rules(rules: &[UserValidationRule], mapper: &mut Mapper, at: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        let at = at.field("expression");
        if rule.expression.is_empty() {
            errors.required(&at, "");
        } else if !seen.insert(&rule.expression) {
            errors.duplicate(&at, rule.expression.clone());
        } else {
            let compiled = compile(&OF_USER, &rule.expression, Type::Bool, &at, errors);
            mapper.user_rules.extend(compiled.map(|expression| (expression, rule.message.clone())));
        }
    }
}

fn compiled_source(expression: &str, at: &Path<'_>, errors: &mut Errors) -> Source {
    compile(&OF_CLAIMS, expression, Type::Dyn, at, errors).map_or(Source::Nothing, Source::Expression)
}

fn compile(environment: &Env, source: &str, wanted: Type, at: &Path<'_>, errors: &mut Errors) -> Option<Expression> {
    let shown = wanted.to_string();
    match environment.compile(source, &[wanted]) {
        Ok(program) => Some(Expression { source: source.to_owned(), program }),
        Err(error) => {
            let why = match &error {
                CompileError::Issues(_) => words(&error),
                CompileError::Result { .. } => format!("must evaluate to {shown}"),
            };
            errors.invalid(at, Value::from(source), why);
            None
        }
    }
}
