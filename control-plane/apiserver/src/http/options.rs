//! Query options of requests for resources (`metav1.ListOptions`, `CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions`), checked once.

use super::query::Query;
use super::request_info::is_true;
use crate::error::ApiError;
use crate::selector::{FieldSelector, LabelSelector};
use orknet_resources::{Cause, FieldError};
use std::str::FromStr;

/// Bytes that the name of a writer may have.
const LONGEST_MANAGER: usize = 128;

/// What to do about fields that a kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// How `resourceVersion` is meant on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// All options; those that a verb does not have are ignored by it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub label_selector: LabelSelector,
    pub field_selector: FieldSelector,
    /// 0: no limit.
    pub limit: usize,
    pub continue_token: String,
    /// `None` when absent or empty.
    pub resource_version: Option<u64>,
    pub version_match: Option<VersionMatch>,
    pub timeout_seconds: Option<u64>,
    pub allow_bookmarks: bool,
    pub send_initial_events: Option<bool>,
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    /// Empty when absent.
    pub field_manager: String,
    pub force: bool,
    pub propagation_policy: Option<String>,
    pub grace_period_seconds: Option<i64>,
    pub orphan_dependents: Option<bool>,
    /// `None`, `Metadata` or `Object`: what rows of tables carry.
    pub include_object: Option<String>,
}

impl Options {
    /// Reads a query. Errors are 400 and name the option.
    pub fn parse(query: &Query) -> Result<Self, ApiError> {
        let given = |name: &'static str| query.first(name).filter(|value| !value.is_empty()).map(|value| Given { name, value });
        let mut options = Self {
            limit: given("limit").map_or(Ok(0), |limit| limit.read("must be a number, not negative"))?,
            continue_token: query.first("continue").unwrap_or_default().to_owned(),
            resource_version: given("resourceVersion").map(|version| resource_version(version.value)).transpose()?,
            timeout_seconds: given("timeoutSeconds").map(|seconds| seconds.read("must be a number, not negative")).transpose()?,
            allow_bookmarks: query.first("allowWatchBookmarks").is_some_and(is_true),
            send_initial_events: given("sendInitialEvents").map(|given| is_true(given.value)),
            field_manager: query.first("fieldManager").unwrap_or_default().to_owned(),
            force: query.first("force").is_some_and(is_true),
            propagation_policy: given("propagationPolicy").map(|policy| policy.value.to_owned()),
            grace_period_seconds: given("gracePeriodSeconds").map(|seconds| seconds.read("must be a number")).transpose()?,
            orphan_dependents: given("orphanDependents").map(|given| is_true(given.value)),
            include_object: query.first("includeObject").map(str::to_owned),
            ..Self::default()
        };
        if let Some(selector) = given("labelSelector") {
            options.label_selector = LabelSelector::parse(selector.value).map_err(|error| ApiError::bad_request(error.to_string()))?;
        }
        if let Some(selector) = given("fieldSelector") {
            options.field_selector = FieldSelector::parse(selector.value).map_err(|error| ApiError::bad_request(error.to_string()))?;
        }
        if let Some(given) = given("resourceVersionMatch") {
            options.version_match = Some(match given.value {
                "Exact" => VersionMatch::Exact,
                "NotOlderThan" => VersionMatch::NotOlderThan,
                _ => return Err(given.invalid("must be Exact or NotOlderThan")),
            });
        }
        // The client's own patience, as a duration (`32s`, `1m0s`); whole seconds are all that is made use of.
        let patience = || query.first("timeout")?.strip_suffix('s')?.parse().ok();
        options.timeout_seconds = options.timeout_seconds.or_else(patience);
        for stage in query.all("dryRun") {
            options.dry_run = match stage {
                "" => options.dry_run,
                "All" => true,
                _ => return Err(ApiError::bad_request(format!("invalid dryRun: {stage:?}: supported values: \"All\""))),
            };
        }
        if let Some(given) = given("fieldValidation") {
            options.field_validation = match given.value {
                "Warn" => FieldValidation::Warn,
                "Ignore" => FieldValidation::Ignore,
                "Strict" => FieldValidation::Strict,
                _ => return Err(given.invalid("must be Ignore, Warn or Strict")),
            };
        }
        Ok(options)
    }

