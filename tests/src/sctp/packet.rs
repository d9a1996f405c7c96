//! SCTP packets as bytes (RFC 9260 section 3): the chunks that an association of one question and one answer needs. All numbers are in
//! network byte order but the checksum.

/// Ports, a tag, and chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// From, to.
    pub ports: [u16; 2],
    /// The verification tag: what the receiver has chosen, 0 before it could.
    pub tag: u32,
    pub chunks: Vec<Chunk>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Init(Init),
    InitAck {
        init: Init,
        cookie: Vec<u8>,
    },
    CookieEcho(Vec<u8>),
    CookieAck,
    /// A message that is in one piece, on stream 0.
    Data {
        number: u32,
        payload: Vec<u8>,
    },
    /// Everything up to this number has come.
    Sack(u32),
    /// The same, and there will be no more.
    Shutdown(u32),
    ShutdownAck,
    ShutdownComplete,
    Abort,
    /// Another, by its type.
    Other(u8),
}

/// What one side chooses for its association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// For packets to this side.
    pub tag: u32,
    /// Of this side's first message.
    pub number: u32,
}

/// Types of chunks.
mod kind {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const SACK: u8 = 3;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Ports, tag, checksum.
const HEADER: usize = 12;
/// Room that the receiver has: more than is ever sent.
const WINDOW: u32 = 1 << 16;
/// The parameter "State Cookie" of an INIT ACK.
const COOKIE: u16 = 7;
/// The message begins and ends here.
const WHOLE: u8 = 3;

impl Packet {
    pub fn bytes(&self) -> Vec<u8> {
        let [from, to] = self.ports.map(u16::to_be_bytes);
        let mut bytes = [&from[..], &to, &self.tag.to_be_bytes(), &[0; 4]].concat();
        self.chunks.iter().for_each(|chunk| chunk.write(&mut bytes));
        let sum = crc32c(&bytes).to_le_bytes();
        bytes[8..HEADER].copy_from_slice(&sum);
        bytes
    }

    /// `None` for what is no whole packet, or has another checksum than it should.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(HEADER)?;
        let sum = crc32c(&[&header[..8], &[0; 4], rest].concat()).to_le_bytes();
        (header[8..] == sum).then_some(())?;
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (chunk, next) = split(rest)?;
            chunks.push(Chunk::parse(chunk)?);
            rest = next;
        }
        Some(Self { ports: [word(header, 0)?, word(header, 2)?], tag: number(header, 4)?, chunks })
    }
}

impl Chunk {
    fn write(&self, bytes: &mut Vec<u8>) {
        let (kind, flags, body) = match self {
            Self::Init(init) => (kind::INIT, 0, init.bytes()),
            Self::InitAck { init, cookie } => {
                let parameter = [&COOKIE.to_be_bytes()[..], &length(cookie), cookie].concat();
                (kind::INIT_ACK, 0, [init.bytes(), parameter].concat())
            }
            Self::CookieEcho(cookie) => (kind::COOKIE_ECHO, 0, cookie.clone()),
            Self::CookieAck => (kind::COOKIE_ACK, 0, Vec::new()),
            // Stream, number in the stream, protocol of the payload: 0.
            Self::Data { number, payload } => (kind::DATA, WHOLE, [&number.to_be_bytes()[..], &[0; 8], payload].concat()),
            // No gaps, no duplicates.
            Self::Sack(number) => (kind::SACK, 0, [number.to_be_bytes(), WINDOW.to_be_bytes(), [0; 4]].concat()),
            Self::Shutdown(number) => (kind::SHUTDOWN, 0, number.to_be_bytes().to_vec()),
            Self::ShutdownAck => (kind::SHUTDOWN_ACK, 0, Vec::new()),
            Self::ShutdownComplete => (kind::SHUTDOWN_COMPLETE, 0, Vec::new()),
            Self::Abort => (kind::ABORT, 0, Vec::new()),
            Self::Other(kind) => (*kind, 0, Vec::new()),
        };
        bytes.extend([&[kind, flags][..], &length(&body), &body].concat());
        // The length does not count what comes after it.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }

    /// Of the chunk's bytes, its header among them.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, body) = (*bytes.first()?, bytes.get(4..)?);
        Some(match kind {
            kind::INIT => Self::Init(Init::parse(body)?),
            kind::INIT_ACK => Self::InitAck { init: Init::parse(body)?, cookie: cookie(body.get(Init::LENGTH..)?)? },
            kind::COOKIE_ECHO => Self::CookieEcho(body.to_vec()),
            kind::COOKIE_ACK => Self::CookieAck,
            kind::DATA => Self::Data { number: number(body, 0)?, payload: body.get(12..)?.to_vec() },
            kind::SACK => Self::Sack(number(body, 0)?),
            kind::SHUTDOWN => Self::Shutdown(number(body, 0)?),
            kind::SHUTDOWN_ACK => Self::ShutdownAck,
            kind::SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            kind::ABORT => Self::Abort,
            other => Self::Other(other),
        })
    }
}

