//! The side that answers, with its name and the address that it sees (RFC 9260 sections 5, 6 and 9.2).

use super::packet::{Chunk, Init, Packet};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Its associations end when their clients end them, and with the server.
#[derive(Debug)]
pub struct Server {
    name: String,
    port: u16,
    associations: HashMap<SocketAddr, Association>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Association {
    client_tag: u32,
    own: Init,
}

impl Server {
    pub fn new(name: &str, port: u16) -> Self {
        Self { name: name.to_owned(), port, associations: HashMap::new() }
    }

    /// What to answer to a packet from that address, if anything. Two random numbers, the first of which is not 0, are for a new association.
    pub fn hear(&mut self, from: IpAddr, packet: &Packet, [tag, number]: [u32; 2]) -> Option<Packet> {
        let [port, own] = packet.ports;
        (own == self.port).then_some(())?;
        let client = SocketAddr::new(from, port);
        let first = packet.chunks.first()?;
        let known = self.associations.get(&client).filter(|association| association.own.tag == packet.tag).copied();
        let (client_tag, chunks) = match first {
            // Nothing is remembered before the client has shown that it hears.
            Chunk::Init(init) if packet.tag == 0 => {
                let own = Init { tag, number };
                (init.tag, vec![Chunk::InitAck { init: own, cookie: Association { client_tag: init.tag, own }.cookie() }])
            }
            Chunk::CookieEcho(cookie) => {
                let association = Association::of(cookie).filter(|association| association.own.tag == packet.tag)?;
                self.associations.insert(client, association);
                (association.client_tag, vec![Chunk::CookieAck])
            }
            Chunk::Data { number, .. } => {
                let Association { client_tag, own } = known?;
                let answer = format!("{} {}\n", self.name, from.to_canonical()).into_bytes();
                (client_tag, vec![Chunk::Sack(*number), Chunk::Data { number: own.number, payload: answer }])
            }
            Chunk::Shutdown(_) => (known?.client_tag, vec![Chunk::ShutdownAck]),
            Chunk::ShutdownComplete => {
                known.and_then(|_| self.associations.remove(&client));
                return None;
            }
            _ => return None,
        };
        Some(Packet { ports: [own, port], tag: client_tag, chunks })
    }
}

impl Association {
    /// What comes back with the COOKIE ECHO. Unsigned: clients of tests forge nothing.
    fn cookie(self) -> Vec<u8> {
        [self.client_tag, self.own.tag, self.own.number].map(u32::to_be_bytes).concat()
    }

    fn of(cookie: &[u8]) -> Option<Self> {
        let [client_tag, tag, number] = <[[u8; 4]; 3]>::try_from(cookie.as_chunks::<4>().0).ok()?.map(u32::from_be_bytes);
        Some(Self { client_tag, own: Init { tag, number } })
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn client_and_server_come_to_an_answer_and_leave_nothing() {
        let mut server = Server::new("web", 80);
        let (mut client, mut says) = Client::open([40_000, 80], [7, 1]);
        let mut steps = 0;
        while client.answer().is_none() {
            let answer = server.hear(FROM, &says, [9, 5]).unwrap();
            says = client.hear(&answer).unwrap().unwrap();
            steps += 1;
        }
        assert_eq!((client.answer(), steps), (Some("web 192.0.2.1\n"), 4));
        assert_eq!(server.hear(FROM, &says, [9, 5]), None, "the end needs no answer");
        assert!(server.associations.is_empty());
    }

    #[test]
    fn who_does_not_know_the_tag_is_not_answered() {
        let mut server = Server::new("web", 80);
        let (mut client, first) = Client::open([40_000, 80], [7, 1]);
        let answer = server.hear(FROM, &first, [9, 5]).unwrap();
        let echo = client.hear(&answer).unwrap().unwrap();
        assert_eq!(server.hear(FROM, &Packet { tag: 8, ..echo.clone() }, [9, 5]), None);
        server.hear(FROM, &echo, [9, 5]).unwrap();
        let question = Packet { chunks: vec![Chunk::Data { number: 1, payload: Vec::new() }], ..echo };
        assert!(server.hear(FROM, &question, [9, 5]).is_some());
        let strangers = [Packet { tag: 7, ..question.clone() }, Packet { ports: [40_001, 80], ..question.clone() }];
        for stranger in strangers.into_iter().chain([Packet { ports: [40_000, 81], ..question }]) {
            assert_eq!(server.hear(FROM, &stranger, [9, 5]), None);
        }
    }
}
