//! Messages to the host.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::packet::{BodyFault, decode_body, encode_body};
use crate::units::MAX_APPLICATIONS;

/// A message to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToHost {
    /// See [`Welcome`].
    Welcome(Welcome),
    /// See [`Decision`].
    Decision(Decision),
    /// See [`Status`].
    Status(Status),
    /// See [`PolicyAck`].
    PolicyAck(PolicyAck),
    /// See [`Refused`].
    Refused(Refused),
    /// See [`Trace`].
    Trace(Trace),
}

/// Answers [`crate::to_controller::Hello`]; sent unasked, in session 0, after a reset until a
/// Hello arrives. This layout is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Welcome {
    /// Oldest protocol version the controller understands.
    pub protocol_min: u8,
    /// Newest protocol version the controller understands.
    pub protocol_current: u8,
    /// [`crate::schema::FINGERPRINT`] of the controller's build.
    pub schema: u32,
    /// CRC-32C of the active policy image; 0 = none is valid.
    pub policy_crc: u32,
    /// Version of the firmware: major, minor, patch.
    pub version: [u8; 3],
    /// Differs at each boot.
    pub boot_nonce: u32,
    /// Why the last reset happened.
    pub reset_cause: ResetCause,
    /// The last fault before it.
    pub last_fault: FaultCode,
    /// What the fault left: line of a panic, address of a memory fault.
    pub fault_detail: u32,
}

/// Why the controller was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum ResetCause {
    /// Never sent.
    Unused,
    /// Power came up, or memory did not survive.
    PowerOn,
    /// The watchdog was not fed in time.
    Watchdog,
    /// The firmware asked for it, after a fault.
    Software,
    /// A reset with memory kept and none of the causes above.
    External,
}

/// The last fault before a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum FaultCode {
    /// Never sent.
    Unused,
    /// There was none.
    None,
    /// A panic (development image only); the detail is the line.
    Panic,
    /// A hard fault; the detail is the program counter.
    HardFault,
    /// The stack reached its guard; the detail is the address.
    StackOverflow,
    /// The control loop hung, or went round without answering.
    Hang,
}

/// What the board shall run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Decision {
    /// Agent's time the decision was taken at, µs.
    pub at_us: u32,
    /// Sequence number of the last frame taken in.
    pub last_seq: u16,
    /// Digest of everything taken in since the session or the last seed; equal digests must give
    /// equal decisions.
    pub digest: u32,
    /// Mode of the controller.
    pub mode: Mode,
    /// Level while requests are served. While something else holds a clock, this is what is asked
    /// for; sub-networks and power are those of the level that the board ends up at.
    pub run_level: u8,
    /// Level between requests; [`crate::units::NO_LEVEL`] = stay at the run level.
    pub park_level: u8,
    /// Sub-network of each slot; [`crate::units::NO_SUB_NETWORK`] = the slot is empty, or its
    /// application came after what stands was decided.
    pub sub_networks: [u8; MAX_APPLICATIONS],
    /// Why.
    pub reason: Reason,
    /// What is missing where nothing fits.
    pub shortfall: Shortfall,
    /// Mean power predicted for the decision, mW.
    pub power_mw: u32,
}

impl Decision {
    /// Whether both tell the board to do the same, whatever was taken in.
    #[must_use]
    pub fn same_action(&self, other: &Self) -> bool {
        self.run_level == other.run_level
            && self.park_level == other.park_level
            && self.sub_networks == other.sub_networks
    }
}

/// Mode of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Mode {
    /// Never sent.
    Unused,
    /// Started, no session yet.
    Boot,
    /// No valid policy: decides nothing.
    AwaitPolicy,
    /// Decides.
    Run,
    /// Telemetry is stale: keeps the last decision.
    Hold,
    /// Least power: too hot, which is left only after a time at nominal, or telemetry stale for
    /// long, which the next one ends.
    Safe,
}

