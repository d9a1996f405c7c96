//! The files of a projected volume: which paths, which bytes, which modes. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, VolumeProjection};

use crate::containers::env::Objects;
use crate::containers::fields::{self, Facts};

/// Mode of files unless the volume or the item says otherwise.
pub const DEFAULT_MODE: u32 = 0o644;
/// Mode of tokens in pods that run as somebody in particular.
const PRIVATE_MODE: u32 = 0o600;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, when it is not root.
    pub owner: Option<u32>,
}

/// What files are made from.
pub struct Wanted<'a> {
    /// The pod, for the downward API.
    pub pod: &'a Pod,
    /// What the pod object does not say.
    pub facts: &'a Facts,
    /// The objects that exist.
    pub objects: &'a Objects,
    /// Tokens by index of their source.
    pub tokens: &'a BTreeMap<usize, String>,
    /// The sources in order; later ones win.
    pub sources: &'a [VolumeProjection],
    /// The volume's mode.
    pub default_mode: Option<i32>,
}

/// All files by their path relative to the volume.
///
/// # Errors
/// A message for people: a missing object or key, a path that leaves the volume, a field without a value.
pub fn build(wanted: &Wanted<'_>) -> Result<BTreeMap<String, File>, String> {
    let default_mode = mode(wanted.default_mode, DEFAULT_MODE);
    let mut files = BTreeMap::new();
    for (index, source) in wanted.sources.iter().enumerate() {
        if let Some(reference) = &source.config_map {
            let optional = reference.optional.unwrap_or(false);
            let data = wanted.objects.config_maps.get(&reference.name).map(|map| {
                let texts = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
                texts.chain(map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()))).collect()
            });
            let missing = || format!("configmap \"{}\" not found", reference.name);
            keyed(&mut files, data, reference.items.as_deref(), optional, default_mode, missing)?;
        }
        if let Some(reference) = &source.secret {
            let optional = reference.optional.unwrap_or(false);
            let data = wanted.objects.secrets.get(&reference.name);
            let data = data.map(|secret| secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect());
            let missing = || format!("secret \"{}\" not found", reference.name);
            keyed(&mut files, data, reference.items.as_deref(), optional, default_mode, missing)?;
        }
        if let Some(source) = &source.downward_api {
            for item in source.items.iter().flatten() {
                let data = downward(wanted, item)?;
                insert(&mut files, &item.path, File { data, mode: mode(item.mode, default_mode), owner: None })?;
            }
        }
        if let Some(source) = &source.service_account_token {
            let token = wanted.tokens.get(&index).ok_or("the service account's token is missing")?;
            let (mode, owner) = token_access(wanted.pod, default_mode);
            insert(&mut files, &source.path, File { data: token.clone().into_bytes(), mode, owner })?;
        }
        if let Some(source) = &source.cluster_trust_bundle
            && !source.optional.unwrap_or(false)
        {
            return Err("cluster trust bundles are not supported by this node".to_owned());
        }
    }
    Ok(files)
}

