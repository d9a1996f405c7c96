//! What admission is asked about where that is no object of the resource's own kind: the bodies of subresources, and the options of streams. Pure.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use orknet_resources::DecodeError;
use orknet_resources::typed::decode_body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A kind that is no resource.
#[derive(Debug)]
pub struct Form {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    read: fn(Value) -> Result<Value, DecodeError>,
}

pub static BINDING: Form = Form { group: "", version: "v1", kind: "Binding", read: read::<Binding> };
pub static EVICTION: Form = Form { group: "policy", version: "v1", kind: "Eviction", read: read::<Eviction> };
pub static SCALE: Form = Form { group: "autoscaling", version: "v1", kind: "Scale", read: read::<Scale> };
pub static TOKEN_REQUEST: Form = Form { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", read: read::<TokenRequest> };
static POD_EXEC: Form = Form { group: "", version: "v1", kind: "PodExecOptions", read: Ok };
static POD_ATTACH: Form = Form { group: "", version: "v1", kind: "PodAttachOptions", read: Ok };
static POD_PORT_FORWARD: Form = Form { group: "", version: "v1", kind: "PodPortForwardOptions", read: Ok };

static POD_PROXY: Form = Form { group: "", version: "v1", kind: "PodProxyOptions", read: Ok };
static SERVICE_PROXY: Form = Form { group: "", version: "v1", kind: "ServiceProxyOptions", read: Ok };
static NODE_PROXY: Form = Form { group: "", version: "v1", kind: "NodeProxyOptions", read: Ok };

impl Form {
    /// Normalises what somebody has changed.
    pub fn read(&self, value: Value) -> Result<Value, DecodeError> {
        (self.read)(value)
    }
}

fn read<T: k8s_openapi::Resource + DeserializeOwned + Serialize>(value: Value) -> Result<Value, DecodeError> {
    let (typed, _) = decode_body::<T>(value)?;
    serde_json::to_value(typed).map_err(|error| DecodeError(error.to_string()))
}

/// What a stream's query asks for, as the object that admission is asked about.
pub fn of_stream(subresource: &str, query: &str) -> (&'static Form, Value) {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let all = |name: &str| pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect::<Vec<String>>();
    let flag = |name: &str| all(name).first().is_some_and(|value| matches!(&value[..], "" | "1" | "t" | "T" | "true" | "TRUE" | "True"));
    let form = match subresource {
        "exec" => &POD_EXEC,
        "attach" => &POD_ATTACH,
        _ => &POD_PORT_FORWARD,
    };
    let mut options = json!({ "kind": form.kind, "apiVersion": "v1" });
    if subresource == "portforward" {
        let ports: Vec<i32> = all("ports").iter().flat_map(|list| list.split(',')).filter_map(|port| port.parse().ok()).collect();
        if !ports.is_empty() {
            options["ports"] = json!(ports);
        }
        return (form, options);
    }
    for name in ["stdin", "stdout", "stderr", "tty"] {
        if flag(name) {
            options[name] = json!(true);
        }
    }
    if let Some(container) = all("container").into_iter().next().filter(|container| !container.is_empty()) {
        options["container"] = json!(container);
    }
    if subresource == "exec" {
        options["command"] = json!(all("command"));
    }
    (form, options)
}

/// What a request through the proxy of an object asks for: the path there.
pub fn of_proxy(plural: &str, path: &str) -> (&'static Form, Value) {
    let form = match plural {
        "pods" => &POD_PROXY,
        "services" => &SERVICE_PROXY,
        _ => &NODE_PROXY,
    };
    let mut options = json!({ "kind": form.kind, "apiVersion": "v1" });
    if !path.is_empty() {
        options["path"] = json!(path);
    }
    (form, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_as_its_options() {
        let (form, options) = of_stream("exec", "container=c&command=sh&command=-c&stdin=true&stdout=1&tty=false");
        assert_eq!(form.kind, "PodExecOptions");
        let expected = json!({ "kind": "PodExecOptions", "apiVersion": "v1", "container": "c", "command": ["sh", "-c"],
            "stdin": true, "stdout": true });
        assert_eq!(options, expected);
        assert_eq!(of_stream("portforward", "ports=80&ports=81,82").1["ports"], json!([80, 81, 82]));
        assert_eq!(of_stream("attach", "").1, json!({ "kind": "PodAttachOptions", "apiVersion": "v1" }));
    }

    #[test]
    fn a_body_that_was_changed_is_read_again() {
        let scale =
            json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": { "name": "a" }, "spec": { "replicas": 3, "x": 1 } });
        let read = SCALE.read(scale).expect("reads");
        assert_eq!(read["spec"], json!({ "replicas": 3 }));
        assert!(SCALE.read(json!({ "spec": { "replicas": "many" } })).is_err());
    }
}
