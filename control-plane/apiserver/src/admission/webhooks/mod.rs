//! Dynamic admission control: webhooks are asked about requests, as their configurations say (MutatingAdmissionWebhook, ValidatingAdmissionWebhook).
//! What is matched ([`matching`]), told ([`review`]) and understood is pure; the calls are the [`Client`]'s.

mod annotations;
pub(super) mod call;
pub mod client;
mod conditions;
pub mod connect;
pub mod destination;
pub(super) mod hook;
pub(super) mod matching;
mod metrics;
mod mutating;
mod reinvocation;
pub(super) mod review;
mod validating;

pub use metrics::WebhookMetrics;
pub use mutating::MutatingAdmissionWebhook;
pub use reinvocation::Reinvocation;
pub use validating::ValidatingAdmissionWebhook;

use crate::cache::Caches;
use crate::kinds::StoredAs;
use client::Client;
use hook::Hooks;
use std::sync::Arc;

const MUTATING: StoredAs = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations");
const VALIDATING: StoredAs = ("admissionregistration.k8s.io", "validatingwebhookconfigurations");

/// The webhooks that are configured, and the way to them.
pub struct Webhooks {
    /// For other webhooks too: of conversions, of reviews.
    pub client: Client,
    mutating: Hooks,
    validating: Hooks,
}

impl Webhooks {
    pub fn new(caches: Arc<Caches>) -> Self {
        Self {
            client: Client::new(caches.clone()),
            mutating: Hooks::new(caches.clone(), MUTATING),
            validating: Hooks::new(caches, VALIDATING),
        }
    }
}
