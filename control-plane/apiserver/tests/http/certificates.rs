//! The server's own certificates: renewed while it runs.

use crate::harness::TestServer;
use rustls::pki_types::ServerName;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The certificate that the server shows on a new connection, which the client has found good.
async fn shown(server: &TestServer) -> Vec<u8> {
    let tcp = TcpStream::connect(server.admin.address).await.expect("connects");
    let name = ServerName::IpAddress(server.admin.address.ip().into());
    let tls = TlsConnector::from(server.admin.tls.clone()).connect(name, tcp).await.expect("a certificate that is good");
    tls.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn the_server_shows_a_fresh_certificate_before_the_old_one_ends() {
    let life = Duration::from_secs(3);
    let begun = Instant::now();
    let server = TestServer::start_with(|config| config.certificate_life = life).await;
    let first = shown(&server).await;
    while shown(&server).await == first {
        assert!(begun.elapsed() < 10 * life, "the certificate was never renewed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The first has ended by then, and connections are accepted as ever.
    tokio::time::sleep((life + Duration::from_secs(1)).saturating_sub(begun.elapsed())).await;
    assert_eq!(server.admin.get("/readyz").await.status, 200);
}
