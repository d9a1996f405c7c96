//! What the kubelet tells about pods and its node.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ObjectReference;

/// Something worth telling about an object; becomes an Event.
#[derive(Clone, Debug)]
pub struct Note {
    /// The object; for a container the field path names it.
    pub about: ObjectReference,
    /// True for trouble (type Warning).
    pub warning: bool,
    /// CamelCase, as in `Pulled`.
    pub reason: Cow<'static, str>,
    /// For people.
    pub message: String,
}
