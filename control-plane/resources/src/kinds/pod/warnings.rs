//! What a user should hear about a pod that is accepted all the same: what is old, does nothing, or says something else than it seems to.
//! Source: `pkg/api/pod/warnings.go` of Kubernetes 1.33; the texts are kube-apiserver's.

use crate::field::Path;
use crate::quantity::Quantity;
use crate::selector::Labels;
use k8s_openapi::api::core::v1::{
    Affinity, ContainerPort, EnvVar, NodeSelectorTerm, PodAffinityTerm, PodSpec, ProjectedVolumeSource, ResourceRequirements,
    SecurityContext, Volume, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource;
use std::collections::{BTreeMap, HashSet};

/// Older names of node labels and what to use instead.
const OLD_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];
/// Annotations that do nothing any more.
const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR_OF_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
const USE_SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const USE_APP_ARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Warnings about a pod or a template, whose spec and annotations these are. `at`: the pod or template.
pub fn all(spec: &PodSpec, annotations: Option<&Labels>, at: &Path<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let (at_spec, at_meta) = (at.field("spec"), at.field("metadata"));
    nodes(spec, &at_spec, &mut found);
    let at_annotations = at_meta.field("annotations");
    let annotated = Annotations { all: annotations, at: &at_annotations };
    for (name, what) in OLD_ANNOTATIONS {
        annotated.warn_of(name, what, &mut found);
    }
    volumes(spec.volumes.as_deref().unwrap_or_default(), &at_spec.field("volumes"), &mut found);
    references(spec, &at_spec, &mut found);
    fractions(spec.overhead.as_ref(), &at_spec.field("overhead"), &mut found);
    let security = spec.security_context.as_ref();
    if security.is_none_or(|security| security.seccomp_profile.is_none()) {
        annotated.warn_of(SECCOMP_OF_POD, USE_SECCOMP, &mut found);
    }
    let has_app_armor = security.is_some_and(|security| security.app_armor_profile.is_some());
    visit(spec, &at_spec, &mut |container, at| self::container(container, at, &annotated, has_app_armor, &mut found));
    ports(spec, &at_spec, &mut found);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let at = at_spec.field("terminationGracePeriodSeconds");
        found.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    if let Some(affinity) = &spec.affinity {
        pods(affinity, &at_spec.field("affinity"), &mut found);
    }
    found
}

/// Annotations, and where they are.
struct Annotations<'a> {
    all: Option<&'a Labels>,
    at: &'a Path<'a>,
}

impl Annotations<'_> {
    fn warn_of(&self, name: &str, what: &str, found: &mut Vec<String>) {
        if self.all.is_some_and(|all| all.contains_key(name)) {
            found.push(format!("{}: {what}", self.at.key(name)));
        }
    }
}

/// What containers of all sorts have.
struct View<'a> {
    name: &'a str,
    env: &'a [EnvVar],
    ports: &'a [ContainerPort],
    resources: Option<&'a ResourceRequirements>,
    security: Option<&'a SecurityContext>,
}

fn visit(spec: &PodSpec, at: &Path<'_>, see: &mut dyn FnMut(&View<'_>, &Path<'_>)) {
    for (name, list) in [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)] {
        let list_at = at.field(name);
        for (i, container) in list.iter().enumerate() {
            let view = View {
                name: &container.name,
                env: container.env.as_deref().unwrap_or_default(),
                ports: container.ports.as_deref().unwrap_or_default(),
                resources: container.resources.as_ref(),
                security: container.security_context.as_ref(),
            };
            see(&view, &list_at.index(i));
        }
    }
    let list_at = at.field("ephemeralContainers");
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let view = View {
            name: &container.name,
            env: container.env.as_deref().unwrap_or_default(),
            ports: container.ports.as_deref().unwrap_or_default(),
            resources: container.resources.as_ref(),
            security: container.security_context.as_ref(),
        };
        see(&view, &list_at.index(i));
    }
}

