//! The server over real HTTPS with the embedded store, grouped by question: does each verb do what Kubernetes documents, and does every mistake get the
//! answer that clients expect.

mod access;
mod admission_policies;
mod audit;
mod certificates;
mod classes;
mod client;
mod companions;
mod custom;
mod deletion;
mod discovery;
mod encryption;
mod endpoints;
mod errors;
mod fairness;
mod harness;
mod kinds;
mod limit_ranges;
mod lists;
mod node_authorizer;
mod outage;
mod patches;
mod pod_security;
mod pods;
mod policies;
mod protobuf;
mod proxies;
mod quota;
mod servers;
mod services;
mod storage_protection;
mod validation;
mod verbs;
mod watches;
mod webhooks;
mod websocket;
