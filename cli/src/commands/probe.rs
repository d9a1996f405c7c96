//! `orknet probe ADDRESS:PORT`: one HTTP request, for use inside a node.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Prints the body of `GET /`.
pub fn run(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).context("cannot send")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("cannot receive")?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("the answer is {}", head.lines().next().unwrap_or_default());
    }
    print!("{body}");
    Ok(())
}