    /// The name that a create, update or patch gives its writer; 422 for one that cannot be kept.
    pub fn check_manager(&self, verb: &str) -> Result<(), ApiError> {
        let form = match verb {
            "create" => "CreateOptions",
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => return Ok(()),
        };
        let manager = &self.field_manager;
        let error = |cause, value, detail: String| FieldError { cause, field: "fieldManager".to_owned(), value, detail };
        let mut errors = Vec::new();
        if manager.len() > LONGEST_MANAGER {
            errors.push(error(Cause::TooLong, None, format!("may not be more than {LONGEST_MANAGER} bytes")));
        }
        if let Some((index, _)) = manager.char_indices().find(|(_, sign)| sign.is_control()) {
            let detail = format!("should only contain printable characters (index {index})");
            errors.push(error(Cause::Invalid, Some(manager.clone().into()), detail));
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid_kind("meta.k8s.io", form, "", &errors)) }
    }

    /// The combinations that a list may not have.
    pub fn check_list(&self) -> Result<(), ApiError> {
        if self.version_match.is_some() && self.resource_version.is_none() {
            return Err(ApiError::bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if self.version_match.is_some() && !self.continue_token.is_empty() {
            return Err(ApiError::bad_request("resourceVersionMatch is forbidden when continue is provided"));
        }
        if self.version_match == Some(VersionMatch::Exact) && self.resource_version == Some(0) {
            return Err(ApiError::bad_request("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
        if self.send_initial_events.is_some() {
            return Err(ApiError::bad_request("sendInitialEvents is forbidden for list"));
        }
        if !self.continue_token.is_empty() && self.resource_version.is_some_and(|version| version != 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(())
    }

    /// The combinations that a watch may not have.
    pub fn check_watch(&self) -> Result<(), ApiError> {
        match (self.send_initial_events, self.version_match) {
            (None, Some(_)) => {
                Err(ApiError::bad_request("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
            }
            (Some(_), None | Some(VersionMatch::Exact)) => {
                Err(ApiError::bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
            }
            (Some(true), _) if !self.allow_bookmarks => Err(ApiError::bad_request("sendInitialEvents requires allowWatchBookmarks")),
            _ => Ok(()),
        }
    }
}

/// Reads a version, complaining as Kubernetes' store does.
fn resource_version(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        ApiError::bad_request(format!("invalid resource version: resourceVersion: Invalid value: {text:?}: {why}"))
    })
}

/// An option that is in the query with a value.
struct Given<'a> {
    name: &'static str,
    value: &'a str,
}

impl Given<'_> {
    fn invalid(&self, why: &str) -> ApiError {
        ApiError::bad_request(format!("invalid value for {}: {:?}: {why}", self.name, self.value))
    }

    fn read<T: FromStr>(&self, why: &str) -> Result<T, ApiError> {
        self.value.parse().map_err(|_| self.invalid(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Options, ApiError> {
        Options::parse(&Query::parse(query))
    }

    #[test]
    fn options_are_read_from_the_query() {
        let options =
            parse("labelSelector=app%3Dweb&limit=5&resourceVersion=0&dryRun=All&fieldValidation=Strict&timeoutSeconds=30").expect("valid");
        assert_eq!(options.limit, 5);
        assert_eq!(options.resource_version, Some(0));
        assert!(options.dry_run && !options.label_selector.is_empty());
        assert_eq!(options.field_validation, FieldValidation::Strict);
        assert_eq!(options.timeout_seconds, Some(30));
    }

    #[test]
    fn a_writers_name_is_held_to_its_rules_where_it_is_kept() {
        let long = parse(&format!("fieldManager={}", "x".repeat(129))).expect("parses");
        let error = long.check_manager("patch").expect_err("refused");
        let told = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes";
        assert_eq!((error.code(), error.message()), (422, told));
        assert!(long.check_manager("get").is_ok() && parse("fieldManager=me").expect("parses").check_manager("create").is_ok());
        assert_eq!(parse("fieldManager=a%0A").expect("parses").check_manager("update").err().map(|error| error.code()), Some(422));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for query in [
            "limit=x",
            "limit=-1",
            "timeoutSeconds=x",
            "resourceVersion=x",
            "dryRun=Some",
            "fieldValidation=Maybe",
            "resourceVersionMatch=Newer",
            "labelSelector=a+b",
        ] {
            assert_eq!(parse(query).err().map(|error| error.code()), Some(400), "{query}");
        }
        for query in ["resourceVersionMatch=Exact", "resourceVersionMatch=Exact&resourceVersion=0", "continue=x&resourceVersion=5"] {
            assert!(parse(query).expect("parses").check_list().is_err(), "{query}");
        }
        assert!(parse("sendInitialEvents=true").expect("parses").check_watch().is_err());
    }
}
