//! Custom resources: the structural schemas of CustomResourceDefinitions (`apiextensions.k8s.io/v1`), and the kinds that definitions make;
//! and the kind CustomResourceDefinition itself ([`definition`]).
//!
//! Pure: no I/O, no clock. A definition is read into a [`Definition`], and [`kinds`] makes a [`Resource`] of each version that is served. Rules of schemas
//! are [`schema::problems`].

mod complaint;
mod crd;
pub mod definition;
pub mod jsonpath;
mod kind;
pub mod schema;

pub use crd::{Definition, Names, PrinterColumn, Version};
pub use kind::{CustomKind, Error};

use orknet_resources::Resource;
use std::sync::Arc;

/// The kinds that a definition makes, one for each version that is served, in the order of the definition.
pub fn kinds(definition: &Definition) -> Result<Vec<Arc<dyn Resource>>, Error> {
    let served = definition.versions.iter().filter(|version| version.served);
    served.map(|version| Ok(Arc::new(CustomKind::new(definition, version)?) as Arc<dyn Resource>)).collect()
}
