//! ARCHITECTURE.md against the tree: every folder and crate named, the dependency table equal to `cargo metadata`, `unsafe` only in
//! the files listed, enough invariants.

use super::sources::{rust_files, uses_unsafe};
use crate::run::{cargo, read};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Invariants of the form "X never knows Y" that the page must have.
const MIN_INVARIANTS: usize = 10;

/// Complaints.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    let readme = fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let crates = workspace_crates(root)?;
    let mut complaints = check_folders(root, &page, &readme)?;
    complaints.extend(check_dependencies(&page, &crates));
    complaints.extend(check_unsafe(root, &page)?);
    complaints.extend(check_invariants(&page));
    Ok(complaints)
}

/// Each crate with the workspace crates that it depends on (development dependencies left out).
fn workspace_crates(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let text = read(cargo().args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let name_of = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = packages.iter().map(name_of).collect();
    let dependencies = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        let inside = all.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev")).map(name_of);
        inside.filter(|name| names.contains(name)).collect()
    };
    Ok(packages.iter().map(|package| (name_of(package), dependencies(package))).collect())
}

fn check_folders(root: &Path, page: &str, readme: &str) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(root)?.flatten().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        for (text, file) in [(page, "ARCHITECTURE.md"), (readme, "README.md")] {
            if !text.contains(&format!("{name}/")) {
                complaints.push(format!("{file} does not name the folder {name}/"));
            }
        }
    }
    Ok(complaints)
}

/// The table has a row a crate: `| orknet-x | a, b |` (`-` for none).
fn check_dependencies(page: &str, crates: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut rows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in section(page, "Dependencies").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (Some(name), Some(list)) = (cells.get(1), cells.get(2)) else { continue };
        let list = list.split(',').map(|item| item.trim().trim_matches('`')).filter(|item| !item.is_empty() && *item != "-");
        if rows.insert(name.trim_matches('`'), list.map(str::to_owned).collect()).is_some() {
            complaints.push(format!("ARCHITECTURE.md, Dependencies: {name} has two rows"));
        }
    }
    for (name, real) in crates {
        match rows.remove(name.as_str()) {
            None => complaints.push(format!("ARCHITECTURE.md, Dependencies: no row for {name} (depends on {})", list(real))),
            Some(written) if written != *real => {
                complaints.push(format!(
                    "ARCHITECTURE.md, Dependencies: {name} depends on {}, the table says {}",
                    list(real),
                    list(&written)
                ));
            }
            Some(_) => {}
        }
    }
    complaints.extend(rows.keys().map(|name| format!("ARCHITECTURE.md, Dependencies: there is no crate {name}")));
    complaints
}

/// The section lists one file or folder a line: "- `path`: why".
fn check_unsafe(root: &Path, page: &str) -> Result<Vec<String>> {
    let named: Vec<&str> = section(page, "Unsafe code").lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
    let mut complaints = Vec::new();
    let mut used = BTreeSet::new();
    for path in rust_files(root)? {
        if uses_unsafe(&fs::read_to_string(root.join(&path))?) {
            match named.iter().find(|name| path == **name || (name.ends_with('/') && path.starts_with(**name))) {
                Some(name) => _ = used.insert(*name),
                None => complaints.push(format!("{path} uses unsafe code and ARCHITECTURE.md, Unsafe code, does not name it")),
            }
        }
    }
    complaints.extend(
        named
            .iter()
            .filter(|name| !used.contains(*name))
            .map(|name| format!("ARCHITECTURE.md names {name} for unsafe code that is not there")),
    );
    Ok(complaints)
}

fn check_invariants(page: &str) -> Vec<String> {
    let count = section(page, "Invariants").lines().filter(|line| line.starts_with("- ") && line.contains(" never ")).count();
    if count < MIN_INVARIANTS {
        return vec![format!("ARCHITECTURE.md, Invariants: {count} of the form \"X never …\"; at least {MIN_INVARIANTS} are wanted")];
    }
    Vec::new()
}

/// The text below a second-level heading, up to the next.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let heading = format!("\n## {title}\n");
    let Some(start) = page.find(&heading).map(|at| at + heading.len()) else { return "" };
    let rest = &page[start..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

fn list(names: &BTreeSet<String>) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.iter().cloned().collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n\n## Dependencies\n\n| crate | on |\n| --- | --- |\n| `a` | `b` |\n| `b` | - |\n\n## Invariants\n\n- a never knows b\n\n## Unsafe code\n\n- `x.rs`: why\n";

    fn crates(list: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        list.iter().map(|(name, on)| ((*name).to_owned(), on.iter().map(|on| (*on).to_owned()).collect())).collect()
    }

    #[test]
    fn dependencies_must_match_in_both_directions() {
        assert!(check_dependencies(PAGE, &crates(&[("a", &["b"]), ("b", &[])])).is_empty());
        assert_eq!(check_dependencies(PAGE, &crates(&[("a", &[]), ("b", &[])])).len(), 1);
        assert_eq!(check_dependencies(PAGE, &crates(&[("a", &["b"])])).len(), 1);
        assert_eq!(check_dependencies(PAGE, &crates(&[("a", &["b"]), ("b", &[]), ("c", &[])])).len(), 1);
    }

    #[test]
    fn too_few_invariants_are_noticed() {
        assert_eq!(check_invariants(PAGE).len(), 1);
        let many = PAGE.replace("- a never knows b\n", &"- a never knows b\n".repeat(MIN_INVARIANTS));
        assert!(check_invariants(&many).is_empty());
    }

    #[test]
    fn sections_end_at_the_next_heading() {
        assert_eq!(section(PAGE, "Invariants").trim(), "- a never knows b");
        assert_eq!(section(PAGE, "Nothing"), "");
    }
}
