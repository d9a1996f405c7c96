//! An object as it is counted.

use crate::kinds::StoredAs;
use k8s_openapi::api::core::v1;
use orknet_resources::counting::Counted;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Owns what is counted of an object.
pub enum Subject {
    Pod(Box<v1::Pod>),
    Service(Box<v1::Service>),
    Claim(Box<v1::PersistentVolumeClaim>),
    Other,
}

impl Subject {
    /// An object of a place. It has been decoded as its kind before: its parts have their form.
    pub fn of(place: StoredAs, object: &Value) -> Self {
        match place {
            ("", "pods") => Self::Pod(typed(object)),
            ("", "services") => Self::Service(typed(object)),
            ("", "persistentvolumeclaims") => Self::Claim(typed(object)),
            _ => Self::Other,
        }
    }

    pub fn counted(&self) -> Counted<'_> {
        match self {
            Self::Pod(pod) => Counted::Pod(pod),
            Self::Service(service) => Counted::Service(service),
            Self::Claim(claim) => Counted::Claim(claim),
            Self::Other => Counted::Other,
        }
    }

    pub fn pod(&self) -> Option<&v1::Pod> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }
}

fn typed<T: DeserializeOwned + Default>(object: &Value) -> Box<T> {
    Box::new(serde_json::from_value(object.clone()).unwrap_or_default())
}
