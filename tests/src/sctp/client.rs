//! The side that asks: what it says after what it hears (RFC 9260 sections 5, 6 and 9.2).

use super::packet::{Chunk, Init, Packet};
use std::io;

/// An association of one question.
#[derive(Debug)]
pub struct Client {
    /// Ours, the server's.
    ports: [u16; 2],
    own: Init,
    /// 0 until it is known.
    server_tag: u32,
    state: State,
    answer: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Echoed,
    Asked,
    Ending,
    Ended,
}

impl Client {
    /// With two random numbers, the first of which is not 0; and the first packet.
    pub fn open(ports: [u16; 2], [tag, number]: [u32; 2]) -> (Self, Packet) {
        let own = Init { tag, number };
        let client = Self { ports, own, server_tag: 0, state: State::Opening, answer: None };
        let first = client.says(Chunk::Init(own));
        (client, first)
    }

    /// The answer, once the association has ended.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_deref().filter(|_| self.state == State::Ended)
    }

    /// What to say next. `None`: the packet is not for this association, or not its turn.
    ///
    /// # Errors
    /// The server has ended the association.
    pub fn hear(&mut self, packet: &Packet) -> io::Result<Option<Packet>> {
        let [own, servers] = self.ports;
        if packet.ports != [servers, own] || packet.tag != self.own.tag {
            return Ok(None);
        }
        for chunk in &packet.chunks {
            let (state, says) = match (self.state, chunk) {
                (_, Chunk::Abort) => return Err(io::ErrorKind::ConnectionReset.into()),
                (State::Opening, Chunk::InitAck { init, cookie }) => {
                    self.server_tag = init.tag;
                    (State::Echoed, Chunk::CookieEcho(cookie.clone()))
                }
                (State::Echoed, Chunk::CookieAck) => (State::Asked, Chunk::Data { number: self.own.number, payload: b"who\n".to_vec() }),
                (State::Asked, Chunk::Data { number, payload }) => {
                    self.answer = Some(String::from_utf8_lossy(payload).into_owned());
                    (State::Ending, Chunk::Shutdown(*number))
                }
                (State::Ending, Chunk::ShutdownAck) => (State::Ended, Chunk::ShutdownComplete),
                _ => continue,
            };
            self.state = state;
            return Ok(Some(self.says(says)));
        }
        Ok(None)
    }

    fn says(&self, chunk: Chunk) -> Packet {
        Packet { ports: self.ports, tag: self.server_tag, chunks: vec![chunk] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_with_its_ports_and_its_tag_are_heard() {
        let (mut client, first) = Client::open([40_000, 80], [7, 1]);
        assert_eq!(first.tag, 0, "the server has chosen none yet");
        let ack = Chunk::InitAck { init: Init { tag: 9, number: 5 }, cookie: vec![1] };
        let right = Packet { ports: [80, 40_000], tag: 7, chunks: vec![ack] };
        for wrong in [
            Packet { tag: 9, ..right.clone() },
            Packet { ports: [80, 40_001], ..right.clone() },
            Packet { ports: [81, 40_000], ..right.clone() },
        ] {
            assert_eq!(client.hear(&wrong).unwrap(), None);
        }
        let echo = client.hear(&right).unwrap().unwrap();
        assert_eq!(echo, Packet { ports: [40_000, 80], tag: 9, chunks: vec![Chunk::CookieEcho(vec![1])] });
        assert_eq!(client.hear(&right).unwrap(), None, "once is enough");
    }

    #[test]
    fn an_abort_is_an_error() {
        let (mut client, _) = Client::open([40_000, 80], [7, 1]);
        let abort = Packet { ports: [80, 40_000], tag: 7, chunks: vec![Chunk::Abort] };
        assert_eq!(client.hear(&abort).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
