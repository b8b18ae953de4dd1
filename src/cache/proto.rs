//! The protobuf wire format: fields written in order, fields read with every length checked.
//! Knows tags, varints and lengths; does not know any message.
//!
//! Written by hand because keys are digests of these bytes: they must be the canonical ones of
//! proto3 (fields in the order of their numbers, defaults left out), whatever a generator does.

/// Builds the bytes of one message. Fields must be added in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Returns a message without fields.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an integer, a bool or an enum; zero is the default and is left out.
    pub(crate) fn field_varint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
    }

    /// Adds a string or bytes; the empty one is the default and is left out.
    pub(crate) fn field_bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.repeated_bytes(field, value);
        }
    }

    /// Adds one element of a repeated string or bytes field: written even when empty.
    pub(crate) fn repeated_bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Adds a message, or one element of a repeated one: written even when empty.
    pub(crate) fn field_message(&mut self, field: u32, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::new();
        fill(&mut inner);
        self.repeated_bytes(field, &inner.bytes);
    }

    /// Returns the bytes of the message.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// The bytes are not a protobuf message, or not one of the kind expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a {expected}")]
pub(crate) struct Malformed {
    /// The name of the message or of the part of it that was expected.
    pub(crate) expected: &'static str,
}

/// What a field holds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// An integer, a bool or an enum.
    Varint(u64),
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// A number of fixed width (4 or 8 bytes); nothing that Kiln reads has one.
    Fixed,
}

impl<'a> Value<'a> {
    /// Returns the bytes of a string, bytes or message field.
    pub(crate) fn bytes(self, expected: &'static str) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => Err(Malformed { expected }),
        }
    }

    /// Returns the number of an integer, bool or enum field.
    pub(crate) fn varint(self, expected: &'static str) -> Result<u64, Malformed> {
        match self {
            Value::Varint(value) => Ok(value),
            Value::Bytes(_) | Value::Fixed => Err(Malformed { expected }),
        }
    }
}

/// Reads the fields of one message in the order in which they lie. Ends after the first
/// [`Malformed`]; never reads outside its bytes and never allocates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Returns a reader of the message `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).ok().filter(|field| (1..1 << 29).contains(field));
        let field = field.ok_or(Malformed { expected: "field number" })?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed { expected: "wire type" }),
        };
        Ok((field, value))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or(Malformed { expected: "whole field" })?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed { expected: "varint of at most 64 bits" })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Sample {
        #[prost(uint64, tag = "1")]
        number: u64,
        #[prost(bytes = "vec", tag = "2")]
        bytes: Vec<u8>,
        #[prost(bytes = "vec", repeated, tag = "3")]
        list: Vec<Vec<u8>>,
        #[prost(message, optional, boxed, tag = "20")]
        inner: Option<Box<Sample>>,
    }

    fn write(sample: &Sample, writer: &mut Writer) {
        writer.field_varint(1, sample.number);
        writer.field_bytes(2, &sample.bytes);
        sample.list.iter().for_each(|bytes| writer.repeated_bytes(3, bytes));
        if let Some(inner) = &sample.inner {
            writer.field_message(20, |writer| write(inner, writer));
        }
    }

    proptest! {
        #[test]
        fn messages_are_written_as_prost_writes_them(
            number: u64, bytes: Vec<u8>, list: Vec<Vec<u8>>, nested: bool,
        ) {
            let leaf = Sample { number, bytes: bytes.clone(), list, inner: None };
            let inner = nested.then(|| Box::new(leaf.clone()));
            let sample = Sample { inner, ..leaf };
            let mut writer = Writer::new();
            write(&sample, &mut writer);
            let written = writer.finish();
            assert_eq!(written, sample.encode_to_vec());
            assert!(Reader::new(&written).all(|field| field.is_ok()));
        }

        #[test]
        fn hostile_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            assert!(Reader::new(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_malformed() {
        for bytes in [&b"\x0a\x02a"[..], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08"] {
            let fields: Vec<_> = Reader::new(bytes).collect();
            assert!(matches!(fields[..], [Err(Malformed { .. })]), "{bytes:?}");
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_malformed() {
        let bytes = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
        assert!(Reader::new(bytes).next().unwrap().is_err());
        let most = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(Reader::new(most).next(), Some(Ok((1, Value::Varint(u64::MAX)))));
    }
}
