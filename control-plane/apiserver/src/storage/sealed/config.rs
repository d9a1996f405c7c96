//! Which kinds are sealed and by which keys: kube-apiserver's file (`apiserver.config.k8s.io/v1 EncryptionConfiguration`), with its providers `aesgcm`
//! and `identity`.

use super::key::{Key, KeyError};
use crate::storage::keys::ROOT;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Folders of the store that hold no objects.
const NO_OBJECTS: [&str; 2] = ["claims", "masterleases"];

/// What is sealed how; by default nothing.
#[derive(Debug, Default)]
pub struct Sealing {
    /// The first that names a kind counts.
    entries: Vec<Entry>,
}

/// How some kinds are sealed.
#[derive(Debug)]
pub struct Entry {
    resources: Vec<Resource>,
    /// The first one writes.
    pub providers: Vec<Provider>,
}

/// A way to write and read values.
#[derive(Debug)]
pub enum Provider {
    /// As they are.
    Plain,
    /// Of these the first one writes.
    Keys(Vec<Key>),
}

/// Kinds of one entry. `None`: any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resource {
    group: Option<String>,
    plural: Option<String>,
}

/// Why a file is no configuration of sealing. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    #[error("cannot read it")]
    Read(#[from] io::Error),
    #[error("others than its owner can read it (mode {0:o}), and there are keys in it: chmod 600")]
    Open(u32),
    #[error("it is no apiserver.config.k8s.io/v1 EncryptionConfiguration: {0}")]
    Form(String),
    #[error("resources[{0}].resources: {1:?} names no kind; expected such as secrets, widgets.example.com, *.apps or *.*")]
    Resource(usize, String),
    #[error("resources[{entry}].providers[{provider}].{name} is not supported; supported are aesgcm and identity")]
    Provider { entry: usize, provider: usize, name: String },
    #[error("resources[{entry}].providers[{provider}].aesgcm.keys[{key}]: {source}")]
    Key { entry: usize, provider: usize, key: usize, source: KeyError },
    #[error("resources[{0}] has no providers, no resources, or a provider without keys")]
    Empty(usize),
    #[error("resources[{entry}]: the name {name:?} is that of two keys, and values say by name which key opens them")]
    Twice { entry: usize, name: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    resources: Vec<FileEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    resources: Vec<String>,
    /// Each has one field: the provider's name.
    providers: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    keys: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    name: String,
    secret: String,
}

impl Sealing {
    /// Reads a file that its owner alone may read.
    pub fn read(path: &Path) -> Result<Self, SealingError> {
        let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SealingError::Open(mode));
        }
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// Reads YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, SealingError> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|error| SealingError::Form(error.to_string()))?;
        if (&file.api_version[..], &file.kind[..]) != ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") {
            return Err(SealingError::Form(format!("apiVersion is {:?} and kind {:?}", file.api_version, file.kind)));
        }
        let entries = file.resources.into_iter().enumerate().map(|(index, entry)| Entry::read(index, entry)).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// How the object at a key is sealed; `None`: not at all.
    pub fn of(&self, key: &[u8]) -> Option<&Entry> {
        let (group, plural) = place(key)?;
        self.entries.iter().find(|entry| entry.resources.iter().any(|resource| resource.fits(group, plural)))
    }

    /// Names of kinds that none has, as the file would write them: what was meant by them is not sealed.
    pub fn unknown(&self, is_stored: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let named =
            self.entries.iter().flat_map(|entry| &entry.resources).filter_map(|kind| Some((kind.group.as_ref()?, kind.plural.as_ref()?)));
        let unknown = named.filter(|(group, plural)| !is_stored(group, plural));
        unknown.map(|(group, plural)| if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }).collect()
    }

    /// The beginnings of the keys that may be sealed.
    pub fn prefixes(&self) -> Vec<String> {
        let mut all = Vec::new();
        for resource in self.entries.iter().flat_map(|entry| &entry.resources) {
            all.push(match (&resource.group, &resource.plural) {
                (Some(group), Some(plural)) => crate::storage::keys::folder_of(group, plural),
                _ => ROOT.to_owned(),
            });
        }
        all.sort_unstable();
        all.dedup();
        if all.iter().any(|prefix| prefix == ROOT) {
            all = vec![ROOT.to_owned()];
        }
        all
    }
}