fn old_label(name: &str) -> Option<String> {
    let (_, new) = OLD_NODE_LABELS.iter().find(|(old, _)| *old == name)?;
    Some(format!("deprecated since v1.14; use {new:?} instead"))
}

/// Labels of nodes that are spelled otherwise by now, and spread constraints that are about nothing.
fn nodes(spec: &PodSpec, at: &Path<'_>, found: &mut Vec<String>) {
    let at_selector = at.field("nodeSelector");
    for name in spec.node_selector.iter().flat_map(|labels| labels.keys()) {
        found.extend(old_label(name).map(|why| format!("{}: {why}", at_selector.key(name))));
    }
    if let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) {
        let (at_affinity, during) = (at.field("affinity"), "DuringSchedulingIgnoredDuringExecution");
        let at_nodes = at_affinity.field("nodeAffinity");
        if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
            let name = format!("required{during}");
            let at_required = at_nodes.field(&name);
            let at_terms = at_required.field("nodeSelectorTerms");
            for (i, term) in required.node_selector_terms.iter().enumerate() {
                node_term(term, &at_terms.index(i), found);
            }
        }
        let name = format!("preferred{during}");
        let at_preferred = at_nodes.field(&name);
        for (i, term) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
            node_term(&term.preference, &at_preferred.index(i).field("preference"), found);
        }
    }
    let at_spread = at.field("topologySpreadConstraints");
    for (i, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let at = at_spread.index(i);
        let key = &constraint.topology_key;
        found.extend(old_label(key).map(|why| format!("{}: {key} is {why}", at.field("topologyKey"))));
        if constraint.label_selector.is_none() {
            found.push(format!("{}: {NO_SELECTOR}", at.field("labelSelector")));
        }
    }
}

fn node_term(term: &NodeSelectorTerm, at: &Path<'_>, found: &mut Vec<String>) {
    let at = at.field("matchExpressions");
    for (i, expression) in term.match_expressions.iter().flatten().enumerate() {
        let key = &expression.key;
        found.extend(old_label(key).map(|why| format!("{}: {key} is {why}", at.index(i).field("key"))));
    }
}

