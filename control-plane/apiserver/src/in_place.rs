//! Work of the processor within a request that may take longer than others should wait: rules in CEL, schemas of definitions.

use crate::kinds::Kind;
use crate::server::Server;
use orknet_custom::definition::STORED_AS;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Does the work here, while the other tasks of this thread go on elsewhere. Where there is but one thread, they wait.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Kinds whose rules are written by clients, or are about such rules.
const HEAVY: [(&str, &str); 2] = [STORED_AS, ("admissionregistration.k8s.io", "validatingadmissionpolicies")];

/// Asks rules of a kind: in place where they may take long.
pub fn ask_rules<T>(server: &Server, kind: &Kind, ask: impl FnOnce() -> T) -> T {
    let stored_as = kind.descriptor().stored_as;
    let heavy = HEAVY.contains(&stored_as) || server.custom.defines(stored_as);
    if heavy { in_place(ask) } else { ask() }
}