impl Entry {
    fn read(index: usize, FileEntry { resources, providers }: FileEntry) -> Result<Self, SealingError> {
        let named = resources.into_iter().map(|text| Resource::parse(&text).ok_or(SealingError::Resource(index, text)));
        let resources: Vec<_> = named.collect::<Result<_, _>>()?;
        let read = |(at, provider)| read_provider(index, at, provider);
        let providers: Vec<_> = providers.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        if resources.is_empty() || providers.is_empty() {
            return Err(SealingError::Empty(index));
        }
        let entry = Self { resources, providers };
        let mut names: Vec<&str> = entry.keys().map(Key::name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(SealingError::Twice { entry: index, name: pair[0].to_owned() }),
            None => Ok(entry),
        }
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.providers.iter().flat_map(|provider| match provider {
            Provider::Plain => &[],
            Provider::Keys(keys) => &keys[..],
        })
    }

    /// The key that writes; `None`: values are written as they are.
    pub fn writes_with(&self) -> Option<&Key> {
        match self.providers.first() {
            Some(Provider::Keys(keys)) => keys.first(),
            Some(Provider::Plain) | None => None,
        }
    }

    /// Whether values that are not sealed may be read.
    pub fn reads_plain(&self) -> bool {
        self.providers.iter().any(|provider| matches!(provider, Provider::Plain))
    }
}

fn read_provider(entry: usize, provider: usize, fields: Map<String, Value>) -> Result<Provider, SealingError> {
    let mut fields = fields.into_iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else {
        return Err(SealingError::Form(format!("resources[{entry}].providers[{provider}] must name one provider")));
    };
    match &name[..] {
        "identity" => Ok(Provider::Plain),
        "aesgcm" => {
            // The message would show what was read.
            let form = |_| {
                SealingError::Form(format!("resources[{entry}].providers[{provider}].aesgcm needs keys, each with a name and a secret"))
            };
            let FileKeys { keys } = serde_json::from_value(value).map_err(form)?;
            let read = |(key, file): (usize, FileKey)| {
                Key::new(&file.name, &file.secret).map_err(|source| SealingError::Key { entry, provider, key, source })
            };
            let keys: Vec<_> = keys.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
            if keys.is_empty() { Err(SealingError::Empty(entry)) } else { Ok(Provider::Keys(keys)) }
        }
        _ => Err(SealingError::Provider { entry, provider, name }),
    }
}

impl Resource {
    /// `secrets`, `deployments.apps`, `*.` (all of the core group), `*.apps`, `*.*`.
    fn parse(text: &str) -> Option<Self> {
        let (plural, group) = text.split_once('.').unwrap_or((text, ""));
        let is_wild = |part: &str| part == "*";
        let is_name =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
        // A star alone could mean either.
        if plural.is_empty() || text == "*" || !(is_wild(plural) || is_name(plural)) || !(is_wild(group) || is_name(group)) {
            return None;
        }
        let part = |part: &str| (!is_wild(part)).then(|| part.to_owned());
        let resource = Self { group: part(group), plural: part(plural) };
        // One plural of all groups is nothing that Kubernetes knows.
        (resource.group.is_some() || resource.plural.is_none()).then_some(resource)
    }

    fn fits(&self, group: &str, plural: &str) -> bool {
        self.group.as_deref().is_none_or(|own| own == group) && self.plural.as_deref().is_none_or(|own| own == plural)
    }
}

/// Group and plural of the object at a key; `None` for what is no object.
pub fn place(key: &[u8]) -> Option<(&str, &str)> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?.splitn(3, '/');
    let (group, plural, _) = (parts.next()?, parts.next()?, parts.next()?);
    (!NO_OBJECTS.contains(&group)).then_some((if group == "core" { "" } else { group }, plural))
}

/// The configuration's path, for who reports errors.
#[derive(Debug, thiserror::Error)]
#[error("the encryption configuration {path} cannot be used")]
pub struct FileError {
    pub path: PathBuf,
    pub source: SealingError,
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    pub const SECOND: &str = "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";

