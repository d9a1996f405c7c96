//! Type checking of admission policies: their expressions, compiled as if `object` had the type that the schema of a matched kind says, and what the
//! compiler then finds. Policies are evaluated without types; this only warns. Pure.
//! Source: `apiserver/pkg/admission/plugin/policy/validating/typechecking.go`, `apiserver/pkg/cel/common/schemas.go` of Kubernetes 1.33.

use crate::expressions::PolicyEnvironments;
use k8s_openapi::api::admissionregistration::v1::{ExpressionWarning, ValidatingAdmissionPolicySpec};
use orknet_cel::{Composer, Env, Type};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// How deep schemas may be, references followed, before they are anything: also an end of what an aggregated API says of itself.
const DEEPEST: usize = 128;
/// Bytes of all warnings of a policy; further ones are left out, since the status must have room for them.
const LONGEST_WARNINGS: usize = 256 << 10;

/// A kind, in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// A kind and what its objects are like.
#[derive(Debug)]
pub struct TypedKind {
    pub name: GroupVersionKind,
    type_: Type,
}

/// As Go prints it, also for the core group (`/v1, Kind=Pod`).
impl std::fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

impl TypedKind {
    /// From the OpenAPI 3 document of the kind's group and version; `None` when that does not have it.
    pub fn from_document(name: GroupVersionKind, document: &Value) -> Option<Self> {
        let schemas = document.pointer("/components/schemas")?.as_object()?;
        let is_it = |schema: &Value| {
            let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
            kinds
                .into_iter()
                .flatten()
                .any(|kind| kind["group"] == name.group && kind["version"] == name.version && kind["kind"] == name.kind)
        };
        let (definition, _) = schemas.iter().find(|(_, schema)| is_it(schema))?;
        let type_ = Reader { schemas, known: HashMap::new(), open: Vec::new() }.root(definition)?;
        Some(Self { name, type_ })
    }
}

/// What is wrong with the expressions of a policy's validations, for objects of these kinds. `parameters`: the kind of the policy's parameters, if it is
/// known. Each expression that is wrong for some kind has one warning, about all kinds that it is wrong for.
pub fn warnings(spec: &ValidatingAdmissionPolicySpec, kinds: &[TypedKind], parameters: Option<&TypedKind>) -> Vec<ExpressionWarning> {
    let checked: Vec<Checked<'_>> = kinds.iter().map(|kind| Checked::new(spec, kind, parameters)).collect();
    let mut found: Vec<ExpressionWarning> = Vec::new();
    let mut length = 0;
    for (i, validation) in spec.validations.iter().flatten().enumerate() {
        let message = validation.message_expression.as_deref().filter(|source| !source.is_empty());
        for (field, source) in [("expression", Some(&validation.expression[..])), ("messageExpression", message)] {
            let Some(source) = source else { continue };
            let told: Vec<String> = checked.iter().filter_map(|checked| checked.fault(source)).collect();
            let warning = told.join("\n");
            length += warning.len();
            if !warning.is_empty() && length <= LONGEST_WARNINGS {
                found.push(ExpressionWarning { field_ref: format!("spec.validations[{i}].{field}"), warning });
            }
        }
    }
    found
}

/// What expressions are compiled with for one kind.
struct Checked<'k> {
    kind: &'k GroupVersionKind,
    environment: Env,
    composer: Composer,
}

impl<'k> Checked<'k> {
    fn new(spec: &ValidatingAdmissionPolicySpec, kind: &'k TypedKind, parameters: Option<&TypedKind>) -> Self {
        let all = PolicyEnvironments::new(parameters.is_some()).all;
        let mut environment = all.with("object", kind.type_.clone()).with("oldObject", kind.type_.clone());
        if let Some(parameters) = parameters {
            environment = environment.with("params", parameters.type_.clone());
        }
        let mut composer = Composer::default();
        for variable in spec.variables.iter().flatten() {
            // One that is wrong is of any type; where it is used nothing is wrong for that.
            drop(composer.variable(&environment, &variable.name, &variable.expression));
        }
        Self { kind: &kind.name, environment, composer }
    }

    fn fault(&self, source: &str) -> Option<String> {
        let error = self.composer.compile(&self.environment, source, &[Type::Dyn]).err()?;
        Some(format!("{}: {error}\n", self.kind))
    }
}

/// Reads types from a document's schemas. Each definition is read once, however often it is referred to.
struct Reader<'d> {
    schemas: &'d Map<String, Value>,
    known: HashMap<&'d str, Option<Type>>,
    /// Definitions that are being read.
    open: Vec<&'d str>,
}

impl<'d> Reader<'d> {
    /// An object of its own: it has the fields that all of those have.
    fn root(&mut self, definition: &'d str) -> Option<Type> {
        let schema = self.schemas.get(definition)?;
        self.open.push(definition);
        self.declared(schema, definition, true, 0)
    }

