//! ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding: rules for objects as expressions, and where they hold.
//! Source: `pkg/apis/admissionregistration/validation/validation.go`, and its defaults.

mod binding;
mod matching;
mod policy;
#[cfg(test)]
mod tests;

pub use binding::ValidatingAdmissionPolicyBinding;
pub use policy::ValidatingAdmissionPolicy;
