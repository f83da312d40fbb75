//! What the agent has to say beside its decisions: one line each.

use coshift_shared::kind::Kind;
use coshift_shared::packet::BodyFault;
use coshift_shared::protocol::VersionRange;
use coshift_shared::to_host::{Decision, Refused, SensorSet, Trace, TraceEvent, Welcome};

use crate::core::{Decider, LinkState};
use crate::explain;

/// Why the twin took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// No decision for three periods.
    Silent,
    /// The port is gone.
    LinkDown,
    /// The microcontroller was reset.
    Restarted,
    /// It decided differently on equal inputs.
    Differs,
    /// It took in something else for twenty decisions.
    DigestsUnequal,
    /// Versions or policies do not match.
    Mismatch,
}

impl std::fmt::Display for TakeOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Silent => "the MCU is silent",
            Self::LinkDown => "the port is gone",
            Self::Restarted => "the MCU was reset",
            Self::Differs => "the MCU decided differently on equal inputs",
            Self::DigestsUnequal => "the MCU took in other inputs than the twin",
            Self::Mismatch => "the MCU does not fit this agent",
        })
    }
}

/// How an upload of the policy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadNotice {
    /// It begins, or goes on.
    Begun {
        /// First byte that is sent.
        from: u32,
        /// Bytes of the policy.
        length: u32,
    },
    /// The microcontroller runs it.
    Active {
        /// Its sequence number.
        sequence: u32,
    },
    /// It was given up.
    Failed {
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for UploadNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begun { from: 0, length } => write!(f, "uploading the policy, {length} bytes"),
            Self::Begun { from, length } => {
                write!(f, "uploading the policy goes on at byte {from} of {length}")
            }
            Self::Active { sequence } => write!(f, "the MCU runs policy {sequence} of this agent"),
            Self::Failed { why } => {
                write!(f, "the policy cannot be uploaded: {why}; the twin decides")
            }
        }
    }
}

/// Something worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A microcontroller was heard for the first time, or after a reset.
    Met {
        /// What it said.
        welcome: Welcome,
        /// Whether another boot was known.
        again: bool,
    },
    /// A session is open, both controllers are seeded.
    Joined {
        /// Its number.
        session: u16,
    },
    /// The microcontroller cannot decide for this agent.
    Mismatch {
        /// What does not match.
        link: LinkState,
        /// CRC of the agent's policy.
        policy_crc: u32,
        /// What the microcontroller said.
        welcome: Welcome,
    },
    /// The twin took over.
    TakeOver(TakeOver),
    /// The microcontroller decides again.
    HandBack {
        /// Equal decisions before.
        equal: u32,
    },
    /// Decisions came again after a silence.
    HeardAgain,
    /// Equal inputs, different decisions.
    Differs {
        /// The microcontroller's decision.
        mcu: Decision,
        /// The twin's.
        twin: Decision,
    },
    /// Both controllers were seeded again.
    Seeded {
        /// Parts of the seed.
        parts: usize,
    },
    /// A controller refused a message.
    Refused {
        /// Which one.
        by: Decider,
        /// What it said.
        refused: Refused,
    },
    /// Other readings than before are not believed, by the controller inside the agent: a
    /// microcontroller that has taken in the same says the same.
    Doubted(SensorSet),
    /// An event of the microcontroller's log.
    Trace(Trace),
    /// How an upload of the policy goes.
    Upload(UploadNotice),
    /// A message could not be written; an internal error.
    Unsendable(Kind, BodyFault),
    /// The board could not be brought to a level.
    Platform(String),
    /// An inference failed.
    Engine(String),
    /// The link lost or found its port.
    Link(String),
    /// The frame log cannot be written.
    Log(String),
}

