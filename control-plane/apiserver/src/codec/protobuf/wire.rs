//! Protobuf's wire format: keys, varints, lengths. Total: broken bytes are an error.

use super::ProtobufError;

/// A field's value as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// `runtime.Unknown`: what kind the message is of, and its bytes.
pub struct Envelope<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub raw: &'a [u8],
}

/// The fields of a message, in the order of the wire.
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// Reads the envelope that follows the magic bytes.
pub fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    let mut envelope = Envelope { api_version: "", kind: "", raw: &[] };
    for field in Fields::new(bytes) {
        match field? {
            (1, Raw::Bytes(type_meta)) => {
                for field in Fields::new(type_meta) {
                    match field? {
                        (1, Raw::Bytes(text)) => envelope.api_version = utf8(text)?,
                        (2, Raw::Bytes(text)) => envelope.kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

/// Text must be UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::Broken("a text"))
}

/// One varint and what follows it.
pub fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), ProtobufError> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(ProtobufError::Broken("a number"))
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<(u32, Raw<'a>), ProtobufError> {
        let (key, rest) = varint(self.rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| ProtobufError::Broken("a field's key"))?;
        let (value, rest) = match key & 7 {
            0 => {
                let (value, rest) = varint(rest)?;
                (Raw::Varint(value), rest)
            }
            1 => {
                let (bytes, rest) = rest.split_first_chunk::<8>().ok_or(ProtobufError::Broken("a fixed number"))?;
                (Raw::Fixed64(u64::from_le_bytes(*bytes)), rest)
            }
            2 => {
                let (length, rest) = varint(rest)?;
                let length =
                    usize::try_from(length).ok().filter(|length| *length <= rest.len()).ok_or(ProtobufError::Broken("a length"))?;
                let (bytes, rest) = rest.split_at(length);
                (Raw::Bytes(bytes), rest)
            }
            5 => {
                let (bytes, rest) = rest.split_first_chunk::<4>().ok_or(ProtobufError::Broken("a fixed number"))?;
                (Raw::Fixed32(u32::from_le_bytes(*bytes)), rest)
            }
            _ => return Err(ProtobufError::Broken("a field's type")),
        };
        self.rest = rest;
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Raw<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}
