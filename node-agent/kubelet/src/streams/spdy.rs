//! As much of SPDY/3.1 as a client needs to open a few streams and send and receive their data: frames as bytes. Pure.
//!
//! Names and values of a new stream are sent in zlib's stored form, so nothing is compressed and no dictionary is used; the other side's
//! replies are not read. Both are within the protocol (SPDY/3.1 sections 2.6.1, 2.6.10; RFC 1950, 1951).

/// Length of a frame's head, in bytes.
pub(super) const HEAD: usize = 8;
/// Most data that one frame may carry: lengths have 24 bits.
const LONGEST: usize = (1 << 24) - 1;
/// The sender sends nothing more on the stream.
const FIN: u8 = 1;

/// What a frame's head announces; `length` bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Data of a stream.
    Data {
        /// Number of the stream.
        stream: u32,
        /// Bytes of data.
        length: usize,
    },
    /// Anything about the connection or its streams.
    Control {
        /// True when the other side is about to close.
        goes_away: bool,
        /// Bytes to pass over.
        length: usize,
    },
}

/// Makes frames that open streams. The header blocks of a connection are one zlib stream, so a connection has one of these.
#[derive(Debug, Default)]
pub(super) struct Opener {
    begun: bool,
}

impl Opener {
    /// SYN_STREAM with one header.
    pub(super) fn open(&mut self, stream: u32, name: &str, value: &str) -> Vec<u8> {
        let mut pairs = 1_u32.to_be_bytes().to_vec();
        for text in [name, value] {
            pairs.push(0);
            pairs.extend(be24(text.len()));
            pairs.extend(text.as_bytes());
        }
        let mut block = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            // Deflate with a 32 KiB window, no dictionary.
            block.extend([0x78, 0x9c]);
        }
        // A stored block that is not the last one; header blocks here are far shorter than its 16 bits of length allow.
        let length = u16::try_from(pairs.len()).unwrap_or(u16::MAX);
        block.push(0);
        block.extend(length.to_le_bytes());
        block.extend((!length).to_le_bytes());
        block.extend(pairs);
        // An empty stored block (zlib's sync flush): readers that look for the next block otherwise run into the frame's end.
        block.extend([0, 0, 0, 0xff, 0xff]);
        let mut frame = vec![0x80, 3, 0, 1, 0];
        frame.extend(be24(10 + block.len()));
        frame.extend(stream.to_be_bytes());
        frame.extend([0; 6]);
        frame.extend(block);
        frame
    }
}

/// Frames that carry the data, in order.
pub(super) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(bytes.len() + HEAD);
    for piece in bytes.chunks(LONGEST) {
        frames.extend(stream.to_be_bytes());
        frames.push(0);
        frames.extend(be24(piece.len()));
        frames.extend(piece);
    }
    frames
}

/// The frame that ends this side of a stream.
pub(super) fn end(stream: u32) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend([FIN, 0, 0, 0]);
    frame
}

/// Reads a head.
pub(super) fn head(bytes: [u8; HEAD]) -> Head {
    let [a, b, c, d, _, e, f, g] = bytes;
    let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
    if a & 0x80 == 0 {
        return Head::Data { stream: u32::from_be_bytes([a, b, c, d]), length };
    }
    Head::Control { goes_away: u16::from_be_bytes([c, d]) == 7, length }
}

fn be24(length: usize) -> [u8; 3] {
    let [.., a, b, c] = length.to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stream_is_opened_with_one_stored_header() {
        let mut opener = Opener::default();
        let frame = opener.open(1, "streamtype", "error");
        let wanted = [
            &[0x80, 3, 0, 1, 0, 0, 0, 49][..],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            &[0x78, 0x9c, 0, 27, 0, 0xe4, 0xff],
            &[0, 0, 0, 1, 0, 0, 0, 10],
            b"streamtype",
            &[0, 0, 0, 5],
            b"error",
            &[0, 0, 0, 0xff, 0xff],
        ]
        .concat();
        assert_eq!(frame, wanted);
        assert_eq!(opener.open(3, "a", "b").len(), HEAD + 10 + 5 + 14 + 5, "the zlib stream begins once");
    }

    #[test]
    fn heads_are_read() {
        assert_eq!(head([0, 0, 0, 5, 0, 1, 0, 2]), Head::Data { stream: 5, length: 0x10002 });
        assert_eq!(head([0x80, 3, 0, 7, 0, 0, 0, 8]), Head::Control { goes_away: true, length: 8 });
        assert_eq!(head([0x80, 3, 0, 2, 0, 0, 0, 4]), Head::Control { goes_away: false, length: 4 });
        assert_eq!(end(3), [0, 0, 0, 3, 1, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn data_is_announced_as_long_as_it_is(stream in 1u32..1000, bytes in prop::collection::vec(any::<u8>(), 1..2000)) {
            let frame = data(stream, &bytes);
            let announced = head(frame[..HEAD].try_into().unwrap());
            prop_assert_eq!(announced, Head::Data { stream, length: bytes.len() });
            prop_assert_eq!(&frame[HEAD..], &bytes[..]);
        }
    }
}
