//! The table of what Services promise (docs/promises.md) names tests that are there.

#[test]
fn every_promise_is_held_by_tests_that_are_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = std::fs::read_to_string(root.join("docs/promises.md")).unwrap();
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise |") && !line.starts_with("| ---")).collect();
    assert!(rows.len() > 40, "{} promises", rows.len());
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for named in tests.split(", ") {
            let named = named.strip_prefix('`').and_then(|named| named.strip_suffix('`')).unwrap_or_else(|| panic!("no test in {row}"));
            let (file, test) = named.split_once("::").unwrap_or((named, ""));
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(test), "{file} has no {test}");
        }
    }
}
