//! Every framed message fits 64 bytes, whatever its variants and values.

use coshift_shared::frame::MAX_FRAME;
use coshift_shared::packet::{BodyFault, Header, MAX_BODY};
use coshift_shared::schema::MESSAGES;

use crate::message::{Choose, Message, max_bytes, wire, write_body};

/// The values that take most bytes; variants by an odometer, so that every combination of them is
/// visited.
struct Largest {
    /// Digits of the odometer and how many values each has, in the order they are asked for.
    digits: Vec<(usize, usize)>,
    asked: usize,
}

impl Largest {
    fn new() -> Self {
        Self { digits: Vec::new(), asked: 0 }
    }

    /// The next combination; false when all were visited.
    fn advance(&mut self) -> bool {
        // Digits that the last body did not ask for belong to variants it did not take.
        self.digits.truncate(self.asked);
        self.asked = 0;
        while let Some((value, count)) = self.digits.pop() {
            if value + 1 < count {
                self.digits.push((value + 1, count));
                return true;
            }
        }
        false
    }
}

impl Choose for Largest {
    fn unsigned(&mut self, bits: u32) -> u64 {
        (1 << bits) - 1
    }

    fn signed(&mut self, bits: u32) -> i64 {
        -(1 << (bits - 1))
    }

    fn variant(&mut self, count: usize) -> usize {
        if self.asked == self.digits.len() {
            self.digits.push((0, count));
        }
        self.asked += 1;
        let (value, _) = self.digits[self.asked - 1];
        value
    }

    fn length(&mut self, capacity: usize) -> usize {
        capacity
    }
}

const HEADER: Header = Header { protocol: 0xff, kind: 0xff, session: 0xffff, seq: 0xffff };

#[test]
fn every_message_fits_a_frame_in_all_its_variants_at_their_maxima() {
    assert_eq!(MAX_FRAME, 62);
    for schema in MESSAGES {
        let most = max_bytes(schema.schema, schema.name);
        assert!(most <= MAX_BODY, "{} takes {most} of {MAX_BODY} bytes", schema.name);
        let mut largest = Largest::new();
        let mut longest = 0;
        let mut combinations = 0;
        loop {
            let body = write_body(&schema, &mut largest);
            // The real types read it and write the same: the schema is theirs.
            let message = Message::decode(schema.kind, &body)
                .unwrap_or_else(|fault| panic!("{}: {fault}: {body:02x?}", schema.name));
            assert_eq!(message.kind(), schema.kind);
            assert_eq!(message.body(), body, "{}", schema.name);
            let frame = message.frame(Header { kind: schema.kind as u8, ..HEADER });
            assert!(frame.bytes().len() <= 64, "{}", schema.name);
            longest = longest.max(body.len());
            combinations += 1;
            if !largest.advance() {
                break;
            }
        }
        assert_eq!(longest, most, "{}: longest of {combinations} bodies", schema.name);
    }
}

#[test]
fn a_sequence_over_its_capacity_is_refused() {
    struct OneMore;
    impl Choose for OneMore {
        fn unsigned(&mut self, _: u32) -> u64 {
            1
        }
        fn signed(&mut self, _: u32) -> i64 {
            -1
        }
        fn variant(&mut self, _: usize) -> usize {
            0
        }
        fn length(&mut self, capacity: usize) -> usize {
            capacity + 1
        }
    }
    let mut with_sequence = 0;
    for schema in MESSAGES {
        let body = write_body(&schema, &mut OneMore);
        let has_sequence = matches!(schema.name, "Outcomes" | "PolicyChunk");
        with_sequence += usize::from(has_sequence);
        let expected = if has_sequence { Err(BodyFault::Malformed) } else { Ok(schema.kind) };
        assert_eq!(
            Message::decode(schema.kind, &body).map(|message| message.kind()),
            expected,
            "{}",
            schema.name
        );
    }
    assert_eq!(with_sequence, 2);
}

#[test]
fn varints_of_the_tests_are_those_of_postcard() {
    for value in [0, 1, 127, 128, 300, 16_383, 16_384, u32::MAX] {
        let mut ours = Vec::new();
        wire::varint(u64::from(value), &mut ours);
        let mut buffer = [0; 5];
        assert_eq!(ours, *postcard::to_slice(&value, &mut buffer).unwrap(), "{value}");
    }
    for value in [0, -1, 1, -64, 64, i32::MIN, i32::MAX] {
        let mut ours = Vec::new();
        wire::varint(wire::zigzag(i64::from(value)), &mut ours);
        let mut buffer = [0; 5];
        assert_eq!(ours, *postcard::to_slice(&value, &mut buffer).unwrap(), "{value}");
    }
}
