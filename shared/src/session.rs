//! Which frames belong to the conversation.
//!
//! The agent opens a session with Hello, in whose header it stands; session 0 is none. Each side
//! numbers its frames in a session. A receiver takes in a frame of the current session whose number
//! is newer than the last one it took in (at most 32,767 ahead, so that the numbers may wrap); a
//! doubled or reordered one is dropped and changes nothing, a lost one is seen as a gap. Everything
//! dropped is counted. Frames lost before the first one taken in are not known and not counted.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::kind::Kind;
use crate::packet::{BodyFault, Header};
use crate::protocol::{CURRENT, VersionRange};
use crate::reader::FrameFault;
use crate::to_controller::ToController;
use crate::to_host::ToHost;

/// No session: the controller has not been greeted since its reset.
pub const NO_SESSION: u16 = 0;

/// Counters of one direction of a link; wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, Schema)]
pub struct LinkCounters {
    /// Frames taken in.
    pub accepted: u32,
    /// Frames longer than a frame can be.
    pub overflow: u16,
    /// Frames broken in their COBS coding, or too short.
    pub cobs: u16,
    /// Frames whose CRC did not match.
    pub crc: u16,
    /// Frames of another session.
    pub old_session: u16,
    /// Frames doubled or late.
    pub repeated: u16,
    /// Frames missing between the ones taken in.
    pub lost: u16,
    /// Frames of a kind this build does not know or that goes the other way.
    pub unknown_kind: u16,
    /// Frames whose body is not a message of their kind.
    pub malformed: u16,
    /// Frames of a protocol version this build does not speak.
    pub version: u16,
}

impl LinkCounters {
    /// Counts a frame that the reader lost.
    pub fn count_fault(&mut self, fault: FrameFault) {
        let counter = match fault {
            FrameFault::Overflow => &mut self.overflow,
            FrameFault::Cobs | FrameFault::Short => &mut self.cobs,
            FrameFault::Crc => &mut self.crc,
        };
        *counter = counter.wrapping_add(1);
    }

    /// Frames that did not get through, saturating.
    #[must_use]
    pub fn faults(&self) -> u32 {
        [
            self.overflow,
            self.cobs,
            self.crc,
            self.old_session,
            self.repeated,
            self.lost,
            self.unknown_kind,
            self.malformed,
            self.version,
        ]
        .iter()
        .fold(0, |sum: u32, counter| sum.saturating_add(u32::from(*counter)))
    }
}

/// The sending end: stamps protocol, session and sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    protocol: u8,
    session: u16,
    next_seq: u16,
}

impl Default for Sender {
    fn default() -> Self {
        Self { protocol: CURRENT, session: NO_SESSION, next_seq: 0 }
    }
}

impl Sender {
    /// Starts over in `session`.
    pub fn open(&mut self, session: u16) {
        *self = Self { protocol: self.protocol, session, next_seq: 0 };
    }

    /// Speaks `protocol` from the next frame on.
    pub fn settle(&mut self, protocol: u8) {
        self.protocol = protocol;
    }

    /// The session frames are sent in.
    #[must_use]
    pub fn session(&self) -> u16 {
        self.session
    }

    /// Number of the next frame.
    #[must_use]
    pub fn next_seq(&self) -> u16 {
        self.next_seq
    }

    fn header(&mut self, kind: Kind) -> Header {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        // Read by a side of any version, for their layout is frozen: they go out before anything
        // is settled.
        let protocol = if kind.frozen() { CURRENT } else { self.protocol };
        Header { protocol, kind: kind as u8, session: self.session, seq }
    }

    /// The frame of a message to the controller, with its sequence number.
    ///
    /// # Errors
    /// [`BodyFault::TooLong`]; no message built by this crate is.
    pub fn to_controller(&mut self, message: &ToController) -> Result<(u16, Frame), BodyFault> {
        let mut frame = Frame::EMPTY;
        let seq = self.frame_to_controller(message, &mut frame)?;
        Ok((seq, frame))
    }

