//! Certificate requests: those of kubelets for certificates as clients are approved by themselves, those for certificates as servers if they are for
//! what is the node's own, what is approved is signed by the cluster's authority
//! (the signers `kubernetes.io/kube-apiserver-client`, `kube-apiserver-client-kubelet` and `kubelet-serving`), and old ones are cleaned away. Watches
//! CertificateSigningRequests. Who may ask, approve and sign is the API server's to check.

mod plan;
mod reconcile;
mod serving;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use orknet_auth::pki::Pki;

use crate::context::Context;
use reconcile::CertificateController;

/// The cluster's authority, and how long what it signs is good for at most, in seconds.
#[derive(Debug, Clone)]
pub struct Signing {
    pub authority: Arc<Pki>,
    pub longest_seconds: u32,
}

/// Starts the controller. Without an authority it signs nothing.
pub(crate) fn start(context: &Context) {
    let mut watches = context.watches();
    let requests = watches.own::<CertificateSigningRequest>();
    let controller = CertificateController {
        client: context.client_of("certificate-controller"),
        requests,
        signing: context.config.signing.clone(),
        approve_serving: context.config.approve_kubelet_serving,
        pod_cidrs: context.config.pod_cidrs.clone(),
        server_names: context.config.all_server_names(),
    };
    context.start(watches, controller, 2);
}
