//! `cargo xtask fields FOLDER`: control-plane/apiserver/src/codec/protobuf/fields.txt from the Go types of Kubernetes. FOLDER is `k8s.io` in a Go source
//! tree, as Debian's `golang-k8s-*-dev` packages lay it out: with `api`, `apimachinery`, `apiextensions-apiserver` and `kube-aggregator` in it (what
//! is not there is left out, and said). The tags of the types' fields say numbers and JSON names; that a field is a pointer only the types say.

mod go;

use anyhow::{Context, Result, bail};
use go::{Package, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const TARGET: &str = "control-plane/apiserver/src/codec/protobuf/fields.txt";

/// Import path below `k8s.io`, and the name that its messages have in the table: that of the proto package, shortened.
const PACKAGES: &[(&str, &str)] = &[
    ("apimachinery/pkg/apis/meta/v1", "meta.v1"),
    ("api/admissionregistration/v1", "admissionregistration.v1"),
    ("api/apps/v1", "apps.v1"),
    ("api/authentication/v1", "authentication.v1"),
    ("api/authorization/v1", "authorization.v1"),
    ("api/autoscaling/v1", "autoscaling.v1"),
    ("api/autoscaling/v2", "autoscaling.v2"),
    ("api/batch/v1", "batch.v1"),
    ("api/certificates/v1", "certificates.v1"),
    ("api/coordination/v1", "coordination.v1"),
    ("api/core/v1", "core.v1"),
    ("api/discovery/v1", "discovery.v1"),
    ("api/events/v1", "events.v1"),
    ("api/flowcontrol/v1", "flowcontrol.v1"),
    ("api/networking/v1", "networking.v1"),
    ("api/node/v1", "node.v1"),
    ("api/policy/v1", "policy.v1"),
    ("api/rbac/v1", "rbac.v1"),
    ("api/scheduling/v1", "scheduling.v1"),
    ("api/storage/v1", "storage.v1"),
    ("apiextensions-apiserver/pkg/apis/apiextensions/v1", "apiextensions.v1"),
    ("kube-aggregator/pkg/apis/apiregistration/v1", "apiregistration.v1"),
];

/// Types whose JSON is not that of their fields, with their letters in the table.
const LETTERS: &[(&str, &str)] = &[
    ("resource.Quantity", "Q"),
    ("intstr.IntOrString", "O"),
    ("runtime.RawExtension", "R"),
    ("types.UID", "s"),
    ("meta.v1.Time", "T"),
    ("meta.v1.MicroTime", "U"),
    ("meta.v1.FieldsV1", "F"),
    ("apiextensions.v1.JSON", "R"),
    ("apiextensions.v1.JSONSchemaPropsOrBool", "B"),
    ("apiextensions.v1.JSONSchemaPropsOrArray", "A"),
    ("apiextensions.v1.JSONSchemaPropsOrStringArray", "P"),
];

/// Writes the table.
pub fn fields(folder: &Path) -> Result<()> {
    let mut packages = BTreeMap::new();
    for (path, name) in PACKAGES {
        if !folder.join(path).is_dir() {
            println!("fields: {path} is not there: no messages of {name}");
            continue;
        }
        packages.insert(*name, read_package(&folder.join(path))?);
    }
    let table = Tree { packages }.table()?;
    let target = crate::root()?.join(TARGET);
    fs::write(&target, table).with_context(|| format!("cannot write {}", target.display()))
}

fn read_package(folder: &Path) -> Result<Package> {
    let mut package = Package::default();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let made = ["zz_generated", "generated", "types_swagger"].iter().any(|prefix| name.starts_with(prefix));
        if name.ends_with(".go") && !name.ends_with("_test.go") && !made {
            package.read(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(package)
}

struct Tree {
    packages: BTreeMap<&'static str, Package>,
}

/// How a field is written in the table: shape, letter or message, and whether it is a pointer.
struct Written {
    shape: &'static str,
    kind: String,
    pointer: bool,
}

impl Tree {
    /// The messages of all kinds and of what they hold, sorted by name.
    fn table(&self) -> Result<String> {
        let mut messages = BTreeMap::new();
        let mut wanted: BTreeSet<String> = self.kinds().collect();
        wanted.extend(["ListMeta", "Status", "DeleteOptions", "PartialObjectMetadata"].map(|name| format!("meta.v1.{name}")));
        while let Some(name) = wanted.pop_first() {
            let (package, short) = name.rsplit_once('.').context("a name without a package")?;
            let Some(Type::Struct(fields)) = self.packages.get(package).and_then(|package| package.types.get(short)) else {
                bail!("{name} is no structure");
            };
            let mut lines = BTreeMap::new();
            for field in fields {
                let written = self.written(package, &field.go_type).with_context(|| format!("{name}.{}", field.json_name))?;
                let is_message = written.kind.contains('.');
                if is_message && !messages.contains_key(&written.kind) && written.kind != name {
                    wanted.insert(written.kind.clone());
                }
                let scalar = matches!(&written.kind[..], "s" | "i" | "b" | "d") && written.shape.is_empty();
                let keeps_zero = if scalar && (written.pointer || !field.omits_empty) { "?" } else { "" };
                // Bytes that are nil are not written.
                let always = if written.pointer || !written.shape.is_empty() || written.kind == "y" { "" } else { "!" };
                lines.insert(
                    field.number,
                    format!(" {} {} {}{}{keeps_zero}{always}\n", field.number, field.json_name, written.shape, written.kind),
                );
            }
            messages.insert(name, lines.into_values().collect::<String>());
        }
        Ok(messages.into_iter().map(|(name, lines)| format!("{name}\n{lines}")).collect())
    }

    /// What is sent by itself: kinds, but for lists and the options of queries.
    fn kinds(&self) -> impl Iterator<Item = String> {
        self.packages.iter().filter(|(name, _)| **name != "meta.v1").flat_map(|(package, types)| {
            let kinds = types.kinds.iter().filter(|kind| !kind.ends_with("Options") && !types.lists.contains(*kind));
            kinds.map(move |kind| format!("{package}.{kind}"))
        })
    }

    fn written(&self, package: &str, go_type: &str) -> Result<Written> {
        if let Some(inner) = go_type.strip_prefix('*') {
            return Ok(Written { pointer: true, ..self.written(package, inner)? });
        }
        if go_type == "[]byte" {
            return Ok(Written { shape: "", kind: "y".to_owned(), pointer: false });
        }
        if let Some(inner) = go_type.strip_prefix("[]") {
            return Ok(Written { shape: "*", ..self.single(package, inner)? });
        }
        if let Some((_, value)) = go_type.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
            return Ok(Written { shape: "%", ..self.single(package, value)? });
        }
        self.single(package, go_type)
    }

    /// A type that is neither a list nor a map as it is spelled; its name may stand for a map.
    fn single(&self, package: &str, go_type: &str) -> Result<Written> {
        let one = |kind: &str| Written { shape: "", kind: kind.to_owned(), pointer: false };
        match go_type.trim_start_matches('*') {
            "string" => return Ok(one("s")),
            "bool" => return Ok(one("b")),
            "int" | "int32" | "int64" | "uint" | "uint32" | "uint64" => return Ok(one("i")),
            "float32" | "float64" => return Ok(one("d")),
            "[]byte" => return Ok(one("y")),
            _ => {}
        }
        let own = self.packages.get(package).context("no such package")?;
        let (of, name) = match go_type.trim_start_matches('*').split_once('.') {
            Some((alias, name)) => {
                let path = own.imports.get(alias).with_context(|| format!("{alias} is not imported"))?;
                let known = PACKAGES.iter().find(|(known, _)| path.strip_prefix("k8s.io/") == Some(known));
                (known.map_or_else(|| path.rsplit('/').next().unwrap_or_default(), |(_, name)| name), name)
            }
            None => (package, go_type.trim_start_matches('*')),
        };
        let full = format!("{of}.{name}");
        if let Some((_, letter)) = LETTERS.iter().find(|(known, _)| *known == full) {
            return Ok(one(letter));
        }
        match self.packages.get(of).and_then(|package| package.types.get(name)) {
            Some(Type::Struct(_)) => Ok(one(&full)),
            Some(Type::Named(other)) if other == "[]string" => Ok(one("X")),
            Some(Type::Named(other)) => self.written(of, other),
            None => bail!("{full} is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_zeros_and_shapes_are_told_apart() {
        let mut package = Package::default();
        package.read(
            r#"
            import ("k8s.io/apimachinery/pkg/api/resource")
            type Class string
            type ResourceList map[Class]resource.Quantity
            // A kind.
            type Thing struct {
                metav1.TypeMeta `json:",inline"`
                Part `json:",inline" protobuf:"bytes,1,opt,name=part"`
                Count *int32 `json:"count,omitempty" protobuf:"varint,2,opt,name=count"` // told
                Class Class `json:"class" protobuf:"bytes,3,opt,name=class"`
                Note string `json:"note,omitempty" protobuf:"bytes,4,opt,name=note"`
                Limits ResourceList `json:"limits,omitempty" protobuf:"bytes,5,rep,name=limits"`
                Data map[string][]byte `json:"data,omitempty" protobuf:"bytes,6,rep,name=data"`
                Parts []Part `json:"parts" protobuf:"bytes,7,rep,name=parts"`
                Maybe *Part `json:"maybe,omitempty" protobuf:"bytes,8,opt,name=maybe"`
            }
            type Part struct {
                Raw []byte `json:"raw,omitempty" protobuf:"bytes,1,opt,name=raw"`
            }
            "#,
        );
        let mut meta = Package::default();
        for name in ["ListMeta", "Status", "DeleteOptions", "PartialObjectMetadata"] {
            meta.read(&format!("type {name} struct {{\n}}\n"));
        }
        let table = Tree { packages: BTreeMap::from([("core.v1", package), ("meta.v1", meta)]) }.table().expect("a table");
        let thing = "core.v1.Part\n 1 raw y\ncore.v1.Thing\n 1 . core.v1.Part!\n 2 count i?\n 3 class s?!\n 4 note s!\n 5 limits %Q\n 6 data %y\n \
                     7 parts *core.v1.Part\n 8 maybe core.v1.Part\n";
        assert!(table.starts_with(thing), "{table}");
    }
}
