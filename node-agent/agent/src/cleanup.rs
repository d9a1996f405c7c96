//! Removes everything that the agent ever made on a host. Pods' devices are the CNI plugin's and stay.

use crate::config::Config;
use crate::dataplane::Failure;
use crate::error::Error;
use crate::routes::{Router, Routes};
use std::io::ErrorKind;

/// Programs, maps, pins, routes, the overlay, the way of the node's own packets to Services, socket. Must run in the node's network namespace with the agent stopped. What is not
/// there is fine; can be repeated. Reports the first failure after having tried everything.
pub async fn cleanup(config: &Config) -> Result<(), Error> {
    let pin_dir = config.dataplane.pin_dir.clone();
    let pins = tokio::task::spawn_blocking(move || orknet_dataplane::cleanup(&pin_dir)).await;
    let pins = pins.map_err(|_| Error::Ended("cleanup"))?.map_err(|error| Error::from(Failure::from(error)));
    let routes = async {
        let router = Router::connect()?;
        let mut failures = router.reconcile(&Routes::new()).await?;
        failures.extend(router.remove_overlay().await?);
        failures.extend(router.remove_own_way().await?);
        Ok(failures)
    }
    .await;
    let routes = routes.and_then(|failures| failures.into_iter().next().map_or(Ok(()), Err));
    let socket = match std::fs::remove_file(&config.socket) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Socket { path: config.socket.clone(), source }),
        _ => Ok(()),
    };
    pins.and(routes).and(socket)
}
