//! The file that says whose tokens are believed and what they say (`apiserver.config.k8s.io AuthenticationConfiguration`, `v1` and `v1beta1`).

use serde::Deserialize;

const GROUP: &str = "apiserver.config.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// See the module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    #[serde(default)]
    pub jwt: Vec<JwtAuthenticator>,
    pub anonymous: Option<Anonymous>,
}

/// Tokens of one issuer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JwtAuthenticator {
    pub issuer: Issuer,
    #[serde(default)]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    pub claim_mappings: ClaimMappings,
    #[serde(default)]
    pub user_validation_rules: Vec<UserValidationRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Issuer {
    pub url: String,
    /// Where its discovery document is; empty: at its URL.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// PEM of those that may certify it; empty: whom the system trusts.
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
}

/// A claim and the value that it must have, or an expression that must be true.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClaimValidationRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClaimMappings {
    pub username: PrefixedClaimOrExpression,
    pub groups: PrefixedClaimOrExpression,
    pub uid: ClaimOrExpression,
    pub extra: Vec<ExtraMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PrefixedClaimOrExpression {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClaimOrExpression {
    pub claim: String,
    pub expression: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ExtraMapping {
    pub key: String,
    pub value_expression: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct UserValidationRule {
    pub expression: String,
    pub message: String,
}

/// Whether who shows nothing may come in; with conditions, where to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Anonymous {
    pub enabled: bool,
    #[serde(default)]
    pub conditions: Vec<AnonymousCondition>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AnonymousCondition {
    pub path: String,
}

impl AuthenticationConfiguration {
    /// Reads YAML or JSON. What it does not know is an error. Whether it makes sense is [`super::validate`]'s.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Self = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let version = read.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
        if read.kind != "AuthenticationConfiguration" || !version.is_some_and(|version| VERSIONS.contains(&version)) {
            let (kind, version) = (&read.kind, &read.api_version);
            return Err(format!(
                "it is a {kind:?} of {version:?}; expected an AuthenticationConfiguration of {GROUP}/v1 or {GROUP}/v1beta1"
            ));
        }
        Ok(read)
    }
}

impl Anonymous {
    /// Whether who shows nothing may ask for this path.
    pub fn allows(&self, path: &str) -> bool {
        self.enabled && (self.conditions.is_empty() || self.conditions.iter().any(|condition| condition.path == path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_what_is_not_known_is_refused() {
        for version in VERSIONS {
            let text = format!(
                "apiVersion: {GROUP}/{version}\nkind: AuthenticationConfiguration\njwt:\n- issuer: {{url: 'https://i', audiences: [a]}}\n  \
                 claimMappings: {{username: {{claim: sub, prefix: ''}}}}\nanonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n"
            );
            let read = AuthenticationConfiguration::parse(&text).expect("reads");
            assert_eq!((&read.jwt[0].issuer.url[..], read.jwt[0].claim_mappings.username.prefix.as_deref()), ("https://i", Some("")));
            let anonymous = read.anonymous.expect("a section");
            assert!(anonymous.allows("/livez") && !anonymous.allows("/livez/a"));
            assert!(AuthenticationConfiguration::parse(&text.replace("audiences", "audience")).is_err());
        }
        let of = |version: &str, kind: &str| AuthenticationConfiguration::parse(&format!("apiVersion: {version}\nkind: {kind}\n"));
        assert!(of("apiserver.config.k8s.io/v1", "AuthenticationConfiguration").is_ok());
        assert!(of("apiserver.config.k8s.io/v2", "AuthenticationConfiguration").is_err());
        assert!(of("apiserver.config.k8s.io/v1", "EncryptionConfiguration").is_err());
    }
}
