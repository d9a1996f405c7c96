//! The subresources as discovery shows them: whose kind their bodies are, and what can be done. Facts of the API, in one table.

use orknet_resources::Descriptor;

/// One subresource in discovery.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub kind: &'static str,
    /// Group and version of the body's kind, where they are not the parent's.
    pub version: Option<(&'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

/// How a subresource of a kind is shown; `None` for names that are none.
pub fn shown(parent: &Descriptor, subresource: &str) -> Option<Shown> {
    let own = |verbs| Some(Shown { kind: parent.kind, version: None, verbs });
    let other = |kind, version, verbs| Some(Shown { kind, version, verbs });
    match subresource {
        "status" => own(&["get", "patch", "update"]),
        "ephemeralcontainers" | "resize" | "approval" => own(&["get", "patch", "update"]),
        "finalize" => own(&["update"]),
        "log" => own(&["get"]),
        "scale" => other("Scale", Some(("autoscaling", "v1")), &["get", "patch", "update"]),
        "binding" => other("Binding", None, &["create"]),
        "eviction" => other("Eviction", Some(("policy", "v1")), &["create"]),
        "token" => other("TokenRequest", Some(("authentication.k8s.io", "v1")), &["create"]),
        "exec" => other("PodExecOptions", None, &["create", "get"]),
        "attach" => other("PodAttachOptions", None, &["create", "get"]),
        "portforward" => other("PodPortForwardOptions", None, &["create", "get"]),
        "proxy" => {
            let kind = match parent.plural {
                "pods" => "PodProxyOptions",
                "services" => "ServiceProxyOptions",
                _ => "NodeProxyOptions",
            };
            other(kind, None, &["create", "delete", "get", "patch", "update"])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subresource_of_the_registry_is_shown() {
        for kind in crate::kinds::own() {
            let names = kind.descriptor();
            for subresource in names.subresources {
                assert!(shown(names, subresource).is_some(), "{}/{subresource}", names.plural);
            }
        }
    }
}
