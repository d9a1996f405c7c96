//! The `continue` of a list: which version of the world the list is of, and the last key that was given out. Opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinueToken {
    #[serde(rename = "v")]
    version: u8,
    /// Store revision that the whole list is consistent with, or [`ANY`].
    #[serde(rename = "rv")]
    revision: i64,
    /// The last key given out, without the kind's folder: `namespace/name` or `name`.
    #[serde(rename = "after")]
    pub after: String,
}

/// Stands for the newest revision: the list goes on, though not as of one time.
const ANY: i64 = -1;

impl ContinueToken {
    /// A token for what follows `after` at `revision`.
    pub fn new(revision: u64, after: impl Into<String>) -> Self {
        // Revisions count writes: none is as large.
        Self { version: 1, revision: i64::try_from(revision).unwrap_or(i64::MAX), after: after.into() }
    }

    /// A token for what follows `after` whenever it is used.
    pub fn inconsistent(after: impl Into<String>) -> Self {
        Self { version: 1, revision: ANY, after: after.into() }
    }

    /// The revision of the list; `None` for the newest.
    pub fn revision(&self) -> Option<u64> {
        u64::try_from(self.revision).ok()
    }

    /// As the client gets it.
    pub fn encode(&self) -> String {
        // A struct of numbers and text always serialises.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// As the client sends it; `None` when it is not one of ours.
    pub fn decode(token: &str) -> Option<Self> {
        let token: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let escapes =
            token.after.split('/').any(|part| part.is_empty() || part == "." || part == "..") || token.after.split('/').count() > 2;
        (token.version == 1 && (token.revision > 0 || token.revision == ANY) && !escapes).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_given() {
        let token = ContinueToken::new(7, "default/web");
        assert_eq!(ContinueToken::decode(&token.encode()), Some(token));
        let token = ContinueToken::inconsistent("default/web");
        assert_eq!(ContinueToken::decode(&token.encode()).map(|token| token.revision()), Some(None));
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let forged = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for token in [
            "",
            "x",
            "e30",
            &forged(r#"{"v":2,"rv":1,"after":"a"}"#),
            &forged(r#"{"v":1,"rv":1,"after":"../x"}"#),
            &forged(r#"{"v":1,"rv":0,"after":"a"}"#),
            &forged(r#"{"v":1,"rv":-2,"after":"a"}"#),
        ] {
            assert_eq!(ContinueToken::decode(token), None, "{token}");
        }
    }
}
