//! The audit policy (`audit.k8s.io/v1 Policy`): how much is told of which request. The first rule that a request fits decides. Pure.
//!
//! Source of the rules: Kubernetes, "Auditing", and `Policy` in the API's types.

use super::event::{Level, Stage};
use crate::http::request_info::{RequestInfo, ResourcePath};
use orknet_auth::Identity;
use serde::Deserialize;

/// Rules about how much is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    api_version: String,
    kind: String,
    /// A file has a name at most; nobody asks for it.
    #[serde(default)]
    #[allow(dead_code, reason = "files may have it")]
    metadata: serde_json::Value,
    rules: Vec<Rule>,
    /// Stages that no rule tells of.
    #[serde(default)]
    omit_stages: Vec<Stage>,
    /// Whether objects are told without `metadata.managedFields`; a rule may say otherwise.
    #[serde(default)]
    omit_managed_fields: bool,
}

/// Empty lists fit everything, with the exception of resources and paths: a rule that names only one of these fits no request for the other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    /// The empty one fits what is in no namespace.
    #[serde(default)]
    namespaces: Vec<String>,
    /// Paths that are no resources; `*` at the end fits every rest.
    #[serde(default, rename = "nonResourceURLs")]
    paths: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

/// Resources of one group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Resources {
    #[serde(default)]
    group: String,
    /// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`; none fits all.
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What is told of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub level: Level,
    omitted: Stages,
    pub omit_managed_fields: bool,
}

impl Told {
    /// Whether the stage is told of.
    pub fn tells(&self, stage: Stage) -> bool {
        self.level != Level::None && !self.omitted.has(stage)
    }
}

/// A set of stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stages(u8);

impl Stages {
    fn of(stages: impl IntoIterator<Item = Stage>) -> Self {
        Self(stages.into_iter().fold(0, |set, stage| set | 1 << stage as u8))
    }

    fn has(self, stage: Stage) -> bool {
        self.0 & 1 << stage as u8 != 0
    }
}

/// Why a text is no policy. Names the rule.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("it is no audit.k8s.io/v1 Policy: {0}")]
    Form(String),
    #[error("rules[{0}] names resources or namespaces and nonResourceURLs; a request is never for both")]
    Both(usize),
    #[error("rules[{0}].resources: {1:?} has no form of a group; versions do not belong there")]
    Group(usize, String),
    #[error("rules[{0}].resources names objects but no resources that they could be of")]
    Names(usize),
    #[error("rules[{0}].nonResourceURLs: {1:?} must be \"*\", or a path that begins with \"/\" and has \"*\" at its end only")]
    Path(usize, String),
}

impl Policy {
    /// Reads YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_yaml_ng::from_str(text).map_err(|error| PolicyError::Form(error.to_string()))?;
        if (&policy.api_version[..], &policy.kind[..]) != ("audit.k8s.io/v1", "Policy") {
            return Err(PolicyError::Form(format!("apiVersion is {:?} and kind {:?}", policy.api_version, policy.kind)));
        }
        policy.rules.iter().enumerate().try_for_each(|(index, rule)| rule.check(index))?;
        Ok(policy)
    }

    /// What is told of a request by `who` (as authenticated: before he acts as somebody else); `None`: nobody who is known. Nothing where no rule fits.
    pub fn of(&self, who: Option<&Identity>, info: &RequestInfo) -> Told {
        let rule = self.rules.iter().find(|rule| rule.fits(who, info));
        let omitted = self.omit_stages.iter().chain(rule.iter().flat_map(|rule| &rule.omit_stages)).copied();
        Told {
            level: rule.map_or(Level::None, |rule| rule.level),
            omitted: Stages::of(omitted),
            omit_managed_fields: rule.and_then(|rule| rule.omit_managed_fields).unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn check(&self, index: usize) -> Result<(), PolicyError> {
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if of_resources && !self.paths.is_empty() {
            return Err(PolicyError::Both(index));
        }
        for resources in &self.resources {
            if resources.group.contains('/') {
                return Err(PolicyError::Group(index, resources.group.clone()));
            }
            if resources.resources.is_empty() && !resources.resource_names.is_empty() {
                return Err(PolicyError::Names(index));
            }
        }
        let wrong =
            |path: &&String| *path != "*" && (!path.starts_with('/') || path.trim_end_matches('*').contains('*') || path.ends_with("**"));
        match self.paths.iter().find(wrong) {
            Some(path) => Err(PolicyError::Path(index, path.clone())),
            None => Ok(()),
        }
    }

    fn fits(&self, who: Option<&Identity>, info: &RequestInfo) -> bool {
        let among = |list: &[String], text: &str| list.is_empty() || list.iter().any(|own| own == text);
        let by = match who {
            Some(who) => {
                among(&self.users, &who.username) && (self.user_groups.is_empty() || self.user_groups.iter().any(|group| who.is_in(group)))
            }
            None => self.users.is_empty() && self.user_groups.is_empty(),
        };
        if !by || !among(&self.verbs, info.verb) {
            return false;
        }
        match &info.resource {
            _ if self.resources.is_empty() && self.namespaces.is_empty() && self.paths.is_empty() => true,
            Some(path) if self.paths.is_empty() => {
                among(&self.namespaces, &path.namespace)
                    && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.fit(path, info.name())))
            }
            None => self.paths.iter().any(|own| path_fits(own, &info.path)),
            Some(_) => false,
        }
    }
}