    /// `None`: for expressions there is no such field. `name`: of the type, different for each.
    fn declared(&mut self, schema: &'d Value, name: &str, is_root: bool, depth: usize) -> Option<Type> {
        if depth > DEEPEST {
            return Some(Type::Dyn);
        }
        if let Some(target) = reference(schema) {
            return self.referred(target, depth);
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        if is_set(schema, "x-kubernetes-int-or-string") || format == "int-or-string" {
            return Some(Type::Dyn);
        }
        match schema.get("type").and_then(Value::as_str) {
            // A number or a text (quantities), or anything.
            None => Some(Type::Dyn),
            Some("boolean") => Some(Type::Bool),
            Some("integer") => Some(Type::Int),
            Some("number") => Some(Type::Double),
            Some("string") => Some(match format {
                "byte" => Type::BYTES,
                "duration" => Type::Duration,
                "date" | "date-time" => Type::Timestamp,
                _ => Type::STRING,
            }),
            Some("array") => {
                let items = schema.get("items")?;
                let element = self.declared(items, &format!("{name}.@idx"), is_set(items, EMBEDDED), depth + 1)?;
                Some(Type::list(element))
            }
            Some("object") => self.object(schema, name, is_root, depth),
            Some(_) => None,
        }
    }

    fn object(&mut self, schema: &'d Value, name: &str, is_root: bool, depth: usize) -> Option<Type> {
        if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
            let value = self.declared(rest, &format!("{name}.@elem"), is_set(rest, EMBEDDED), depth + 1)?;
            return Some(Type::map(Type::STRING, value));
        }
        let mut fields: Vec<(String, Type)> = Vec::new();
        for (field, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(type_) = self.declared(property, &format!("{name}.{field}"), is_set(property, EMBEDDED), depth + 1) {
                fields.push((field.clone(), type_));
            }
        }
        if is_root {
            let names = || ["name", "generateName"].map(|field| (field.to_owned(), Type::STRING));
            let own =
                [("apiVersion", Type::STRING), ("kind", Type::STRING), ("metadata", Type::object(format!("{name}.metadata"), names()))];
            for (field, type_) in own {
                if !fields.iter().any(|(known, _)| known == field) {
                    fields.push((field.to_owned(), type_));
                }
            }
        }
        Some(Type::object(name, fields))
    }

    fn referred(&mut self, target: &'d str, depth: usize) -> Option<Type> {
        if let Some(known) = self.known.get(target) {
            return known.clone();
        }
        // A schema within itself (that of schemas) is anything from there on.
        if self.open.contains(&target) {
            return Some(Type::Dyn);
        }
        let schema = self.schemas.get(target)?;
        self.open.push(target);
        let type_ = self.declared(schema, target, is_set(schema, EMBEDDED), depth + 1);
        self.open.pop();
        self.known.insert(target, type_.clone());
        type_
    }
}

const EMBEDDED: &str = "x-kubernetes-embedded-resource";

fn is_set(schema: &Value, field: &str) -> bool {
    schema.get(field) == Some(&Value::Bool(true))
}

