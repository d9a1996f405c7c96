//! Tables that name tests (docs/promises.md: what Services promise; docs/conformance.md: what conformance asks for) name tests that are there.

use std::path::Path;

#[test]
fn every_promise_is_held_by_tests_that_are_there() {
    let rows = rows("docs/promises.md");
    assert!(rows.len() > 40, "{} promises", rows.len());
    rows.iter().for_each(|row| check(row));
}

#[test]
fn every_feature_of_conformance_has_tests_that_are_there_or_is_told_to_be_absent() {
    let rows = rows("docs/conformance.md");
    assert!(rows.len() > 40, "{} features", rows.len());
    for row in rows {
        let absent = row.rsplit(" | ").next().unwrap().strip_prefix("absent: ");
        absent.map_or_else(|| check(&row), |why| assert!(why.len() > 20, "{row} has no reason"));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The rows of all tables of a page, without their heads.
fn rows(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let head = |line: &&str| line.starts_with("| promise |") || line.starts_with("| feature |") || line.starts_with("| ---");
    text.lines().filter(|line| line.starts_with("| ") && !head(line)).map(str::to_owned).collect()
}

/// The last cell of a row: files, or tests in files.
fn check(row: &str) {
    let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
    for named in tests.split(", ") {
        let named = named.strip_prefix('`').and_then(|named| named.strip_suffix('`')).unwrap_or_else(|| panic!("no test in {row}"));
        let (file, test) = named.split_once("::").unwrap_or((named, ""));
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(test), "{file} has no {test}");
    }
}
