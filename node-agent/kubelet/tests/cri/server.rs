//! The node's HTTPS server: who gets in, and what logs it serves of a real container.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use orknet_kubelet::config::ServerTls;
use orknet_kubelet::logs::rotate;
use orknet_kubelet::pods::PodKey;
use orknet_kubelet::{Config, server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::node::{Node, is_true, shell_pod};

/// Certificates of one test, as files.
struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    fn make(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(directory.join("ca.crt"), authority.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(authority, key);
        for name in ["server", "allowed", "stranger"] {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate()?;
            std::fs::write(directory.join(format!("{name}.crt")), params.signed_by(&key, &issuer)?.pem())?;
            std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem())?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn server(&self) -> ServerTls {
        ServerTls {
            certificate: Some(self.file("server.crt")),
            key: Some(self.file("server.key")),
            client_ca: self.file("ca.crt"),
            allowed_clients: vec!["allowed".to_owned()],
        }
    }

    /// Asks as one of the clients, or without a certificate; answers with status and body.
    async fn get(&self, address: SocketAddr, client: Option<&str>, path: &str) -> Result<(u16, String)> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.crt"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let config = match client {
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.file(&format!("{name}.crt")))?;
                builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key")))?)?
            }
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::IpAddress(address.ip().into());
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = hyper::Request::get(path).header("Host", "node").body(Empty::<bytes::Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec())?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_only_allowed_clients_get_in_and_logs_are_served_as_asked() -> Result<()> {
    let node = Node::start().await?;
    let certificates = Certificates::make(&node.containerd.path("pki"))?;
    let config = Config { tls: Some(certificates.server()), listen: "127.0.0.1:0".parse()?, ..node.context.config.clone() };
    let listener = server::bind(&config).await?.context("there is no listener")?;
    let address = listener.address()?;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server::serve(listener, node.context.clone(), shutdown.clone()));

    assert_eq!(certificates.get(address, Some("allowed"), "/healthz").await?, (200, "ok".to_owned()));
    assert!(certificates.get(address, Some("stranger"), "/healthz").await.is_err());
    assert!(certificates.get(address, None, "/healthz").await.is_err());

    let more = json!({"restartPolicy": "Never", "containers": [{"readinessProbe": {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1}}]});
    let script = "echo one; echo two; echo three; touch /ready; until [ -e /stop ]; do sleep 0.1; done; echo four";
    let pod = shell_pod("logs", script, more);
    node.want(&pod).await?;
    let status = node.until(&pod, |s| is_true(s, "Ready")).await?;
    let path = "/containerLogs/default/logs/main";
    let get = async |query: &str| certificates.get(address, Some("allowed"), &format!("{path}{query}")).await;
    assert_eq!(get("").await?, (200, "one\ntwo\nthree\n".to_owned()));
    assert_eq!(get("?tailLines=1").await?.1, "three\n");
    assert_eq!(get("?limitBytes=5").await?.1, "one\nt");
    assert!(get("?timestamps=true&tailLines=1").await?.1.ends_with("Z three\n"));
    assert_eq!(get("?previous=true").await?.0, 400);
    assert_eq!(get("?tailLines=x").await?.0, 400);
    assert_eq!(certificates.get(address, Some("allowed"), "/containerLogs/default/none/main").await?.0, 404);
    let pods = certificates.get(address, Some("allowed"), "/pods").await?.1;
    assert!(pods.contains("\"PodList\"") && pods.contains("uid-logs"), "{pods}");
    // A follower gets everything up to the container's end.
    let id = super::node::container(&status, "main").and_then(|c| c.container_id.clone()).context("no id")?;
    let stop = async {
        let command = ["touch", "/stop"].map(str::to_owned).to_vec();
        node.context.cri.exec_sync(id.trim_start_matches("containerd://"), command, std::time::Duration::from_secs(5)).await
    };
    let (followed, stopped) = tokio::join!(get("?follow=true&tailLines=1"), stop);
    assert_eq!(stopped?.exit_code, 0);
    assert_eq!(followed?.1, "three\nfour\n");
    shutdown.cancel();
    serving.await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_large_log_is_rotated_and_the_container_goes_on_writing() -> Result<()> {
    let mut node = Node::start().await?;
    node.restart_kubelet_with(|config| (config.log_max_bytes, config.log_max_files) = (2000, 2)).await?;
    let pod = shell_pod("large", "while :; do echo 0123456789012345678901234567890123456789; sleep 0.01; done", json!({}));
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    let rotating = tokio::spawn(rotate::run(node.context.clone()));
    let directory = node.context.paths.pod_logs(&PodKey::of(&pod)).join("main");
    let rotated = || std::fs::read_dir(&directory).into_iter().flatten().flatten().filter(|e| e.file_name() != "0.log").count();
    node.until_true(|| rotated() == 1).await?;
    node.until_true(|| std::fs::metadata(directory.join("0.log")).is_ok_and(|m| m.len() > 0)).await?;
    rotating.abort();
    Ok(())
}
