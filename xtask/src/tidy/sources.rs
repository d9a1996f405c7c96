//! Rules of single source files: a first line that says what the file owns, a bounded length, no catch-all names.

use crate::run::read;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Lines at which a file must be split.
const MAX_LINES: usize = 800;
/// Names that say nothing about what is inside.
const CATCH_ALLS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

/// Complaints about the Rust files that git tracks or would track.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for path in rust_files(root)? {
        let text = fs::read_to_string(root.join(&path))?;
        complaints.extend(check_file(&path, &text));
    }
    Ok(complaints)
}

/// Paths of all Rust files, relative to the root.
pub fn rust_files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"]).current_dir(root);
    Ok(read(&mut git)?.lines().filter(|path| root.join(path).exists()).map(str::to_owned).collect())
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//! ") {
        complaints.push(format!("{path}: the first line must begin with `//! ` and say what the file owns"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        complaints.push(format!("{path}: {lines} lines; split it by what it does (at most {MAX_LINES})"));
    }
    let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if CATCH_ALLS.contains(&stem.as_str()) {
        complaints.push(format!("{path}: name it after what it does"));
    }
    complaints
}

/// Whether code (not comments or texts) contains the keyword.
pub fn uses_unsafe(text: &str) -> bool {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|code| {
        let outside_texts: String = code.split('"').step_by(2).collect();
        outside_texts.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_what_they_own_and_stay_short() {
        assert!(check_file("a/b.rs", "//! Owns b.\n").is_empty());
        assert_eq!(check_file("a/b.rs", "fn main() {}\n").len(), 1);
        assert_eq!(check_file("a/util.rs", "//! x\n").len(), 1);
        assert_eq!(check_file("a/b.rs", &format!("//! x\n{}", "\n".repeat(MAX_LINES))).len(), 1);
    }

    #[test]
    fn unsafe_is_found_in_code_only() {
        assert!(uses_unsafe("let x = unsafe { y };"));
        assert!(!uses_unsafe("// unsafe\nlet x = \"unsafe\"; let unsafe_code = 1;"));
    }
}
