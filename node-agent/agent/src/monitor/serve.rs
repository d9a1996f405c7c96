//! The socket for monitors: a subscription comes in, lines go out until the monitor has heard enough.
//!
//! ```text
//! {"verdict":"dropped","namespace":"shop"}   → {"type":"event",…}
//!                                              {"type":"lost","events":12,"because":"monitor"}
//!                                              …
//! anything else                              → {"type":"refused","message":"…"}
//! ```

use super::filter::Filter;
use super::hub::Hub;
use super::line::Line;
use crate::config::Config;
use crate::error::Error;
use crate::socket;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Longest subscription, in bytes.
const MAX_LINE: u64 = 4 * 1024;
/// Monitors at a time.
const MOST_MONITORS: usize = 64;
/// How long a monitor may take to say what it wants, and to read a line before it is taken for dead.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where monitors of an agent with this socket for the CNI plugin ask: beside it.
pub fn socket_of(agent_socket: &std::path::Path) -> PathBuf {
    agent_socket.with_extension("monitor.sock")
}

/// Opens the socket so that only root can reach it: what pods do is not for everybody.
pub fn bind(config: &Config) -> Result<UnixListener, Error> {
    socket::bind(&socket_of(&config.socket))
}

/// Serves every monitor on its own, for ever.
pub async fn serve(listener: UnixListener, hub: Hub) {
    let mut monitors = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if monitors.len() < MOST_MONITORS => match accepted {
                Ok((stream, _)) => drop(monitors.spawn(handle(stream, hub.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a monitor's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = monitors.join_next(), if !monitors.is_empty() => {}
        }
    }
}

async fn handle(stream: UnixStream, hub: Hub) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    let mut text = Vec::new();
    match tokio::time::timeout(DEADLINE, reader.read_until(b'\n', &mut text)).await {
        Ok(Ok(0)) | Ok(Err(_)) | Err(_) => {}
        Ok(Ok(_)) => match serde_json::from_slice::<Filter>(&text) {
            Ok(filter) => tell(&hub, &filter, reader.into_inner().into_inner(), &mut writer).await,
            Err(error) => {
                let message = format!("cannot read the subscription: {error}");
                let _ = send(&mut writer, &Line::Refused { message }).await;
            }
        },
    }
}

/// Tells until the monitor closes its end or reads no more.
async fn tell(hub: &Hub, filter: &Filter, mut reader: OwnedReadHalf, writer: &mut OwnedWriteHalf) {
    let mut lines = hub.subscribe(filter.wants_drops(), filter.wants_flows());
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            line = lines.next() => {
                let Some(line) = line else { return };
                let is_wanted = match &*line {
                    Line::Event(happened) => filter.admits(happened),
                    Line::Lost(_) | Line::Refused { .. } => true,
                };
                if is_wanted && !send(writer, &line).await {
                    return;
                }
            }
            read = reader.read(&mut ignored) => {
                if !read.is_ok_and(|bytes| bytes > 0) {
                    return;
                }
            }
        }
    }
}

/// Whether the monitor still reads.
async fn send(writer: &mut OwnedWriteHalf, line: &Line) -> bool {
    // Nothing in a line can fail to serialize.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    matches!(tokio::time::timeout(DEADLINE, writer.write_all(&text)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::super::line::Happened;
    use super::super::samples::dropped;
    use super::*;

    async fn connect(folder: &tempfile::TempDir, subscription: &str) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(folder.path().join("agent.monitor.sock")).await.unwrap();
        stream.write_all(format!("{subscription}\n").as_bytes()).await.unwrap();
        BufReader::new(stream)
    }

    async fn next(stream: &mut BufReader<UnixStream>) -> Line {
        let mut text = String::new();
        stream.read_line(&mut text).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[tokio::test]
    async fn each_monitor_hears_what_it_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { socket: folder.path().join("agent.sock"), ..Config::default() };
        let hub = Hub::default();
        let _serving = tokio::spawn(serve(bind(&config).unwrap(), hub.clone())).abort_handle();
        let mut wanted = hub.wanted();
        let mut all = connect(&folder, "{}").await;
        let mut dropped_only = connect(&folder, r#"{"verdict":"dropped","port":81}"#).await;
        assert!(matches!(next(&mut connect(&folder, r#"{"unknown":1}"#).await).await, Line::Refused { .. }));
        wanted.wait_for(|wanted| (wanted.drops, wanted.flows) == (2, 1)).await.unwrap();
        let at_81 = Happened { device: 81, ..dropped() };
        let mut at_81 = Happened { server: super::super::line::End { port: Some(81), ..at_81.server.clone() }, ..at_81 };
        at_81.service = None;
        hub.tell(Line::Event(Box::new(dropped())));
        hub.tell(Line::Event(Box::new(at_81.clone())));
        assert_eq!(next(&mut all).await, Line::Event(Box::new(dropped())));
        assert_eq!(next(&mut all).await, Line::Event(Box::new(at_81.clone())));
        assert_eq!(next(&mut dropped_only).await, Line::Event(Box::new(at_81)));
        drop(all);
        wanted.wait_for(|wanted| (wanted.drops, wanted.flows) == (1, 0)).await.unwrap();
    }
}
