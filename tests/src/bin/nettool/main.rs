//! A small program for pods of tests: servers that answer with their host's name, and clients that count who answered.
//! Everything is bounded: clients by a number of tries, servers by the pod's life.

mod clients;
mod probes;
mod questions;
mod servers;
mod streams;

use clients::{ask, ask_all, attempt, get, time_connect, try_all, try_from_one_port, try_large, try_stream};
use questions::{ask_sctp, ask_tcp, ask_udp, ask_udp_connected};
use servers::{serve, serve_sctp, serve_tcp, serve_udp, stay};
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use streams::{
    ask_connected_socket, ask_one_socket, ask_tcp_patiently, ask_udp_patiently, await_tcp, connected_datagrams, connected_stream, hold, log,
};

const TIMEOUT: Duration = Duration::from_secs(2);
/// For answers of which none may be missing: on a busy host one is late, and not lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Questions of those who ask as many as there is time for, before a pause.
const BURST: u32 = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", address] => serve(address),
        ["stay", address] => stay(address),
        ["serve-tcp", address] => serve_tcp(address),
        ["serve-udp", address] => serve_udp(address),
        ["serve-sctp", address] => serve_sctp(address),
        ["ask-tcp", address, tries] => ask(address, tries, ask_tcp),
        ["ask-udp", address, tries] => ask(address, tries, ask_udp),
        ["ask-udp-connected", address, tries] => ask(address, tries, ask_udp_connected),
        ["ask-sctp", address, tries] => ask(address, tries, ask_sctp),
        ["try-tcp", address] => attempt(address, ask_tcp),
        ["try-udp", address] => attempt(address, ask_udp),
        ["try-udp-connected", address] => attempt(address, ask_udp_connected),
        ["try-sctp", address] => attempt(address, ask_sctp),
        ["try-large", address, bytes] => try_large(address, bytes),
        ["try-all", targets @ ..] => try_all(targets),
        ["try-stream", address, bytes] => try_stream(address, bytes),
        ["probe", count, pause_ms, targets @ ..] => probes::probe(count, pause_ms, targets),
        ["watch", ports @ ..] => watch(ports),
        ["time-connect", address, calls] => time_connect(address, calls),
        ["get", address, path] => get(address, path),
        ["try-from-one-port", addresses @ ..] => try_from_one_port(addresses),
        ["ask-all", first_port, tries, targets @ ..] => ask_all(first_port, tries, targets),
        ["log-tcp", address, tries, pause_ms] => log(address, tries, pause_ms, ask_tcp_patiently),
        ["log-udp", address, tries, pause_ms] => log(address, tries, pause_ms, ask_udp_patiently),
        ["ask-one-socket", address, count, pause_ms] => ask_one_socket(address, count, pause_ms),
        ["ask-connected-socket", address, count, pause_ms] => ask_connected_socket(address, count, pause_ms),
        ["hold-tcp", address, count, pause_ms] => hold(address, count, pause_ms, 1, connected_stream),
        ["hold-udp", address, count, pause_ms] => hold(address, count, pause_ms, 1, connected_datagrams),
        ["await-tcp", address, ..] => await_tcp(address),
        ["rush-tcp", address, count, pause_ms] => hold(address, count, pause_ms, BURST, connected_stream),
        ["rush-udp", address, count, pause_ms] => hold(address, count, pause_ms, BURST, connected_datagrams),
        _ => Err(io::Error::other(
            "usage: nettool serve|serve-tcp|serve-udp|serve-sctp|stay ADDRESS | ask-tcp|ask-udp|ask-udp-connected|ask-sctp ADDRESS TRIES | \
             try-tcp|try-udp|try-udp-connected|try-sctp ADDRESS | try-large|try-stream ADDRESS BYTES | watch PORT… | ask-all FIRST_PORT TRIES HOW@ADDRESS… | try-all HOW@ADDRESS… | probe COUNT PAUSE_MS HOW@ADDRESS… | try-from-one-port ADDRESS… | get ADDRESS PATH | time-connect ADDRESS CALLS | \
             log-tcp|log-udp|hold-tcp|hold-udp|await-tcp|rush-tcp|rush-udp|ask-one-socket|ask-connected-socket ADDRESS COUNT PAUSE_MS",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nettool: {error}");
            ExitCode::FAILURE
        }
    }
}

/// See [`orknet_tests::watch`].
fn watch(ports: &[&str]) -> io::Result<()> {
    let ports = ports.iter().map(|port| port.parse().map_err(io::Error::other)).collect::<io::Result<Vec<u16>>>()?;
    orknet_tests::watch::watch(&ports)
}
