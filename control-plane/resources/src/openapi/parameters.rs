//! The parameters of requests: of the path, of the query, per verb.

use super::dialect::Dialect;
use serde_json::{Value, json};

/// Name, type and description of a query parameter.
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter = ("pretty", "string", "If 'true', then the output is pretty printed.");
const DRY_RUN: Parameter = (
    "dryRun",
    "string",
    "When present, modifications are not persisted. The one valid value is 'All': all stages of the request are processed.",
);
const FIELD_MANAGER: Parameter = (
    "fieldManager",
    "string",
    "The name of the actor that makes the changes: printable characters, at most 128. Required for apply patches.",
);
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: 'Ignore' drops them, 'Warn' (the default) drops them and sends a warning for each, 'Strict' fails the request.",
);
const FORCE: Parameter = ("force", "boolean", "Take over fields that other actors own. For apply patches only.");
const GRACE: Parameter =
    ("gracePeriodSeconds", "integer", "Seconds until the object is deleted; zero deletes at once. Absent: the default of the kind.");
const ORPHAN: Parameter = ("orphanDependents", "boolean", "Deprecated: use propagationPolicy. Whether dependent objects are orphaned.");
const PROPAGATION: Parameter =
    ("propagationPolicy", "string", "Whether and how dependents are deleted: 'Orphan', 'Background' or 'Foreground'.");
const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Ask for events of type BOOKMARK in a watch."),
    ("continue", "string", "The token that an earlier, limited list gave to get its rest."),
    ("fieldSelector", "string", "Restricts the objects by their fields. Defaults to everything."),
    ("labelSelector", "string", "Restricts the objects by their labels. Defaults to everything."),
    ("limit", "integer", "The largest number of objects to return; the list's metadata has a continue token when there are more."),
    ("resourceVersion", "string", "What resource versions the request may be served from. Defaults to unset."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: 'Exact' or 'NotOlderThan'."),
    ("sendInitialEvents", "boolean", "Begin a watch with the objects that exist, ended by a bookmark."),
    ("timeoutSeconds", "integer", "Seconds after which the call ends, active or not."),
    ("watch", "boolean", "Watch for changes of the objects and return them as a stream of events."),
];
const LOG: &[Parameter] = &[
    ("container", "string", "The container whose log to stream. Defaults to the only container, if there is one in the pod."),
    ("follow", "boolean", "Follow the log stream of the pod."),
    ("insecureSkipTLSVerifyBackend", "boolean", "Do not check the certificate of the node that the log comes from."),
    ("limitBytes", "integer", "The number of bytes after which the output ends."),
    ("previous", "boolean", "Return the log of the container that was terminated before."),
    ("sinceSeconds", "integer", "Show the log from this many seconds ago."),
    ("stream", "string", "Which stream to return: 'All', 'Stdout' or 'Stderr'."),
    ("tailLines", "integer", "The number of lines from the end of the log to show."),
    ("timestamps", "boolean", "Begin every line with its time in RFC 3339 form."),
];
const ATTACH: &[Parameter] = &[
    ("container", "string", "The container to attach to. Defaults to the only container, if there is one in the pod."),
    ("stderr", "boolean", "Whether the standard error stream is redirected."),
    ("stdin", "boolean", "Whether the standard input stream is redirected."),
    ("stdout", "boolean", "Whether the standard output stream is redirected."),
    ("tty", "boolean", "Whether a terminal is allocated."),
];
const COMMAND: Parameter = ("command", "string", "The command to execute: one argument for each occurrence, no shell.");
const PORTS: Parameter = ("ports", "integer", "Ports to forward. Required with WebSockets.");

/// Query parameters of an operation, in either dialect.
pub(super) fn query(verb: &str, subresource: Option<&str>, dialect: Dialect) -> Vec<Value> {
    let own: Vec<&Parameter> = match (verb, subresource) {
        (_, Some("log")) => LOG.iter().collect(),
        (_, Some("exec")) => [&COMMAND].into_iter().chain(ATTACH).collect(),
        (_, Some("attach")) => ATTACH.iter().collect(),
        (_, Some("portforward")) => vec![&PORTS],
        ("list", _) => LIST.iter().collect(),
        ("post" | "put", _) => vec![&DRY_RUN, &FIELD_MANAGER, &FIELD_VALIDATION],
        ("patch", _) => vec![&DRY_RUN, &FIELD_MANAGER, &FIELD_VALIDATION, &FORCE],
        ("delete", _) => vec![&DRY_RUN, &GRACE, &ORPHAN, &PROPAGATION],
        ("deletecollection", _) => {
            [&DRY_RUN, &GRACE, &ORPHAN, &PROPAGATION].into_iter().chain(LIST.iter().filter(|(name, ..)| *name != "watch")).collect()
        }
        _ => Vec::new(),
    };
    own.into_iter().chain([&PRETTY]).map(|parameter| write(parameter, dialect)).collect()
}

/// A parameter of the path.
pub(super) fn path(name: &str, dialect: Dialect) -> Value {
    let description = match name {
        "namespace" => "The object's namespace.".to_owned(),
        _ => format!("The object's {name}."),
    };
    let mut parameter = json!({"name": name, "in": "path", "required": true, "description": description});
    typed(&mut parameter, "string", dialect);
    parameter
}

fn write((name, kind, description): &Parameter, dialect: Dialect) -> Value {
    let mut parameter = json!({"name": name, "in": "query", "description": description});
    typed(&mut parameter, kind, dialect);
    parameter
}

fn typed(parameter: &mut Value, kind: &str, dialect: Dialect) {
    match dialect {
        Dialect::V2 => {
            parameter["type"] = kind.into();
            parameter["uniqueItems"] = true.into();
        }
        Dialect::V3 => parameter["schema"] = json!({ "type": kind, "uniqueItems": true }),
    }
}
