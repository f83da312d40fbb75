//! Frames replaced on their way, with a CRC that is right: what no line does, but a peer could.

use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::packet::Header;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::ToHost;

/// How a frame is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// Hello and Welcome name this range of versions.
    Versions(VersionRange),
    /// Decisions name a level that there is not, and other inputs.
    NoSuchLevel,
    /// Decisions name another level, on the same inputs.
    OtherLevel,
    /// Telemetry has another number.
    OtherNumber,
}

impl Rewrite {
    /// The frame to send instead; `None` = this one stays.
    #[must_use]
    pub fn apply(self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut reader = FrameReader::new();
        for byte in frame {
            if let Received::Packet(header, body) = reader.feed(*byte) {
                return self.message(header, body);
            }
        }
        None
    }

    fn message(self, header: Header, body: &[u8]) -> Option<Vec<u8>> {
        let kind = Kind::from_byte(header.kind)?;
        let frame = match (self, kind) {
            (Self::Versions(range), Kind::Hello) => {
                let ToController::Hello(mut hello) = ToController::decode(kind, body).ok()? else {
                    return None;
                };
                (hello.protocol_min, hello.protocol_current) = (range.min, range.current);
                Frame::build(header, |out| ToController::Hello(hello).encode(out))
            }
            (Self::Versions(range), Kind::Welcome) => {
                let ToHost::Welcome(mut welcome) = ToHost::decode(kind, body).ok()? else {
                    return None;
                };
                (welcome.protocol_min, welcome.protocol_current) = (range.min, range.current);
                Frame::build(header, |out| ToHost::Welcome(welcome).encode(out))
            }
            (Self::NoSuchLevel | Self::OtherLevel, Kind::Decision) => {
                let ToHost::Decision(mut decision) = ToHost::decode(kind, body).ok()? else {
                    return None;
                };
                if self == Self::OtherLevel {
                    decision.run_level ^= 1;
                } else {
                    decision.run_level = 200;
                    decision.digest ^= 1;
                }
                Frame::build(header, |out| ToHost::Decision(decision).encode(out))
            }
            (Self::OtherNumber, Kind::Telemetry) => {
                let telemetry = ToController::decode(kind, body).ok()?;
                let header = Header { seq: header.seq.wrapping_add(1000), ..header };
                Frame::build(header, |out| telemetry.encode(out))
            }
            _ => return None,
        };
        frame.ok().map(|frame| frame.bytes().to_vec())
    }
}
