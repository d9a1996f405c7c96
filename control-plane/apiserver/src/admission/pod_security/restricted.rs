//! What the level `restricted` asks for besides: a pod that says that it does without.

use super::baseline::{adders, seccomp_setters, seccomp_violation};
use super::subject::{Container, Setters, Subject, Violation, containers, plural, quoted};
use k8s_openapi::api::core::v1::Volume;
use std::collections::BTreeSet;

pub fn allow_privilege_escalation(subject: &Subject, _: u32) -> Option<Violation> {
    let bad = names(subject, |container| container.context.and_then(|context| context.allow_privilege_escalation) != Some(false));
    (!bad.is_empty()).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
        Violation::new("allowPrivilegeEscalation != false", detail)
    })
}

pub fn capabilities(subject: &Subject, _: u32) -> Option<Violation> {
    let drops_all = |container: &Container<'_>| {
        let dropped = container.context.and_then(|context| context.capabilities.as_ref()?.drop.as_ref());
        dropped.is_some_and(|dropped| dropped.iter().any(|capability| capability == "ALL"))
    };
    let keeping = names(subject, |container| !drops_all(container));
    let (adding, added) = adders(subject, &|capability| capability == "NET_BIND_SERVICE");
    let keeping = (!keeping.is_empty()).then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    let adding = (!adding.is_empty())
        .then(|| format!("{} must not include {} in securityContext.capabilities.add", containers(&adding), quoted(&added)));
    let details: Vec<String> = keeping.into_iter().chain(adding).collect();
    (!details.is_empty()).then(|| Violation::new("unrestricted capabilities", details.join("; ")))
}

pub fn volumes(subject: &Subject, _: u32) -> Option<Violation> {
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in subject.spec.volumes.iter().flatten() {
        if let Some(kind) = restricted_kind(volume) {
            bad.push(&volume.name);
            kinds.insert(kind);
        }
    }
    (!bad.is_empty()).then(|| {
        let (word, verb) = (plural("volume", "volumes", bad.len()), plural("uses", "use", bad.len()));
        let of = plural("restricted volume type", "restricted volume types", kinds.len());
        Violation::new("restricted volume types", format!("{word} {} {verb} {of} {}", quoted(&bad), quoted(&kinds)))
    })
}

pub fn run_as_non_root(subject: &Subject, _: u32) -> Option<Violation> {
    let of_pod = subject.context().and_then(|context| context.run_as_non_root);
    let own = |container: &Container<'_>| container.context.and_then(|context| context.run_as_non_root);
    let setters =
        Setters { pod: of_pod == Some(false), containers: names(subject, |container| own(container) == Some(false)), ..Setters::default() };
    let reason = "runAsNonRoot != true";
    if !setters.is_nobody() {
        return Some(Violation::new(reason, format!("{} must not set securityContext.runAsNonRoot=false", setters.shown())));
    }
    let silent = names(subject, |container| own(container).is_none() && of_pod != Some(true));
    (!silent.is_empty())
        .then(|| Violation::new(reason, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent))))
}

pub fn run_as_user(subject: &Subject, _: u32) -> Option<Violation> {
    let setters = Setters {
        pod: subject.context().and_then(|context| context.run_as_user) == Some(0),
        containers: names(subject, |container| container.context.and_then(|context| context.run_as_user) == Some(0)),
        ..Setters::default()
    };
    (!setters.is_nobody()).then(|| Violation::new("runAsUser=0", format!("{} must not set runAsUser=0", setters.shown())))
}

pub fn seccomp_profile(subject: &Subject, _: u32) -> Option<Violation> {
    let setters = seccomp_setters(subject);
    if !setters.is_nobody() {
        return Some(seccomp_violation(&setters));
    }
    let of_pod = subject.context().is_some_and(|context| context.seccomp_profile.is_some());
    let silent = names(subject, |container| !of_pod && container.context.is_none_or(|context| context.seccomp_profile.is_none()));
    (!silent.is_empty()).then(|| {
        let to = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
        Violation::new("seccompProfile", format!("pod or {} {to}", containers(&silent)))
    })
}

/// Since 1.25 a pod for Windows is not asked for what means nothing there.
pub fn unless_for_windows(check: fn(&Subject, u32) -> Option<Violation>, subject: &Subject, minor: u32) -> Option<Violation> {
    if subject.is_for_windows() { None } else { check(subject, minor) }
}

fn names<'a>(subject: &'a Subject, is_bad: impl Fn(&Container<'a>) -> bool) -> Vec<&'a str> {
    subject.containers().filter(|container| is_bad(container)).map(|container| container.name).collect()
}

/// What a volume is of, unless it is one that everybody may have.
fn restricted_kind(volume: &Volume) -> Option<&'static str> {
    let allowed = volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some();
    let restricted = [
        ("hostPath", volume.host_path.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("fc", volume.fc.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("storageos", volume.storageos.is_some()),
    ];
    (!allowed).then(|| restricted.into_iter().find(|(_, is_it)| *is_it).map_or("unknown", |(kind, _)| kind))
}
