//! A container's environment: envFrom, env with `$(VAR)` expansion, and Service variables. Pure; the referenced objects come in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};

use super::expand::expand;
use super::fields::{self, Facts};

/// Objects of the pod's namespace that containers refer to. A name that is absent does not exist.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Arc<Secret>>,
}

/// Why an environment cannot be made; shown to users with the reason CreateContainerConfigError.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A required object is missing.
    #[error("{kind} \"{name}\" not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A required key is missing.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace of the object.
        namespace: String,
        /// Name of the object.
        name: String,
        /// The key.
        key: String,
    },
    /// A fieldRef or resourceFieldRef that has no value.
    #[error("unsupported field reference {0}")]
    Field(String),
    /// A Secret's value that is not text.
    #[error("the value of key {key} in Secret {name} is not valid UTF-8")]
    NotText {
        /// Name of the Secret.
        name: String,
        /// The key.
        key: String,
    },
}

/// The variables of a container. `services` holds the Service variables; anything the container declares takes their place.
///
/// # Errors
/// A required object or key is missing, or a reference is not supported.
pub fn environment(
    pod: &Pod,
    container: &Container,
    objects: &Objects,
    services: &BTreeMap<String, String>,
    facts: &Facts,
) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut variables = from_objects(container, objects)?;
    for declared in container.env.iter().flatten() {
        let lookup = |name: &str| variables.get(name).or_else(|| services.get(name)).cloned();
        let value = match (&declared.value, &declared.value_from) {
            (Some(value), _) if !value.is_empty() => Some(expand(value, lookup)),
            (_, Some(source)) => {
                if let Some(field) = &source.field_ref {
                    let path = &field.field_path;
                    Some(fields::field(pod, facts, path).ok_or_else(|| EnvError::Field(path.clone()))?)
                } else if let Some(resource) = &source.resource_field_ref {
                    let value = fields::resource(pod, Some(container), facts, resource);
                    Some(value.ok_or_else(|| EnvError::Field(resource.resource.clone()))?)
                } else if let Some(key) = &source.config_map_key_ref {
                    config_map_key(objects, namespace, &key.name, &key.key, key.optional.unwrap_or(false))?
                } else if let Some(key) = &source.secret_key_ref {
                    secret_key(objects, namespace, &key.name, &key.key, key.optional.unwrap_or(false))?
                } else {
                    Some(String::new())
                }
            }
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            variables.insert(declared.name.clone(), value);
        }
    }
    for (name, value) in services {
        variables.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(variables)
}

/// Names of the ConfigMaps and Secrets that a container's environment refers to.
pub fn references(container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    (config_maps, secrets)
}

fn from_objects(container: &Container, objects: &Objects) -> Result<BTreeMap<String, String>, EnvError> {
    let mut variables = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match objects.config_maps.get(&reference.name) {
                Some(map) => variables.extend(map.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), v.clone()))),
                None if reference.optional.unwrap_or(false) => {}
                None => return Err(EnvError::Missing { kind: "configmap", name: reference.name.clone() }),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match objects.secrets.get(&reference.name) {
                Some(secret) => {
                    for key in secret.data.iter().flatten().map(|(k, _)| k) {
                        variables.insert(format!("{prefix}{key}"), secret_text(secret, &reference.name, key)?.unwrap_or_default());
                    }
                }
                None if reference.optional.unwrap_or(false) => {}
                None => return Err(EnvError::Missing { kind: "secret", name: reference.name.clone() }),
            }
        }
    }
    // Names that no shell or libc can carry are left out.
    variables.retain(|name: &String, _| !name.is_empty() && !name.contains(['=', '\0']));
    Ok(variables)
}

fn config_map_key(objects: &Objects, namespace: &str, name: &str, key: &str, optional: bool) -> Result<Option<String>, EnvError> {
    let Some(map) = objects.config_maps.get(name) else {
        return if optional { Ok(None) } else { Err(EnvError::Missing { kind: "configmap", name: name.to_owned() }) };
    };
    match map.data.as_ref().and_then(|d| d.get(key)) {
        Some(value) => Ok(Some(value.clone())),
        None if optional => Ok(None),
        None => Err(missing_key("ConfigMap", namespace, name, key)),
    }
}

fn secret_key(objects: &Objects, namespace: &str, name: &str, key: &str, optional: bool) -> Result<Option<String>, EnvError> {
    let Some(secret) = objects.secrets.get(name) else {
        return if optional { Ok(None) } else { Err(EnvError::Missing { kind: "secret", name: name.to_owned() }) };
    };
    match secret_text(secret, name, key)? {
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None => Err(missing_key("Secret", namespace, name, key)),
    }
}

fn secret_text(secret: &Secret, name: &str, key: &str) -> Result<Option<String>, EnvError> {
    let Some(bytes) = secret.data.as_ref().and_then(|d| d.get(key)) else { return Ok(None) };
    let text = String::from_utf8(bytes.0.clone()).map_err(|_| EnvError::NotText { name: name.to_owned(), key: key.to_owned() })?;
    Ok(Some(text))
}

fn missing_key(kind: &'static str, namespace: &str, name: &str, key: &str) -> EnvError {
    EnvError::MissingKey { kind, namespace: namespace.to_owned(), name: name.to_owned(), key: key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Objects {
        let map = serde_json::from_str(r#"{"metadata": {"name": "cm"}, "data": {"K": "v", "L": "w"}}"#).unwrap();
        let secret = serde_json::from_str(r#"{"metadata": {"name": "s"}, "data": {"P": "cHc=", "bin": "/w=="}}"#).unwrap();
        Objects {
            config_maps: BTreeMap::from([("cm".to_owned(), Arc::new(map))]),
            secrets: BTreeMap::from([("s".to_owned(), Arc::new(secret))]),
        }
    }

    fn make(container: &str) -> Result<BTreeMap<String, String>, EnvError> {
        let container: Container = serde_json::from_str(container).unwrap();
        let pod: Pod = serde_json::from_str(r#"{"metadata": {"name": "p", "namespace": "n"}}"#).unwrap();
        let services = BTreeMap::from([("DB_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()), ("A".to_owned(), "svc".to_owned())]);
        environment(&pod, &container, &objects(), &services, &Facts::default())
    }

    #[test]
    fn values_come_from_everywhere_and_later_ones_win() {
        let made = make(
            r#"{"name": "c",
                "envFrom": [{"prefix": "X_", "configMapRef": {"name": "cm"}}, {"configMapRef": {"name": "none", "optional": true}}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(X_K)-$(DB_SERVICE_HOST)-$(NONE)"}, {"name": "A", "value": "2"},
                        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
                        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none", "optional": true}}},
                        {"name": "E"}]}"#,
        )
        .unwrap();
        let want = [
            ("A", "2"),
            ("B", "1-v-10.0.0.1-$(NONE)"),
            ("DB_SERVICE_HOST", "10.0.0.1"),
            ("E", ""),
            ("N", "p"),
            ("P", "pw"),
            ("X_K", "v"),
            ("X_L", "w"),
        ];
        assert_eq!(made.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), want);
    }

    #[test]
    fn missing_objects_and_keys_are_named() {
        for (container, want) in [
            (r#"{"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}"#, "secret \"x\" not found"),
            (
                r#"{"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "z"}}}]}"#,
                "couldn't find key z in ConfigMap n/cm",
            ),
            (r#"{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}"#, "the value of key bin in Secret s is not valid UTF-8"),
        ] {
            assert_eq!(make(container).unwrap_err().to_string(), want);
        }
    }
}
