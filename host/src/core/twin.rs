//! The controller inside the agent: the twin of the microcontroller, or the only controller.

use coshift_controller::{Identity, Node};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::session::LinkCounters;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::SeedState;
use coshift_shared::to_host::{
    Decision, FaultCode, Refused, ResetCause, SensorSet, ToHost, TraceEvent,
};

/// A node with its answers taken apart again.
#[derive(Debug)]
pub struct Twin<'p> {
    node: Node<'p>,
    reader: FrameReader,
}

/// What the twin answered.
#[derive(Debug, Default)]
pub struct Answers {
    /// Its frames, in order, for the log.
    pub frames: Vec<Frame>,
    /// The decisions in them.
    pub decisions: Vec<Decision>,
    /// What it refused.
    pub refused: Vec<Refused>,
    /// Sensors whose readings it does not believe, where these are others than before.
    pub doubted: Option<SensorSet>,
}

impl<'p> Twin<'p> {
    /// A controller that has just started.
    #[must_use]
    pub fn new(policy: PolicyView<'p>, version: [u8; 3], boot_nonce: u32) -> Self {
        let identity = Identity {
            version,
            boot_nonce,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        Self { node: Node::new(Some(policy), identity), reader: FrameReader::new() }
    }

    /// Feeds a frame at `now`, the agent's stamp, which is the twin's own clock too.
    pub fn feed(&mut self, frame: &Frame, now: Instant) -> Answers {
        let mut answers = Answers::default();
        for byte in frame.bytes() {
            self.node.feed(*byte, now, &mut |frame| answers.frames.push(*frame));
        }
        self.finish(now, &mut answers);
        self.take_apart(answers)
    }

    /// Lets time pass up to `now`.
    pub fn poll(&mut self, now: Instant) -> Answers {
        let mut answers = Answers::default();
        self.node.poll(now, &mut |frame| answers.frames.push(*frame));
        self.finish(now, &mut answers);
        self.take_apart(answers)
    }

    /// Ends the decision that is under way: here slices are of no use.
    fn finish(&mut self, now: Instant, answers: &mut Answers) {
        while self.node.is_deciding() {
            self.node.poll(now, &mut |frame| answers.frames.push(*frame));
        }
    }

    fn take_apart(&mut self, mut answers: Answers) -> Answers {
        for frame in &answers.frames {
            for byte in frame.bytes() {
                let Received::Packet(header, body) = self.reader.feed(*byte) else { continue };
                let Some(kind) = Kind::from_byte(header.kind) else { continue };
                match ToHost::decode(kind, body) {
                    Ok(ToHost::Decision(decision)) => answers.decisions.push(decision),
                    Ok(ToHost::Refused(refused)) => answers.refused.push(refused),
                    Ok(ToHost::Trace(trace)) if trace.event == TraceEvent::ReadingsDoubted => {
                        answers.doubted = Some(SensorSet::from_bits(trace.argument));
                    }
                    _ => {}
                }
            }
        }
        answers
    }

    /// When [`Twin::poll`] is due; `None` while time changes nothing.
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        self.node.next_poll()
    }

    /// Its whole state, to be loaded by another controller.
    #[must_use]
    pub fn seed(&self) -> Vec<SeedState> {
        self.node.seed().iter().copied().collect()
    }

    /// Counters of the frames it was fed.
    #[must_use]
    pub fn link(&self) -> LinkCounters {
        self.node.link()
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node<'p> {
        &self.node
    }
}
