//! Microcontrollers that are wrong on purpose, to show that a scenario notices.

use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::reader::{FrameFault, FrameReader, Received};
use coshift_shared::to_controller::ToController;

/// What is wrong with a simulated microcontroller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    Sound,
    /// Frames that come twice are taken in twice: sequence numbers and sample indices are made
    /// up as they arrive.
    NoDuplicateFilter,
    /// Skips a frame that is too long without an end: hears nothing any more until its next boot.
    DeafAfterOverlong,
    /// Hangs until somebody boots it.
    WithoutWatchdog,
    /// Loses the policy that was uploaded with its power, and runs on the one compiled in.
    ForgetsPolicyUnpowered,
    /// Loses what came of an upload with its power.
    ForgetsUploadUnpowered,
    /// Loses what came of an upload when another session is opened.
    ForgetsUploadUngreeted,
    /// Hears nothing any more after a chunk of a policy before which one is missing.
    DeafAfterMissingChunk,
    /// Takes a policy of any number.
    TakesAnyNumber,
}

/// What a mutant hears of the bytes that arrive, since its boot.
#[derive(Debug)]
pub(crate) struct Ears {
    mutant: Mutant,
    reader: FrameReader,
    renumber: Renumber,
    deaf: bool,
    /// The first byte of a policy that no chunk brought yet.
    wanted: Option<u32>,
    session: Option<u16>,
    met_another: bool,
}

impl Ears {
    pub(crate) fn new(mutant: Mutant) -> Self {
        Self {
            mutant,
            reader: FrameReader::new(),
            renumber: Renumber::default(),
            deaf: false,
            wanted: None,
            session: None,
            met_another: false,
        }
    }

    /// The bytes that it hears of these.
    pub(crate) fn pass(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        match self.mutant {
            Mutant::NoDuplicateFilter => self.renumber.pass(&bytes),
            Mutant::DeafAfterOverlong
            | Mutant::DeafAfterMissingChunk
            | Mutant::ForgetsUploadUngreeted => {
                bytes.into_iter().filter(|byte| self.hears(*byte)).collect()
            }
            Mutant::Sound
            | Mutant::WithoutWatchdog
            | Mutant::ForgetsPolicyUnpowered
            | Mutant::ForgetsUploadUnpowered
            | Mutant::TakesAnyNumber => bytes,
        }
    }

    /// Whether a greeting of another session came than the one before, since this was asked last.
    pub(crate) fn met_another_session(&mut self) -> bool {
        std::mem::take(&mut self.met_another)
    }

    fn hears(&mut self, byte: u8) -> bool {
        match self.reader.feed(byte) {
            Received::Fault(FrameFault::Overflow) => {
                self.deaf |= self.mutant == Mutant::DeafAfterOverlong;
            }
            Received::Packet(header, body) => {
                let kind = Kind::from_byte(header.kind);
                match kind.map(|kind| ToController::decode(kind, body)) {
                    Some(Ok(ToController::Hello(_))) => {
                        let before = self.session.replace(header.session);
                        self.met_another |= before.is_some_and(|before| before != header.session);
                    }
                    Some(Ok(ToController::PolicyBegin(_))) => self.wanted = None,
                    Some(Ok(ToController::PolicyChunk(chunk))) => {
                        let missing = self.wanted.is_some_and(|wanted| chunk.offset > wanted);
                        self.deaf |= missing && self.mutant == Mutant::DeafAfterMissingChunk;
                        let length = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
                        let end = chunk.offset.saturating_add(length);
                        self.wanted = Some(self.wanted.map_or(end, |wanted| wanted.max(end)));
                    }
                    _ => {}
                }
            }
            Received::Nothing | Received::Fault(_) => {}
        }
        !self.deaf
    }
}

/// Takes every frame for a new one, as a receiver without any filter would.
#[derive(Debug, Default)]
struct Renumber {
    reader: FrameReader,
    next_seq: u16,
    next_index: u32,
}

impl Renumber {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            let Received::Packet(mut header, body) = self.reader.feed(*byte) else { continue };
            let Some(Ok(mut message)) =
                Kind::from_byte(header.kind).map(|kind| ToController::decode(kind, body))
            else {
                continue;
            };
            header.seq = self.next_seq;
            self.next_seq = self.next_seq.wrapping_add(1);
            if let ToController::Outcomes(outcomes) = &mut message {
                outcomes.first_index = self.next_index;
                let count = u32::try_from(outcomes.samples.len()).unwrap_or(0);
                self.next_index = self.next_index.wrapping_add(count);
            }
            if let Ok(frame) = Frame::build(header, |place| message.encode(place)) {
                out.extend(frame.bytes());
            }
        }
        out
    }
}
