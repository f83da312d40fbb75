//! Frames read along on the line.

use coshift_shared::kind::Kind;
use coshift_shared::packet::Header;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::to_controller::{Outcomes, Telemetry, ToController};
use coshift_shared::to_host::{Decision, ToHost};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Agent to microcontroller.
    ToMcu,
    /// Microcontroller to agent.
    FromMcu,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToMcu, Self::FromMcu];
}

/// Before or after the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// As it was sent.
    Sent,
    /// As it arrives.
    Delivered,
}

/// A message of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// To the controller.
    ToController(ToController),
    /// To the host.
    ToHost(ToHost),
}

/// A frame that was read along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which way.
    pub direction: Direction,
    /// Before or after the faults.
    pub stage: Stage,
    /// Its header.
    pub header: Header,
    /// Its content.
    pub message: Message,
}

impl Seen {
    /// The message to the controller, if it is one and was sent so.
    #[must_use]
    pub fn sent_to_mcu(&self) -> Option<&ToController> {
        match &self.message {
            Message::ToController(message) if self.stage == Stage::Sent => Some(message),
            _ => None,
        }
    }

    /// The message to the host, if it is one and was sent so.
    #[must_use]
    pub fn sent_from_mcu(&self) -> Option<&ToHost> {
        match &self.message {
            Message::ToHost(message) if self.stage == Stage::Sent => Some(message),
            _ => None,
        }
    }

    /// The decision, as the microcontroller sent it.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        match self.sent_from_mcu()? {
            ToHost::Decision(decision) => Some(decision),
            _ => None,
        }
    }

    /// The telemetry, as the agent sent it.
    #[must_use]
    pub fn telemetry(&self) -> Option<&Telemetry> {
        match self.sent_to_mcu()? {
            ToController::Telemetry(telemetry) => Some(telemetry),
            _ => None,
        }
    }

    /// The outcomes, as the agent sent them.
    #[must_use]
    pub fn outcomes(&self) -> Option<&Outcomes> {
        match self.sent_to_mcu()? {
            ToController::Outcomes(outcomes) => Some(outcomes),
            _ => None,
        }
    }
}

/// Reads along at one place.
#[derive(Debug)]
pub struct Tap {
    direction: Direction,
    stage: Stage,
    reader: FrameReader,
}

impl Tap {
    /// A tap that has read nothing.
    #[must_use]
    pub fn new(direction: Direction, stage: Stage) -> Self {
        Self { direction, stage, reader: FrameReader::new() }
    }

    /// Reads bytes and appends the frames they complete; bytes that are none are passed over.
    pub fn read(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) {
        for byte in bytes {
            let Received::Packet(header, body) = self.reader.feed(*byte) else { continue };
            let Some(kind) = Kind::from_byte(header.kind) else { continue };
            let message = match self.direction {
                Direction::ToMcu => ToController::decode(kind, body).map(Message::ToController),
                Direction::FromMcu => ToHost::decode(kind, body).map(Message::ToHost),
            };
            if let Ok(message) = message {
                let Self { direction, stage, .. } = *self;
                seen.push(Seen { direction, stage, header, message });
            }
        }
    }

    /// Starts over: the sender is another one.
    pub fn restart(&mut self) {
        self.reader = FrameReader::new();
    }
}
