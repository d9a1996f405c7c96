//! `x-kubernetes-validations`: rules in CEL, as the schema has them.

use orknet_resources::Cause;
use serde_json::Value;

/// One rule of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression; true for what is right.
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: Reason,
    /// Where in the value the complaint points (`.spec.x`); empty for the value itself.
    pub field_path: String,
    /// Whether a rule about the old value is also asked where there is none.
    pub optional_old_self: Option<bool>,
}

/// `reason` of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    #[default]
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

impl Rule {
    /// Reads a `ValidationRule`.
    pub fn read(rule: &Value) -> Self {
        let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        Self {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: rule["reason"].as_str().and_then(Reason::of).unwrap_or_default(),
            field_path: text("fieldPath"),
            optional_old_self: rule["optionalOldSelf"].as_bool(),
        }
    }

    /// What is said when the rule is broken and no expression says it.
    pub fn message_or_default(&self) -> String {
        if self.message.is_empty() { format!("failed rule: {}", self.rule.trim()) } else { self.message.trim().to_owned() }
    }
}

impl Reason {
    /// In the order in which messages list them.
    pub(super) const NAMES: [&'static str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

    pub fn of(name: &str) -> Option<Self> {
        match name {
            "FieldValueInvalid" => Some(Self::Invalid),
            "FieldValueForbidden" => Some(Self::Forbidden),
            "FieldValueRequired" => Some(Self::Required),
            "FieldValueDuplicate" => Some(Self::Duplicate),
            _ => None,
        }
    }

    pub fn cause(self) -> Cause {
        match self {
            Self::Invalid => Cause::Invalid,
            Self::Forbidden => Cause::Forbidden,
            Self::Required => Cause::Required,
            Self::Duplicate => Cause::Duplicate,
        }
    }
}
