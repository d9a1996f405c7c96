//! Which kinds the API serves, from discovery.

use std::sync::Arc;

use kube::api::ApiResource;
use kube::core::discovery::{ApiCapabilities, Scope};
use kube::{Client, Discovery};

/// One served kind in one version.
#[derive(Debug)]
pub(crate) struct Kind {
    pub resource: ApiResource,
    pub scope: Scope,
    operations: Vec<String>,
}

impl Kind {
    /// A kind by its parts; for tests and for [`served`].
    pub fn new(resource: ApiResource, scope: Scope, operations: Vec<String>) -> Self {
        Self { resource, scope, operations }
    }

    /// Tells kinds apart.
    pub fn id(&self) -> String {
        format!("{}/{}", self.resource.api_version, self.resource.plural)
    }

    pub fn is_namespaced(&self) -> bool {
        matches!(self.scope, Scope::Namespaced)
    }

    pub fn supports(&self, operation: &str) -> bool {
        self.operations.iter().any(|own| own == operation)
    }

    /// Whether its objects take part in ownership. Events do not: they are many, and go by themselves.
    pub fn is_watched(&self) -> bool {
        self.supports("list") && self.supports("watch") && self.supports("delete") && self.resource.kind != "Event"
    }

    /// Whether its objects bring other kinds into being.
    pub fn defines_kinds(&self) -> bool {
        matches!(self.resource.kind.as_str(), "CustomResourceDefinition" | "APIService")
    }
}

/// All served kinds, each in the most stable version that has it: kinds of one group may be served in different ones.
pub(super) async fn served(client: &Client) -> Result<Vec<Arc<Kind>>, kube::Error> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // An older server knows no aggregated discovery.
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let resources = discovery.groups().flat_map(|group| group.resources_by_stability());
    let mut kinds: Vec<Arc<Kind>> = resources.map(|(resource, capabilities)| Arc::new(of(resource, capabilities))).collect();
    kinds.sort_by_cached_key(|kind| kind.id());
    Ok(kinds)
}

fn of(resource: ApiResource, capabilities: ApiCapabilities) -> Kind {
    Kind::new(resource, capabilities.scope, capabilities.operations)
}
