//! The plugin's side of the socket to the agent.

use crate::error::{CniError, Code};
use crate::protocol::{Answer, Attachment, AttachmentName, MAX_LINE, NodeConfiguration, Reason, Request};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one answer may take. Shorter than the runtimes' own deadlines, so that the user sees our sentence.
const DEADLINE: Duration = Duration::from_secs(20);

/// How to address pods. "Try again later" while the agent is down or the node has no addresses yet.
pub fn configuration(socket: &Path) -> Result<NodeConfiguration, CniError> {
    match ask(socket, &Request::Configuration)? {
        Answer::Configuration(configuration) => Ok(configuration),
        other => Err(unexpected(&other)),
    }
}

/// Returns when the pod is programmed.
pub fn attach(socket: &Path, attachment: &Attachment) -> Result<(), CniError> {
    done(ask(socket, &Request::Attach(attachment.clone()))?)
}

/// Returns if the pod is programmed.
pub fn check(socket: &Path, name: &AttachmentName) -> Result<(), CniError> {
    done(ask(socket, &Request::Check(name.clone()))?)
}

/// Returns when the agent has forgotten the pod.
pub fn detach(socket: &Path, name: &AttachmentName) -> Result<(), CniError> {
    done(ask(socket, &Request::Detach(name.clone()))?)
}

fn done(answer: Answer) -> Result<(), CniError> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Answer, CniError> {
    let answer = exchange(socket, request).map_err(|error| {
        let operation = format!("asking the orknet agent at {}", socket.display());
        CniError::new(Code::TryAgainLater, operation, format!("{error}; is the agent running?"))
    })?;
    match answer {
        Answer::Error(refusal) => {
            let code = if refusal.reason == Reason::NotReady { Code::TryAgainLater } else { Code::Agent };
            Err(CniError::new(code, "the orknet agent refused", refusal.message))
        }
        answer => Ok(answer),
    }
}

fn exchange(socket: &Path, request: &Request) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE as u64)).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it closed the connection without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

fn unexpected(answer: &Answer) -> CniError {
    CniError::new(Code::Agent, "reading the orknet agent's answer", format!("{answer:?} was not expected"))
}
