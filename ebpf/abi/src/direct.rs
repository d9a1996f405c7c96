//! Direct server return: how the node where a packet came in tells the node of the backend which Service the client knows, so that the
//! answers can go to the client from there.

/// A type of IPv4 option that hosts without knowledge of it ignore: copied into fragments, class 0, number 26 (RFC 791 section 3.1).
pub const V4_OPTION: u8 = 0x9a;
/// Bytes of the option: type, length, port and address.
pub const V4_BYTES: u8 = 8;
/// A type of IPv6 destination option that hosts without knowledge of it skip (RFC 8200 section 4.2, an experimental one of RFC 4727).
pub const V6_OPTION: u8 = 0x1e;
/// Bytes of the destination options header: next header, length, option type, option length, port, two bytes of padding, address.
pub const V6_BYTES: u8 = 24;
/// Bytes of the option's data in it.
pub const V6_DATA: u8 = 20;
