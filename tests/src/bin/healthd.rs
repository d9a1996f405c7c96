//! A gRPC server for pods of tests that answers `grpc.health.v1.Health/Check`, and nothing else: SERVING until a file exists, then
//! NOT_SERVING. Speaks just enough of HTTP/2 (RFC 9113) for one question at a time per connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file] = arguments.as_slice() else {
        eprintln!("usage: healthd ADDRESS FILE");
        return ExitCode::FAILURE;
    };
    match serve(address, Path::new(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("healthd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, file: &Path) -> io::Result<()> {
    for stream in TcpListener::bind(address)?.incoming() {
        let (stream, file) = (stream?, file.to_owned());
        // A connection that breaks off is its client's affair.
        std::thread::spawn(move || talk(stream, &file));
    }
    Ok(())
}

fn talk(mut stream: TcpStream, file: &Path) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE])?;
    send(&mut stream, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload)?;
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]));
        match kind {
            SETTINGS if flags & ACK == 0 => send(&mut stream, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => send(&mut stream, PING, ACK, 0, &payload)?,
            DATA if flags & END_STREAM != 0 => answer(&mut stream, id, !file.exists())?,
            _ => {}
        }
    }
}

/// `:status 200`, `content-type: application/grpc`; one message; `grpc-status: 0` (HPACK without the dynamic table, RFC 7541).
fn answer(stream: &mut TcpStream, id: u32, serving: bool) -> io::Result<()> {
    let mut headers = vec![0x88, 0x0f, 0x10, 16];
    headers.extend(b"application/grpc");
    send(stream, HEADERS, END_HEADERS, id, &headers)?;
    // HealthCheckResponse { status: SERVING = 1 | NOT_SERVING = 2 }, uncompressed.
    send(stream, DATA, 0, id, &[0, 0, 0, 0, 2, 0x08, if serving { 1 } else { 2 }])?;
    let mut trailers = vec![0x00, 11];
    trailers.extend(b"grpc-status\x010");
    send(stream, HEADERS, END_HEADERS | END_STREAM, id, &trailers)
}

fn send(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame)
}
