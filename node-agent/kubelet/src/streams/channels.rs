//! exec and attach over the WebSocket subprotocol `v5.channel.k8s.io` (KEP-4006), for a runtime that speaks SPDY: a message's first byte
//! is its channel, and each channel is one stream of the SPDY connection.

use std::io;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::spdy::{self, Head};
use super::websocket;

/// The subprotocol.
pub(super) const PROTOCOL: &str = "v5.channel.k8s.io";
/// What is spoken inside the SPDY connection.
pub(super) const INNER: &str = "v4.channel.k8s.io";

/// The channel whose messages name another channel: its sender is done with that.
const CLOSE: u8 = 255;
/// Most bytes of one message.
const PIECE: usize = 32 << 10;

/// Which streams there are, besides that for errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The sizes of a terminal.
    pub resize: bool,
}

/// One channel and its SPDY stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Channel {
    number: u8,
    stream: u32,
    kind: &'static str,
}

/// The channels in the order in which their streams are opened: that for errors is the first.
fn channels(streams: Streams) -> Vec<Channel> {
    let all = [
        (3, "error", true),
        (0, "stdin", streams.stdin),
        (1, "stdout", streams.stdout),
        (2, "stderr", streams.stderr),
        (4, "resize", streams.resize),
    ];
    let wanted = all.into_iter().filter(|(_, _, wanted)| *wanted);
    // Streams that a client opens have odd numbers.
    wanted.zip((1..).step_by(2)).map(|((number, kind, _), stream)| Channel { number, stream, kind }).collect()
}

/// Frames for one message of the client.
fn frames(channels: &[Channel], message: &[u8]) -> Option<Vec<u8>> {
    let stream = |number: u8| channels.iter().find(|c| c.number == number).map(|c| c.stream);
    match message {
        [CLOSE, number] => stream(*number).map(spdy::end),
        [number, bytes @ ..] if !bytes.is_empty() => stream(*number).map(|stream| spdy::data(stream, bytes)),
        _ => None,
    }
}

/// Carries the channels until one side ends.
pub(super) async fn join<C, R>(socket: WebSocketStream<C>, runtime: R, streams: Streams)
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite,
{
    let channels = channels(streams);
    let (mut sink, mut source) = socket.split();
    let (read, mut write) = tokio::io::split(runtime);
    let to_runtime = async {
        let mut opener = spdy::Opener::default();
        let opening: Vec<u8> = channels.iter().flat_map(|c| opener.open(c.stream, "streamtype", c.kind)).collect();
        write.write_all(&opening).await?;
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(message) = message
                && let Some(frames) = frames(&channels, &message)
            {
                write.write_all(&frames).await?;
            }
        }
        io::Result::Ok(())
    };
    let to_client = async {
        let mut piece = vec![0; 1 + PIECE];
        let mut incoming = Incoming { read, stream: 0, left: 0 };
        while let Some((stream, count)) = incoming.next(&mut piece[1..]).await? {
            let Some(channel) = channels.iter().find(|c| c.stream == stream) else { continue };
            piece[0] = channel.number;
            let message = Message::Binary(Bytes::copy_from_slice(&piece[..=count]));
            if sink.send(message).await.is_err() {
                break;
            }
        }
        io::Result::Ok(())
    };
    let ended = tokio::select! { ended = to_runtime => ended, ended = to_client => ended };
    if let Err(error) = ended {
        tracing::debug!(%error, "stream to the runtime ended");
    }
    websocket::close(sink, source).await;
}

/// Reads the data of all streams in pieces, and passes over the rest.
struct Incoming<R> {
    read: R,
    stream: u32,
    /// Bytes of the stream's frame that are not read yet.
    left: usize,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// The next piece: its stream and how many bytes of `buffer` it fills. None when the other side is done.
    async fn next(&mut self, buffer: &mut [u8]) -> io::Result<Option<(u32, usize)>> {
        while self.left == 0 {
            let mut head = [0; spdy::HEAD];
            match self.read.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            };
            match spdy::head(head) {
                Head::Data { stream, length } => (self.stream, self.left) = (stream, length),
                Head::Control { goes_away: true, .. } => return Ok(None),
                Head::Control { length, .. } => {
                    let mut rest = (&mut self.read).take(length as u64);
                    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
                }
            }
        }
        let most = buffer.len().min(self.left);
        match self.read.read(&mut buffer[..most]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.left -= count;
                Ok(Some((self.stream, count)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::Role;

    const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true, resize: true };

    #[test]
    fn only_wanted_channels_have_streams_and_the_one_for_errors_is_first() {
        let kinds = |streams| channels(streams).iter().map(|c| (c.stream, c.kind)).collect::<Vec<_>>();
        assert_eq!(kinds(ALL), [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr"), (9, "resize")]);
        assert_eq!(kinds(Streams { stdout: true, ..Streams::default() }), [(1, "error"), (3, "stdout")]);
    }

    #[test]
    fn messages_become_frames_and_a_close_ends_one_stream() {
        let channels = channels(ALL);
        assert_eq!(frames(&channels, b"\0abc"), Some(spdy::data(3, b"abc")));
        assert_eq!(frames(&channels, &[CLOSE, 0]), Some(spdy::end(3)));
        for nothing in [&[][..], &[0], &[9, 1], &[CLOSE], &[CLOSE, 9]] {
            assert_eq!(frames(&channels, nothing), None, "{nothing:?}");
        }
    }

    #[tokio::test]
    async fn outputs_come_on_their_channels_and_the_end_closes_the_socket() {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mut runtime, far) = tokio::io::duplex(64 << 10);
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let joined = tokio::spawn(join(socket, far, ALL));
        let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        // A reply, two outputs, the outcome, and the end of the connection.
        let mut sent = vec![0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, 5];
        sent.extend(spdy::data(5, b"out"));
        sent.extend(spdy::data(7, b"err"));
        sent.extend(spdy::data(1, b"{}"));
        runtime.write_all(&sent).await.unwrap();
        let mut messages = Vec::new();
        for _ in 0..3 {
            messages.push(client.next().await.unwrap().unwrap().into_data().to_vec());
        }
        assert_eq!(messages, [b"\x01out".to_vec(), b"\x02err".to_vec(), b"\x03{}".to_vec()]);
        drop(runtime);
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
        drop(client);
        joined.await.unwrap();
    }
}
