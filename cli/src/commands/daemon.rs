//! What the long-running commands share: a configuration from a file with flags on top, logs, signals, a runtime.

use anyhow::{Context, Result};
use kube::config::Kubeconfig;
use orknet_kubelet::credentials::follow;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::future::Future;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Reads a configuration: the YAML or JSON file, if there is one, with `flags` (the file's field names) on top. What a flag says inside of
/// a block of the file leaves the rest of the block alone; null takes a member away (a JSON merge patch, RFC 7396).
pub fn config<T: DeserializeOwned>(file: Option<&Path>, flags: Map<String, Value>) -> Result<T> {
    let mut document = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_yaml_ng::from_str::<Map<String, Value>>(&text).with_context(|| format!("{} is no mapping of settings", path.display()))?
        }
        None => Map::new(),
    };
    merge(&mut document, flags);
    let source = file.map_or("the flags".to_owned(), |path| path.display().to_string());
    serde_json::from_value(Value::Object(document)).with_context(|| format!("{source}: settings that cannot be used"))
}

/// Applies a JSON merge patch.
pub fn merge(document: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(document.remove(&name)),
            Value::Object(patch) => {
                let mut block =
                    document.remove(&name).and_then(|old| if let Value::Object(old) = old { Some(old) } else { None }).unwrap_or_default();
                merge(&mut block, patch);
                document.insert(name, Value::Object(block));
            }
            value => drop(document.insert(name, value)),
        }
    }
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
    runtime()?.block_on(main)
}

/// What clients run on.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    // One provider in the process, whoever asks for the default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

/// A client from a kubeconfig file, for a part of the product: its name is the manager of the fields that it writes. Does not connect yet. When the
/// file is replaced, by a certificate that was renewed, later requests are made with what it says then.
pub async fn client(kubeconfig: &Path, part: &'static str) -> Result<kube::Client> {
    Ok(follow::client(kubeconfig, user_agent(part)?).await?)
}

/// A client from a kubeconfig that was read.
pub async fn client_with(kubeconfig: Kubeconfig, part: &'static str) -> Result<kube::Client> {
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    config.headers.push((http::header::USER_AGENT, user_agent(part)?));
    kube::Client::try_from(config).context("cannot set up a client")
}

/// How a part of the product calls itself towards the API server: `orknet-kubelet/v1.2.3`.
pub fn user_agent(part: &str) -> Result<http::HeaderValue> {
    let text = format!("{part}/v{}", env!("CARGO_PKG_VERSION"));
    http::HeaderValue::from_str(&text).with_context(|| format!("{text:?} is no header"))
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
    use serde_json::json;
    use std::io::Read;

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

    #[test]
    fn a_flag_inside_of_a_block_leaves_the_rest_of_the_block_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.yaml");
        std::fs::write(&path, "nodeName: a\ndataplane:\n  pinDir: /old\n  deviceAttach: clsact\n  capacities: {services: 7}\n").unwrap();
        let given = flags([("dataplane", Some(json!({"pinDir": "/new"})))]);
        let read: orknet_agent::Config = config(Some(&path), given).unwrap();
        let dataplane = json!({"pinDir": "/new", "deviceAttach": "clsact", "capacities": {"services": 7}});
        assert_eq!(read.dataplane, serde_json::from_value(dataplane).unwrap());
        assert_eq!(read.node_name, "a");
    }

    #[test]
    fn null_takes_a_member_away_and_a_block_takes_the_place_of_a_value() {
        let mut document = json!({"store": {"embedded": {"directory": "/d", "x": 1}}, "a": 1}).as_object().unwrap().clone();
        let patch = json!({"store": {"embedded": null, "etcd": {"endpoints": ["e"]}}, "a": {"b": 2}}).as_object().unwrap().clone();
        merge(&mut document, patch);
        assert_eq!(Value::Object(document), json!({"store": {"etcd": {"endpoints": ["e"]}}, "a": {"b": 2}}));
    }

    #[tokio::test]
    async fn a_client_says_which_part_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 1024]);
            while !text.contains("\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the request ended early: {text}");
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            text.to_lowercase()
        });
        let kubeconfig = format!(
            "clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncurrent-context: c\n"
        );
        let client = client_with(Kubeconfig::from_yaml(&kubeconfig).unwrap(), "orknet-kubelet").await.unwrap();
        // Nobody answers; the request is what counts.
        let _ = client.apiserver_version().await;
        let heard = heard.join().unwrap();
        assert!(heard.contains(&format!("\r\nuser-agent: orknet-kubelet/v{}\r\n", env!("CARGO_PKG_VERSION"))), "{heard}");
    }
}
