//! What is written is read back; what is read never panics.

use coshift_shared::kind::Kind;
use coshift_shared::packet::{BodyFault, HEADER, Header, MAX_BODY};
use coshift_shared::schema::MESSAGES;
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::ToHost;
use proptest::prelude::*;

use crate::message::{Choose, Message, write_body};
use crate::property::config;

/// Values of a body, taken from a list over and over; zero where it is empty.
pub(crate) struct Picks<'a> {
    picks: &'a [u64],
    next: usize,
}

impl<'a> Picks<'a> {
    pub(crate) fn new(picks: &'a [u64]) -> Self {
        Self { picks, next: 0 }
    }

    fn pick(&mut self) -> u64 {
        let pick = self.picks.get(self.next % self.picks.len().max(1)).copied().unwrap_or(0);
        self.next += 1;
        pick
    }
}

impl Choose for Picks<'_> {
    fn unsigned(&mut self, bits: u32) -> u64 {
        let most = (1 << bits) - 1;
        let pick = self.pick();
        // Small and large ones, and the ends of every length of a varint, as often as others.
        match pick & 3 {
            0 => (pick >> 2) & most & 0xff,
            1 => most.saturating_sub((pick >> 2) & 3),
            2 => ((1 << (7 * ((pick >> 4) % 5))) - 1 + ((pick >> 2) & 1)) & most,
            _ => (pick >> 2) & most,
        }
    }

    fn signed(&mut self, bits: u32) -> i64 {
        let shift = 64 - bits;
        ((self.unsigned(bits) << shift) as i64) >> shift
    }

    fn variant(&mut self, count: usize) -> usize {
        (self.pick() % count as u64) as usize
    }

    fn length(&mut self, capacity: usize) -> usize {
        (self.pick() % (capacity as u64 + 1)) as usize
    }
}

/// The body of a message of any kind, with its kind.
pub(crate) fn body() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    (0..MESSAGES.len(), prop::collection::vec(any::<u64>(), 0..24)).prop_map(|(index, picks)| {
        let schema = &MESSAGES[index];
        (schema.kind, write_body(schema, &mut Picks::new(&picks)))
    })
}

proptest! {
    #![proptest_config(config(8_000))]

    /// Any value of any message: its bytes are read, and written again the same.
    #[test]
    fn a_message_is_read_back((kind, bytes) in body()) {
        let message = Message::decode(kind, &bytes);
        prop_assert!(message.is_ok(), "{:?} {:02x?}", kind, bytes);
        let message = message.unwrap();
        prop_assert_eq!(message.kind(), kind);
        prop_assert_eq!(message.body(), bytes);
        prop_assert_eq!(Message::decode(kind, &message.body()), Ok(message));
    }

    /// Bytes behind a message, or missing from it, make it no message.
    #[test]
    fn a_body_is_a_message_whole((kind, bytes) in body(), extra in 1_usize..8, cut in any::<u16>()) {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + extra, 0);
        prop_assert_eq!(Message::decode(kind, &longer), Err(BodyFault::Malformed));
        let shorter = &bytes[..usize::from(cut) % bytes.len()];
        prop_assert_eq!(Message::decode(kind, shorter), Err(BodyFault::Malformed));
    }

    /// Arbitrary bytes as a body of every kind: an error or a message, which reads back; no panic.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..=MAX_BODY)) {
        for kind in Kind::ALL.into_iter().chain([Kind::Unused]) {
            let to_controller = ToController::decode(kind, &bytes).map(Message::ToController);
            let to_host = ToHost::decode(kind, &bytes).map(Message::ToHost);
            prop_assert!(to_controller.is_err() || to_host.is_err());
            for message in [to_controller, to_host].into_iter().flatten() {
                prop_assert_eq!(Message::decode(kind, &message.body()), Ok(message));
            }
        }
    }

    /// One changed byte of a body: an error or another message; no panic.
    #[test]
    fn nearly_right_bytes_never_panic(
        (kind, mut bytes) in body(), place in any::<u16>(), value in any::<u8>(),
    ) {
        let place = usize::from(place) % bytes.len();
        bytes[place] = value;
        if let Ok(message) = Message::decode(kind, &bytes) {
            prop_assert_eq!(Message::decode(kind, &message.body()), Ok(message));
        }
    }

    #[test]
    fn a_header_is_read_back(bytes in any::<[u8; HEADER]>()) {
        let header = Header::from_bytes(bytes);
        prop_assert_eq!(header.to_bytes(), bytes);
        prop_assert_eq!(header.protocol, bytes[0]);
        prop_assert_eq!(header.kind, bytes[1]);
        prop_assert_eq!(header.session, u16::from(bytes[2]) | u16::from(bytes[3]) << 8);
        prop_assert_eq!(header.seq, u16::from(bytes[4]) | u16::from(bytes[5]) << 8);
    }
}

/// A buffer that is too small is refused, at every size.
#[test]
fn a_small_buffer_is_refused() {
    for schema in MESSAGES {
        let bytes = write_body(&schema, &mut Picks::new(&[u64::MAX - 2]));
        let message = Message::decode(schema.kind, &bytes).expect("a message");
        for size in 0..bytes.len() {
            assert_eq!(message.encode(&mut vec![0; size]), Err(BodyFault::TooLong));
        }
        assert_eq!(message.encode(&mut vec![0; bytes.len()]), Ok(bytes.len()));
    }
}
