//! Errors as the CNI specification wants them: a number that the runtime acts upon, a sentence, and what lies behind it.

use serde::Serialize;
use std::fmt;

/// Error numbers of the specification, section "Error"; 100 and above are the plugin's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The configuration's version is not spoken.
    IncompatibleVersion = 1,
    /// The container or its namespace is not there.
    UnknownContainer = 3,
    /// A variable of the environment is missing or malformed.
    InvalidEnvironment = 4,
    /// A file could not be read or written.
    Io = 5,
    /// The input is not JSON of the expected shape.
    Decoding = 6,
    /// The configuration makes no sense.
    InvalidConfig = 7,
    /// The request may work in a moment: the agent is down, or the node has no pod addresses yet.
    TryAgainLater = 11,
    /// STATUS: no ADD can be served now.
    NotAvailable = 50,
    /// The kernel refused a device, address, route or setting.
    Network = 100,
    /// The agent refused the pod.
    Agent = 101,
    /// CHECK: what ADD made is not there any more.
    Changed = 102,
}

/// What went wrong, and while doing what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CniError {
    pub code: Code,
    /// The operation that failed.
    pub message: String,
    /// The cause; may be empty.
    pub details: String,
}

impl CniError {
    /// An error of an operation with its cause.
    pub fn new(code: Code, operation: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { code, message: operation.into(), details: cause.to_string() }
    }

    /// The JSON document of the specification.
    pub fn to_json(&self, cni_version: &str) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            cni_version: &'a str,
            code: u32,
            msg: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            details: &'a str,
        }
        let document = Document { cni_version, code: self.code as u32, msg: &self.message, details: &self.details };
        // Strings and a number always serialize.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.details.as_str() {
            "" => f.write_str(&self.message),
            details => write!(f, "{}: {details}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_document_of_the_specification() {
        let error = CniError::new(Code::TryAgainLater, "asking the agent", "connection refused");
        let expected = r#"{"cniVersion":"1.1.0","code":11,"msg":"asking the agent","details":"connection refused"}"#;
        assert_eq!(error.to_json("1.1.0"), expected);
    }
}
