//! Binding: puts a pod on a node. Only created, never stored; also the body of the pods' `binding` subresource.

use crate::contract::{Descriptor, Scope};
use crate::field::{Errors, Path};
use crate::typed::{Kind, review};
use k8s_openapi::api::core::v1;

pub struct Binding;

impl Kind for Binding {
    type Object = v1::Binding;

    const DESCRIPTOR: Descriptor = review::<v1::Binding>("bindings", "binding", Scope::Namespaced);

    fn validate(object: &v1::Binding, errors: &mut Errors) {
        let target = Path::Root.field("target");
        errors.one_of_if_set(&target.field("kind"), object.target.kind.as_deref().filter(|k| !k.is_empty()), &["Node", "<empty>"]);
        if object.target.name.as_deref().unwrap_or_default().is_empty() {
            errors.required(&target.field("name"), "");
        }
    }
}
