//! Lifecycle hooks: runs one postStart or preStop handler.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::Context;
use crate::probes::http::{self, Get};

/// Longest output of a command in a message, in bytes.
const OUTPUT_MAX: usize = 1024;

/// Where a hook acts.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The container's specification.
    pub container: &'a Container,
    /// Its id.
    pub id: &'a str,
    /// The pod's address, for HTTP.
    pub address: Option<IpAddr>,
}

/// Runs the handler to its end, however long that takes; a limit, such as a grace period, is the caller's. Dropping the future gives it
/// up.
///
/// # Errors
/// A message for people.
pub async fn run(context: &Context, handler: &LifecycleHandler, target: Target<'_>) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let done = context.cri.exec_sync(target.id, command.clone(), Duration::ZERO).await.map_err(|e| e.to_string())?;
        if done.exit_code == 0 {
            return Ok(());
        }
        let output = if done.stderr.is_empty() { &done.stdout } else { &done.stderr };
        let output = String::from_utf8_lossy(&output[..output.len().min(OUTPUT_MAX)]).into_owned();
        return Err(format!("command {command:?} exited with {}: {}", done.exit_code, output.trim()));
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        return Ok(());
    }
    if let Some(action) = &handler.http_get {
        let get = Get::of(action, target.container, target.address)?;
        // Whatever the status: Kubernetes asks only that the request arrives.
        return http::get(&get).await.map(drop);
    }
    Err("the hook has no supported handler".to_owned())
}
