//! What a frame carries: the discriminants in its header.

/// Kind of a message; the number is the header's second byte and never changes.
///
/// Kinds below `0x40` go to the controller, the others to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Never sent: a frame of zeros means nothing.
    Unused = 0x00,
    /// Versions, schema, policy and period of the agent; opens a session.
    Hello = 0x01,
    /// Adds, changes or removes an application.
    Application = 0x02,
    /// A part of the controller's state, loaded after a reset.
    Seed = 0x03,
    /// Sensors and the achieved level, once a control period; the heartbeat of the agent.
    Telemetry = 0x04,
    /// Latencies of finished inferences.
    Outcomes = 0x05,
    /// Caps.
    Limits = 0x06,
    /// Opens the upload of a policy image.
    PolicyBegin = 0x07,
    /// A piece of a policy image.
    PolicyChunk = 0x08,
    /// Closes the upload and asks for the switch.
    PolicyCommit = 0x09,
    /// Asks for a status report.
    Query = 0x0a,
    /// Versions, schema, policy and last reset of the controller.
    Welcome = 0x41,
    /// Levels and sub-networks to run, with the reason; the heartbeat of the controller.
    Decision = 0x42,
    /// Counters.
    Status = 0x43,
    /// Progress of an upload.
    PolicyAck = 0x44,
    /// A message that could not be served, and what to do next.
    Refused = 0x45,
    /// An event of the controller's log.
    Trace = 0x46,
}

impl Kind {
    /// Every kind that is sent.
    pub const ALL: [Self; 16] = [
        Self::Hello,
        Self::Application,
        Self::Seed,
        Self::Telemetry,
        Self::Outcomes,
        Self::Limits,
        Self::PolicyBegin,
        Self::PolicyChunk,
        Self::PolicyCommit,
        Self::Query,
        Self::Welcome,
        Self::Decision,
        Self::Status,
        Self::PolicyAck,
        Self::Refused,
        Self::Trace,
    ];

    /// The kind of a header byte; `None` where this build does not know it.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Whether the layout of this kind is the same in every version of the protocol.
    #[must_use]
    pub fn frozen(self) -> bool {
        matches!(self, Self::Hello | Self::Welcome)
    }
}