impl Resources {
    fn fit(&self, path: &ResourcePath, name: &str) -> bool {
        if self.group != path.group {
            return false;
        }
        let named = self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name);
        self.resources.is_empty() || named && self.resources.iter().any(|own| resource_fits(own, path))
    }
}

fn resource_fits(own: &str, ResourcePath { plural, subresource, .. }: &ResourcePath) -> bool {
    match own.split_once('/') {
        None => own == "*" || own == plural && subresource.is_empty(),
        Some((resource, "*")) => resource == plural,
        Some(("*", of_any)) => of_any == subresource,
        Some((resource, own)) => resource == plural && own == subresource,
    }
}

fn path_fits(own: &str, path: &str) -> bool {
    match own.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => own == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    const HEAD: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, ";

    fn policy(rest: &str) -> Result<Policy, String> {
        Policy::parse(&format!("{HEAD}{rest}}}")).map_err(|error| error.to_string())
    }

    fn level(rules: &str, user: &str, method: &Method, path: &str) -> Level {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let who = Identity::authenticated(user, ["devs".to_owned()]);
        policy(&format!("rules: [{rules}]")).expect(rules).of(Some(&who), &RequestInfo::new(method, path, query).expect("text")).level
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = "{level: None, users: [ann]}, {level: Request, userGroups: [devs], verbs: [create]}, {level: Metadata}";
        assert_eq!(level(rules, "ann", &Method::POST, "/api/v1/namespaces/a/pods"), Level::None);
        assert_eq!(level(rules, "bob", &Method::POST, "/api/v1/namespaces/a/pods"), Level::Request);
        assert_eq!(level(rules, "bob", &Method::GET, "/healthz"), Level::Metadata);
        assert_eq!(level("{level: Metadata, users: [ann]}", "bob", &Method::GET, "/"), Level::None, "no rule fits");
    }

    #[test]
    fn resources_fit_by_group_name_and_subresource() {
        let fits = |resources: &str, path: &str| {
            level(&format!("{{level: Metadata, resources: [{resources}]}}"), "bob", &Method::GET, path) == Level::Metadata
        };
        let (pod, log) = ("/api/v1/namespaces/a/pods/x", "/api/v1/namespaces/a/pods/x/log");
        for (resources, of_pod, of_log) in [
            ("{group: \"\"}", true, true),
            ("{resources: [pods]}", true, false),
            ("{resources: [pods/log]}", false, true),
            ("{resources: [pods/*]}", true, true),
            ("{resources: [\"*/log\"]}", false, true),
            ("{resources: [\"*\"]}", true, true),
            ("{resources: [pods], resourceNames: [x]}", true, false),
            ("{resources: [pods], resourceNames: [y]}", false, false),
            ("{group: apps}", false, false),
            ("{group: apps, resources: [pods]}", false, false),
        ] {
            assert_eq!((fits(resources, pod), fits(resources, log)), (of_pod, of_log), "{resources}");
        }
        assert!(!fits("{resources: [\"*\"]}", "/healthz"), "no resource");
        let named = "{resources: [pods], resourceNames: [x]}";
        assert!(fits(named, "/api/v1/namespaces/a/pods?fieldSelector=metadata.name=x"), "a list of one name is about that name");
        assert!(!fits(named, "/api/v1/namespaces/a/pods"));
    }

    #[test]
    fn namespaces_and_paths_fit_what_they_are_of() {
        let of_namespace = "{level: Metadata, namespaces: [a]}";
        assert_eq!(level(of_namespace, "bob", &Method::GET, "/api/v1/namespaces/a/pods"), Level::Metadata);
        for other in ["/api/v1/namespaces/b/pods", "/api/v1/nodes", "/healthz"] {
            assert_eq!(level(of_namespace, "bob", &Method::GET, other), Level::None, "{other}");
        }
        assert_eq!(level("{level: Metadata, namespaces: [\"\"]}", "bob", &Method::GET, "/api/v1/nodes"), Level::Metadata);
        let paths = "{level: Metadata, nonResourceURLs: [/healthz, \"/openapi/*\"]}";
        for (path, expected) in [
            ("/healthz", Level::Metadata),
            ("/healthz/x", Level::None),
            ("/openapi/v3", Level::Metadata),
            ("/openapi", Level::None),
            ("/api/v1/nodes", Level::None),
        ] {
            assert_eq!(level(paths, "bob", &Method::GET, path), expected, "{path}");
        }
        assert_eq!(level("{level: Metadata, nonResourceURLs: [\"*\"]}", "bob", &Method::GET, "/version"), Level::Metadata);
    }

    #[test]
    fn stages_are_omitted_by_the_policy_and_by_the_rule() {
        let policy = policy("omitStages: [RequestReceived], rules: [{level: Metadata, omitStages: [ResponseStarted]}]").expect("a policy");
        let told = policy.of(None, &RequestInfo::new(&Method::GET, "/", "").expect("text"));
        let all = [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];
        assert_eq!(all.map(|stage| told.tells(stage)), [false, false, true, true]);
    }

    #[test]
    fn managed_fields_are_omitted_as_the_rule_says_or_else_the_policy() {
        let omits = |head: &str, rule: &str| {
            let policy = policy(&format!("omitManagedFields: {head}, rules: [{{level: Request{rule}}}]")).expect("a policy");
            policy.of(None, &RequestInfo::new(&Method::GET, "/", "").expect("text")).omit_managed_fields
        };
        assert_eq!(
            [omits("true", ""), omits("true", ", omitManagedFields: false"), omits("false", ", omitManagedFields: true")],
            [true, false, true]
        );
    }

    #[test]
    fn who_is_not_known_fits_no_rule_about_users() {
        let policy =
            policy("rules: [{level: Request, users: [\"\"]}, {level: Request, userGroups: [x]}, {level: Metadata}]").expect("a policy");
        assert_eq!(policy.of(None, &RequestInfo::new(&Method::GET, "/", "").expect("text")).level, Level::Metadata);
    }

    #[test]
    fn what_could_not_fit_or_is_written_wrongly_is_refused() {
        for (rest, word) in [
            ("rules: [{level: All}]", "All"),
            ("rules: [{level: Metadata, user: [ann]}]", "user"),
            ("rules: [{level: Metadata, omitStages: [Received]}]", "Received"),
            ("rules: [{level: None}, {level: Metadata, nonResourceURLs: [/a], namespaces: [b]}]", "rules[1]"),
            ("rules: [{level: Metadata, resources: [{group: apps/v1}]}]", "apps/v1"),
            ("rules: [{level: Metadata, resources: [{resourceNames: [x]}]}]", "rules[0].resources"),
            ("rules: [{level: Metadata, nonResourceURLs: [healthz]}]", "healthz"),
            ("rules: [{level: Metadata, nonResourceURLs: [\"/a*b\"]}]", "/a*b"),
            ("omitStages: []", "rules"),
        ] {
            let refused = policy(rest).expect_err(rest);
            assert!(refused.contains(word), "{rest}: {refused}");
        }
        let old = Policy::parse("{apiVersion: audit.k8s.io/v1beta1, kind: Policy, rules: []}").expect_err("another version");
        assert!(old.to_string().contains("v1beta1"));
    }
}
