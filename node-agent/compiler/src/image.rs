//! [`MapImage`]: everything the kernel should know, as plain values, and the order in which a change of it is safe to apply.

use orknet_abi::{Backend, BackendKey, Pod, PodKey, Service, ServiceKey};
use std::collections::BTreeMap;

/// The wanted contents of the maps that user space owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapImage {
    pub services: BTreeMap<ServiceKey, Service>,
    pub backends: BTreeMap<BackendKey, Backend>,
    pub pods: BTreeMap<PodKey, Pod>,
}

/// One write to one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    PutBackend(BackendKey, Backend),
    PutPod(PodKey, Pod),
    PutService(ServiceKey, Service),
    DeleteService(ServiceKey),
    DeletePod(PodKey),
    DeleteBackend(BackendKey),
}

/// Writes in an order that is safe at every step: backends before the Services that use them, the reverse on removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}
