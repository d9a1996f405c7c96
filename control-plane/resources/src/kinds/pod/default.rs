//! Defaults of pods and pod templates.

use crate::quantity;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, DownwardAPIVolumeFile, EnvVar, HTTPGetAction, LifecycleHandler, ObjectFieldSelector, PodSecurityContext,
    PodSpec, Probe, ResourceFieldSelector, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// 0644
const FILE_MODE: i32 = 420;
const TOKEN_SECONDS: i64 = 3600;

/// What holds for pods and templates alike.
pub fn spec(spec: &mut PodSpec) {
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    for flag in [&mut spec.host_network, &mut spec.host_pid, &mut spec.host_ipc] {
        if *flag == Some(false) {
            *flag = None;
        }
    }
    // The older name of the field carries the same value.
    if spec.service_account_name.as_ref().is_none_or(String::is_empty) {
        spec.service_account_name = spec.service_account.clone().filter(|name| !name.is_empty());
    }
    spec.service_account.clone_from(&spec.service_account_name);
    for volume in spec.volumes.iter_mut().flatten() {
        self::volume(volume);
    }
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        self::container(container);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        text(&mut container.image_pull_policy, pull_policy(container.image.as_deref()));
        text(&mut container.termination_message_path, "/dev/termination-log");
        text(&mut container.termination_message_policy, "File");
        env(container.env.iter_mut().flatten());
    }
}

/// What holds for pods only, not for templates.
pub fn pod(spec: &mut PodSpec) {
    spec.enable_service_links.get_or_insert(true);
    let host_network = spec.host_network == Some(true);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if let Some(resources) = &mut container.resources
            && let Some(limits) = &resources.limits
        {
            let requests = resources.requests.get_or_insert_default();
            for (name, amount) in limits {
                requests.entry(name.clone()).or_insert_with(|| amount.clone());
            }
        }
        if host_network {
            for port in container.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or_default() == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
}

fn container(container: &mut Container) {
    text(&mut container.image_pull_policy, pull_policy(container.image.as_deref()));
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    let resources = container.resources.get_or_insert_default();
    for amount in [&mut resources.limits, &mut resources.requests].into_iter().flatten().flat_map(|list| list.values_mut()) {
        round_to_milli(amount);
    }
    for ContainerPort { protocol, .. } in container.ports.iter_mut().flatten() {
        text(protocol, "TCP");
    }
    env(container.env.iter_mut().flatten());
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe].into_iter().flatten() {
        self::probe(probe);
    }
    for handler in container.lifecycle.iter_mut().flat_map(|l| [&mut l.post_start, &mut l.pre_stop]).flatten() {
        let LifecycleHandler { http_get, .. } = handler;
        http_get.as_mut().map(self::http_get);
    }
}

fn env<'a>(list: impl Iterator<Item = &'a mut EnvVar>) {
    for source in list.filter_map(|e| e.value_from.as_mut()) {
        source.field_ref.as_mut().map(field_ref);
        source.resource_field_ref.as_mut().map(resource_ref);
    }
}

/// Amounts finer than a thousandth count as the next thousandth.
fn round_to_milli(amount: &mut Quantity) {
    let fine = quantity::Quantity::parse(&amount.0).ok().filter(|q| !q.is_milli());
    if let Some(fine) = fine {
        amount.0 = format!("{}m", fine.milli());
    }
}