fn volumes(list: &[Volume], at: &Path<'_>, found: &mut Vec<String>) {
    for (i, volume) in list.iter().enumerate() {
        let at = at.index(i);
        for (field, is_used, what) in [
            ("photonPersistentDisk", volume.photon_persistent_disk.is_some(), "deprecated in v1.11, non-functional in v1.16+"),
            ("gitRepo", volume.git_repo.is_some(), "deprecated in v1.11"),
            ("scaleIO", volume.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
            ("flocker", volume.flocker.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
            ("storageOS", volume.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
            ("quobyte", volume.quobyte.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
            ("glusterfs", volume.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
            ("cephfs", volume.cephfs.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
            ("rbd", volume.rbd.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        ] {
            if is_used {
                found.push(format!("{}: {what}", at.field(field)));
            }
        }
        let template = volume.ephemeral.as_ref().and_then(|ephemeral| ephemeral.volume_claim_template.as_ref());
        if let Some(requests) = template.and_then(|template| template.spec.resources.as_ref()).and_then(|r| r.requests.as_ref()) {
            let at = at.field("ephemeral");
            let at = at.field("volumeClaimTemplate");
            let at = at.field("spec");
            let at = at.field("resources");
            fraction(requests, "storage", &at.field("requests"), found);
        }
    }
    let sources = || list.iter().enumerate().filter_map(|(i, volume)| volume.projected.as_ref().map(|projected| (i, projected)));
    let tokens: HashSet<&str> = sources()
        .flat_map(|(_, projected)| projected.sources.iter().flatten())
        .filter_map(|part| part.service_account_token.as_ref().map(|token| &token.path[..]))
        .collect();
    if !tokens.is_empty() {
        sources().for_each(|(i, projected)| self::projected(projected, &tokens, &at.index(i).field("projected"), found));
    }
}

/// Files that a token takes the place of.
fn projected(source: &ProjectedVolumeSource, tokens: &HashSet<&str>, at: &Path<'_>, found: &mut Vec<String>) {
    let at = at.field("sources");
    let told =
        |at: String, path: &str| tokens.contains(path).then(|| format!("{at}: has duplicated path with ServiceAccountToken {path:?}"));
    for part in source.sources.iter().flatten() {
        // The paths are upstream's, which leave out which of the sources it is.
        for (field, items) in [
            ("configMap", part.config_map.as_ref().and_then(|map| map.items.as_deref())),
            ("secrets", part.secret.as_ref().and_then(|secret| secret.items.as_deref())),
        ] {
            let at = at.field(field);
            found.extend(items.into_iter().flatten().enumerate().filter_map(|(j, item)| told(at.index(j).to_string(), &item.path)));
        }
        let at_downward = at.field("downwardAPI");
        let items = part.downward_api.iter().flat_map(|downward| downward.items.iter().flatten());
        found.extend(items.enumerate().filter_map(|(j, item)| told(at_downward.index(j).to_string(), &item.path)));
        if let Some(bundle) = &part.cluster_trust_bundle {
            found.extend(told(at.field("ClusterTrustBundle").to_string(), &bundle.path));
        }
    }
}

/// Names and addresses that are said twice or not at all.
fn references(spec: &PodSpec, at: &Path<'_>, found: &mut Vec<String>) {
    let at_aliases = at.field("hostAliases");
    let mut seen = HashSet::new();
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if !seen.insert(&alias.ip) {
            found.push(format!("{}: duplicate ip {:?}", at_aliases.index(i).field("ip"), alias.ip));
        }
    }
    let at_secrets = at.field("imagePullSecrets");
    let secrets = || spec.image_pull_secrets.iter().flatten().enumerate();
    let mut seen = HashSet::new();
    for (i, secret) in secrets().filter(|(_, secret)| !seen.insert(&secret.name)) {
        found.push(format!("{}: duplicate name {:?}", at_secrets.index(i).field("name"), secret.name));
    }
    for (i, secret) in secrets().filter(|(_, secret)| secret.name.is_empty()) {
        found.push(format!("{}: invalid empty name {:?}", at_secrets.index(i).field("name"), secret.name));
    }
}

type Amounts = BTreeMap<String, resource::Quantity>;

fn fractions(amounts: Option<&Amounts>, at: &Path<'_>, found: &mut Vec<String>) {
    let Some(amounts) = amounts else { return };
    for name in ["memory", "ephemeral-storage"] {
        fraction(amounts, name, at, found);
    }
}

fn fraction(amounts: &Amounts, name: &str, at: &Path<'_>, found: &mut Vec<String>) {
    if let Some(amount) = amounts.get(name).and_then(|amount| Quantity::parse(&amount.0).ok())
        && !amount.is_whole()
    {
        found.push(format!("{}: fractional byte value {:?} is invalid, must be an integer", at.key(name), amount.text()));
    }
}

fn container(container: &View<'_>, at: &Path<'_>, annotated: &Annotations<'_>, has_app_armor: bool, found: &mut Vec<String>) {
    let has = |is: fn(&SecurityContext) -> bool| container.security.is_some_and(is);
    if !has(|security| security.seccomp_profile.is_some()) {
        annotated.warn_of(&format!("{SECCOMP_OF_CONTAINER}{}", container.name), USE_SECCOMP, found);
    }
    if !has_app_armor && !has(|security| security.app_armor_profile.is_some()) {
        annotated.warn_of(&format!("{APP_ARMOR_OF_CONTAINER}{}", container.name), USE_APP_ARMOR, found);
    }
    if let Some(resources) = container.resources {
        let at = at.field("resources");
        for name in ["memory", "ephemeral-storage"] {
            for (field, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
                if let Some(amounts) = amounts {
                    fraction(amounts, name, &at.field(field), found);
                }
            }
        }
    }
    let list = at.field("env");
    let mut names = HashSet::new();
    for (i, var) in container.env.iter().enumerate() {
        let itself = format!("$({})", var.name);
        let value = var.value.as_deref().unwrap_or_default();
        // A value that has the former one in it, and more, is meant.
        let extends = var.value_from.is_none() && value != itself && value.contains(&itself);
        if !names.insert(&var.name) && !extends {
            found.push(format!("{}: hides previous definition of {:?}, which may be dropped when using apply", list.index(i), var.name));
        }
    }
}

/// Ports of all containers, which share one address.
fn ports(spec: &PodSpec, at: &Path<'_>, found: &mut Vec<String>) {
    struct Seen {
        at: String,
        port: ContainerPort,
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut seen: BTreeMap<(i32, String), Vec<Seen>> = BTreeMap::new();
    visit(spec, at, &mut |container, at| {
        let list = at.field("ports");
        for (i, port) in container.ports.iter().enumerate() {
            let at = list.index(i).to_string();
            let (ip, host) = (text(&port.host_ip), port.host_port.unwrap_or_default());
            if !ip.is_empty() && host == 0 {
                let (name, protocol) = (text(&port.name), text(&port.protocol));
                let shown = format!("{{Name:{name} HostPort:0 ContainerPort:{} Protocol:{protocol} HostIP:{ip}}}", port.container_port);
                found.push(format!("{at}: hostIP set without hostPort: {shown}"));
            }
            let others = seen.entry((port.container_port, text(&port.protocol))).or_default();
            for other in others.iter() {
                let (other_ip, other_host) = (text(&other.port.host_ip), other.port.host_port.unwrap_or_default());
                let how = if (&ip, host) == (&other_ip, other_host) {
                    "duplicate"
                } else if host == 0 || other_host == 0 {
                    "overlapping"
                } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                found.push(format!("{at}: {how} port definition with {}", other.at));
            }
            others.push(Seen { at, port: port.clone() });
        }
    });
}

/// Affinities to pods that select none.
fn pods(affinity: &Affinity, at: &Path<'_>, found: &mut Vec<String>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    type Terms<'a> = (Option<&'a Vec<PodAffinityTerm>>, Option<&'a Vec<WeightedPodAffinityTerm>>);
    let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let terms: [(&str, Terms<'_>); 2] = [
        (
            "podAffinity",
            (
                near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
                near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
        ),
        (
            "podAntiAffinity",
            (
                far.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
                far.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
        ),
    ];
    for (field, (required, preferred)) in terms {
        let at = at.field(field);
        let (at_required, at_preferred) = (at.field(REQUIRED), at.field(PREFERRED));
        for (i, _) in required.into_iter().flatten().enumerate().filter(|(_, term)| term.label_selector.is_none()) {
            found.push(format!("{}: {NO_SELECTOR}", at_required.index(i).field("labelSelector")));
        }
        for (i, _) in preferred.into_iter().flatten().enumerate().filter(|(_, term)| term.pod_affinity_term.label_selector.is_none()) {
            found.push(format!("{}: {NO_SELECTOR}", at_preferred.index(i).field("podAffinityTerm").field("labelSelector")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pod;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    fn told(meta: Value, mut spec: Value) -> Vec<String> {
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{ "name": "a" }]);
        }
        Typed::<Pod>::NEW.warnings(&json!({ "metadata": meta, "spec": spec }))
    }

    #[test]
    fn hidden_variables_and_old_labels_are_pointed_out() {
        let spec = json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "a", "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}, {"name": "B", "value": "x$(B)"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80, "name": "x"}]}]});
        assert_eq!(
            told(json!({}), spec),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ]
        );
        let expression = json!([{"key": "failure-domain.beta.kubernetes.io/zone", "operator": "Exists"}]);
        let affinity = json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expression}]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": expression}}]}}});
        let why = "failure-domain.beta.kubernetes.io/zone is deprecated since v1.14; use \"topology.kubernetes.io/zone\" instead";
        let at = "spec.affinity.nodeAffinity";
        assert_eq!(
            told(json!({}), affinity),
            [
                format!("{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: {why}"),
                format!("{at}.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: {why}"),
            ]
        );
    }

    #[test]
    fn what_does_nothing_any_more_is_pointed_out() {
        let annotations = json!({"scheduler.alpha.kubernetes.io/critical-pod": "", "seccomp.security.alpha.kubernetes.io/pod": "x",
            "container.seccomp.security.alpha.kubernetes.io/a": "x", "container.apparmor.security.beta.kubernetes.io/a": "x"});
        let meta = json!({ "annotations": annotations });
        assert_eq!(
            told(
                meta.clone(),
                json!({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}, {"name": "w", "rbd": {"monitors": [], "image": "i"}}]})
            ),
            [
                "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
                "spec.volumes[0].gitRepo: deprecated in v1.11",
                "spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+",
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
                "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/a]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
            ]
        );
        let profile = json!({"type": "RuntimeDefault"});
        let fields = json!({"securityContext": {"seccompProfile": profile, "appArmorProfile": profile},
            "containers": [{"name": "a", "securityContext": {"seccompProfile": profile}}]});
        assert_eq!(told(meta, fields).len(), 1);
    }

    #[test]
    fn what_says_nothing_or_twice_is_pointed_out() {
        assert_eq!(
            told(
                json!({}),
                json!({
                    "hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}],
                    "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {"name": ""}],
                    "overhead": {"memory": "100m"},
                    "terminationGracePeriodSeconds": -5,
                    "topologySpreadConstraints": [{"topologyKey": "beta.kubernetes.io/arch", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
                    "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k"}]},
                        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "k"}}]}},
                    "containers": [{"name": "a", "resources": {"limits": {"memory": "1500m"}, "requests": {"cpu": "1m", "memory": "1500m"}}}],
                })
            ),
            [
                "spec.topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"",
                "spec.imagePullSecrets[1].name: duplicate name \"a\"",
                "spec.imagePullSecrets[2].name: invalid empty name \"\"",
                "spec.overhead[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
                "spec.containers[0].resources.requests[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
            ]
        );
    }

    #[test]
    fn ports_are_compared_over_all_containers() {
        let port = |host: i32, ip: &str| json!({"containerPort": 80, "protocol": "TCP", "hostPort": host, "hostIP": ip});
        let spec = json!({"initContainers": [{"name": "i", "ports": [port(0, "")]}],
            "containers": [{"name": "a", "ports": [port(8080, "")]}, {"name": "b", "ports": [port(8080, "1.2.3.4"), port(9090, "")]},
                {"name": "c", "ports": [{"containerPort": 81, "protocol": "UDP", "hostIP": "::1"}]}]});
        assert_eq!(
            told(json!({}), spec),
            [
                "spec.containers[0].ports[0]: overlapping port definition with spec.initContainers[0].ports[0]",
                "spec.containers[1].ports[0]: overlapping port definition with spec.initContainers[0].ports[0]",
                "spec.containers[1].ports[0]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
                "spec.containers[1].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]",
                "spec.containers[2].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:UDP HostIP:::1}",
            ]
        );
    }

    #[test]
    fn files_that_a_token_hides_are_pointed_out() {
        let volumes = json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "token"}]}},
            {"secret": {"name": "s", "items": [{"key": "a", "path": "token"}]}}]}}]);
        assert_eq!(
            told(json!({}), json!({ "volumes": volumes })),
            [
                "spec.volumes[0].projected.sources.configMap[1]: has duplicated path with ServiceAccountToken \"token\"",
                "spec.volumes[0].projected.sources.secrets[0]: has duplicated path with ServiceAccountToken \"token\"",
            ]
        );
    }
}
