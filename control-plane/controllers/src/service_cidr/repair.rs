//! One pass over the addresses of a Service, and one over an IPAddress. Watches of two kinds do not come together: before anything is changed, what
//! seems wrong is looked at as it is now.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, Recorder};
use orknet_resources::kinds::{ip_address, service_cidr};

use super::plan::{self, Fate};
use crate::delete_exact::delete_exact;

pub(super) struct ServiceRepair {
    pub client: Client,
    pub services: Arc<Informer<Service>>,
    pub addresses: Arc<Informer<IPAddress>>,
    pub ranges: Arc<Informer<ServiceCIDR>>,
    pub recorder: Recorder,
}

impl Reconciler for ServiceRepair {
    type Key = ObjectKey;
    const NAME: &'static str = "service-address-repair";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(service) = self.services.get(key) else { return Ok(Next::Change) };
        let ranges: Vec<IpNet> = self.ranges.all().iter().flat_map(|range| service_cidr::ranges(range)).collect();
        for text in plan::cluster_ips(&service) {
            let known = self.addresses.get(&ObjectKey::new("", &text));
            let seen = plan::fault(&text, key, &ranges, known.as_deref(), |other| self.has(other, &text));
            if seen.is_some() {
                self.repair(key, &text).await?;
            }
        }
        Ok(Next::Change)
    }
}

impl ServiceRepair {
    fn has(&self, service: &ObjectKey, address: &str) -> bool {
        self.services.get(service).is_some_and(|service| plan::cluster_ips(&service).iter().any(|own| own == address))
    }

    async fn repair(&self, key: &ObjectKey, text: &str) -> Result<(), Error> {
        let Some(service) = get_service(&self.client, key).await? else { return Ok(()) };
        if service.metadata.deletion_timestamp.is_some() || !plan::cluster_ips(&service).iter().any(|own| own == text) {
            return Ok(());
        }
        let api = Api::<IPAddress>::all(self.client.clone());
        let object = get_address(&api, text).await?;
        // After the Service, whose range was there before it.
        let all = Api::<ServiceCIDR>::all(self.client.clone()).list(&ListParams::default()).await;
        let ranges: Vec<IpNet> = all.map_err(Error::api("listing ServiceCIDRs"))?.items.iter().flat_map(service_cidr::ranges).collect();
        let fault = plan::fault(text, key, &ranges, object.as_ref(), |other| self.has(other, text));
        let Some(fault) = fault else { return Ok(()) };
        if let Some((reason, action, message)) = fault.event(key) {
            tracing::warn!(service = %key, reason, "{message}");
            self.recorder.record_action(&service, EventType::Warning, reason, action, message);
        }
        let Some((ip, is_there)) = fault.remedy() else { return Ok(()) };
        if let Some(object) = object.filter(|_| is_there) {
            delete_exact(&api, &object, DeleteParams::default()).await?;
        }
        let wanted: IPAddress = serde_json::from_value(ip_address::of_service(ip, &key.namespace, &key.name))
            .map_err(|error| Error::Malformed(format!("IPAddress {ip}: {error}")))?;
        let made = api.create(&PostParams::default(), &wanted).await.map_err(Error::api(format!("making IPAddress {ip}")))?;
        self.addresses.record(made);
        Ok(())
    }
}

pub(super) struct AddressRepair {
    pub client: Client,
    pub services: Arc<Informer<Service>>,
    pub addresses: Arc<Informer<IPAddress>>,
    pub recorder: Recorder,
}

impl Reconciler for AddressRepair {
    type Key = ObjectKey;
    const NAME: &'static str = "ip-address-repair";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(address) = self.addresses.get(key) else { return Ok(Next::Change) };
        let service = plan::service_of(&address);
        let known = service.as_ref().and_then(|service| self.services.get(service));
        match seen(&address, known.as_deref()) {
            Fate::Stays => return Ok(Next::Change),
            Fate::Waits(seconds) => return Ok(Next::After(Duration::from_secs(seconds.unsigned_abs()))),
            Fate::Goes(..) => {}
        }
        let api = Api::<IPAddress>::all(self.client.clone());
        let service = match &service {
            Some(service) => get_service(&self.client, service).await?,
            None => None,
        };
        let Some(address) = get_address(&api, &key.name).await? else { return Ok(Next::Change) };
        let Fate::Goes(reason, message) = seen(&address, service.as_ref()) else { return Ok(Next::Change) };
        tracing::warn!(address = %key, reason, "{message}");
        self.recorder.record_action(&address, EventType::Warning, reason, "IPAddressAllocation", message);
        delete_exact(&api, &address, DeleteParams::default()).await?;
        Ok(Next::Change)
    }
}

fn seen(address: &IPAddress, service: Option<&Service>) -> Fate {
    let addresses = service.map(plan::cluster_ips);
    plan::fate(address, addresses.as_deref(), Timestamp::now().as_second())
}

async fn get_service(client: &Client, key: &ObjectKey) -> Result<Option<Service>, Error> {
    // A name that nothing can have is asked for by nobody.
    if key.namespace.is_empty() || key.name.is_empty() {
        return Ok(None);
    }
    let api = Api::<Service>::namespaced(client.clone(), &key.namespace);
    api.get_opt(&key.name).await.map_err(Error::api(format!("reading Service {key}")))
}

async fn get_address(api: &Api<IPAddress>, name: &str) -> Result<Option<IPAddress>, Error> {
    api.get_opt(name).await.map_err(Error::api(format!("reading IPAddress {name}")))
}