fn keyed(
    files: &mut BTreeMap<String, File>,
    data: Option<BTreeMap<String, Vec<u8>>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default_mode: u32,
    missing: impl Fn() -> String,
) -> Result<(), String> {
    let Some(mut data) = data else { return if optional { Ok(()) } else { Err(missing()) } };
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        for (key, data) in data {
            insert(files, &key, File { data, mode: default_mode, owner: None })?;
        }
        return Ok(());
    };
    for item in items {
        match data.get_mut(&item.key) {
            Some(data) => insert(files, &item.path, File { data: data.clone(), mode: mode(item.mode, default_mode), owner: None })?,
            None if optional => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(wanted: &Wanted<'_>, item: &DownwardAPIVolumeFile) -> Result<Vec<u8>, String> {
    let value = if let Some(field) = &item.field_ref {
        fields::field(wanted.pod, wanted.facts, &field.field_path).ok_or_else(|| field.field_path.clone())
    } else if let Some(resource) = &item.resource_field_ref {
        fields::resource(wanted.pod, None, wanted.facts, resource).ok_or_else(|| resource.resource.clone())
    } else {
        Err("nothing".to_owned())
    };
    value.map(String::into_bytes).map_err(|name| format!("unsupported field reference {name}"))
}

/// A token is readable by its pod only: by the one user all containers run as, or by the pod's group.
fn token_access(pod: &Pod, default_mode: u32) -> (u32, Option<u32>) {
    let Some(spec) = pod.spec.as_ref() else { return (default_mode, None) };
    let mut users = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|container| crate::containers::security::user(pod, container));
    let first = users.next().flatten();
    let owner = first.filter(|user| users.all(|other| other == Some(*user))).and_then(|user| u32::try_from(user).ok());
    let group = spec.security_context.as_ref().and_then(|c| c.fs_group);
    if owner.is_some() || group.is_some() { (PRIVATE_MODE, owner) } else { (default_mode, None) }
}

fn mode(value: Option<i32>, default: u32) -> u32 {
    value.and_then(|m| u32::try_from(m).ok()).map_or(default, |m| m & 0o7777)
}

fn insert(files: &mut BTreeMap<String, File>, path: &str, file: File) -> Result<(), String> {
    let bad =
        path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == ".." || part.is_empty()) || path.starts_with("..");
    if bad {
        return Err(format!("invalid path \"{path}\" in a volume"));
    }
    files.insert(path.to_owned(), file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn build_from(pod: serde_json::Value, sources: serde_json::Value) -> Result<BTreeMap<String, File>, String> {
        let map = serde_json::json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "/w=="}});
        let objects = Objects {
            config_maps: BTreeMap::from([("cm".to_owned(), Arc::new(serde_json::from_value(map).unwrap()))]),
            ..Objects::default()
        };
        let sources: Vec<VolumeProjection> = serde_json::from_value(sources).unwrap();
        let tokens = BTreeMap::from([(0, "tok".to_owned())]);
        let pod = serde_json::from_value(pod).unwrap();
        build(&Wanted {
            pod: &pod,
            facts: &Facts::default(),
            objects: &objects,
            tokens: &tokens,
            sources: &sources,
            default_mode: Some(0o640),
        })
    }

    fn plain() -> serde_json::Value {
        serde_json::json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}})
    }

    #[test]
    fn all_keys_or_the_chosen_items_become_files() {
        let all = build_from(plain(), serde_json::json!([{"configMap": {"name": "cm"}}])).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(all["c"], File { data: vec![0xff], mode: 0o640, owner: None });
        let items = serde_json::json!([{"configMap": {"name": "cm", "items": [{"key": "b", "path": "x/y", "mode": 0o400}]}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]);
        let items = build_from(plain(), items).unwrap();
        assert_eq!(items["x/y"], File { data: b"2".to_vec(), mode: 0o400, owner: None });
        assert_eq!(items["name"].data, b"p");
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        for (source, want) in [
            (serde_json::json!({"secret": {"name": "s"}}), Err("secret \"s\" not found")),
            (serde_json::json!({"secret": {"name": "s", "optional": true}}), Ok(0)),
            (serde_json::json!({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}), Err("references non-existent key: z")),
            (serde_json::json!({"configMap": {"name": "cm", "optional": true, "items": [{"key": "z", "path": "z"}]}}), Ok(0)),
            (
                serde_json::json!({"configMap": {"name": "cm", "items": [{"key": "a", "path": "../a"}]}}),
                Err("invalid path \"../a\" in a volume"),
            ),
            (
                serde_json::json!({"configMap": {"name": "cm", "items": [{"key": "a", "path": "/a"}]}}),
                Err("invalid path \"/a\" in a volume"),
            ),
        ] {
            let made = build_from(plain(), serde_json::json!([source.clone()]));
            assert_eq!(made.map(|f| f.len()), want.map_err(str::to_owned), "{source}");
        }
    }

    #[test]
    fn a_token_belongs_to_the_user_that_all_containers_share() {
        let token = serde_json::json!([{"serviceAccountToken": {"path": "token"}}]);
        assert_eq!(build_from(plain(), token.clone()).unwrap()["token"], File { data: b"tok".to_vec(), mode: 0o640, owner: None });
        let pod = serde_json::json!({"spec": {"securityContext": {"runAsUser": 5}, "containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(build_from(pod, token.clone()).unwrap()["token"].owner, Some(5));
        let pod = serde_json::json!({"spec": {"securityContext": {"fsGroup": 7}, "containers": [{"name": "a"}]}});
        let file = &build_from(pod, token).unwrap()["token"];
        assert_eq!((file.mode, file.owner), (0o600, None));
    }
}
