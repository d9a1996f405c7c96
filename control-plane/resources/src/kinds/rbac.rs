//! Role-based access control: roles and their bindings. Deciding is the authoriser's.

use crate::contract::Descriptor;
use crate::typed::{Kind, cluster, namespaced};
use k8s_openapi::api::rbac::v1;

pub struct Role;

impl Kind for Role {
    type Object = v1::Role;

    const DESCRIPTOR: Descriptor = namespaced::<v1::Role>("roles", "role");
}

pub struct RoleBinding;

impl Kind for RoleBinding {
    type Object = v1::RoleBinding;

    const DESCRIPTOR: Descriptor = namespaced::<v1::RoleBinding>("rolebindings", "rolebinding");
}

pub struct ClusterRole;

impl Kind for ClusterRole {
    type Object = v1::ClusterRole;

    const DESCRIPTOR: Descriptor = cluster::<v1::ClusterRole>("clusterroles", "clusterrole");
}

pub struct ClusterRoleBinding;

impl Kind for ClusterRoleBinding {
    type Object = v1::ClusterRoleBinding;

    const DESCRIPTOR: Descriptor = cluster::<v1::ClusterRoleBinding>("clusterrolebindings", "clusterrolebinding");
}