impl Notice {
    /// Whether it is only of interest when looking for a fault.
    #[must_use]
    pub fn is_detail(&self) -> bool {
        matches!(self, Self::Trace(_))
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Met { welcome, again } => {
                let [major, minor, patch] = welcome.version;
                let met = if *again { "MCU restarted" } else { "MCU found" };
                write!(
                    f,
                    "{met}: firmware {major}.{minor}.{patch}, protocol {}, boot {:08x}, reset by {}",
                    explain::range(welcome.protocol_min, welcome.protocol_current),
                    welcome.boot_nonce,
                    explain::reset_cause(welcome.reset_cause),
                )?;
                match explain::fault(welcome.last_fault, welcome.fault_detail) {
                    Some(fault) => write!(f, ", last fault: {fault}"),
                    None => Ok(()),
                }
            }
            Self::Joined { session } => {
                write!(f, "session {session}: the MCU has applications and state")
            }
            Self::Mismatch { link: LinkState::VersionsDiffer, welcome, .. } => write!(
                f,
                "protocol versions do not meet: agent {}, MCU {}; the twin decides",
                explain::range(VersionRange::OURS.min, VersionRange::OURS.current),
                explain::range(welcome.protocol_min, welcome.protocol_current),
            ),
            Self::Mismatch { policy_crc, welcome, .. } => write!(
                f,
                "policies differ: agent CRC {policy_crc:08x}, MCU CRC {:08x}; the twin decides",
                welcome.policy_crc
            ),
            Self::TakeOver(cause) => write!(f, "the twin takes over: {cause}"),
            Self::HandBack { equal } => {
                write!(f, "the MCU decides: {equal} equal decisions in a row")
            }
            Self::HeardAgain => f.write_str("the MCU is heard again"),
            Self::Differs { mcu, twin } => write!(
                f,
                "equal inputs (digest {:08x}), different decisions: MCU level {} {:?}, twin level \
                 {} {:?}; the twin's is taken",
                mcu.digest, mcu.run_level, mcu.sub_networks, twin.run_level, twin.sub_networks
            ),
            Self::Seeded { parts } => {
                write!(f, "seeded again in {parts} parts: digests were unequal")
            }
            Self::Refused { by, refused } => {
                let by = match by {
                    Decider::Mcu => "MCU",
                    Decider::Twin => "twin",
                    Decider::InProcess => "controller",
                };
                let kind = Kind::from_byte(refused.kind)
                    .map_or_else(|| format!("kind {}", refused.kind), |kind| format!("{kind:?}"));
                write!(
                    f,
                    "the {by} refused {kind} {}: {}",
                    refused.seq,
                    explain::refusal(refused.why)
                )
            }
            Self::Doubted(doubted) => f.write_str(&explain::doubted(*doubted)),
            Self::Trace(Trace { event: TraceEvent::ReadingsDoubted, argument, count, .. }) => {
                let doubted = explain::doubted(SensorSet::from_bits(*argument));
                write!(f, "MCU: {doubted} (number {count})")
            }
            Self::Trace(trace) => {
                write!(f, "MCU: {:?} {} (number {})", trace.event, trace.argument, trace.count)
            }
            Self::Upload(notice) => notice.fmt(f),
            Self::Unsendable(kind, fault) => write!(f, "internal error: {kind:?}: {fault}"),
            Self::Platform(text) | Self::Engine(text) | Self::Link(text) | Self::Log(text) => {
                f.write_str(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coshift_shared::to_host::{SensorSet, Trace, TraceEvent};

    use super::Notice;

    #[test]
    fn a_trace_names_the_sensors_that_are_not_believed() {
        let trace = |event, argument| Notice::Trace(Trace { at_us: 0, event, count: 3, argument });
        let power = u32::from(SensorSet::POWER.bits());
        let said = trace(TraceEvent::ReadingsDoubted, power).to_string();
        assert_eq!(said, "MCU: not believed now: power (number 3)");
        let said = trace(TraceEvent::ReadingsDoubted, 0).to_string();
        assert_eq!(said, "MCU: every reading is believed again (number 3)");
        assert_eq!(trace(TraceEvent::SamplesLost, 5).to_string(), "MCU: SamplesLost 5 (number 3)");
    }
}
