//! Connections on which nothing, or never all, comes: half-open TLS handshakes, heads and bodies that do not end; heads that are too large.

use crate::guard::Guarded;
use anyhow::{Context, Result, ensure};
use orknet_tests::{eventually, faults};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

faults![
    abuse_half_open_handshakes_stop_nobody_and_end,
    abuse_heads_that_are_too_large_or_have_too_many_fields_are_refused,
    abuse_bodies_that_never_end_stop_nobody,
];

/// The beginning of a TLS record that tells of more than comes: a ClientHello of 512 bytes.
const HALF_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];

fn abuse_half_open_handshakes_stop_nobody_and_end() -> Result<()> {
    let guarded = Guarded::start()?;
    let mut half = Vec::new();
    for number in 0..1000 {
        let mut socket = TcpStream::connect(("127.0.0.1", guarded.server.port())).context("cannot connect")?;
        // Every second one says nothing at all.
        if number % 2 == 0 {
            socket.write_all(HALF_HELLO)?;
        }
        half.push(socket);
    }
    guarded.serves_others()?;
    guarded.grew_at_most(100)?;
    // Ten seconds each, all at the same time.
    for socket in &mut half {
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        eventually("the server to give up a handshake", || match socket.read(&mut [0; 16]) {
            // It may say why before it closes.
            Ok(0) => Ok(()),
            Ok(_) => anyhow::bail!("it speaks yet"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error.into()),
        })?;
    }
    guarded.is_sound()
}

fn abuse_heads_that_are_too_large_or_have_too_many_fields_are_refused() -> Result<()> {
    let guarded = Guarded::start()?;
    let large = "x".repeat(1 << 20);
    let names: Vec<String> = (0..1000).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&name[..], "y")).collect();
    for headers in [&[("x-large", &large[..])][..], &many[..]] {
        // The connection may be gone before the answer was read.
        if let Ok(answer) = guarded.api.send("GET", "/version", headers, &[]) {
            ensure!(matches!(answer.code, 400 | 431), "{} for a head that is too large", answer.code);
        }
    }
    // A usual one is taken: a token, a path and an impersonated user with many groups.
    let groups: Vec<(&str, &str)> = (0..100).map(|_| ("impersonate-group", "some-group-of-a-large-company")).collect();
    let usual: Vec<_> = [("impersonate-user", "anna")].into_iter().chain(groups).collect();
    let answer = guarded.api.send("GET", "/version", &usual, &[])?;
    ensure!(answer.code == 200, "{}: {}", answer.code, answer.text());
    guarded.is_sound()
}

fn abuse_bodies_that_never_end_stop_nobody() -> Result<()> {
    let guarded = Guarded::start()?;
    let api = guarded.api.clone().within(Duration::from_millis(100));
    // Of a megabyte that it tells of, each sends a part: no answer comes, and the client goes.
    for _ in 0..100 {
        let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
        let sent = api.connect()?.send("POST", "/api/v1/namespaces/default/configmaps", &headers, b"100000\r\n{\"metadata\":");
        // A length beside chunks is an error in HTTP/1.1, and may be told at once.
        if let Ok(answer) = sent {
            ensure!(answer.code == 400, "{}: {}", answer.code, answer.text());
        }
    }
    guarded.serves_others()?;
    guarded.grew_at_most(100)?;
    guarded.is_sound()
}