fn probe(probe: &mut Probe) {
    for (value, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if value.unwrap_or_default() == 0 {
            *value = Some(default);
        }
    }
    probe.http_get.as_mut().map(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
}

fn field_ref(field: &mut ObjectFieldSelector) {
    text(&mut field.api_version, "v1");
}

fn resource_ref(field: &mut ResourceFieldSelector) {
    field.divisor.get_or_insert_with(|| Quantity("0".to_owned()));
}

fn downward(items: Option<&mut Vec<DownwardAPIVolumeFile>>) {
    for item in items.into_iter().flatten() {
        item.field_ref.as_mut().map(field_ref);
        item.resource_field_ref.as_mut().map(resource_ref);
    }
}

fn volume(volume: &mut Volume) {
    let named = Volume { name: volume.name.clone(), ..Volume::default() };
    if *volume == named {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        downward(source.items.as_mut());
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        for part in source.sources.iter_mut().flatten() {
            if let Some(token) = &mut part.service_account_token {
                token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
            }
            downward(part.downward_api.as_mut().and_then(|d| d.items.as_mut()));
        }
    }
    if let Some(template) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        text(&mut template.spec.volume_mode, "Filesystem");
    }
}

/// `Always` for the tag `latest`, which an image without tag and digest has; else `IfNotPresent`.
fn pull_policy(image: Option<&str>) -> &'static str {
    let image = image.unwrap_or_default();
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag, digest) {
        _ if image.is_empty() => "IfNotPresent",
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn text(value: &mut Option<String>, default: &str) {
    if value.as_ref().is_none_or(String::is_empty) {
        *value = Some(default.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pod;
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    fn decoded(spec: Value) -> Value {
        Typed::<Pod>::NEW.decode(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap().object["spec"].clone()
    }

    #[test]
    fn the_smallest_pod_gets_all_its_defaults() {
        assert_eq!(
            decoded(json!({"containers": [{"name": "a", "image": "busybox:1"}]})),
            json!({
                "containers": [{"name": "a", "image": "busybox:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            })
        );
    }

    #[test]
    fn the_tag_decides_when_images_are_pulled() {
        for (image, policy) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("host:5000/a", "Always"),
            ("host:5000/a:1", "IfNotPresent"),
            ("a@sha256:0", "IfNotPresent"),
            ("a:latest@sha256:0", "Always"),
            ("", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(Some(image)), policy, "{image}");
        }
    }

    #[test]
    fn requests_follow_limits_and_host_ports_follow_the_host_network() {
        let spec = decoded(json!({"hostNetwork": true, "containers": [{"name": "a", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}));
        assert_eq!(spec["containers"][0]["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(spec["containers"][0]["ports"][0], json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}));
    }

    #[test]
    fn amounts_are_counted_in_thousandths() {
        let limits = json!({"cpu": "1.5u", "memory": "1Gi", "example.com/x": "2500u"});
        let spec = decoded(json!({"containers": [{"name": "a", "resources": {"limits": limits}}]}));
        let limits = &spec["containers"][0]["resources"]["limits"];
        assert_eq!(*limits, json!({"cpu": "1m", "memory": "1Gi", "example.com/x": "3m"}));
    }

    #[test]
    fn probes_and_references_are_completed() {
        let spec = decoded(json!({"containers": [{"name": "a",
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5}, "readinessProbe": {"grpc": {"port": 1}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}]}));
        let container = &spec["containers"][0];
        assert_eq!(
            container["livenessProbe"],
            json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
            "periodSeconds": 5, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(container["readinessProbe"]["grpc"], json!({"port": 1, "service": ""}));
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        assert_eq!(container["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"], "0");
    }

    #[test]
    fn volumes_have_modes_and_a_source() {
        let spec = decoded(json!({"containers": [], "volumes": [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}},
            {"name": "c", "hostPath": {"path": "/x"}}, {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}]}));
        let volumes = &spec["volumes"];
        assert_eq!(volumes[0], json!({"name": "a", "emptyDir": {}}));
        assert_eq!(volumes[1]["secret"]["defaultMode"], 420);
        assert_eq!(volumes[2]["hostPath"]["type"], "");
        let projected = &volumes[3]["projected"];
        assert_eq!(
            (&projected["defaultMode"], &projected["sources"][0]["serviceAccountToken"]["expirationSeconds"]),
            (&json!(420), &json!(3600))
        );
        assert_eq!(projected["sources"][1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"], "v1");
    }
}
