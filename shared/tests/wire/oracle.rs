//! What a reader must make of a stream, said another way: cut at the zeros, then undo COBS chunk by
//! chunk, then the CRC bit by bit.

use coshift_shared::packet::{CHECK, HEADER, Header, MAX_PACKET};
use coshift_shared::reader::{FrameFault, FrameReader, Received};

/// What a stream brings, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Packet(Header, Vec<u8>),
    Fault(FrameFault),
}

/// What the crate's reader makes of `stream`.
pub(crate) fn read(stream: &[u8]) -> Vec<Event> {
    read_on(&mut FrameReader::new(), stream)
}

pub(crate) fn read_on(reader: &mut FrameReader, stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    for byte in stream {
        match reader.feed(*byte) {
            Received::Nothing => {}
            Received::Packet(header, body) => events.push(Event::Packet(header, body.to_vec())),
            Received::Fault(fault) => events.push(Event::Fault(fault)),
        }
    }
    events
}

/// What it should make of it.
pub(crate) fn expected(stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut chunks = stream.split(|byte| *byte == 0).peekable();
    while let Some(chunk) = chunks.next() {
        // The last chunk has no zero behind it.
        let ended = chunks.peek().is_some();
        events.extend(of_chunk(chunk, ended));
    }
    events
}

/// What the bytes between two zeros bring; where the stream stops inside them, only what is certain
/// already.
fn of_chunk(chunk: &[u8], ended: bool) -> Option<Event> {
    if chunk.is_empty() {
        return None;
    }
    let (packet, whole) = uncobs(chunk);
    if packet.len() > MAX_PACKET {
        return Some(Event::Fault(FrameFault::Overflow));
    }
    if !ended {
        return None;
    }
    if !whole {
        return Some(Event::Fault(FrameFault::Cobs));
    }
    if packet.len() < HEADER + CHECK {
        return Some(Event::Fault(FrameFault::Short));
    }
    let (checked, check) = packet.split_at(packet.len() - CHECK);
    if crc32c(checked).to_le_bytes() != check {
        return Some(Event::Fault(FrameFault::Crc));
    }
    let header: [u8; HEADER] = checked[..HEADER].try_into().expect("long enough");
    Some(Event::Packet(Header::from_bytes(header), checked[HEADER..].to_vec()))
}

/// The bytes that COBS wrote as `chunk`, and whether its last group is whole.
fn uncobs(chunk: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut rest = chunk;
    while let [code, after @ ..] = rest {
        let group = usize::from(*code) - 1;
        if group > after.len() {
            bytes.extend(after);
            return (bytes, false);
        }
        let (content, next) = after.split_at(group);
        bytes.extend(content);
        if *code != 0xff && !next.is_empty() {
            bytes.push(0);
        }
        rest = next;
    }
    (bytes, true)
}

/// CRC-32C from its definition: polynomial 0x1EDC6F41 reflected, all ones before and after.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}
