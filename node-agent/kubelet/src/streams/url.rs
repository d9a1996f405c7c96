//! Asks containerd for the URL of a stream, from the query of the kubelet's endpoint.

use axum::http::StatusCode;

use super::channels::Streams;
use super::target::{self, Refusal};
use crate::cri::proto::{AttachRequest, ExecRequest, PortForwardRequest};
use crate::pods::Context;

/// What the query of exec and attach says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
    ports: Vec<i32>,
}

/// URL of a command's stream. `query` has `command` (repeated), `stdin`, `stdout`, `stderr`, `tty`, or the older
/// `input`, `output`, `error`.
///
/// # Errors
/// The container does not run, the query asks for nothing, or containerd refuses.
pub async fn exec_url(context: &Context, namespace: &str, pod: &str, container: &str, query: &str) -> Result<String, Refusal> {
    let asked = parse(query)?;
    if asked.command.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "you must specify at least one command".to_owned()));
    }
    check_streams(&asked)?;
    let container_id = target::container(context, namespace, pod, container).await?;
    let Asked { command, stdin, stdout, stderr, tty, .. } = asked;
    // With a terminal both outputs are one.
    let request = ExecRequest { container_id, cmd: command, stdin, stdout, stderr: stderr && !tty, tty };
    context.cri.exec(request).await.map_err(refused)
}

/// URL of a stream to the container's main process.
///
/// # Errors
/// As [`exec_url`].
pub async fn attach_url(context: &Context, namespace: &str, pod: &str, container: &str, query: &str) -> Result<String, Refusal> {
    let asked = parse(query)?;
    check_streams(&asked)?;
    let container_id = target::lasting_container(context, namespace, pod, container).await?;
    let Asked { stdin, stdout, stderr, tty, .. } = asked;
    let request = AttachRequest { container_id, stdin, stdout, stderr: stderr && !tty, tty };
    context.cri.attach(request).await.map_err(refused)
}

/// URL of the streams to a pod's ports. `query` has `port` or `ports` (repeated) for WebSocket clients; SPDY clients name ports later.
///
/// # Errors
/// The pod does not run, a port is malformed, or containerd refuses.
pub async fn port_forward_url(context: &Context, namespace: &str, pod: &str, query: &str) -> Result<String, Refusal> {
    let asked = parse(query)?;
    let pod_sandbox_id = target::sandbox(context, namespace, pod).await?;
    context.cri.port_forward(PortForwardRequest { pod_sandbox_id, port: asked.ports }).await.map_err(refused)
}

/// The streams that a query of exec or attach asks for.
///
/// # Errors
/// The query is malformed.
pub(super) fn streams(query: &str) -> Result<Streams, Refusal> {
    let Asked { stdin, stdout, stderr, tty, .. } = parse(query)?;
    Ok(Streams { stdin, stdout, stderr: stderr && !tty, resize: tty })
}

fn refused(error: crate::Error) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn check_streams(asked: &Asked) -> Result<(), Refusal> {
    if asked.stdin || asked.stdout || asked.stderr {
        return Ok(());
    }
    Err((StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr".to_owned()))
}

fn parse(query: &str) -> Result<Asked, Refusal> {
    let wrong = |what: &str| (StatusCode::BAD_REQUEST, format!("malformed query: {what}"));
    let pairs = pairs_of(query).ok_or_else(|| wrong(query))?;
    let mut asked = Asked::default();
    for (name, value) in pairs {
        let on = matches!(value.as_str(), "1" | "true" | "True" | "t");
        match name.as_str() {
            "command" => asked.command.push(value),
            "stdin" | "input" => asked.stdin = on,
            "stdout" | "output" => asked.stdout = on,
            "stderr" | "error" => asked.stderr = on,
            "tty" => asked.tty = on,
            "port" | "ports" => {
                for port in value.split(',') {
                    asked.ports.push(port.parse().ok().filter(|p| (1..=65535).contains(p)).ok_or_else(|| wrong(&value))?);
                }
            }
            _ => {}
        }
    }
    Ok(asked)
}

/// Name and value pairs of a query; none when an escape is malformed.
fn pairs_of(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let asked = parse("command=sh&command=-c&command=echo%20%22a+b%22&stdin=true&output=1&tty=false").unwrap();
        assert_eq!(asked.command, ["sh", "-c", "echo \"a b\""]);
        assert_eq!((asked.stdin, asked.stdout, asked.stderr, asked.tty), (true, true, false, false));
        assert_eq!(parse("port=80,443&port=1").unwrap().ports, [80, 443, 1]);
        for bad in ["port=0", "port=x", "command=%zz", "command=%e"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
