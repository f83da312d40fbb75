//! A message of either direction, and what the schema says about its bytes.

use std::collections::BTreeMap;

use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::packet::{BodyFault, Header, MAX_BODY};
use coshift_shared::schema::MessageSchema;
use coshift_shared::to_controller::{MAX_CHUNK, MAX_SAMPLES, ToController};
use coshift_shared::to_host::ToHost;
use postcard_schema::schema::{DataModelType, DataModelVariant, NamedType};

/// A message of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    ToController(ToController),
    ToHost(ToHost),
}

/// Kinds below this one go to the controller.
pub(crate) const FIRST_TO_HOST: u8 = 0x40;

impl Message {
    pub(crate) fn decode(kind: Kind, body: &[u8]) -> Result<Self, BodyFault> {
        if (kind as u8) < FIRST_TO_HOST {
            ToController::decode(kind, body).map(Self::ToController)
        } else {
            ToHost::decode(kind, body).map(Self::ToHost)
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::ToController(message) => message.kind(),
            Self::ToHost(message) => message.kind(),
        }
    }

    pub(crate) fn encode(&self, out: &mut [u8]) -> Result<usize, BodyFault> {
        match self {
            Self::ToController(message) => message.encode(out),
            Self::ToHost(message) => message.encode(out),
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = [0; MAX_BODY];
        let length = self.encode(&mut out).expect("the message fits a body");
        out[..length].to_vec()
    }

    pub(crate) fn frame(&self, header: Header) -> Frame {
        Frame::build(header, |out| self.encode(out)).expect("the message fits a frame")
    }
}

/// Most items of the sequence at `path` (`Message.field`): postcard's schema does not say.
pub(crate) fn capacity(path: &str) -> usize {
    match path {
        "Outcomes.samples" => MAX_SAMPLES,
        "PolicyChunk.bytes" => MAX_CHUNK,
        _ => panic!("{path}: a sequence whose capacity the tests do not know; add it here"),
    }
}

/// How the parts of a body are written: postcard's encoding, on its own here so that the crate is
/// not compared with itself (<https://postcard.jamesmunns.com/wire-format>).
pub(crate) mod wire {
    pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push((value as u8) | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    pub(crate) fn zigzag(value: i64) -> u64 {
        ((value << 1) ^ (value >> 63)) as u64
    }
}

/// Chooses the values of a body that is written by its schema.
pub(crate) trait Choose {
    /// An unsigned number of `bits` bits.
    fn unsigned(&mut self, bits: u32) -> u64;
    /// A signed number of `bits` bits.
    fn signed(&mut self, bits: u32) -> i64;
    /// One of `count` variants.
    fn variant(&mut self, count: usize) -> usize;
    /// The length of a sequence of at most `capacity` items.
    fn length(&mut self, capacity: usize) -> usize;
}

/// Writes a body of message `schema` with the values that `choose` chooses.
pub(crate) fn write_body(message: &MessageSchema, choose: &mut impl Choose) -> Vec<u8> {
    let mut out = Vec::new();
    write(message.schema, message.name, choose, &mut out);
    out
}

fn write(named: &NamedType, path: &str, choose: &mut impl Choose, out: &mut Vec<u8>) {
    match named.ty {
        DataModelType::Bool => out.push(u8::from(choose.unsigned(1) != 0)),
        DataModelType::U8 => out.push(choose.unsigned(8) as u8),
        DataModelType::U16 => wire::varint(choose.unsigned(16), out),
        DataModelType::U32 => wire::varint(choose.unsigned(32), out),
        DataModelType::I16 => wire::varint(wire::zigzag(choose.signed(16)), out),
        DataModelType::I32 => wire::varint(wire::zigzag(choose.signed(32)), out),
        DataModelType::NewtypeStruct(inner) => write(inner, path, choose, out),
        DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => {
            for item in *items {
                write(item, path, choose, out);
            }
        }
        DataModelType::Struct(fields) => {
            for field in *fields {
                write(field.ty, &format!("{path}.{}", field.name), choose, out);
            }
        }
        DataModelType::Seq(item) => {
            let length = choose.length(capacity(path));
            wire::varint(length as u64, out);
            for _ in 0..length {
                write(item, path, choose, out);
            }
        }
        DataModelType::Enum(variants) => {
            let index = choose.variant(variants.len());
            wire::varint(index as u64, out);
            match variants[index].ty {
                DataModelVariant::UnitVariant => {}
                DataModelVariant::NewtypeVariant(inner) => write(inner, path, choose, out),
                other => panic!("{path}: variants carry one type or none, not {other:?}"),
            }
        }
        other => panic!(
            "{path}: {other:?} does not go on the wire: fixed-width integers, flags, structs, \
             enums, arrays and bounded sequences do"
        ),
    }
}

/// Most bytes a type takes on the wire.
pub(crate) fn max_bytes(named: &NamedType, path: &str) -> usize {
    match named.ty {
        DataModelType::Bool | DataModelType::U8 => 1,
        DataModelType::U16 | DataModelType::I16 => 3,
        DataModelType::U32 | DataModelType::I32 => 5,
        DataModelType::NewtypeStruct(inner) => max_bytes(inner, path),
        DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => {
            items.iter().map(|item| max_bytes(item, path)).sum()
        }
        DataModelType::Struct(fields) => {
            fields.iter().map(|field| max_bytes(field.ty, &format!("{path}.{}", field.name))).sum()
        }
        DataModelType::Seq(item) => {
            let items = capacity(path);
            assert!(items < 0x80, "{path}: its length takes one byte");
            1 + items * max_bytes(item, path)
        }
        DataModelType::Enum(variants) => {
            assert!(variants.len() < 0x80, "{path}: its index takes one byte");
            let content = variants.iter().map(|variant| match variant.ty {
                DataModelVariant::NewtypeVariant(inner) => max_bytes(inner, path),
                _ => 0,
            });
            1 + content.max().unwrap_or(0)
        }
        other => panic!("{path}: {other:?} does not go on the wire"),
    }
}

/// The structs, newtypes and enums of a type, itself included, by name; two of one name must be
/// equal.
pub(crate) fn named_types(
    named: &'static NamedType,
    found: &mut BTreeMap<&'static str, &'static NamedType>,
) {
    match named.ty {
        DataModelType::Seq(inner) => named_types(inner, found),
        DataModelType::NewtypeStruct(inner) => {
            note(named, found);
            named_types(inner, found);
        }
        DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => {
            items.iter().for_each(|item| named_types(item, found));
        }
        DataModelType::Struct(fields) => {
            note(named, found);
            fields.iter().for_each(|field| named_types(field.ty, found));
        }
        DataModelType::Enum(variants) => {
            note(named, found);
            for variant in *variants {
                if let DataModelVariant::NewtypeVariant(inner) = variant.ty {
                    named_types(inner, found);
                }
            }
        }
        _ => {}
    }
}

fn note(named: &'static NamedType, found: &mut BTreeMap<&'static str, &'static NamedType>) {
    if let Some(other) = found.insert(named.name, named) {
        assert_eq!(other, named, "two types of the same name");
    }
}