impl Init {
    const LENGTH: usize = 16;

    /// One stream each way.
    fn bytes(self) -> Vec<u8> {
        [self.tag.to_be_bytes(), WINDOW.to_be_bytes(), [0, 1, 0, 1], self.number.to_be_bytes()].concat()
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let init = Self { tag: number(body, 0)?, number: number(body, 12)? };
        (init.tag != 0).then_some(init)
    }
}

/// The first of several chunks or parameters, each of which has its length in the second word, and the others.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(word(bytes, 2)?);
    let next = length.next_multiple_of(4).min(bytes.len());
    (length >= 4).then_some(())?;
    Some((bytes.get(..length)?, &bytes[next..]))
}

/// The one among an INIT ACK's parameters.
fn cookie(mut parameters: &[u8]) -> Option<Vec<u8>> {
    loop {
        let (parameter, next) = split(parameters)?;
        if word(parameter, 0) == Some(COOKIE) {
            return Some(parameter[4..].to_vec());
        }
        parameters = next;
    }
}

/// Of a chunk or a parameter with that body.
fn length(body: &[u8]) -> [u8; 2] {
    // What is said here has a few bytes.
    u16::try_from(4 + body.len()).unwrap_or(u16::MAX).to_be_bytes()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[Chunk]) -> Packet {
        Packet { ports: [40_000, 80], tag: 0x0102_0304, chunks: chunks.to_vec() }
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value that catalogues of such sums have, and the first example of RFC 3720 appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    }

    #[test]
    fn a_chunk_has_its_bytes_in_the_order_of_the_standard() {
        let bytes = packet(&[Chunk::Init(Init { tag: 7, number: 9 })]).bytes();
        assert_eq!(bytes[..8], [0x9c, 0x40, 0, 80, 1, 2, 3, 4]);
        assert_eq!(bytes[HEADER..], [1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9]);
        let bytes = packet(&[Chunk::Data { number: 1, payload: b"who".to_vec() }]).bytes();
        assert_eq!(bytes[HEADER..], [0, 3, 0, 19, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, b'w', b'h', b'o', 0]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let init = Init { tag: 7, number: u32::MAX };
        let all = [
            packet(&[Chunk::Init(init)]),
            packet(&[Chunk::InitAck { init, cookie: vec![5; 13] }]),
            packet(&[Chunk::CookieEcho(vec![5; 13])]),
            packet(&[Chunk::Sack(1), Chunk::Data { number: 2, payload: b"odd".to_vec() }, Chunk::CookieAck]),
            packet(&[Chunk::Shutdown(3), Chunk::ShutdownAck, Chunk::ShutdownComplete, Chunk::Abort, Chunk::Other(9)]),
            packet(&[]),
        ];
        for packet in all {
            assert_eq!(Packet::parse(&packet.bytes()), Some(packet));
        }
    }

    #[test]
    fn a_packet_with_another_byte_anywhere_is_none() {
        let bytes = packet(&[Chunk::CookieEcho(vec![5; 6])]).bytes();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(Packet::parse(&other), None, "byte {at}");
        }
    }

    #[test]
    fn what_is_cut_off_or_says_a_wrong_length_is_none() {
        let whole = packet(&[Chunk::InitAck { init: Init { tag: 7, number: 1 }, cookie: vec![5; 9] }]).bytes();
        // With the right checksum: it is not what tells.
        let summed = |mut bytes: Vec<u8>| {
            if bytes.len() >= HEADER {
                bytes[8..HEADER].fill(0);
                let sum = crc32c(&bytes).to_le_bytes();
                bytes[8..HEADER].copy_from_slice(&sum);
            }
            bytes
        };
        let padding = 3;
        for length in (0..HEADER).chain(HEADER + 1..whole.len() - padding) {
            assert_eq!(Packet::parse(&summed(whole[..length].to_vec())), None, "{length} bytes");
        }
        for length in [0u16, 3, 1000] {
            for at in [HEADER + 2, HEADER + 22] {
                let mut other = whole.clone();
                other[at..at + 2].copy_from_slice(&length.to_be_bytes());
                assert_eq!(Packet::parse(&summed(other)), None, "length {length} at {at}");
            }
        }
    }

    #[test]
    fn no_side_may_choose_tag_zero() {
        assert_eq!(Packet::parse(&packet(&[Chunk::Init(Init { tag: 0, number: 1 })]).bytes()), None);
    }
}