/// The definition that a schema stands for. OpenAPI 3 wraps references that have a description or a default.
fn reference(schema: &Value) -> Option<&str> {
    fn target(schema: &Value) -> Option<&str> {
        schema.get("$ref")?.as_str()?.rsplit('/').next()
    }
    target(schema).or_else(|| schema.get("allOf")?.as_array()?.iter().find_map(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi;
    use serde_json::json;

    fn kind(group: &str, version: &str, kind: &str) -> GroupVersionKind {
        GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    fn typed(group: &str, version: &str, name: &str) -> TypedKind {
        let root = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        let document = openapi::v3_document(crate::registry(), &root).unwrap();
        TypedKind::from_document(kind(group, version, name), &serde_json::from_slice(&document).unwrap()).unwrap()
    }

    fn spec(spec: Value) -> ValidatingAdmissionPolicySpec {
        serde_json::from_value(spec).unwrap()
    }

    fn told(spec: &ValidatingAdmissionPolicySpec, kinds: &[TypedKind]) -> Vec<(String, String)> {
        warnings(spec, kinds, None).into_iter().map(|warning| (warning.field_ref, warning.warning)).collect()
    }

    #[test]
    fn the_example_of_the_documentation_is_warned_of_in_its_words() {
        let spec = spec(json!({ "validations": [{ "expression": "object.replicas > 1" }, { "expression": "object.spec.replicas > 1" }] }));
        let expected = "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n";
        assert_eq!(told(&spec, &[typed("apps", "v1", "Deployment")]), [("spec.validations[0].expression".to_owned(), expected.to_owned())]);
        // Without kinds there is nothing to say.
        assert_eq!(told(&spec, &[]), Vec::new());
    }

    #[test]
    fn what_is_right_is_right_for_built_in_types() {
        let expressions = [
            "object.metadata.labels['a'] == 'b' && has(object.metadata.annotations)",
            "object.spec.template.spec.containers.all(c, c.image.startsWith('x') && (!has(c.resources.limits) || 'cpu' in c.resources.limits))",
            "object.spec.template.spec.containers.all(c, quantity(c.resources.limits['cpu']).isLessThan(quantity('2')))",
            "oldObject == null || object.metadata.creationTimestamp == oldObject.metadata.creationTimestamp",
            "object.spec.template.spec.containers.all(c, !has(c.ports) || c.ports.all(p, p.containerPort > 1024))",
            "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '25%'",
            "request.operation == 'CREATE' && authorizer.requestResource.check('update').allowed()",
            "variables.wanted == object.spec.replicas",
        ];
        let validations: Vec<Value> = expressions.iter().map(|expression| json!({ "expression": expression })).collect();
        let spec =
            spec(json!({ "variables": [{ "name": "wanted", "expression": "object.spec.replicas + 0" }], "validations": validations }));
        assert_eq!(told(&spec, &[typed("apps", "v1", "Deployment")]), Vec::new());
    }

    #[test]
    fn each_kind_has_its_part_of_a_warning_and_messages_are_looked_at_too() {
        let spec = spec(json!({
            "variables": [{ "name": "bad", "expression": "object.nothing" }],
            "validations": [
                { "expression": "object.spec.replicas > 1", "messageExpression": "'has ' + object.spec.replicas" },
                { "expression": "variables.bad == 1" },
            ],
        }));
        let found = told(&spec, &[typed("", "v1", "Pod"), typed("apps", "v1", "Deployment")]);
        let fields: Vec<&str> = found.iter().map(|(field, _)| &field[..]).collect();
        assert_eq!(fields, ["spec.validations[0].expression", "spec.validations[0].messageExpression"], "{found:?}");
        assert!(found[0].1.starts_with("/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'"), "{}", found[0].1);
        assert!(!found[0].1.contains("Deployment"), "{}", found[0].1);
        assert!(found[1].1.contains("\n\napps/v1, Kind=Deployment: ERROR: "), "{}", found[1].1);
    }

    #[test]
    fn parameters_have_their_type_or_are_not_declared() {
        let spec = spec(json!({ "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
            "validations": [{ "expression": "params.data['a'] == 'b'" }, { "expression": "params.most == 1" }] }));
        let (kinds, parameters) = ([typed("", "v1", "Pod")], typed("", "v1", "ConfigMap"));
        let found = warnings(&spec, &kinds, Some(&parameters));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].warning.contains("undefined field 'most'"), "{found:?}");
        let unknown = warnings(&spec, &kinds, None);
        assert!(unknown.len() == 2 && unknown[0].warning.contains("undeclared reference to 'params'"), "{unknown:?}");
    }

    #[test]
    fn schemas_within_themselves_and_without_end_are_anything() {
        let parts = json!({ "type": "object", "additionalProperties": { "$ref": "#/components/schemas/Tree" } });
        let tree = json!({ "type": "object", "properties": { "parts": parts },
            "x-kubernetes-group-version-kind": [{ "group": "g", "version": "v1", "kind": "Tree" }] });
        let tree = TypedKind::from_document(kind("g", "v1", "Tree"), &json!({ "components": { "schemas": { "Tree": tree } } })).unwrap();
        let deep = "object.parts['a'].parts['b'].anything == 1";
        assert_eq!(told(&spec(json!({ "validations": [{ "expression": deep }] })), &[tree]), Vec::new());
        // Each definition refers twice to the next: read as a tree it would be larger than any memory.
        let mut schemas = Map::new();
        for i in 0..100 {
            let next = json!({ "$ref": format!("#/components/schemas/d{}", i + 1) });
            let kinds = if i == 0 { json!([{ "group": "g", "version": "v1", "kind": "Bomb" }]) } else { json!([]) };
            schemas.insert(
                format!("d{i}"),
                json!({ "type": "object", "x-kubernetes-group-version-kind": kinds, "properties": { "a": next, "b": { "allOf": [next], "default": {} } } }),
            );
        }
        let bomb = TypedKind::from_document(kind("g", "v1", "Bomb"), &json!({ "components": { "schemas": schemas } })).unwrap();
        let found = told(&spec(json!({ "validations": [{ "expression": "object.a.b.c == 1 && object.kind == 'x'" }] })), &[bomb]);
        assert!(found.len() == 1 && found[0].1.contains("undefined field 'c'"), "{found:?}");
    }

    #[test]
    fn warnings_have_an_end() {
        let line = format!("object.{} == 1", "x".repeat(200));
        let validations: Vec<Value> = (0..2000).map(|_| json!({ "expression": line })).collect();
        let found = told(&spec(json!({ "validations": validations })), &[typed("", "v1", "Pod")]);
        let length: usize = found.iter().map(|(_, warning)| warning.len()).sum();
        assert!(length <= LONGEST_WARNINGS && found.len() > 100, "{length}");
    }
}