/// Why a decision is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Reason {
    /// Never sent.
    Unused,
    /// There is no application: the least-power level.
    Idle,
    /// Nothing better than what runs.
    Keep,
    /// First decision of the session.
    Start,
    /// Targets, caps or the set of applications changed.
    TargetsChanged,
    /// A promise other than a cap is at risk: the level was left for it, or a better one is looked for.
    DeadlineAtRisk,
    /// The same of the power cap.
    PowerCap,
    /// A level that needs less power keeps every promise, and the dwell is over.
    LessPower,
    /// A better sub-network fits at the same level.
    BetterSubNetwork,
    /// Nothing keeps every promise: the shortfall names what is missing.
    Infeasible,
    /// Telemetry is stale: the last decision stands.
    StaleTelemetry,
    /// Telemetry stayed stale: the safest level.
    AgentSilent,
    /// A temperature reached its cap, or none was read for too long: the safest level.
    TooHot,
    /// No valid policy.
    NoPolicy,
    /// A level that serves an application's objective better keeps every promise, and the dwell
    /// is over.
    BetterObjective,
    /// The same of the cap on the temperature.
    TemperatureCap,
    /// Something else holds a clock: the best level that can be reached.
    ClockHeld,
}

/// What is missing where nothing fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Shortfall {
    /// What is missing.
    pub what: Missing,
    /// Slot that misses it; 255 = the board.
    pub slot: u8,
    /// How much: µs for time, 0.01 % for accuracy, mW for power, 0.1 % for utilisation,
    /// µJ for energy, mW for temperature.
    pub amount: u32,
}

impl Shortfall {
    /// Everything is kept.
    pub const NONE: Self = Self { what: Missing::Nothing, slot: 255, amount: 0 };
}

/// The promise that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Missing {
    /// Never sent.
    Unused,
    /// Everything is kept.
    Nothing,
    /// The fastest choice that keeps the accuracy floor is too slow by the amount.
    Time,
    /// No sub-network of the table has the accuracy; the best one lacks the amount.
    Accuracy,
    /// The least power that keeps every deadline is over the cap by the amount.
    Power,
    /// The requests need more of the board's time than there is, by the amount.
    Utilisation,
    /// The least energy that keeps deadline and accuracy floor is over the budget by the amount.
    Energy,
    /// The least power that keeps every deadline is over what keeps the temperature under its
    /// cap, by the amount.
    Temperature,
}

/// Counters; wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Status {
    /// Never sent.
    Unused,
    /// Counters of the link, see [`crate::session::LinkCounters`].
    Link(crate::session::LinkCounters),
    /// Counters of the control loop.
    Work(WorkCounters),
}

/// Counters of the control loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, Schema)]
pub struct WorkCounters {
    /// Steps done.
    pub steps: u32,
    /// Decisions sent.
    pub decisions: u32,
    /// Samples learned from.
    pub samples: u32,
    /// Samples known to be lost.
    pub samples_lost: u32,
    /// Worst cost of a step, in ticks of the board's clock; 0 where the board has none.
    pub worst_step_ticks: u32,
    /// Most bytes of stack ever used; 0 where unknown.
    pub stack_high_water: u16,
    /// Most bytes that ever waited in the receive queue.
    pub queue_high_water: u16,
    /// Bytes lost because the receive queue was full.
    pub queue_overruns: u16,
}

/// Progress of a policy upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct PolicyAck {
    /// First byte not yet received.
    pub next_offset: u32,
    /// Sequence number of the upload.
    pub sequence: u32,
    /// How far it is.
    pub state: UploadState,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum UploadState {
    /// Never sent.
    Unused,
    /// Send the next chunk from `next_offset`.
    Receiving,
    /// The image is being checked: ask again.
    Checking,
    /// The image is active.
    Active,
    /// The image failed its checks; the old one stays. Send a corrected one from the start.
    Rejected,
}

/// A message that could not be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Refused {
    /// Kind byte of the refused message.
    pub kind: u8,
    /// Its sequence number.
    pub seq: u16,
    /// Why, and what to do next.
    pub why: Refusal,
}

