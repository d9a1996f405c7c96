//! Plans that tests need: a Service with its backends, pods on devices.

use orknet_abi::{Backend, BackendKey, Pod, PodKey, Range, RangeKey, Service, ServiceKey, range_kinds, scope, service_flags};
use orknet_compiler::{Plan, Step};
use std::net::{IpAddr, SocketAddr};

/// A Service as a test describes it.
#[derive(Clone)]
pub struct ServiceSpec {
    pub front: SocketAddr,
    pub protocol: u8,
    pub list: u32,
    pub backends: Vec<SocketAddr>,
    pub flags: u32,
    pub affinity_seconds: u32,
}

impl ServiceSpec {
    pub fn new(front: &str, protocol: u8, list: u32, backends: &[SocketAddr]) -> Self {
        Self { front: front.parse().unwrap(), protocol, list, backends: backends.to_vec(), flags: 0, affinity_seconds: 0 }
    }

    pub fn key(&self) -> ServiceKey {
        ServiceKey { address: self.front.ip().into(), port_be: self.front.port().to_be(), protocol: self.protocol, scope: scope::INSIDE }
    }
}

/// Steps that make the Service, its list before its front, and the entry of its address.
pub fn put_service(spec: &ServiceSpec) -> Plan {
    let backend = |backend: &SocketAddr| Backend { address: backend.ip().into(), port_be: backend.port().to_be(), reserved: 0 };
    let slots =
        spec.backends.iter().zip(0_u32..).map(|(address, slot)| Step::PutBackend(BackendKey { list: spec.list, slot }, backend(address)));
    let count = spec.backends.len() as u32;
    let service = Service { list: spec.list, count, flags: spec.flags, affinity_seconds: spec.affinity_seconds, ..Service::default() };
    let address = ServiceKey { address: spec.front.ip().into(), ..ServiceKey::default() };
    let whole = Service { flags: service_flags::ADDRESS, ..Service::default() };
    let fronts = [Step::PutService(spec.key(), service), Step::PutService(address, whole)];
    Plan { steps: slots.chain(fronts).collect() }
}

/// A step that makes a range one of Services.
pub fn put_range(address: &str, bits: u8) -> Plan {
    let services = Range { kinds: range_kinds::SERVICES, ..Range::default() };
    Plan { steps: vec![Step::PutRange(RangeKey::new(address.parse().unwrap(), bits), services)] }
}

pub fn pod(ifindex: u32, pod_mac: [u8; 6], host_mac: [u8; 6]) -> Pod {
    Pod { ifindex, pod_mac, host_mac, ..Pod::default() }
}

/// Steps that make addresses pods'.
pub fn put_pods(pods: &[(&str, Pod)]) -> Plan {
    let key = |address: &str| PodKey { address: address.parse::<IpAddr>().unwrap().into() };
    Plan { steps: pods.iter().map(|(address, pod)| Step::PutPod(key(address), *pod)).collect() }
}
