//! Port-forward inside a WebSocket (KEP-4006): binary messages carry the bytes of a SPDY/3.1 connection, cut anywhere.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::websocket;

/// The subprotocol.
pub(super) const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// What is spoken inside the SPDY connection.
pub(super) const INNER: &str = "portforward.k8s.io";

/// Most bytes of one message.
const PIECE: usize = 32 << 10;

/// Carries bytes both ways until one side ends.
pub(super) async fn join<C, R>(socket: WebSocketStream<C>, runtime: R)
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite,
{
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = tokio::io::split(runtime);
    let to_runtime = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(bytes) = message
                && write.write_all(&bytes).await.is_err()
            {
                return;
            }
        }
    };
    let to_client = async {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = read.read(&mut piece).await {
            if sink.send(Message::Binary(Bytes::copy_from_slice(&piece[..count]))).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = to_runtime => {}, () = to_client => {} }
    websocket::close(sink, source).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::Role;

    #[tokio::test]
    async fn bytes_pass_whole_however_messages_are_cut_and_the_end_is_told() {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mut runtime, far) = tokio::io::duplex(64 << 10);
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let joined = tokio::spawn(join(socket, far));
        let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        for part in ["he", "", "llo"] {
            client.send(Message::Binary(Bytes::from_static(part.as_bytes()))).await.unwrap();
        }
        let mut seen = [0; 5];
        runtime.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"hello");
        runtime.write_all(b"answer").await.unwrap();
        drop(runtime);
        let mut back = Vec::new();
        let mut closed = false;
        while let Some(Ok(message)) = client.next().await {
            match message {
                Message::Binary(bytes) => back.extend_from_slice(&bytes),
                Message::Close(_) => closed = true,
                _ => {}
            }
        }
        assert_eq!((back.as_slice(), closed), (b"answer".as_slice(), true));
        joined.await.unwrap();
    }
}
