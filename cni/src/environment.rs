//! The request's parameters: environment variables `CNI_…` (CNI specification, section 2).

use crate::error::{CniError, Code};
use crate::protocol::{AttachmentName, PodName};
use std::path::PathBuf;

/// Longest interface name, without the terminating zero (linux/if.h IFNAMSIZ).
const MAX_INTERFACE_NAME: usize = 15;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Add,
    Del,
    Check,
    Version,
    Gc,
    Status,
}

/// Parameters of a request. Those that a command does not need are empty.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub attachment: AttachmentName,
    /// The pod's network namespace; DEL may come without.
    pub namespace: Option<PathBuf>,
    pub pod: PodName,
}

impl Command {
    /// From `CNI_COMMAND`.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        match variable("CNI_COMMAND").unwrap_or_default().as_str() {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "VERSION" => Ok(Self::Version),
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            other => Err(invalid("CNI_COMMAND", other)),
        }
    }
}

impl Environment {
    /// The parameters that `command` needs, checked.
    pub fn parse(command: Command, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        if !matches!(command, Command::Add | Command::Del | Command::Check) {
            return Ok(Self::default());
        }
        let container_id = variable("CNI_CONTAINERID").unwrap_or_default();
        if !is_container_id(&container_id) {
            return Err(invalid("CNI_CONTAINERID", &container_id));
        }
        let ifname = variable("CNI_IFNAME").unwrap_or_default();
        if !is_interface_name(&ifname) {
            return Err(invalid("CNI_IFNAME", &ifname));
        }
        let namespace = variable("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from);
        if namespace.is_none() && command != Command::Del {
            return Err(invalid("CNI_NETNS", ""));
        }
        let pod = pod_name(&variable("CNI_ARGS").unwrap_or_default());
        Ok(Self { attachment: AttachmentName { container_id, ifname }, namespace, pod })
    }
}

fn invalid(variable: &str, value: &str) -> CniError {
    let cause = if value.is_empty() { "it is not set".to_owned() } else { format!("{value:?} is not valid") };
    CniError::new(Code::InvalidEnvironment, format!("reading {variable}"), cause)
}

/// It becomes part of file names, so this is also what keeps paths inside the state folder.
pub(crate) fn is_container_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && text.len() <= 200
}

pub(crate) fn is_interface_name(text: &str) -> bool {
    let known_bad = matches!(text, "" | "." | "..");
    !known_bad && text.len() <= MAX_INTERFACE_NAME && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte))
}

/// `CNI_ARGS` as kubelet's runtimes give it: `K8S_POD_NAMESPACE=…;K8S_POD_NAME=…;K8S_POD_UID=…`.
fn pod_name(arguments: &str) -> PodName {
    let value = |wanted: &str| {
        let pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == wanted).map(|(_, value)| value.to_owned()).next_back().unwrap_or_default()
    };
    PodName { namespace: value("K8S_POD_NAMESPACE"), name: value("K8S_POD_NAME"), uid: value("K8S_POD_UID") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(command: Command, pairs: &[(&str, &str)]) -> Result<Environment, CniError> {
        Environment::parse(command, &|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_pod_is_read_from_the_arguments() {
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1-2";
        let pairs = [("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/n"), ("CNI_ARGS", args)];
        let environment = parse(Command::Add, &pairs).unwrap();
        assert_eq!(environment.pod, PodName { namespace: "shop".into(), name: "web-0".into(), uid: "1-2".into() });
    }

    #[test]
    fn names_that_would_leave_the_state_folder_are_refused() {
        for id in ["", "../x", "a/b", ".hidden", "a b"] {
            let error = parse(Command::Add, &[("CNI_CONTAINERID", id), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/n")]).unwrap_err();
            assert_eq!(error.code, Code::InvalidEnvironment, "{id:?}");
        }
        for name in ["", "..", "a/b", "sixteen-letters!", "with space", "a:b"] {
            let error = parse(Command::Add, &[("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", name), ("CNI_NETNS", "/n")]).unwrap_err();
            assert_eq!(error.code, Code::InvalidEnvironment, "{name:?}");
        }
    }

    #[test]
    fn only_del_may_come_without_a_namespace() {
        let pairs = [("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "")];
        assert!(parse(Command::Del, &pairs).is_ok());
        assert!(parse(Command::Add, &pairs).is_err());
        assert!(parse(Command::Check, &pairs).is_err());
    }
}
