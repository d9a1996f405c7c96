//! The parts of a running server that requests share.

use crate::access::Access;
use crate::admission::Chain;
use crate::admission::policies::Policies;
use crate::admission::webhooks::Webhooks;
use crate::aggregation::Aggregation;
use crate::allocate::Claims;
use crate::audit::Audit;
use crate::config::Config;
use crate::custom::Custom;
use crate::http::Flow;
use crate::kinds::{Kind, Kinds};
use crate::metrics::Metrics;
use crate::metrics_api::MetricsApi;
use crate::proxy::KubeletStreams;
use crate::serving::Serving;
use crate::storage::Storage;
use crate::verbs::held::Holdings;
use orknet_auth::pki::Pki;
use orknet_patch::Schema;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// See the module.
pub struct Server {
    pub config: Config,
    pub pki: Arc<Pki>,
    /// Which kinds are served: [`Server::kinds`].
    pub serving: Serving,
    pub custom: Custom,
    /// The structure of the server's own kinds: [`Server::structure`].
    pub schema: Schema,
    /// Group versions that others serve.
    pub aggregation: Aggregation,
    pub storage: Storage,
    pub claims: Arc<Claims>,
    pub access: Access,
    pub admission: Chain,
    pub webhooks: Webhooks,
    pub audit: Audit,
    /// Admission policies, compiled.
    pub policies: Policies,
    /// Who is let in, who waits, who is told to come back.
    pub flow: Flow,
    pub metrics: Metrics,
    /// What watches take, by user.
    pub holdings: Arc<Holdings>,
    /// What nodes and pods use.
    pub metrics_api: MetricsApi,
    /// Streams to kubelets (log, exec, attach, portforward).
    pub kubelets: Arc<dyn KubeletStreams>,
    /// Whether the objects that every cluster begins with are there.
    pub bootstrapped: AtomicBool,
    pub shutdown: CancellationToken,
}

impl Server {
    /// The kinds that are served now.
    pub fn kinds(&self) -> Arc<Kinds> {
        self.serving.now()
    }

    /// The structure that a kind is found in, for patches and ownership.
    pub fn structure<'a>(&'a self, kind: &'a Kind) -> &'a Schema {
        kind.structure().unwrap_or(&self.schema)
    }
}
