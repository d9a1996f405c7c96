//! A kubelet's certificates over a real server with its controllers: it joins by a bootstrap token, and renews both certificates by requests.

mod cluster;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cluster::Cluster;
use futures::StreamExt as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_auth::authn::GROUP_NODES;
use orknet_auth::kubeconfig::kubeconfig;
use orknet_auth::pki::{KeyAndCertificate, Pki};
use orknet_controllers::{Config, Signing};
use orknet_kubelet::config::ServerTls;
use orknet_kubelet::credentials::certificate::{Certificate, Names, user};
use orknet_kubelet::credentials::kubeconfig::Document;
use orknet_kubelet::credentials::renew::{ServingFile, keep_client, keep_serving};
use orknet_kubelet::credentials::{Credentials, follow};
use orknet_kubelet::server::tls::Serving;
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);
const TOKEN: &str = "abcdef.0123456789abcdef";
const ADDRESS: &str = "192.0.2.10";

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap_or_else(|_| panic!("{what}: not within {LONG:?}"))
}

/// A cluster whose authority signs, and the credentials of a node that is not there yet.
struct Scene {
    cluster: Cluster,
    pki: Arc<Pki>,
    credentials: Credentials,
    /// The directory of the authority.
    authority: PathBuf,
}

impl Scene {
    async fn start(directory: &Path, change: impl FnOnce(&mut Config)) -> Self {
        // As every program of the project begins.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pki_dir = directory.join("pki");
        let cluster = Cluster::start(directory, |config| {
            let authority = Arc::new(Pki::open(&pki_dir).unwrap());
            config.signing = Some(Signing { authority, longest_seconds: 86_400 });
            change(config);
        })
        .await;
        let credentials = Credentials {
            kubeconfig: directory.join("node/kubeconfig"),
            bootstrap: None,
            pki_dir: directory.join("node/pki"),
            node: "n1".to_owned(),
            user_agent: http::HeaderValue::from_static("orknet-kubelet/test"),
        };
        std::fs::create_dir(directory.join("node")).unwrap();
        let pki = cluster.handle.pki().clone();
        Self { cluster, pki, credentials, authority: pki_dir }
    }

    fn kubeconfig(&self, who: &str, pair: &KeyAndCertificate) -> String {
        kubeconfig("orknet", &self.cluster.handle.local_url(), self.pki.ca_pem(), who, pair)
    }

