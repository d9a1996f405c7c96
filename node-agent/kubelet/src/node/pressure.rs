//! When a node is under pressure: thresholds as KubeletConfiguration's `evictionHard` has them, compared with what is left. Pure.

use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use crate::quantity;

/// Below these the node says that it is under pressure and takes no further pods; what is not named keeps its default.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct EvictionHard {
    /// Memory that can still be taken.
    #[serde(rename = "memory.available")]
    pub memory_available: Threshold,
    /// Room on the file system of the kubelet's directory.
    #[serde(rename = "nodefs.available")]
    pub nodefs_available: Threshold,
    /// Free inodes there.
    #[serde(rename = "nodefs.inodesFree")]
    pub nodefs_inodes_free: Threshold,
    /// Free process ids.
    #[serde(rename = "pid.available")]
    pub pid_available: Threshold,
}

/// How much must be left: an amount, or a part of the whole.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub enum Threshold {
    /// Bytes, or a number.
    Amount(i64),
    /// From 0, which is always there, to 100.
    Percent(f64),
}

/// A threshold that is neither a quantity nor a percentage.
#[derive(Debug)]
pub struct NotAThreshold(String);

impl Default for EvictionHard {
    fn default() -> Self {
        Self {
            memory_available: Threshold::Amount(100 << 20),
            nodefs_available: Threshold::Percent(10.0),
            nodefs_inodes_free: Threshold::Percent(5.0),
            pid_available: Threshold::Percent(10.0),
        }
    }
}

impl Threshold {
    /// Whether less than this is left of `whole`.
    pub fn is_crossed(self, left: i64, whole: i64) -> bool {
        match self {
            Self::Amount(amount) => left < amount,
            Self::Percent(percent) => (left as f64) < whole as f64 * percent / 100.0,
        }
    }
}

impl TryFrom<String> for Threshold {
    type Error = NotAThreshold;

    fn try_from(text: String) -> Result<Self, NotAThreshold> {
        let found = match text.strip_suffix('%') {
            Some(number) => number.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(Self::Percent),
            None => quantity::value(&Quantity(text.clone())).filter(|amount| *amount >= 0).map(Self::Amount),
        };
        found.ok_or(NotAThreshold(text))
    }
}

impl fmt::Display for NotAThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither a quantity (as in 1Gi) nor a percentage from 0% to 100%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EvictionHard, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_named_keeps_its_default() {
        let parsed = parse(r#"{"nodefs.available": "1Gi", "pid.available": "5%"}"#).unwrap();
        let wanted = EvictionHard {
            nodefs_available: Threshold::Amount(1 << 30),
            pid_available: Threshold::Percent(5.0),
            ..EvictionHard::default()
        };
        assert_eq!(parsed, wanted);
    }

    #[test]
    fn what_is_no_threshold_is_refused_by_its_text() {
        for text in ["", "%", "101%", "-1%", "NaN%", "-5", "much"] {
            let error = parse(&format!(r#"{{"memory.available": "{text}"}}"#)).unwrap_err();
            assert!(error.contains(&format!("{text:?} is neither")), "{error}");
        }
        assert!(parse(r#"{"memory": "1"}"#).is_err());
    }

    #[test]
    fn a_threshold_is_crossed_when_less_is_left() {
        assert!(Threshold::Percent(10.0).is_crossed(9, 100));
        assert!(!Threshold::Percent(10.0).is_crossed(10, 100));
        assert!(Threshold::Amount(5).is_crossed(4, 100));
        assert!(!Threshold::Amount(5).is_crossed(5, 100));
        assert!(!Threshold::Percent(0.0).is_crossed(0, 100));
        // Of a file system without inodes none are left, and none are missed.
        assert!(!Threshold::Percent(5.0).is_crossed(0, 0));
    }
}
