//! One pass over a request: plan; ask, approve, sign or delete.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::{Endpoints, Node, Service};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};
use orknet_resources::kinds::certificate_signing_request::request::Request;
use orknet_resources::kinds::certificate_signing_request::validate::{APPROVED, FAILED, of};
use serde_json::{Value, json};

use super::Signing;
use super::plan::{self, Grant, Step};
use super::serving::{self, Known};
use crate::delete_exact::delete_exact;

/// How often a request that nobody has decided is compared with the node again, which may have come meanwhile, or changed.
const AGAIN: Duration = Duration::from_secs(30);

pub(super) struct CertificateController {
    pub client: Client,
    pub requests: Arc<Informer<CertificateSigningRequest>>,
    pub signing: Option<Signing>,
    /// Whether nodes' requests for serving certificates are approved here.
    pub approve_serving: bool,
    /// Of which nodes get their pods' addresses.
    pub pod_cidrs: Vec<IpNet>,
    /// What clients know API servers by: names and addresses.
    pub server_names: Vec<String>,
}

impl Reconciler for CertificateController {
    type Key = ObjectKey;
    const NAME: &'static str = "certificates";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(request) = self.requests.get(key) else { return Ok(Next::Change) };
        let (step, again) = plan::plan(&request, Timestamp::now());
        match step {
            Step::Nothing => {}
            Step::Approve(grants) => self.approve(&request, grants).await?,
            Step::Compare(node, asked) if self.approve_serving => {
                if !self.compare(&request, &node, &asked).await? {
                    return Ok(Next::After(again.map_or(AGAIN, |again| again.min(AGAIN))));
                }
            }
            Step::Compare(..) => {}
            Step::Sign(asked) => self.sign(&request, &asked).await?,
            Step::Fail(why) => {
                let failed = condition(FAILED, "SignerValidationFailure", why);
                self.write(&request, "status", json!({ "conditions": with(&request, failed) })).await?;
            }
            Step::Delete => {
                let api = Api::<CertificateSigningRequest>::all(self.client.clone());
                delete_exact(&api, &*request, DeleteParams::default()).await?;
            }
        }
        Ok(again.map_or(Next::Change, Next::After))
    }
}

impl CertificateController {
    async fn approve(&self, request: &CertificateSigningRequest, grants: Vec<Grant>) -> Result<(), Error> {
        for Grant { subresource, message } in grants {
            if self.may_create(request, subresource).await? {
                let approved = condition(APPROVED, "AutoApproved", message.to_owned());
                return self.write(request, "approval", json!({ "conditions": with(request, approved) })).await;
            }
        }
        // Left to people, who see it as pending.
        tracing::info!(request = request.metadata.name, "who asks may not have it approved by itself");
        Ok(())
    }

    /// Approves a node's request for a serving certificate if it is for what is its own; whether it was.
    async fn compare(&self, request: &CertificateSigningRequest, node: &str, asked: &Request) -> Result<bool, Error> {
        // Asked for anew: a node that has just been registered is to be known, and so is a Service that has just been made.
        let all = ListParams::default();
        let nodes = Api::<Node>::all(self.client.clone()).list(&all).await.map_err(Error::api("listing nodes"))?;
        let services = Api::<Service>::all(self.client.clone()).list(&all).await.map_err(Error::api("listing services"))?;
        let servers = Api::<Endpoints>::namespaced(self.client.clone(), "default").get_opt("kubernetes").await;
        let servers = servers.map_err(Error::api("reading the API servers' addresses"))?;
        let ranges = Api::<ServiceCIDR>::all(self.client.clone()).list(&all).await.map_err(Error::api("listing ranges of Services"))?;
        let of_services = ranges.items.iter().filter_map(|range| range.spec.as_ref()?.cidrs.as_ref()).flatten();
        let ranges = self.pod_cidrs.iter().copied().chain(of_services.filter_map(|range| range.parse().ok()));
        let known = Known::new(node, &nodes.items, &services.items, servers.as_ref(), ranges.collect());
        let known = known.with_server_names(self.server_names.iter().map(String::as_str));
        if let Some(why) = known.objection(node, asked) {
            // Left to people, who see it as pending.
            tracing::info!(request = request.metadata.name, node, why, "a serving certificate is not approved by itself");
            return Ok(false);
        }
        let approved = condition(APPROVED, "AutoApproved", serving::MESSAGE.to_owned());
        self.write(request, "approval", json!({ "conditions": with(request, approved) })).await?;
        Ok(true)
    }

    /// Whether who asked may create the subresource of requests.
    async fn may_create(&self, request: &CertificateSigningRequest, subresource: &str) -> Result<bool, Error> {
        let spec = &request.spec;
        let attributes = ResourceAttributes {
            group: Some("certificates.k8s.io".to_owned()),
            resource: Some("certificatesigningrequests".to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some("create".to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let answer = answer
            .map_err(Error::api(format!("asking whether {} may create {subresource}", spec.username.as_deref().unwrap_or_default())))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn sign(&self, request: &CertificateSigningRequest, asked: &Request) -> Result<(), Error> {
        let Some(signing) = &self.signing else { return Ok(()) };
        let life = plan::life(request.spec.expiration_seconds, Duration::from_secs(signing.longest_seconds.into()));
        let usages = request.spec.usages.as_deref().unwrap_or_default();
        let name = request.metadata.name.as_deref().unwrap_or_default();
        let signed = signing.authority.sign_request(&asked.der, usages, life);
        let pem = signed.map_err(|error| Error::Malformed(format!("certificate signing request {name}: {error}")))?;
        self.write(request, "status", json!({ "certificate": ByteString(pem.into_bytes()) })).await
    }

    async fn write(&self, request: &CertificateSigningRequest, way: &str, status: Value) -> Result<(), Error> {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({ "metadata": { "resourceVersion": request.metadata.resource_version }, "status": status });
        let api = Api::<CertificateSigningRequest>::all(self.client.clone());
        let written = api.patch_subresource(way, name, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.requests.record(written.map_err(Error::api(format!("writing {way} of certificate signing request {name}")))?);
        Ok(())
    }
}

fn condition(kind: &str, reason: &str, message: String) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..CertificateSigningRequestCondition::default()
    }
}

fn with(request: &CertificateSigningRequest, more: CertificateSigningRequestCondition) -> Vec<CertificateSigningRequestCondition> {
    of(request).iter().cloned().chain([more]).collect()
}
