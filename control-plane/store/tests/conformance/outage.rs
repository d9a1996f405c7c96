//! etcd that is paused, absent, shared, or behind TLS.

use crate::backend::EtcdServer;
use crate::tls::Authority;
use crate::{PATIENCE, events, everything, get, put, write};
use nix::sys::signal::Signal;
use orknet_store::etcd::{Etcd, EtcdConfig};
use orknet_store::{Store, StoreConfig, StoreError};
use std::net::TcpListener;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_etcd_makes_requests_unavailable_in_time_and_loses_nothing() {
    let server = EtcdServer::start(&[]);
    let store = Etcd::connect(EtcdConfig { request_timeout_seconds: 2, ..server.config("/orknet") }).await.unwrap();
    let start = write(&*store, vec![put("a", "1")]).await;
    let mut watch = store.watch(everything(), start).await.unwrap();
    server.signal(Signal::SIGSTOP);
    let began = Instant::now();
    let commit = store.commit(vec![], vec![put("b", "2")]).await;
    assert!(matches!(commit, Err(StoreError::Unavailable(_))), "{commit:?}");
    let range = store.range(everything(), None, 0).await;
    assert!(matches!(range, Err(StoreError::Unavailable(_))), "{range:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    server.signal(Signal::SIGCONT);
    let deadline = Instant::now() + PATIENCE;
    let revision = loop {
        match store.commit(vec![], vec![put("c", "3")]).await {
            Ok(orknet_store::Commit::Done(revision)) => break revision,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    // The paused commit may or may not have taken effect.
    let mut last = start;
    while last < revision {
        let event = events(&mut watch).await.remove(0);
        assert!(event.revision > last && (event.key == "b" || event.key == "c"));
        last = event.revision;
    }
    assert_eq!(get(&*store, "c").await.unwrap().mod_revision, revision);
}

#[tokio::test]
async fn connecting_to_nothing_fails_in_time_and_names_the_endpoint() {
    // It is bound and accepts, but nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let began = Instant::now();
        let config = EtcdConfig { connect_timeout_seconds: 1, ..EtcdConfig::new([format!("http://{address}")]) };
        let Err(error) = Etcd::connect(config).await else { panic!("nothing is at {address}") };
        assert!(matches!(&error, StoreError::Unavailable(reason) if reason.contains(&address.to_string())), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_endpoint_of_several_does_no_harm() {
    let server = EtcdServer::start(&[]);
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let config = EtcdConfig { endpoints: vec![format!("http://{dead}"), server.url()], ..server.config("/orknet") };
    let store = orknet_store::open(StoreConfig::Etcd(config)).await.unwrap();
    for at in 0..20 {
        write(&*store, vec![put(format!("{at}"), "v")]).await;
    }
    assert_eq!(store.range(everything(), None, 0).await.unwrap().entries.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_with_different_prefixes_share_an_etcd_without_seeing_each_other() {
    let server = EtcdServer::start(&[]);
    let (left, right) = (server.connect("/left").await, server.connect("/right").await);
    let start = left.current_revision().await.unwrap();
    let mut watch = left.watch(everything(), start).await.unwrap();
    write(&*right, vec![put("a", "right")]).await;
    let revision = write(&*left, vec![put("a", "left")]).await;
    let event = events(&mut watch).await.remove(0);
    assert_eq!((event.key, event.revision), ("a".into(), revision));
    assert_eq!(get(&*left, "a").await.unwrap().value, "left");
    assert_eq!(get(&*right, "a").await.unwrap().value, "right");
    assert_eq!(left.range(everything(), None, 0).await.unwrap().count, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_client_certificate_is_let_in_and_nothing_else() {
    let authority = Authority::new();
    let ca_file = authority.file.clone();
    let (client_certificate, client_key) = authority.issue("client");
    let server = EtcdServer::start(&authority.arguments("", &authority.issue("server")));
    let anonymous = EtcdConfig { ca_file: Some(ca_file), connect_timeout_seconds: 2, ..server.config("/orknet") };
    assert!(Etcd::connect(anonymous.clone()).await.is_err(), "it let in somebody without a certificate");
    let known = EtcdConfig {
        certificate_file: Some(client_certificate),
        key_file: Some(client_key),
        connect_timeout_seconds: 10,
        ..anonymous.clone()
    };
    let store = Etcd::connect(known).await.unwrap();
    write(&*store, vec![put("a", "secret")]).await;
    assert_eq!(get(&*store, "a").await.unwrap().value, "secret");
    let missing =
        EtcdConfig { certificate_file: Some(authority.file.with_file_name("none")), key_file: anonymous.ca_file.clone(), ..anonymous };
    let Err(error) = Etcd::connect(missing).await else { panic!("a missing file was not missed") };
    assert!(format!("{error}").contains("none"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_answers_no_space_and_is_still_read() {
    let server = EtcdServer::start(&["--quota-backend-bytes=2000000".to_owned()]);
    let store = server.connect("/orknet").await;
    let mut kept = 0;
    let error = loop {
        match store.commit(vec![], vec![put(format!("{kept}"), vec![b'x'; 100_000])]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "the quota does not hold");
    };
    assert!(matches!(error, StoreError::NoSpace(_)), "{error}");
    // etcd looks before it takes a write and again as it applies it; what is too much only then, it has applied.
    let found = store.range(everything(), None, 0).await.unwrap().entries.len();
    assert!(found == kept || found == kept + 1, "{found} entries after {kept} writes");
}

#[test]
fn a_store_is_configured_in_json() {
    let embedded: StoreConfig = serde_json::from_str(r#"{"embedded": {"directory": "/var/lib/orknet"}}"#).unwrap();
    assert!(matches!(embedded, StoreConfig::Embedded(config) if config.reserve_bytes == 16 << 20));
    let roomy: StoreConfig = serde_json::from_str(r#"{"embedded": {"directory": "/d", "reserveBytes": 7}}"#).unwrap();
    assert!(matches!(roomy, StoreConfig::Embedded(config) if config.reserve_bytes == 7));
    let etcd: StoreConfig = serde_json::from_str(r#"{"etcd": {"endpoints": ["https://127.0.0.1:2379"], "caFile": "/ca"}}"#).unwrap();
    assert!(matches!(etcd, StoreConfig::Etcd(config) if config.prefix == "/orknet"));
    assert!(serde_json::from_str::<StoreConfig>(r#"{"embedded": {"directory": "/d", "colour": 1}}"#).is_err());
}
