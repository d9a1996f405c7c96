//! The proof at the end of `up`: the example is applied, and answers through its ClusterIP from inside a node.

use super::layout::Place;
use super::process;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The example's text.
pub const MANIFEST: &str = include_str!("../../../manifests/examples/hello.yaml");
const NAME: &str = "hello";

/// Applies the example (server-side apply).
pub async fn apply(client: &kube::Client) -> Result<()> {
    for document in serde_yaml_ng::Deserializer::from_str(MANIFEST) {
        let object = DynamicObject::deserialize(document).context("the example is no manifest")?;
        let types = object.types.clone().context("the example lacks apiVersion or kind")?;
        let name = object.metadata.name.clone().context("the example lacks a name")?;
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
        let parameters = PatchParams::apply("orknet-up").force();
        api.patch(&name, &parameters, &Patch::Apply(&object)).await.with_context(|| format!("cannot apply {} {name}", types.kind))?;
    }
    Ok(())
}

/// Waits until every replica is available; the address of the Service.
pub async fn wait_available(client: &kube::Client, deadline: Duration) -> Result<SocketAddr> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let wanted = |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    wait(
        "the example to be available",
        deadline,
        || Ok(()),
        async || {
            let deployment = deployments.get(NAME).await?;
            let available = deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
            Ok((available >= wanted(&deployment)).then_some(()))
        },
    )
    .await?;
    let service = Api::<Service>::namespaced(client.clone(), "default").get(NAME).await.context("cannot read the example's Service")?;
    let spec = service.spec.unwrap_or_default();
    let address: IpAddr = spec.cluster_ip.unwrap_or_default().parse().context("the example's Service has no ClusterIP")?;
    let port = spec.ports.into_iter().flatten().next().map_or(80, |port| port.port);
    Ok(SocketAddr::new(address, u16::try_from(port)?))
}

/// Asks from inside a node until the Service answers; what it said. Blocking.
pub fn ask(node: &Place, address: SocketAddr, deadline: Duration) -> Result<String> {
    let end = Instant::now() + deadline;
    loop {
        let mut command = process::command(node, process::own_binary()?)?;
        let output = command.args(["probe", &address.to_string()]).output().context("cannot ask the example")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        if Instant::now() > end {
            bail!("the example does not answer at {address}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Repeats `check` until it gives something; its errors are kept for the message when time is over. An error of `hopeless` ends it at
/// once.
pub async fn wait<T>(
    what: &str,
    deadline: Duration,
    hopeless: impl Fn() -> Result<()>,
    check: impl AsyncFn() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        hopeless()?;
        let last = match check().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() > end {
            let timeout = format!("waited {deadline:?} for {what}");
            return Err(match last {
                Some(error) => error.context(timeout),
                None => anyhow::anyhow!(timeout),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
