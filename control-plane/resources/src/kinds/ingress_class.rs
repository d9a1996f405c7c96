//! IngressClass: which controller serves an Ingress.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::networking::v1;
use serde_json::Value;

pub struct IngressClass;

const MAX_CONTROLLER: usize = 250;

impl Kind for IngressClass {
    type Object = v1::IngressClass;

    const DESCRIPTOR: Descriptor = Descriptor { has_generation: true, ..cluster::<v1::IngressClass>("ingressclasses", "ingressclass") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Controller", "Controller that is responsible for handling this class"),
        text("Parameters", "A reference to a resource with additional parameters"),
        table::AGE,
    ];

    fn default(object: &mut v1::IngressClass) {
        if let Some(parameters) = object.spec.as_mut().and_then(|s| s.parameters.as_mut()) {
            parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
        }
    }

    fn validate(object: &v1::IngressClass, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = object.spec.clone().unwrap_or_default();
        let controller = spec.controller.as_deref().unwrap_or_default();
        if controller.len() > MAX_CONTROLLER {
            errors.too_long(&at.field("controller"), MAX_CONTROLLER);
        }
        // `domain/path`: the path may have further slashes.
        match controller.split_once('/') {
            None if controller.is_empty() => errors.required(&at.field("controller"), ""),
            Some((domain, path)) if !path.is_empty() => errors.format(&at.field("controller"), controller, names::subdomain(domain)),
            _ => errors.invalid(&at.field("controller"), controller, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        }
        let Some(parameters) = spec.parameters else { return };
        let at = at.field("parameters");
        for (name, value) in [("kind", &parameters.kind), ("name", &parameters.name)] {
            if value.is_empty() {
                errors.required(&at.field(name), "");
            }
        }
        errors.one_of(&at.field("scope"), parameters.scope.as_deref(), &["Cluster", "Namespace"]);
        let namespaced = parameters.scope.as_deref() == Some("Namespace");
        match parameters.namespace.as_deref().unwrap_or_default() {
            "" if namespaced => errors.required(&at.field("namespace"), "`parameters.scope` is set to 'Namespace'"),
            namespace if !namespace.is_empty() && !namespaced => {
                errors.forbidden(&at.field("namespace"), "`parameters.scope` is set to 'Cluster'");
            }
            _ => {}
        }
    }

    fn validate_update(new: &v1::IngressClass, old: &v1::IngressClass, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        let controller = |o: &v1::IngressClass| o.spec.as_ref().and_then(|s| s.controller.clone());
        errors.immutable(&Path::Root.field("spec").field("controller"), &controller(new), &controller(old));
    }

    fn cells(object: &v1::IngressClass, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.map(|p| {
            let group = p.api_group.filter(|g| !g.is_empty()).map(|g| format!(".{g}")).unwrap_or_default();
            format!("{}{group}/{}", p.kind, p.name)
        });
        vec![
            table::name(&object.metadata),
            spec.controller.unwrap_or_default().into(),
            table::or_none(parameters.as_deref()),
            table::age(&object.metadata, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn controllers_are_prefixed_by_a_domain() {
        let kind = Typed::<IngressClass>::NEW;
        for (controller, right) in [("a.b/c", true), ("a.b/c/d", true), ("", false), ("a", false), ("A/b", false), ("a/", false)] {
            let object = json!({"metadata": {"name": "a"}, "spec": {"controller": controller}});
            assert_eq!(kind.validate_create(&object).is_empty(), right, "{controller}");
        }
        let object =
            json!({"metadata": {"name": "a"}, "spec": {"controller": "a/b", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}});
        assert_eq!(kind.cells(&object, 0)[1..3], ["a/b", "K.g/n"]);
    }
}
