//! The types of a Go package, as far as their fields go to the wire. Knows the layout that `gofmt` gives: one field a line.

use std::collections::{BTreeMap, BTreeSet};

/// What is read of a package.
#[derive(Default)]
pub struct Package {
    pub types: BTreeMap<String, Type>,
    /// Path by the name that the package's files know it by.
    pub imports: BTreeMap<String, String>,
    /// Structures with a `TypeMeta`.
    pub kinds: BTreeSet<String>,
    /// Structures with a `ListMeta`.
    pub lists: BTreeSet<String>,
}

/// A type.
pub enum Type {
    Struct(Vec<Field>),
    /// Another name for a type.
    Named(String),
}

/// A field with a number.
pub struct Field {
    pub number: u32,
    /// `.` when the fields of its type belong to the structure around it.
    pub json_name: String,
    pub go_type: String,
    pub omits_empty: bool,
}

impl Package {
    /// Reads a file.
    pub fn read(&mut self, text: &str) {
        let mut lines = text.lines().map(without_comment);
        while let Some(line) = lines.next() {
            if let Some((name, path)) = import(line) {
                self.imports.insert(name, path);
                continue;
            }
            let Some(rest) = line.strip_prefix("type ") else { continue };
            let (name, rest) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
            let rest = rest.trim().trim_start_matches("= ");
            if !rest.starts_with("struct") {
                self.types.insert(name.to_owned(), Type::Named(rest.to_owned()));
                continue;
            }
            let mut fields = Vec::new();
            if !rest.ends_with('}') {
                for line in lines.by_ref().take_while(|line| *line != "}") {
                    if line.contains("TypeMeta `") {
                        self.kinds.insert(name.to_owned());
                    }
                    if line.contains("ListMeta `") {
                        self.lists.insert(name.to_owned());
                    }
                    fields.extend(field(line));
                }
            }
            self.types.insert(name.to_owned(), Type::Struct(fields));
        }
    }
}

fn without_comment(line: &str) -> &str {
    // Tags hold no comments, and what follows a tag is one.
    let code = line.trim();
    if code.starts_with("//") { "" } else { code }
}

/// `name "path"` or `"path"`, in a list of imports or alone.
fn import(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("import").unwrap_or(line).trim().trim_start_matches('(').trim();
    let (name, rest) = line.split_once('"')?;
    let path = rest.split('"').next()?;
    if !path.contains('/') || !name.trim().chars().all(char::is_alphanumeric) {
        return None;
    }
    let name = if name.trim().is_empty() { path.rsplit('/').next()? } else { name.trim() };
    Some((name.to_owned(), path.to_owned()))
}

/// A line of a structure; `None` without a number.
fn field(line: &str) -> Option<Field> {
    let (code, rest) = line.split_once('`')?;
    let tags = rest.split('`').next()?;
    let tag = |name: &str| tags.split_once(&format!("{name}:\"")).and_then(|(_, rest)| rest.split('"').next());
    let number = tag("protobuf")?.split(',').nth(1)?.parse().ok()?;
    let json: Vec<&str> = tag("json")?.split(',').collect();
    let go_type = code.split_whitespace().last()?.to_owned();
    let inline = json[1..].contains(&"inline");
    let json_name = if inline { "." } else { json[0] };
    Some(Field { number, json_name: json_name.to_owned(), go_type, omits_empty: json[1..].contains(&"omitempty") })
}
