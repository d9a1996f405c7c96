//! What a namespace's labels ask for: a level and a version of the Pod Security Standards for each of three modes. Pure.

use orknet_resources::{Cause, FieldError};
use serde_json::Value;
use std::fmt;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may do, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// Of which release of Kubernetes the standards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Latest,
    /// `v1.<minor>`
    Minor(u32),
}

/// Shown as `restricted:v1.30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    pub version: Version,
}

/// What happens to pods that do more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// They are refused.
    pub enforce: Standard,
    /// It is noted.
    pub audit: Standard,
    /// Who asks is told.
    pub warn: Standard,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_plain = minor.bytes().all(|digit| digit.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
        minor.parse().ok().filter(|_| is_plain).map(Self::Minor)
    }

    /// The release whose rules hold: those of later ones are not known.
    pub fn minor(self) -> u32 {
        match self {
            Self::Latest => u32::MAX,
            Self::Minor(minor) => minor,
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl Policy {
    /// Of a namespace's labels, with the complaints about them. What is not said is privileged and latest. A level of `enforce` that is not understood
    /// is the strictest, one of the other modes the laxest; a version that is not understood is the latest.
    pub fn of(namespace: &Value) -> (Self, Vec<FieldError>) {
        let mut complaints = Vec::new();
        let mut standard = |mode: &str, fallback: Level| {
            let level = label(namespace, mode).map(|text| (text, Level::parse(text)));
            if let Some((text, None)) = level {
                complaints.push(complaint(mode, text, "must be one of privileged, baseline, restricted"));
            }
            let version_label = format!("{mode}-version");
            let version = label(namespace, &version_label).map(|text| (text, Version::parse(text)));
            if let Some((text, None)) = version {
                complaints.push(complaint(&version_label, text, "must be \"latest\" or \"v1.x\""));
            }
            Standard {
                level: level.map_or(Level::Privileged, |(_, level)| level.unwrap_or(fallback)),
                version: version.and_then(|(_, version)| version).unwrap_or(Version::Latest),
            }
        };
        let policy = Self {
            enforce: standard("enforce", Level::Restricted),
            audit: standard("audit", Level::Privileged),
            warn: standard("warn", Level::Privileged),
        };
        (policy, complaints)
    }

    /// Whether a change from `old` to this may forbid pods that are there.
    pub fn tightens(&self, old: &Self) -> bool {
        let (new, old) = (self.enforce, old.enforce);
        new != old && new.level != Level::Privileged && (new.version != old.version || new.level > old.level)
    }
}

fn label<'a>(namespace: &'a Value, name: &str) -> Option<&'a str> {
    namespace.get("metadata")?.get("labels")?.get(format!("{PREFIX}{name}"))?.as_str()
}

fn complaint(name: &str, value: &str, detail: &str) -> FieldError {
    let field = format!("metadata.labels[{PREFIX}{name}]");
    FieldError { cause: Cause::Invalid, field, value: Some(value.into()), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(labels: &[(&str, &str)]) -> (Policy, Vec<String>) {
        let labels: serde_json::Map<_, _> = labels.iter().map(|(name, value)| (format!("{PREFIX}{name}"), json!(value))).collect();
        let (policy, complaints) = Policy::of(&json!({ "metadata": { "labels": labels } }));
        (policy, complaints.iter().map(ToString::to_string).collect())
    }

    fn shown(labels: &[(&str, &str)]) -> String {
        let policy = policy(labels).0;
        format!("{} {} {}", policy.enforce, policy.audit, policy.warn)
    }

    #[test]
    fn what_is_not_said_is_privileged_and_latest() {
        assert_eq!(shown(&[]), "privileged:latest privileged:latest privileged:latest");
        assert_eq!(
            shown(&[("enforce", "baseline"), ("warn", "restricted"), ("warn-version", "v1.30"), ("audit-version", "v1.0")]),
            "baseline:latest privileged:v1.0 restricted:v1.30"
        );
    }

    #[test]
    fn what_is_not_understood_is_enforced_strictly_and_complained_of() {
        let (found, complaints) = policy(&[("enforce", "baselin"), ("warn", "x"), ("audit-version", "v1.07"), ("enforce-version", "1.30")]);
        assert_eq!(format!("{} {} {}", found.enforce, found.audit, found.warn), "restricted:latest privileged:latest privileged:latest");
        let at = "metadata.labels[pod-security.kubernetes.io/";
        assert_eq!(
            complaints,
            [
                format!("{at}enforce]: Invalid value: \"baselin\": must be one of privileged, baseline, restricted"),
                format!("{at}enforce-version]: Invalid value: \"1.30\": must be \"latest\" or \"v1.x\""),
                format!("{at}audit-version]: Invalid value: \"v1.07\": must be \"latest\" or \"v1.x\""),
                format!("{at}warn]: Invalid value: \"x\": must be one of privileged, baseline, restricted"),
            ]
        );
        for (text, expected) in
            [("v1.0", Some(0)), ("v1.33", Some(33)), ("latest", Some(u32::MAX)), ("v2.0", None), ("v1.", None), ("v1.+1", None)]
        {
            assert_eq!(Version::parse(text).map(Version::minor), expected, "{text}");
        }
    }

    #[test]
    fn only_a_stricter_level_or_another_version_is_looked_at_again() {
        for (old, new, expected) in [
            (("baseline", "latest"), ("baseline", "latest"), false),
            (("privileged", "latest"), ("baseline", "latest"), true),
            (("restricted", "latest"), ("baseline", "latest"), false),
            (("restricted", "latest"), ("baseline", "v1.30"), true),
            (("restricted", "latest"), ("privileged", "v1.30"), false),
        ] {
            let of = |(level, version): (&str, &str)| policy(&[("enforce", level), ("enforce-version", version)]).0;
            assert_eq!(of(new).tightens(&of(old)), expected, "{old:?} {new:?}");
        }
    }
}
