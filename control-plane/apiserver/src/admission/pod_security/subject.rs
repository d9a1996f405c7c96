//! A pod as the checks see it: its annotations, its spec and its containers of all three kinds. And the words that are made of names.

use k8s_openapi::api::core::v1::{ContainerPort, PodSecurityContext, PodSpec, SecurityContext};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};

pub const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// A pod, or what a workload makes its pods of.
#[derive(Default)]
pub struct Subject {
    pub meta: ObjectMeta,
    pub spec: PodSpec,
}

/// What the checks ask of a container.
pub struct Container<'a> {
    pub name: &'a str,
    pub context: Option<&'a SecurityContext>,
    pub ports: &'a [ContainerPort],
}

impl Subject {
    /// All containers, those that start first before the others.
    pub fn containers(&self) -> impl Iterator<Item = Container<'_>> {
        fn of<'a>(name: &'a str, context: &'a Option<SecurityContext>, ports: &'a Option<Vec<ContainerPort>>) -> Container<'a> {
            Container { name, context: context.as_ref(), ports: ports.as_deref().unwrap_or_default() }
        }
        let spec = &self.spec;
        let plain = spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| of(&c.name, &c.security_context, &c.ports));
        plain.chain(spec.ephemeral_containers.iter().flatten().map(|c| of(&c.name, &c.security_context, &c.ports)))
    }

    /// What is said of all its containers.
    pub fn context(&self) -> Option<&PodSecurityContext> {
        self.spec.security_context.as_ref()
    }

    pub fn annotations(&self) -> impl Iterator<Item = (&String, &String)> {
        self.meta.annotations.iter().flat_map(BTreeMap::iter)
    }

    /// Whether a pod that is changed is to be judged again: images, the number of containers and the annotations of seccomp are all that may change.
    pub fn differs_from(&self, old: &Self) -> bool {
        let annotation = |subject: &Self, key: &str| subject.meta.annotations.as_ref().and_then(|all| all.get(key).cloned());
        let seccomp = |subject: &Self| -> Vec<Option<String>> {
            let keys = self.containers().map(|container| format!("{}{}", SECCOMP, container.name));
            std::iter::once(SECCOMP_OF_POD.to_owned()).chain(keys).map(|key| annotation(subject, &key)).collect()
        };
        let images = |subject: &Self| -> Vec<Option<String>> {
            let spec = &subject.spec;
            let plain = spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| c.image.clone());
            plain.chain(spec.ephemeral_containers.iter().flatten().map(|c| c.image.clone())).collect()
        };
        images(self) != images(old) || seccomp(self) != seccomp(old)
    }

    /// Whether it says that it is for Windows, where some fields mean nothing.
    pub fn is_for_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }
}

/// Why a pod is not within a standard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `runAsUser=0`
    pub reason: String,
    /// `pod must not set runAsUser=0`
    pub detail: String,
}

impl Violation {
    pub fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }
}

/// Who sets something that may not be set, and to what.
#[derive(Default)]
pub struct Setters<'a> {
    pub pod: bool,
    pub containers: Vec<&'a str>,
    pub values: BTreeSet<String>,
}

impl Setters<'_> {
    pub fn is_nobody(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod and containers "a", "b"`, with who else sets it.
    pub fn shown_with(&self, others: Option<String>) -> String {
        let containers = (!self.containers.is_empty()).then(|| containers(&self.containers));
        let setters: Vec<String> = self.pod.then(|| "pod".to_owned()).into_iter().chain(containers).chain(others).collect();
        setters.join(" and ")
    }

    pub fn shown(&self) -> String {
        self.shown_with(None)
    }
}

/// `container "a"`, `containers "a", "b"`
pub fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `"a", "b"`
pub fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    names.join(", ")
}

/// One of the two words, by how many there are.
pub fn plural<'w>(one: &'w str, more: &'w str, count: usize) -> &'w str {
    if count == 1 { one } else { more }
}
