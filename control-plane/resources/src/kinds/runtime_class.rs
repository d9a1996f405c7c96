//! RuntimeClass: a named handler of the container runtime.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::node::v1;
use serde_json::Value;

pub struct RuntimeClass;

impl Kind for RuntimeClass {
    type Object = v1::RuntimeClass;

    const DESCRIPTOR: Descriptor = cluster::<v1::RuntimeClass>("runtimeclasses", "runtimeclass");
    const COLUMNS: &'static [Column] = &[table::NAME, text("Handler", "Name of the handler in the runtime's configuration"), table::AGE];

    fn validate(object: &v1::RuntimeClass, errors: &mut Errors) {
        errors.format(&Path::Root.field("handler"), &object.handler, names::label(&object.handler));
    }

    fn validate_update(new: &v1::RuntimeClass, old: &v1::RuntimeClass, _: Subresource<'_>, errors: &mut Errors) {
        errors.immutable(&Path::Root.field("handler"), &new.handler, &old.handler);
    }

    fn cells(object: &v1::RuntimeClass, now: i64) -> Vec<Value> {
        vec![table::name(&object.metadata), object.handler.as_str().into(), table::age(&object.metadata, now)]
    }
}
