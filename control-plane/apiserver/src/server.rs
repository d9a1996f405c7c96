//! The parts of a running server that requests share.

use crate::access::Access;
use crate::allocate::Claims;
use crate::config::Config;
use crate::discovery::Documents;
use crate::http::InFlight;
use crate::kinds::Kinds;
use crate::metrics::Metrics;
use crate::proxy::KubeletStreams;
use crate::storage::Storage;
use orknet_auth::pki::Pki;
use orknet_patch::Schema;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// See the module.
pub struct Server {
    pub config: Config,
    pub pki: Arc<Pki>,
    pub kinds: Kinds,
    /// The structure of the kinds, for patches and ownership.
    pub schema: Schema,
    pub storage: Storage,
    pub claims: Arc<Claims>,
    pub access: Access,
    pub documents: Documents,
    pub in_flight: InFlight,
    pub metrics: Metrics,
    /// Streams to kubelets (log, exec, attach, portforward).
    pub kubelets: Arc<dyn KubeletStreams>,
    /// Whether the objects that every cluster begins with are there.
    pub bootstrapped: AtomicBool,
    pub shutdown: CancellationToken,
}