    /// Makes `frame` that of a message to the controller; gives its sequence number. Where frames
    /// have a budget, this spares copies.
    ///
    /// # Errors
    /// As for [`Sender::to_controller`].
    pub fn frame_to_controller(
        &mut self,
        message: &ToController,
        frame: &mut Frame,
    ) -> Result<u16, BodyFault> {
        let header = self.header(message.kind());
        frame.fill(header, |out| message.encode(out))?;
        Ok(header.seq)
    }

    /// The frame of a message to the host.
    ///
    /// # Errors
    /// [`BodyFault::TooLong`]; no message built by this crate is.
    pub fn to_host(&mut self, message: &ToHost) -> Result<Frame, BodyFault> {
        let mut frame = Frame::EMPTY;
        self.frame_to_host(message, &mut frame)?;
        Ok(frame)
    }

    /// Makes `frame` that of a message to the host. Where frames have a budget, this spares copies.
    ///
    /// # Errors
    /// As for [`Sender::to_host`].
    pub fn frame_to_host(&mut self, message: &ToHost, frame: &mut Frame) -> Result<(), BodyFault> {
        let header = self.header(message.kind());
        frame.fill(header, |out| message.encode(out))
    }
}

/// The receiving end: decides which frames are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    session: u16,
    last_seq: Option<u16>,
    /// Versions accepted in frames whose layout is not frozen.
    versions: VersionRange,
    /// Counters since the start.
    pub counters: LinkCounters,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            session: NO_SESSION,
            last_seq: None,
            versions: VersionRange::OURS,
            counters: LinkCounters::default(),
        }
    }
}

impl Receiver {
    /// Starts over in `session`; the counters stay.
    pub fn open(&mut self, session: u16) {
        self.session = session;
        self.last_seq = None;
    }

    /// The session frames are taken in from.
    #[must_use]
    pub fn session(&self) -> u16 {
        self.session
    }

    /// Number of the frame taken in last; 0 before the first.
    #[must_use]
    pub fn last_seq(&self) -> u16 {
        self.last_seq.unwrap_or(0)
    }

    /// The kind of a frame, counted where it cannot be read.
    #[must_use]
    pub fn kind(&mut self, header: Header) -> Option<Kind> {
        let kind = Kind::from_byte(header.kind);
        match kind {
            None => self.counters.unknown_kind = self.counters.unknown_kind.wrapping_add(1),
            Some(kind) if !kind.frozen() && !self.versions.holds(header.protocol) => {
                self.counters.version = self.counters.version.wrapping_add(1);
                return None;
            }
            Some(_) => {}
        }
        kind
    }

    /// Whether the frame is of this session and newer than the last one taken in; counts it
    /// either way. Call it once a frame, after the body was read.
    pub fn take_in(&mut self, header: Header) -> bool {
        if header.session != self.session {
            self.count_old_session();
            return false;
        }
        let ahead = match self.last_seq {
            None => 1,
            Some(last) => header.seq.wrapping_sub(last),
        };
        if ahead == 0 || ahead > u16::MAX / 2 {
            self.counters.repeated = self.counters.repeated.wrapping_add(1);
            return false;
        }
        self.counters.lost = self.counters.lost.wrapping_add(ahead.wrapping_sub(1));
        self.counters.accepted = self.counters.accepted.wrapping_add(1);
        self.last_seq = Some(header.seq);
        true
    }

    /// Counts a frame of another session, or of none.
    pub fn count_old_session(&mut self) {
        self.counters.old_session = self.counters.old_session.wrapping_add(1);
    }

    /// Counts a body that could not be read.
    pub fn count_body(&mut self, fault: BodyFault) {
        let counter = match fault {
            BodyFault::WrongKind => &mut self.counters.unknown_kind,
            BodyFault::TooLong | BodyFault::Malformed => &mut self.counters.malformed,
        };
        *counter = counter.wrapping_add(1);
    }
}
