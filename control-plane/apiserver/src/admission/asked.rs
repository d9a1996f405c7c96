//! The options of a request as admission is told of them (`CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions` of meta.k8s.io/v1). Pure.

use super::chain::Operation;
use crate::http::options::{FieldValidation, Options};
use crate::life::{DeleteOptions, Propagation};
use serde_json::{Value, json};

/// What was asked for besides the object. Written as JSON only for those who want to know.
#[derive(Clone, Copy, Debug, Default)]
pub enum Asked<'a> {
    /// Nothing: a stream, or the server's own doing.
    #[default]
    Nothing,
    /// By a POST, PUT or PATCH.
    Write {
        verb: &'a str,
        options: &'a Options,
    },
    Delete(&'a DeleteOptions),
}

impl Asked<'_> {
    /// The object, `null` when there is none.
    pub fn to_value(self, operation: Operation) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Write { verb, options } => write(verb, options, operation),
            Self::Delete(options) => delete(options),
        }
    }
}

fn of(kind: &str, dry_run: bool) -> Value {
    let mut object = json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" });
    if dry_run {
        object["dryRun"] = json!(["All"]);
    }
    object
}

fn write(verb: &str, options: &Options, operation: Operation) -> Value {
    // A PUT or PATCH that makes the object is a creation.
    let kind = match (operation, verb) {
        (Operation::Create, _) => "CreateOptions",
        (_, "patch") => "PatchOptions",
        _ => "UpdateOptions",
    };
    let mut object = of(kind, options.dry_run);
    if !options.field_manager.is_empty() {
        object["fieldManager"] = json!(options.field_manager);
    }
    match options.field_validation {
        FieldValidation::Strict => object["fieldValidation"] = json!("Strict"),
        FieldValidation::Ignore => object["fieldValidation"] = json!("Ignore"),
        FieldValidation::Warn => {}
    }
    if kind == "PatchOptions" && options.force {
        object["force"] = json!(true);
    }
    object
}

fn delete(options: &DeleteOptions) -> Value {
    let mut object = of("DeleteOptions", options.dry_run);
    if let Some(seconds) = options.grace_period_seconds {
        object["gracePeriodSeconds"] = json!(seconds);
    }
    let preconditions = &options.preconditions;
    for (name, value) in [("uid", &preconditions.uid), ("resourceVersion", &preconditions.resource_version)] {
        if let Some(value) = value {
            object["preconditions"][name] = json!(value);
        }
    }
    if let Some(propagation) = options.propagation {
        object["propagationPolicy"] = json!(match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        });
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Preconditions;

    #[test]
    fn options_are_those_of_what_is_done() {
        let options = Options { field_manager: "m".into(), field_validation: FieldValidation::Strict, force: true, ..Options::default() };
        let told = |verb, operation| Asked::Write { verb, options: &options }.to_value(operation);
        let expected = json!({ "kind": "PatchOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "m", "fieldValidation": "Strict", "force": true });
        assert_eq!(told("patch", Operation::Update), expected);
        let created = told("patch", Operation::Create);
        assert_eq!((&created["kind"], created.get("force")), (&json!("CreateOptions"), None));
        assert_eq!(told("update", Operation::Update)["kind"], "UpdateOptions");
        assert_eq!(Asked::Nothing.to_value(Operation::Connect), Value::Null);
    }

    #[test]
    fn a_deletion_tells_how_it_is_meant() {
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Preconditions { uid: Some("u".into()), resource_version: None },
            propagation: Some(Propagation::Foreground),
            dry_run: true,
            ..DeleteOptions::default()
        };
        let expected = json!({ "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"], "gracePeriodSeconds": 0,
            "preconditions": { "uid": "u" }, "propagationPolicy": "Foreground" });
        assert_eq!(Asked::Delete(&options).to_value(Operation::Delete), expected);
    }
}
