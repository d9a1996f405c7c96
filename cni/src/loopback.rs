//! The plugin `loopback`, which containerd up to 1.7 calls for every pod before the cluster's own and which hosts often do not have:
//! brings `lo` up. It keeps nothing, so there is nothing to check or to remove.

use crate::environment::{Command, Environment};
use crate::error::{CniError, Code};
use crate::namespace::Namespace;
use serde_json::{Value, json};

/// Name of the file that containerd calls.
pub const LOOPBACK_NAME: &str = "loopback";

/// Versions of the specification that are spoken: containerd asks in 0.3.1.
const VERSIONS: &[&str] = &["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// One request: see [`crate::run`].
pub fn run(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Result<String, CniError> {
    let version = crate::version_of(input);
    let command = Command::from_environment(variable)?;
    match command {
        Command::Version => Ok(json!({ "cniVersion": version, "supportedVersions": VERSIONS }).to_string()),
        Command::Del | Command::Gc | Command::Status => Ok(String::new()),
        Command::Add | Command::Check => {
            let environment = Environment::parse(command, variable)?;
            let path = environment.namespace.unwrap_or_default();
            let namespace = Namespace::open(&path)?;
            let namespace =
                namespace.ok_or_else(|| CniError::new(Code::UnknownContainer, "looking for the network namespace", path.display()))?;
            namespace.enter(|netlink| match netlink.link("lo")? {
                Some(loopback) => netlink.set_up(loopback.index),
                None => Err(CniError::new(Code::Network, "looking for lo", "the namespace has none")),
            })?;
            Ok(if command == Command::Add { result(&version, &path.display().to_string()).to_string() } else { String::new() })
        }
    }
}

fn result(version: &str, sandbox: &str) -> Value {
    let address = |family: &str, address: &str| {
        let mut ip = json!({ "interface": 0, "address": address });
        // Before 1.0.0 an address said its family.
        if version.starts_with('0') {
            ip["version"] = family.into();
        }
        ip
    };
    let lo = json!({ "name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox });
    json!({ "cniVersion": version, "interfaces": [lo], "ips": [address("4", "127.0.0.1/8"), address("6", "::1/128")], "dns": {} })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(command: &'static str) -> Result<String, CniError> {
        let variable = move |name: &str| match name {
            "CNI_COMMAND" => Some(command.to_owned()),
            "CNI_CONTAINERID" => Some("c".to_owned()),
            "CNI_IFNAME" => Some("lo".to_owned()),
            // The thread's own: `lo` is up already or comes up, either is right.
            "CNI_NETNS" => Some("/proc/thread-self/ns/net".to_owned()),
            _ => None,
        };
        run(&variable, br#"{"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"}"#)
    }

    #[test]
    fn root_adding_brings_lo_up_and_answers_in_the_version_asked() {
        let result: Value = serde_json::from_str(&ask("ADD").unwrap()).unwrap();
        assert_eq!(result["cniVersion"], "0.3.1");
        assert_eq!(result["ips"][0]["version"], "4");
        assert_eq!(ask("CHECK").unwrap(), "");
        assert_eq!(ask("DEL").unwrap(), "");
    }

    #[test]
    fn the_newer_form_has_no_family() {
        assert_eq!(super::result("1.0.0", "")["ips"][0].get("version"), None);
    }
}
