//! What the core is told, and what it wants done.

use coshift_shared::frame::Frame;
use coshift_shared::time::Duration;
use coshift_shared::to_controller::Targets;

use crate::notice::Notice;
use crate::platform::Readings;

/// What the core is told once.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Control period, 20 to 500 ms.
    pub period: Duration,
    /// Whether a microcontroller is at the other end of a link; otherwise the twin decides alone,
    /// as the in-process controller.
    pub remote: bool,
    /// Drawn at the agent's start; names this agent in Hello.
    pub boot_nonce: u32,
    /// What session numbers are drawn from; differs at each start.
    pub session_seed: u64,
    /// Caps at the start.
    pub caps: Caps,
    /// Whether the board may be parked between requests.
    pub parking: bool,
    /// Whether a microcontroller that has another policy is sent the agent's.
    pub upload_policy: bool,
}

/// Caps on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Board input power, mW; [`coshift_shared::units::NO_POWER_CAP`] = none.
    pub power_mw: u32,
    /// Hottest zone, m°C; [`coshift_shared::units::NO_TEMP_CAP`] = none.
    pub temp_mdeg_c: i32,
}

/// One finished inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Slot of the application.
    pub slot: u8,
    /// Sub-network that ran.
    pub sub_network: u8,
    /// Level achieved while it ran; [`NO_LEVEL`](coshift_shared::units::NO_LEVEL) = none of the list.
    pub level: u8,
    /// Latency of the inference, without waiting, µs.
    pub latency_us: u32,
    /// Whether to learn from it: it did not start in the settle window of a change.
    pub learn: bool,
    /// Whether the request missed its deadline, waiting included.
    pub missed: bool,
}

/// What happens to the core.
#[derive(Debug, Clone, Copy)]
pub enum Event<'e> {
    /// Nothing but time: [`AgentCore::next_wake`](super::AgentCore::next_wake) was reached.
    Time,
    /// The link can carry frames.
    LinkUp,
    /// The link is gone.
    LinkDown,
    /// Bytes arrived from the microcontroller.
    Bytes(&'e [u8]),
    /// A control period is over ([`AgentCore::next_period`](super::AgentCore::next_period)); these are the readings for it.
    Period(&'e Readings),
    /// An inference finished.
    Outcome(Outcome),
    /// An application has these targets from now on.
    Set {
        /// Slot, 0 to 3.
        slot: u8,
        /// Its targets.
        targets: Targets,
    },
    /// These caps hold from now on, beside those of the policy.
    Caps(Caps),
    /// The application of a slot is gone.
    Remove {
        /// Slot, 0 to 3.
        slot: u8,
    },
}

/// What the core wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to the microcontroller.
    Send(Frame),
    /// A frame to the twin, for the log.
    ToTwin(Frame),
    /// A frame of the twin, for the log.
    FromTwin(Frame),
    /// Say this.
    Notice(Notice),
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decider {
    /// The microcontroller.
    Mcu,
    /// The twin: degraded, or the microcontroller has not yet earned trust.
    Twin,
    /// The controller inside the agent; there is no microcontroller.
    InProcess,
}

/// State of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// There is none: the controller is in the agent.
    InProcess,
    /// The port is gone.
    Down,
    /// Hello is sent each period; no answer yet.
    Greeting,
    /// The protocol ranges do not meet.
    VersionsDiffer,
    /// The microcontroller has another policy.
    PoliciesDiffer,
    /// Frames go to both.
    InSession,
    /// In session, but no decision arrived for [`SILENT_PERIODS`](super::SILENT_PERIODS).
    Silent,
}

/// Counters of the core; wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// How often the twin took over from the microcontroller.
    pub takeovers: u32,
    /// How often the microcontroller took over from the twin.
    pub handbacks: u32,
    /// Sessions opened.
    pub sessions: u32,
    /// Seeds sent.
    pub seeds: u32,
    /// Decisions of the microcontroller.
    pub mcu_decisions: u32,
    /// Decisions of the microcontroller that name a level or sub-network there is not; the twin's were
    /// taken.
    pub invalid_decisions: u32,
    /// Periods the agent could not keep.
    pub late_periods: u32,
}
