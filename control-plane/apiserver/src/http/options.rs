//! Query options of requests for resources (`metav1.ListOptions`, `CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions`), checked once.

use super::request_info::is_true;
use crate::error::ApiError;
use crate::selector::{FieldSelector, LabelSelector};

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
    pub pretty: bool,
    pub propagation_policy: Option<String>,
    pub grace_period_seconds: Option<i64>,
    pub orphan_dependents: Option<bool>,
    /// `None`, `Metadata` or `Object`: what rows of tables carry.
    pub include_object: Option<String>,
}

impl Options {
    /// Reads a query. Errors are 400 and name the option.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let mut options = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let invalid = |why: &str| ApiError::bad_request(format!("invalid value for {key}: {value:?}: {why}"));
            match &*key {
                "labelSelector" => {
                    options.label_selector = LabelSelector::parse(&value).map_err(|error| ApiError::bad_request(error.to_string()))?;
                }
                "fieldSelector" => {
                    options.field_selector = FieldSelector::parse(&value).map_err(|error| ApiError::bad_request(error.to_string()))?;
                }
                "limit" if !value.is_empty() => options.limit = value.parse().map_err(|_| invalid("must be a number, not negative"))?,
                "continue" => options.continue_token = value.into_owned(),
                "resourceVersion" if !value.is_empty() => {
                    options.resource_version = Some(value.parse().map_err(|_| invalid("must be a resource version"))?);
                }
                "resourceVersionMatch" => {
                    options.version_match = match &*value {
                        "" => None,
                        "Exact" => Some(VersionMatch::Exact),
                        "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                        _ => return Err(invalid("must be Exact or NotOlderThan")),
                    };
                }
                "timeoutSeconds" if !value.is_empty() => {
                    options.timeout_seconds = Some(value.parse().map_err(|_| invalid("must be a number, not negative"))?);
                }
                // The client's own patience, as a duration (`32s`, `1m0s`); whole seconds are all that is made use of.
                "timeout" => {
                    let seconds = value.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
                    options.timeout_seconds = options.timeout_seconds.or(seconds);
                }
                "allowWatchBookmarks" => options.allow_bookmarks = is_true(&value),
                "sendInitialEvents" if !value.is_empty() => options.send_initial_events = Some(is_true(&value)),
                "dryRun" => {
                    options.dry_run = match &*value {
                        "" => options.dry_run,
                        "All" => true,
                        _ => return Err(ApiError::bad_request(format!("invalid dryRun: {value:?}: supported values: \"All\""))),
                    };
                }
                "fieldValidation" => {
                    options.field_validation = match &*value {
                        "" | "Warn" => FieldValidation::Warn,
                        "Ignore" => FieldValidation::Ignore,
                        "Strict" => FieldValidation::Strict,
                        _ => return Err(invalid("must be Ignore, Warn or Strict")),
                    };
                }
                "fieldManager" => {
                    if value.len() > 128 {
                        return Err(invalid("may not be longer than 128"));
                    }
                    if value.chars().any(char::is_control) {
                        return Err(invalid("should only contain printable characters"));
                    }
                    options.field_manager = value.into_owned();
                }
                "force" => options.force = is_true(&value),
                "pretty" => options.pretty = is_true(&value),
                "propagationPolicy" if !value.is_empty() => options.propagation_policy = Some(value.into_owned()),
                "gracePeriodSeconds" if !value.is_empty() => {
                    options.grace_period_seconds = Some(value.parse().map_err(|_| invalid("must be a number"))?);
                }
                "orphanDependents" if !value.is_empty() => options.orphan_dependents = Some(is_true(&value)),
                "includeObject" => options.include_object = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(options)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_the_query() {
        let options =
            Options::parse("labelSelector=app%3Dweb&limit=5&resourceVersion=0&dryRun=All&fieldValidation=Strict&timeoutSeconds=30")
                .expect("valid");
        assert_eq!(options.limit, 5);
        assert_eq!(options.resource_version, Some(0));
        assert!(options.dry_run && !options.label_selector.is_empty());
        assert_eq!(options.field_validation, FieldValidation::Strict);
        assert_eq!(options.timeout_seconds, Some(30));
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
            assert_eq!(Options::parse(query).err().map(|error| error.code()), Some(400), "{query}");
        }
        for query in ["resourceVersionMatch=Exact", "resourceVersionMatch=Exact&resourceVersion=0", "continue=x&resourceVersion=5"] {
            assert!(Options::parse(query).expect("parses").check_list().is_err(), "{query}");
        }
        assert!(Options::parse("sendInitialEvents=true").expect("parses").check_watch().is_err());
    }
}
