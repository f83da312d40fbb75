//! Any bytes on the line: what is taken for a message is one, and is understood again when it is
//! sent again.

use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::packet::BodyFault;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::session::{Receiver, Sender};
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::ToHost;

/// Feeds the bytes to a reader and decodes what comes out, in both directions.
pub fn reader(bytes: &[u8]) {
    let mut reader = FrameReader::new();
    let mut receiver = Receiver::default();
    for byte in bytes {
        let Received::Packet(header, body) = reader.feed(*byte) else { continue };
        let _taken = receiver.take_in(header);
        let Some(kind) = Kind::from_byte(header.kind) else { continue };
        if let Ok(message) = ToController::decode(kind, body) {
            assert_eq!(message.kind(), kind);
            let (_, frame) = Sender::default().to_controller(&message).expect("it came as a frame");
            assert_eq!(again(&frame, ToController::decode), Some(message));
        }
        if let Ok(message) = ToHost::decode(kind, body) {
            assert_eq!(message.kind(), kind);
            let frame = Sender::default().to_host(&message).expect("it came as a frame");
            assert_eq!(again(&frame, ToHost::decode), Some(message));
        }
    }
}

/// The message of a frame of ours.
fn again<M>(frame: &Frame, decode: impl Fn(Kind, &[u8]) -> Result<M, BodyFault>) -> Option<M> {
    let mut reader = FrameReader::new();
    let mut found = None;
    for byte in frame.bytes() {
        if let Received::Packet(header, body) = reader.feed(*byte) {
            let kind = Kind::from_byte(header.kind).expect("a kind of ours");
            found = decode(kind, body).ok();
        }
    }
    found
}