/// Why a message was refused. Each variant says what its sender should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Refusal {
    /// Never sent.
    Unused,
    /// This build does not serve the request. Do without it, or install a newer firmware.
    Unsupported,
    /// The slot is not 0 to 3. Use another slot.
    NoSuchSlot,
    /// The policy has no such application table. Ask for one that it has, or upload a policy.
    NoSuchTable,
    /// A value is out of its range. Correct it and send again.
    BadValue,
    /// There is no application in the slot. Send it first.
    EmptySlot,
    /// The seed's parts did not come in order. Send it again from part 0.
    SeedOutOfOrder,
    /// The protocol ranges do not meet. Show both; decide by the twin.
    VersionMismatch,
    /// The policy's sequence number is not that of the active one + 1; the acknowledgement beside
    /// this says which is active. Number the image anew.
    WrongSequence,
    /// There is no upload that this belongs to. Begin it; what was received already is kept.
    NoUpload,
    /// The policy store cannot be erased or written. Begin again; if that fails too, the memory is
    /// worn out and the old policy stays.
    StorageFault,
}

/// An event of the controller's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Trace {
    /// Agent's time, µs.
    pub at_us: u32,
    /// What happened.
    pub event: TraceEvent,
    /// How often since the session began, wrapping.
    pub count: u16,
    /// What the event says of it.
    pub argument: u32,
}

/// What [`Trace`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum TraceEvent {
    /// Never sent.
    Unused,
    /// A new session; the argument is its number.
    SessionStarted,
    /// A new mode; the argument is its place in [`Mode`].
    ModeChanged,
    /// A seed was loaded whole.
    Seeded,
    /// Samples were lost; the argument is how many.
    SamplesLost,
    /// Reserved, never sent: the receive queue overflowed; the argument is the bytes lost so far.
    QueueOverrun,
    /// Other readings than before are not believed: missing, stale or impossible though they were
    /// there once. The argument has the bits of [`SensorSet`].
    ReadingsDoubted,
}

/// Some of the sensors whose readings a telemetry has, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SensorSet(u8);

impl SensorSet {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// The thermal zones, in the telemetry's order.
    pub const TEMPERATURES: [Self; 2] = [Self(1), Self(2)];
    /// Power of the board.
    pub const POWER: Self = Self(4);
    /// Load of the GPU.
    pub const GPU_LOAD: Self = Self(8);

    /// Those of a trace's argument; other bits are none.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let [low, ..] = bits.to_le_bytes();
        Self(low & 15)
    }

    /// As bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// These and those.
    #[must_use]
    pub fn with(self, those: Self) -> Self {
        Self(self.0 | those.0)
    }

    /// These but not those.
    #[must_use]
    pub fn without(self, those: Self) -> Self {
        Self(self.0 & !those.0)
    }

    /// Whether all of those are among these.
    #[must_use]
    pub fn has(self, those: Self) -> bool {
        self.0 & those.0 == those.0
    }
}

impl ToHost {
    /// The kind in the frame's header.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Welcome(_) => Kind::Welcome,
            Self::Decision(_) => Kind::Decision,
            Self::Status(_) => Kind::Status,
            Self::PolicyAck(_) => Kind::PolicyAck,
            Self::Refused(_) => Kind::Refused,
            Self::Trace(_) => Kind::Trace,
        }
    }

    /// Writes the body into `out`.
    ///
    /// # Errors
    /// [`BodyFault::TooLong`] where `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BodyFault> {
        match self {
            Self::Welcome(m) => encode_body(m, out),
            Self::Decision(m) => encode_body(m, out),
            Self::Status(m) => encode_body(m, out),
            Self::PolicyAck(m) => encode_body(m, out),
            Self::Refused(m) => encode_body(m, out),
            Self::Trace(m) => encode_body(m, out),
        }
    }

    /// Reads the body of a frame of kind `kind`.
    ///
    /// # Errors
    /// [`BodyFault::WrongKind`] for a kind that does not go to the host,
    /// [`BodyFault::Malformed`] for bytes that are not such a message, whole.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Self, BodyFault> {
        Ok(match kind {
            Kind::Welcome => Self::Welcome(decode_body(body)?),
            Kind::Decision => Self::Decision(decode_body(body)?),
            Kind::Status => Self::Status(decode_body(body)?),
            Kind::PolicyAck => Self::PolicyAck(decode_body(body)?),
            Kind::Refused => Self::Refused(decode_body(body)?),
            Kind::Trace => Self::Trace(decode_body(body)?),
            _ => return Err(BodyFault::WrongKind),
        })
    }
}