    /// A configuration with these entries, in YAML.
    pub fn sealing(entries: &str) -> Result<Sealing, String> {
        let text = format!("{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{entries}]}}");
        Sealing::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_entry_that_names_a_kind_counts() {
        let entry = |resources: &str, key: &str| {
            format!("{{resources: [{resources}], providers: [{{aesgcm: {{keys: [{{name: {key}, secret: {FIRST}}}]}}}}]}}")
        };
        let of_all =
            [entry("secrets, widgets.example.com", "a"), entry("\"*.apps\"", "b"), entry("\"*.\"", "c"), entry("\"*.*\"", "d")].join(", ");
        let sealing = sealing(&of_all).expect("valid");
        let named = |key: &str| sealing.of(key.as_bytes()).and_then(Entry::writes_with).map(Key::name);
        for (key, expected) in [
            ("/registry/core/secrets/a/b", Some("a")),
            ("/registry/example.com/widgets/a/b", Some("a")),
            ("/registry/apps/deployments/a/b", Some("b")),
            ("/registry/core/pods/a/b", Some("c")),
            ("/registry/batch/jobs/a/b", Some("d")),
            ("/registry/claims/nodeports/1", None),
            ("/registry/masterleases/192.0.2.1", None),
            ("/other/core/secrets/a/b", None),
        ] {
            assert_eq!(named(key), expected, "{key}");
        }
        assert_eq!(sealing.prefixes(), ["/registry/"]);
    }

    #[test]
    fn names_that_no_kind_has_are_told() {
        let found = sealing("{resources: [secret, secrets, widgets.example.com, \"*.apps\", \"*.*\"], providers: [{identity: {}}]}")
            .expect("valid");
        let stored = [("", "secrets"), ("apps", "deployments")];
        assert_eq!(found.unknown(|group, plural| stored.contains(&(group, plural))), ["secret", "widgets.example.com"]);
    }

    #[test]
    fn folders_are_known_where_all_kinds_are_named() {
        let found = sealing("{resources: [secrets, configmaps, secrets], providers: [{identity: {}}]}").expect("valid");
        assert_eq!(found.prefixes(), ["/registry/core/configmaps/", "/registry/core/secrets/"]);
        assert!(found.of(b"/registry/core/pods/a/b").is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_place_and_no_key_is_shown() {
        for (entries, word) in [
            ("{resources: [secrets], providers: [{aescbc: {}}]}".to_owned(), "aescbc"),
            ("{resources: [\"*\"], providers: [{identity: {}}]}".into(), "\"*\""),
            ("{resources: [\"pods.*\"], providers: [{identity: {}}]}".into(), "pods.*"),
            ("{resources: [Secrets], providers: [{identity: {}}]}".into(), "Secrets"),
            ("{resources: [secrets], providers: []}".into(), "resources[0]"),
            ("{resources: [secrets], providers: [{aesgcm: {keys: []}}]}".into(), "resources[0]"),
            ("{resources: [secrets], providers: [{aesgcm: {keys: [{name: a, secret: AAEC}]}}]}".into(), "keys[0]"),
            (format!("{{resources: [secrets], providers: [{{aesgcm: {{keys: [{{name: \"a:b\", secret: {FIRST}}}]}}}}]}}"), "a:b"),
            (format!("{{resources: [secrets], providers: [{{aesgcm: {{keys: [{{nam: a, secret: {FIRST}}}]}}}}]}}"), "providers[0]"),
            (
                format!(
                    "{{resources: [secrets], providers: [{{aesgcm: {{keys: [{{name: a, secret: {FIRST}}}, {{name: a, secret: {SECOND}}}]}}}}]}}"
                ),
                "two keys",
            ),
            ("{resources: [secrets], provider: []}".into(), "provider"),
        ] {
            let refused = sealing(&entries).expect_err(&entries);
            assert!(refused.contains(word) && !refused.contains("AAEC"), "{entries}: {refused}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("encryption.yaml");
        std::fs::write(&path, "{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: []}").expect("writes");
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("sets");
        mode(0o640);
        assert!(Sealing::read(&path).expect_err("open").to_string().contains("chmod 600"));
        mode(0o600);
        Sealing::read(&path).expect("its owner's alone");
    }
}
