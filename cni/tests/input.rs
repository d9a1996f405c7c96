//! What the plugin says to bad input, in the form of the specification. Needs no privileges.

use orknet_cni::error::Code;
use orknet_cni::run;
use serde_json::Value;

const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"orknet","agentSocket":"/nowhere/agent.sock","stateDir":"/nowhere"}"#;

fn call(pairs: &[(&str, &str)], input: &str) -> Result<String, Code> {
    let variable = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    run(&variable, input.as_bytes()).map_err(|error| error.code)
}

#[test]
fn version_lists_what_is_spoken() {
    let answer: Value = serde_json::from_str(&call(&[("CNI_COMMAND", "VERSION")], r#"{"cniVersion":"1.1.0"}"#).unwrap()).unwrap();
    assert_eq!(answer["cniVersion"], "1.1.0");
    assert_eq!(answer["supportedVersions"], serde_json::json!(["1.0.0", "1.1.0"]));
}

#[test]
fn an_unknown_command_is_an_invalid_environment() {
    assert_eq!(call(&[("CNI_COMMAND", "PATCH")], CONFIG), Err(Code::InvalidEnvironment));
    assert_eq!(call(&[], CONFIG), Err(Code::InvalidEnvironment));
}

#[test]
fn missing_parameters_are_an_invalid_environment() {
    assert_eq!(call(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/n")], CONFIG), Err(Code::InvalidEnvironment));
}

#[test]
fn input_that_is_not_json_is_a_decoding_error() {
    for input in ["", "{", "[]", "\u{0}", r#"{"cniVersion":1}"#] {
        assert_eq!(call(&[("CNI_COMMAND", "ADD")], input), Err(Code::Decoding), "{input:?}");
    }
}

#[test]
fn a_version_that_is_not_spoken_is_refused() {
    assert_eq!(call(&[("CNI_COMMAND", "DEL")], r#"{"cniVersion":"0.4.0","name":"orknet"}"#), Err(Code::IncompatibleVersion));
}
