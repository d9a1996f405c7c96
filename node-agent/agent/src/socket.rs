//! The Unix socket for the CNI plugin. The protocol is documented in orknet-cni's `protocol`; this file serves it and checks what
//! comes in.

use crate::attachments::device_index;
use crate::error::Error;
use crate::programmer::{Message, Reply};
use orknet_cni::protocol::{Answer, Attachment, MAX_LINE, NodeConfiguration, Reason, Refusal, Request};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// How long a client may take to send its request or to read the answer.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);

/// How long a request for addresses should wait for an agent that is just starting: longer than a start takes, and shorter than the plugin
/// and its runtime have patience. A pod that is refused is tried again by its kubelet, but only after seconds.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long the programmer may take to say what is missing: it may be at work with the maps.
const REASON_DEADLINE: Duration = Duration::from_secs(1);
/// How long another agent is waited for that may be there.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What requests are answered from.
#[derive(Clone)]
pub struct Server {
    pub messages: mpsc::Sender<Message>,
    pub configuration: watch::Receiver<Option<NodeConfiguration>>,
    /// All of the cluster has been in the maps.
    pub is_synced: watch::Receiver<bool>,
    /// How long a request for addresses waits for the two.
    pub patience: Duration,
}

/// Opens the socket so that only root can reach it, at any moment. One that a former agent left is replaced; one that answers is not.
pub fn bind(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    if is_served(path) {
        return Err(failed(io::Error::new(ErrorKind::AddrInUse, "another agent answers there")));
    }
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".new");
    let partial = Path::new(&partial);
    match fs::remove_file(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(partial).map_err(failed)?;
    fs::set_permissions(partial, Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(partial, path).map_err(failed)?;
    Ok(listener)
}

/// Whether somebody keeps a connection open. Being let in is not enough: the queue of a listener outlives its process for a moment.
fn is_served(path: &Path) -> bool {
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(path) else { return false };
    let asked = stream.set_read_timeout(Some(PROBE_DEADLINE)).and_then(|()| stream.write_all(b"\"status\"\n"));
    match asked.and_then(|()| stream.read(&mut [0])) {
        Ok(read) => read > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Serves every connection on its own, for ever.
pub async fn serve(listener: UnixListener, server: Server) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(handle(stream, server.clone()))),
                // Out of file descriptors, most likely, which takes time to get better.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the CNI plugin");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn handle(stream: UnixStream, server: Server) {
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader.take(MAX_LINE as u64));
    let answer = match tokio::time::timeout(CLIENT_DEADLINE, reader.read_until(b'\n', &mut line)).await {
        Ok(Ok(0)) | Ok(Err(_)) | Err(_) => return,
        Ok(Ok(_)) => match serde_json::from_slice::<Request>(&line) {
            Ok(request) => server.answer(request).await,
            Err(error) => refuse(Reason::BadRequest, format!("cannot read the request: {error}")),
        },
    };
    // Nothing in an answer can fail to serialize.
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.push(b'\n');
    let _ = tokio::time::timeout(CLIENT_DEADLINE, writer.write_all(&text)).await;
}

impl Server {
    /// Answers one request; waits until it is in the kernel.
    pub async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Configuration => self.configuration().await,
            Request::Status => match self.ask(Message::Status).await {
                Some(status) => Answer::Status(status),
                None => stopping(),
            },
            Request::Attach(attachment) => match self.check_attachment(&attachment) {
                Ok(()) => self.done(|reply| Message::Attach(attachment, reply)).await,
                Err(message) => refuse(Reason::BadRequest, message),
            },
            Request::Check(name) => self.done(|reply| Message::Check(name, reply)).await,
            Request::Detach(name) => self.done(|reply| Message::Detach(name, reply)).await,
        }
    }

    /// Pods start when the node has addresses for them and its maps know the Services.
    async fn configuration(&self) -> Answer {
        let (mut configuration, mut is_synced) = (self.configuration.clone(), self.is_synced.clone());
        let known = async {
            is_synced.wait_for(|synced| *synced).await.ok()?;
            configuration.wait_for(Option::is_some).await.ok()?.clone()
        };
        match tokio::time::timeout(self.patience, known).await {
            Ok(Some(configuration)) => Answer::Configuration(configuration),
            Ok(None) => stopping(),
            Err(_) if *self.is_synced.borrow() => {
                refuse(Reason::NotReady, "the node has no pod addresses yet (spec.podCIDRs of its Node is empty)".into())
            }
            Err(_) => refuse(Reason::NotReady, self.missing().await),
        }
    }

    /// Why nothing can be said of pods yet.
    async fn missing(&self) -> String {
        let told = tokio::time::timeout(REASON_DEADLINE, self.ask(Message::Missing)).await.ok().flatten();
        told.unwrap_or_else(|| "the agent has not yet seen all of the cluster, or not yet written it into the maps".into())
    }

    fn check_attachment(&self, attachment: &Attachment) -> Result<(), String> {
        if device_index(&attachment.host_ifname) != Some(attachment.host_ifindex) {
            return Err(format!("{} is not device {} of this node", attachment.host_ifname, attachment.host_ifindex));
        }
        let configuration = self.configuration.borrow();
        let prefixes = configuration.as_ref().map(|configuration| configuration.pod_cidrs.as_slice()).unwrap_or_default();
        let foreign = |address: &&std::net::IpAddr| !prefixes.iter().any(|prefix| prefix.contains(*address));
        match attachment.addresses.iter().find(foreign) {
            Some(address) => Err(format!("{address} is not one of this node's pod addresses")),
            None => Ok(()),
        }
    }

    async fn done(&self, message: impl FnOnce(Reply) -> Message) -> Answer {
        match self.ask(message).await {
            Some(Ok(())) => Answer::Done,
            Some(Err(refusal)) => Answer::Error(refusal),
            None => stopping(),
        }
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn refuse(reason: Reason, message: String) -> Answer {
    Answer::Error(Refusal { reason, message })
}

fn stopping() -> Answer {
    refuse(Reason::NotReady, "the agent is stopping".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request for addresses is refused with.
    async fn refusal(is_synced: bool) -> String {
        let (messages, mut queue) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Message::Missing(reply)) = queue.recv().await {
                let _ = reply.send("Pods are missing".into());
            }
        });
        let (_configure, configuration) = watch::channel(None);
        let (_synced, is_synced) = watch::channel(is_synced);
        match (Server { messages, configuration, is_synced, patience: Duration::ZERO }).answer(Request::Configuration).await {
            Answer::Error(Refusal { reason: Reason::NotReady, message }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_has_waited_long_enough_for_addresses_learns_what_is_missing() {
        assert_eq!(refusal(false).await, "Pods are missing");
        assert!(refusal(true).await.contains("no pod addresses yet"));
    }
}
