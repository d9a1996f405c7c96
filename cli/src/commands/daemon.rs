//! What the long-running commands share: a configuration from a file with flags on top, logs, signals, a runtime.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::future::Future;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Reads a configuration: the YAML or JSON file, if there is one, with `flags` (the file's field names) on top.
pub fn config<T: DeserializeOwned>(file: Option<&Path>, flags: Map<String, Value>) -> Result<T> {
    let mut document = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_yaml_ng::from_str::<Map<String, Value>>(&text).with_context(|| format!("{} is no mapping of settings", path.display()))?
        }
        None => Map::new(),
    };
    document.extend(flags);
    let source = file.map_or("the flags".to_owned(), |path| path.display().to_string());
    serde_json::from_value(Value::Object(document)).with_context(|| format!("{source}: settings that cannot be used"))
}

/// Settings from flags that were given.
pub fn flags<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Map<String, Value> {
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Runs a daemon until done or until SIGTERM or SIGINT, with logs (`ORKNET_LOG`, default info; JSON with `ORKNET_LOG_FORMAT=json`).
pub fn run<F: Future<Output = Result<()>>>(main: impl FnOnce(CancellationToken) -> F) -> Result<()> {
    logs("info");
    block_on(async {
        let shutdown = CancellationToken::new();
        let signalled = shutdown.clone();
        tokio::spawn(async move {
            if wait_for_signal().await.is_ok() {
                signalled.cancel();
            }
        });
        main(shutdown).await
    })
}

/// Runs a command that a person waits for: signals end it, and it says itself what there is to say. Logs only as `ORKNET_LOG` asks.
pub fn run_command(main: impl Future<Output = Result<()>>) -> Result<()> {
    logs("off");
    block_on(main)
}

fn block_on(main: impl Future<Output = Result<()>>) -> Result<()> {
    // One provider in the process, whoever asks for the default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(main)
}

/// A client from a kubeconfig file. Does not connect yet.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let text = std::fs::read_to_string(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    client_from_text(&text).await.with_context(|| format!("{} cannot be used", kubeconfig.display()))
}

/// A client from a kubeconfig's text. Does not connect yet.
pub async fn client_from_text(kubeconfig: &str) -> Result<kube::Client> {
    let file = kube::config::Kubeconfig::from_yaml(kubeconfig).context("no kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await?;
    kube::Client::try_from(config).context("cannot set up a client")
}

async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn logs(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ORKNET_LOG").unwrap_or_else(|_| default.into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Fails only when logs are set up already, as in tests.
    let _ = match std::env::var("ORKNET_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().try_init(),
        _ => builder.try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Settings {
        node_name: String,
        #[serde(default)]
        port: u16,
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_settings_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.yaml");
        std::fs::write(&path, "nodeName: a\nport: 7\n").unwrap();
        let given = flags([("nodeName", Some("b".into())), ("port", None)]);
        assert_eq!(config::<Settings>(Some(&path), given).unwrap(), Settings { node_name: "b".into(), port: 7 });
        std::fs::write(&path, "nodeNam: a\n").unwrap();
        let error = format!("{:#}", config::<Settings>(Some(&path), Map::new()).unwrap_err());
        assert!(error.contains("nodeNam") && error.contains("settings.yaml"), "{error}");
    }
}
