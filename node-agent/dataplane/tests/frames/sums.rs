//! Checksums, written from their definitions and slow on purpose: bit by bit, byte by byte, with nothing from the programs.

use std::net::IpAddr;

/// The ones' complement sum of 16-bit words (RFC 1071), a last odd byte padded with 0.
pub fn internet_sum(pieces: &[&[u8]]) -> u16 {
    let bytes = pieces.concat();
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    words.fold(0, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    }) as u16
}

/// The pseudo-header before a protocol's own bytes (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let address = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut bytes = [address(source), address(destination)].concat();
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// CRC32c of SCTP (RFC 9260 appendix A), one bit after the other.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let is_odd = (register ^ u32::from(byte >> bit)) & 1 == 1;
            register = (register >> 1) ^ if is_odd { 0x82f6_3b78 } else { 0 };
        }
    }
    !register
}

#[test]
fn the_checksums_are_those_of_the_documents() {
    // RFC 1071 section 3; the check value of CRC-32C in RFC 3720 appendix B.4 (32 bytes of 0).
    assert_eq!(internet_sum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