    /// A token and a kubeconfig of its holder.
    async fn invite(&mut self, directory: &Path) -> PathBuf {
        let data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"});
        let metadata = json!({"name": "bootstrap-token-abcdef"});
        let secret: Secret =
            serde_json::from_value(json!({"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "stringData": data})).unwrap();
        let secrets = Api::<Secret>::namespaced(self.cluster.client.clone(), "kube-system");
        secrets.create(&PostParams::default(), &secret).await.unwrap();
        std::fs::write(directory.join("ca.crt"), self.pki.ca_pem()).unwrap();
        let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": self.cluster.handle.local_url(), "certificate-authority": "ca.crt"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {"token": TOKEN}}]});
        let path = directory.join("bootstrap");
        std::fs::write(&path, text.to_string()).unwrap();
        self.credentials.bootstrap = Some(path.clone());
        path
    }

    /// Gives the node a certificate nine tenths of whose life, and more, are over; it ends soon.
    fn give_old(&self) -> Certificate {
        let old = Pki::open(&self.authority).unwrap().with_clock(Arc::new(|| SystemTime::now() - Duration::from_secs(4000)));
        let pair = old.issue_client(&user("n1"), Some(GROUP_NODES), Duration::from_secs(4100)).unwrap();
        std::fs::write(&self.credentials.kubeconfig, self.kubeconfig(&user("n1"), &pair)).unwrap();
        self.held()
    }

    fn held(&self) -> Certificate {
        let pem = Document::read(&self.credentials.kubeconfig).unwrap().certificate_pem().unwrap();
        Certificate::parse(&pem).unwrap()
    }

    async fn client(&self) -> Client {
        follow::following(&self.credentials.kubeconfig, self.credentials.user_agent.clone(), Duration::ZERO).await.unwrap()
    }

    async fn requests(&self) -> Vec<CertificateSigningRequest> {
        Api::all(self.cluster.client.clone()).list(&ListParams::default()).await.unwrap().items
    }

    async fn register(&self, name: &str, addresses: &[&str]) {
        let nodes = Api::<Node>::all(self.cluster.client.clone());
        let node: Node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let addresses: Vec<Value> = addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
        let status = Patch::Merge(json!({"status": {"addresses": addresses}}));
        nodes.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    }

    fn serving_file(&self) -> ServingFile {
        ServingFile {
            node: "n1".into(),
            names: Names { dns: ["n1".to_owned()].into(), ips: [ADDRESS.parse::<IpAddr>().unwrap()].into() },
            file: self.credentials.pki_dir.join("kubelet-server-current.pem"),
            pending: self.credentials.pki_dir.join("kubelet-server.key.pending"),
            authority_pem: self.pki.ca_pem().to_owned(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_by_a_bootstrap_token() {
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(directory.path(), |_| {}).await;
    scene.invite(directory.path()).await;
    tokio::time::timeout(LONG, scene.credentials.join()).await.unwrap().unwrap();
    let first = scene.held();
    assert_eq!(first.common_name, "system:node:n1");
    assert_eq!(std::fs::metadata(&scene.credentials.kubeconfig).unwrap().permissions().mode() & 0o777, 0o600);
    // It is let in as what it is: it may read its own Node and no other's Secrets.
    let client = scene.client().await;
    assert!(Api::<Node>::all(client.clone()).get_opt("n1").await.unwrap().is_none());
    assert!(Api::<Secret>::namespaced(client, "kube-system").list(&ListParams::default()).await.is_err());
    let requests = scene.requests().await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].spec.username.as_deref(), Some("system:bootstrap:abcdef"));
    assert!(std::fs::read_dir(&scene.credentials.pki_dir).unwrap().next().is_none(), "no key is left that waits");
    // Again: what is there is used, and nobody is asked.
    scene.credentials.join().await.unwrap();
    assert_eq!(scene.held(), first);
    scene.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_with_a_token_that_is_none_joins_by_one_that_is_put_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(directory.path(), |_| {}).await;
    let bootstrap = scene.invite(directory.path()).await;
    let good = std::fs::read_to_string(&bootstrap).unwrap();
    std::fs::write(&bootstrap, good.replace(TOKEN, "abcdef.fedcba9876543210")).unwrap();
    let joining = tokio::spawn({
        let credentials = scene.credentials.clone();
        async move { credentials.join().await }
    });
    // It has failed once when it has made its key: the request is refused at once, and the next attempt is a second away.
    let pending = scene.credentials.pki_dir.join("kubelet-client.key.pending");
    eventually("the key", async || pending.exists().then_some(())).await;
    std::fs::write(&bootstrap, good).unwrap();
    tokio::time::timeout(LONG, joining).await.unwrap().unwrap().unwrap();
    assert_eq!(scene.held().common_name, "system:node:n1");
    scene.cluster.stop().await;
}

/// Who may join as a node may not become anybody else, nor a node another.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_two_people_by_a_request_with_two_names() {
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(directory.path(), |_| {}).await;
    let bootstrap = scene.invite(directory.path()).await;
    let client = follow::open(&bootstrap, &scene.credentials.user_agent).await.unwrap();
    let asked = |first: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, GROUP_NODES);
        // As the library can have two of a type.
        params.distinguished_name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]), first);
        params.distinguished_name.push(rcgen::DnType::CommonName, user("n1"));
        let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let spec = json!({"request": k8s_openapi::ByteString(pem.into_bytes()), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["client auth", "digital signature"]});
        serde_json::from_value::<CertificateSigningRequest>(json!({"metadata": {"generateName": "two-"}, "spec": spec})).unwrap()
    };
    let requests = Api::<CertificateSigningRequest>::all(client);
    for first in ["system:kube-controller-manager", "system:kube-apiserver", "system:node:n2"] {
        let refused = requests.create(&PostParams::default(), &asked(first)).await.unwrap_err();
        assert!(refused.to_string().contains("the subject has several common names"), "{refused}");
    }
    assert!(scene.requests().await.is_empty());
    scene.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_made_before_a_restart_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody signs at first: approval comes by itself, a certificate does not.
    let mut scene = Scene::start(directory.path(), |config| config.signing = None).await;
    scene.invite(directory.path()).await;
    let joining = tokio::spawn({
        let credentials = scene.credentials.clone();
        async move { credentials.join().await }
    });
    eventually("the request", async || (scene.requests().await.len() == 1).then_some(())).await;
    joining.abort();
    let _ = joining.await;
    let joining = tokio::spawn({
        let credentials = scene.credentials.clone();
        async move { credentials.join().await }
    });
    // Signed by hand, as another signer would.
    let request = eventually("the approval", async || {
        let request = scene.requests().await.pop()?;
        request.status.as_ref()?.conditions.as_ref()?.first()?;
        Some(request)
    })
    .await;
    let der = CertificateSigningRequestDer::from_pem_slice(&request.spec.request.0).unwrap();
    let signed = scene.pki.sign_request(&der, request.spec.usages.as_deref().unwrap(), LONG).unwrap();
    let api = Api::<CertificateSigningRequest>::all(scene.cluster.client.clone());
    let status = json!({"status": {"certificate": k8s_openapi::ByteString(signed.into_bytes())}});
    api.patch_status(request.metadata.name.as_deref().unwrap(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    tokio::time::timeout(LONG, joining).await.unwrap().unwrap().unwrap();
    assert_eq!(scene.requests().await.len(), 1, "one request, before and after");
    assert_eq!(scene.held().common_name, "system:node:n1");
    scene.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_renewed_in_its_file_and_used_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::start(directory.path(), |_| {}).await;
    let old = scene.give_old();
    let client = scene.client().await;
    scene.register("n1", &[ADDRESS]).await;
    // A watch that is open before stays open over the renewal.
    let nodes = Api::<Node>::all(client.clone());
    let mut watch = nodes.watch(&kube::api::WatchParams::default().fields("metadata.name=n1"), "0").await.unwrap().boxed();
    watch.next().await.unwrap().unwrap();
    let keeping = tokio::spawn(keep_client(scene.credentials.clone(), client.clone()));
    let new = eventually("the renewal", async || Some(scene.held()).filter(|held| *held != old)).await;
    assert!(new.validity.not_after > old.validity.not_after + 80_000);
    let request = scene.requests().await.pop().unwrap();
    assert_eq!(request.spec.username.as_deref(), Some("system:node:n1"), "by its own identity");
    assert!(nodes.get_opt("n1").await.unwrap().is_some(), "the new certificate is good");
    let change = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    Api::<Node>::all(scene.cluster.client.clone()).patch("n1", &PatchParams::default(), &change).await.unwrap();
    let seen = tokio::time::timeout(LONG, async {
        loop {
            if let Some(Ok(kube::api::WatchEvent::Modified(node))) = watch.next().await
                && node.metadata.labels.is_some_and(|labels| labels.contains_key("a"))
            {
                return;
            }
        }
    });
    seen.await.expect("the watch of before tells of what came after");
    keeping.abort();
    drop(watch);
    drop(nodes);
    drop(client);
    scene.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_serving_certificate_comes_by_itself_for_what_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::start(directory.path(), |_| {}).await;
    scene.give_old();
    scene.register("n1", &[ADDRESS]).await;
    let client = scene.client().await;
    let wanted = scene.serving_file();
    let tls = ServerTls::asked_for(directory.path().join("pki/ca.crt"));
    let serving = Arc::new(Serving::open(&tls).unwrap());
    let keeping = tokio::spawn(keep_serving(wanted.clone(), client.clone(), serving.clone()));
    let (issued, _) = eventually("the certificate", async || wanted.read()).await;
    let certificate = Certificate::parse(&issued.certificate_pem).unwrap();
    assert_eq!((certificate.common_name.as_str(), &certificate.names), ("system:node:n1", &wanted.names));
    keeping.abort();
    // A new process finds it, and asks nobody.
    let again = tokio::spawn(keep_serving(wanted.clone(), client, serving));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.requests().await.len(), 1);
    again.abort();
    scene.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_certificate_for_what_is_anothers_waits_for_people() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::start(directory.path(), |_| {}).await;
    scene.give_old();
    // It says of itself that it has the other one's address, too.
    scene.register("n1", &[ADDRESS]).await;
    scene.register("n2", &[ADDRESS]).await;
    let client = scene.client().await;
    let wanted = scene.serving_file();
    let serving = Arc::new(Serving::open(&ServerTls::asked_for(directory.path().join("pki/ca.crt"))).unwrap());
    let keeping = tokio::spawn(keep_serving(wanted.clone(), client, serving));
    let request = eventually("the request", async || scene.requests().await.pop()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let now = scene.requests().await.pop().unwrap();
    assert!(now.status.as_ref().is_none_or(|status| status.conditions.is_none()), "nobody has decided: {now:?}");
    assert!(wanted.read().is_none());
    // A person does.
    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Looked", "message": "it is so"}]}});
    let api = Api::<CertificateSigningRequest>::all(scene.cluster.client.clone());
    let name = request.metadata.name.as_deref().unwrap();
    api.patch_subresource("approval", name, &PatchParams::default(), &Patch::Merge(approved)).await.unwrap();
    eventually("the certificate", async || wanted.read()).await;
    keeping.abort();
    scene.cluster.stop().await;
}
