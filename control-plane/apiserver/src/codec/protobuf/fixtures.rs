//! Kubernetes' own fixtures, byte by byte: every kind with every field, as JSON and as client-go writes it. They are in Debian's package
//! `golang-k8s-api-dev` (`k8s.io/api/testdata/HEAD`) and `golang-k8s-apiextensions-apiserver-dev` (`…/pkg/apis/testdata/HEAD`), to be of the version
//! that `fields.txt` was made of: `ORKNET_FIXTURES=FOLDER[:FOLDER…] cargo test -p orknet-apiserver fixtures -- --ignored`.

use super::*;

#[test]
#[ignore = "needs the fixtures' folder in ORKNET_FIXTURES"]
fn every_fixture_is_written_and_read_byte_by_byte() {
    let folders = std::env::var_os("ORKNET_FIXTURES").expect("ORKNET_FIXTURES");
    let entries = std::env::split_paths(&folders).flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let (mut compared, mut failed) = (0, Vec::new());
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let json: Value = serde_json::from_slice(&std::fs::read(&path).expect("JSON")).expect("JSON");
        if !is_known(json["apiVersion"].as_str().unwrap_or_default(), json["kind"].as_str().unwrap_or_default()) {
            continue;
        }
        let expected = std::fs::read(path.with_extension("pb")).expect("protobuf");
        let written = to_protobuf(&json).expect("has the form");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if written != expected {
            let at = written.iter().zip(&expected).position(|(one, other)| one != other).unwrap_or(written.len().min(expected.len()));
            let around = |bytes: &[u8]| String::from_utf8_lossy(&bytes[at.saturating_sub(40)..(at + 20).min(bytes.len())]).into_owned();
            failed.push(format!("{name} at {at}: {:?} for {:?}", around(&written), around(&expected)));
        }
        let read = from_protobuf(&expected).expect("reads");
        if read != json {
            failed.push(format!("{name} reads as {read} for {json}"));
        }
        compared += 1;
    }
    assert!(failed.is_empty(), "{} of {compared}:\n{}", failed.len(), failed.join("\n"));
    assert!(compared > 60, "only {compared} fixtures");
}
