//! The node's Lease in kube-node-lease: renewed at a quarter of its duration, the sign of life that node controllers watch.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

use super::outage::Outage;
use crate::config::Config;
use crate::error::Error;

const NAMESPACE: &str = "kube-node-lease";
/// Time between tries after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Renews until the future is dropped.
pub async fn run(client: Client, config: Config) {
    let period = Duration::from_secs(u64::from(config.lease_duration_seconds)) / 4;
    let mut held: Option<Lease> = None;
    let mut outage = Outage::new("lease not renewed");
    loop {
        let pause = match renew(&client, &config, held.take()).await {
            Ok(lease) => {
                outage.over();
                held = Some(lease);
                period
            }
            Err(error) => {
                outage.failed(&error);
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Renews the lease in hand; without one, or when it was changed by others, reads or creates it first.
async fn renew(client: &Client, config: &Config, held: Option<Lease>) -> Result<Lease, Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let name = &config.node_name;
    let current = match held {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await.map_err(Error::api(format!("get lease {name}")))?,
    };
    let Some(mut lease) = current else {
        let lease = Lease { metadata: metadata(client, name).await, spec: Some(spec(config)) };
        return api.create(&PostParams::default(), &lease).await.map_err(Error::api(format!("create lease {name}")));
    };
    lease.spec = Some(spec(config));
    if lease.metadata.owner_references.is_none() {
        lease.metadata.owner_references = metadata(client, name).await.owner_references;
    }
    api.replace(name, &PostParams::default(), &lease).await.map_err(Error::api(format!("renew lease {name}")))
}

/// The Node owns its Lease, so that both go together.
async fn metadata(client: &Client, name: &str) -> ObjectMeta {
    let node = Api::<Node>::all(client.clone()).get(name).await.ok();
    let owner = node.and_then(|n| n.metadata.uid).map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    });
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        owner_references: owner.map(|o| vec![o]),
        ..ObjectMeta::default()
    }
}

fn spec(config: &Config) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(config.node_name.clone()),
        lease_duration_seconds: i32::try_from(config.lease_duration_seconds).ok(),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    }
}
