//! Media types of request bodies.

use crate::error::ApiError;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    Json,
    Yaml,
    /// Kubernetes' own, for the built-in kinds.
    Protobuf,
}

/// What a patch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchFormat {
    /// RFC 6902.
    Json,
    /// RFC 7396.
    Merge,
    /// Kubernetes' merge that knows lists by their keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl BodyFormat {
    /// By `Content-Type`; JSON when there is none.
    pub fn of(content_type: Option<&str>) -> Result<Self, ApiError> {
        match essence(content_type.filter(|value| !value.is_empty()).unwrap_or("application/json")).as_str() {
            "application/json" => Ok(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(Self::Protobuf),
            _ => Err(ApiError::unsupported_media_type("application/json, application/yaml, application/vnd.kubernetes.protobuf")),
        }
    }
}

impl PatchFormat {
    /// By `Content-Type`, which a patch must have. `strategic`: whether the kind has strategic merges; custom resources do not.
    pub fn of(content_type: Option<&str>, strategic: bool) -> Result<Self, ApiError> {
        match essence(content_type.unwrap_or_default()).as_str() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if strategic => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ if !strategic => Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
            _ => Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

/// The type without its parameters, in lower case.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert_eq!(BodyFormat::of(Some("Application/JSON; charset=utf-8")).ok(), Some(BodyFormat::Json));
        assert_eq!(PatchFormat::of(Some("application/apply-patch+yaml"), false).ok(), Some(PatchFormat::Apply));
    }

    #[test]
    fn other_media_types_are_unsupported() {
        let error = BodyFormat::of(Some("text/html")).expect_err("refused");
        assert_eq!(error.code(), 415);
        let strategic = |has| PatchFormat::of(Some("application/strategic-merge-patch+json"), has).map_err(|error| error.code());
        assert_eq!((strategic(true), strategic(false)), (Ok(PatchFormat::Strategic), Err(415)));
    }
}
