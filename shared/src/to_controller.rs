//! Messages to the controller.
//!
//! Every message starts with `at_us`, the agent's time stamp: it is the only clock that decisions
//! use. All of them are safe to receive twice; see [`crate::session`] for what happens to doubled,
//! reordered and lost frames.

use heapless::Vec;
use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::packet::{BodyFault, decode_body, decode_start, encode_body};
use crate::units::Age;

/// Samples of one [`Outcomes`].
pub const MAX_SAMPLES: usize = 12;
/// Image bytes of one [`PolicyChunk`].
pub const MAX_CHUNK: usize = 38;

/// A message to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToController {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Application`].
    Application(Application),
    /// See [`Seed`].
    Seed(Seed),
    /// See [`Telemetry`].
    Telemetry(Telemetry),
    /// See [`Outcomes`].
    Outcomes(Outcomes),
    /// See [`Limits`].
    Limits(Limits),
    /// See [`PolicyBegin`].
    PolicyBegin(PolicyBegin),
    /// See [`PolicyChunk`].
    PolicyChunk(PolicyChunk),
    /// See [`PolicyCommit`].
    PolicyCommit(PolicyCommit),
    /// See [`Query`].
    Query(Query),
}

/// Opens a session (the one in the frame's header) and says who the agent is. Repeated each
/// period until a [`crate::to_host::Welcome`] answers. This layout is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Hello {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Oldest protocol version the agent understands.
    pub protocol_min: u8,
    /// Newest protocol version the agent understands.
    pub protocol_current: u8,
    /// [`crate::schema::FINGERPRINT`] of the agent's build.
    pub schema: u32,
    /// CRC-32C of the policy image the agent loaded.
    pub policy_crc: u32,
    /// Version of the agent: major, minor, patch.
    pub version: [u8; 3],
    /// Drawn at the start of the agent; tells a restart from a repetition.
    pub boot_nonce: u32,
    /// Control period, µs, 20,000 to 500,000.
    pub period_us: u32,
}

/// Adds, changes or removes the application in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Application {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Slot of the application, 0 to 3.
    pub slot: u8,
    /// What happens to the slot.
    pub change: Change,
}

/// What [`Application`] does to its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Change {
    /// Never sent.
    Unused,
    /// The slot is in use with these targets. What was learned stays when the table does.
    Set(Targets),
    /// The slot is empty.
    Remove,
}

/// What one application asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Targets {
    /// Index of the application table in the policy image.
    pub table: u8,
    /// What to optimise.
    pub objective: Objective,
    /// Relative deadline of a request, µs.
    pub deadline_us: u32,
    /// Mean time between requests, µs; never 0.
    pub period_us: u32,
    /// Least accuracy, 0.01 %.
    pub accuracy_floor_bp: u16,
    /// Share of requests that may miss the deadline, 0.01 %.
    pub miss_target_bp: u16,
    /// Larger is served first.
    pub priority: u8,
    /// Which promise is given up first when nothing keeps them all.
    pub degrade: Degrade,
    /// Energy budget of a request beyond idle, slowdown included, µJ; 0 = none. Counts for
    /// [`Objective::BestAccuracy`] and [`Objective::LeastLatency`].
    pub energy_budget_uj: u32,
}

/// What an application optimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Objective {
    /// Never sent.
    Unused,
    /// Least energy at the accuracy floor.
    LeastEnergy,
    /// Best accuracy within the energy budget.
    BestAccuracy,
    /// Least latency, within the energy budget where there is one.
    LeastLatency,
}

/// What an application gives up first when nothing keeps every promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Degrade {
    /// Never sent.
    Unused,
    /// Keeps the deadline and goes under the accuracy floor.
    Accuracy,
    /// Keeps the accuracy floor and misses deadlines, as few as the board can.
    Deadline,
    /// Keeps deadline and accuracy floor and goes over the energy budget; without one, like
    /// [`Degrade::Accuracy`].
    Energy,
}

/// A part of the controller's state, loaded by the controller and its twin alike; the last part
/// restarts the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Seed {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Number of this part, from 0.
    pub part: u8,
    /// Parts in all; the part `parts - 1` ends the seed.
    pub parts: u8,
    /// The state.
    pub state: SeedState,
}

/// State carried by one [`Seed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum SeedState {
    /// Never sent.
    Unused,
    /// What was learned about one application. Its targets are set by [`Application`] before.
    Application(ApplicationState),
    /// Levels and times of the device manager.
    Device(DeviceState),
    /// Reading state of the device: what was last heard and when.
    Sensors(SensorState),
    /// The tail of one application's slowdown.
    Tail(TailState),
    /// What holds for the board's power at every level. Makes every level one never measured.
    Power(PowerState),
    /// What was learned of the power of some levels; parts without any are left out.
    Bias(BiasState),
    /// Clocks that something else holds, and what is asked for.
    Clocks(ClockState),
}

/// What the controller learned about one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct ApplicationState {
    /// Slot, 0 to 3.
    pub slot: u8,
    /// Mean slowdown, Q8.24.
    pub mean_q24: u32,
    /// Mean absolute deviation of the slowdown, Q8.24.
    pub deviation_q24: u32,
    /// Samples in a row beyond the clamp.
    pub beyond: u8,
    /// Samples left in fast mode.
    pub fast: u8,
    /// Index of the next outcome expected.
    pub next_index: u32,
    /// Outcomes of the session, wrapping.
    pub outcomes: u32,
    /// Missed deadlines of the session, wrapping.
    pub misses: u32,
    /// Sub-network decided last.
    pub sub_network: u8,
}

/// What the controller learned about the tail of one application's slowdown; all in Q8.24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct TailState {
    /// Slot, 0 to 3.
    pub slot: u8,
    /// Residual to the mean that 1/16 of the samples exceed.
    pub threshold_q24: u32,
    /// Mean excess over the threshold.
    pub excess_q24: u32,
    /// Coverage correction, 1/2 to 4.
    pub correction_q24: u32,
    /// What is left of the last burst.
    pub boost_q24: u32,
    /// Samples since the threshold was exceeded, saturating.
    pub quiet: u8,
}

/// Levels of one [`BiasState`].
pub const BIAS_LEVELS: usize = 16;

/// What was learned of the board's power at whatever level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct PowerState {
    /// Measured ÷ predicted power where a level was never measured, Q1.15.
    pub common_q15: u16,
    /// Power that the temperature belongs to, 1/256 mW; `u32::MAX` = not known.
    pub settled_q8: u32,
    /// Power that surely was part of what made the last temperature read, 1/256 mW.
    pub sure_q8: u32,
}

/// Measured ÷ predicted power of some levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct BiasState {
    /// The first of the levels.
    pub first: u8,
    /// Q1.15 as little-endian byte pairs, a level each; 0 = never measured.
    pub factors: [[u8; 2]; BIAS_LEVELS],
}

/// State of the device manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct DeviceState {
    /// Mode, as in [`crate::to_host::Mode`].
    pub mode: crate::to_host::Mode,
    /// In [`crate::to_host::Mode::Hold`]: since when, µs.
    pub hold_since_us: u32,
    /// In [`crate::to_host::Mode::Safe`]: because of a temperature, not of silence.
    pub too_hot: bool,
    /// In [`crate::to_host::Mode::Safe`]: whether the temperature is nominal.
    pub nominal: bool,
    /// Since when it is nominal, µs.
    pub nominal_since_us: u32,
    /// Run level decided last; [`crate::units::NO_LEVEL`] = nothing was decided yet.
    pub run_level: u8,
    /// When the run level last changed, µs.
    pub level_since_us: u32,
    /// When a decision between two telemetries was last asked for, µs; a period later where it was
    /// dear. In a silence of the agent, when the first change was told that is not decided on.
    pub extra_decision_us: u32,
    /// Why the decision stands.
    pub reason: crate::to_host::Reason,
    /// What is missing.
    pub shortfall: crate::to_host::Shortfall,
    /// Mean power predicted for the decision, mW.
    pub power_mw: u32,
}

/// Clocks that something else than the controller holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct ClockState {
    /// Level asked for last; [`crate::units::NO_LEVEL`] = none was yet.
    pub asked_level: u8,
    /// Since when, µs.
    pub asked_since_us: u32,
    /// Least clocks that can be had, kHz: CPU, GPU, memory. 0 = not held.
    pub low_khz: [u32; 3],
    /// Highest clocks that can be had, kHz; `u32::MAX` = not held.
    pub high_khz: [u32; 3],
    /// When a clock was last seen at a bound that it was asked to pass, µs.
    pub seen_us: u32,
}

/// What the controller last heard of the sensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct SensorState {
    /// When telemetry last arrived, µs.
    pub telemetry_us: u32,
    /// Level achieved, [`crate::units::NO_LEVEL`] where none of the list.
    pub achieved_level: u8,
    /// Hottest valid temperature, m°C; `i32::MIN` = none was ever valid.
    pub temp_mdeg_c: i32,
    /// When it was read, µs.
    pub believed_us: u32,
    /// Whether targets or caps changed since the last decision.
    pub dirty: bool,
}

/// Sensors and the achieved level, once a control period. Each is answered by one
/// [`crate::to_host::Decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Telemetry {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Level achieved; [`crate::units::NO_LEVEL`] where the clocks are none of the list.
    pub level: u8,
    /// Clocks achieved, MHz: CPU, GPU, memory. 0 = not known.
    pub clocks_mhz: [u16; 3],
    /// Board input power, mW.
    pub power_mw: u32,
    /// Age of `power_mw`.
    pub power_age: Age,
    /// GPU load, 0.1 %.
    pub gpu_load_permille: u16,
    /// Age of `gpu_load_permille`.
    pub gpu_load_age: Age,
    /// The two hottest zones.
    pub temperatures: [Temperature; 2],
}

/// One temperature reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Temperature {
    /// Temperature, m°C.
    pub mdeg_c: i32,
    /// Age of the reading.
    pub age: Age,
}

impl Temperature {
    /// No reading.
    pub const MISSING: Self = Self { mdeg_c: 0, age: Age::MISSING };
}

/// Latencies of finished inferences of one application, all of one cell (sub-network, level).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Outcomes {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Slot of the application.
    pub slot: u8,
    /// Sub-network that ran.
    pub sub_network: u8,
    /// Level achieved while it ran.
    pub level: u8,
    /// Running index, in this session, of the first sample; wrapping.
    pub first_index: u32,
    /// Slowdowns, see [`crate::units::slowdown`].
    pub samples: Vec<[u8; 2], MAX_SAMPLES>,
    /// Outcomes of the session so far, these included; wrapping.
    pub outcomes_total: u32,
    /// Missed deadlines of the session so far, these included; wrapping.
    pub misses_total: u32,
}

/// What stands before the samples of [`Outcomes`].
#[derive(Serialize, Deserialize)]
struct BeforeSamples {
    at_us: u32,
    slot: u8,
    sub_network: u8,
    level: u8,
    first_index: u32,
    samples: u8,
}

// As derived, but with all samples as a whole: there are up to six Outcomes a period.
impl Outcomes {
    fn encode(&self, out: &mut [u8]) -> Result<usize, BodyFault> {
        let &Self { at_us, slot, sub_network, level, first_index, .. } = self;
        let samples = u8::try_from(self.samples.len()).map_err(|_| BodyFault::TooLong)?;
        let before = BeforeSamples { at_us, slot, sub_network, level, first_index, samples };
        let before = encode_body(&before, out)?;
        let rest = out.get_mut(before..).ok_or(BodyFault::TooLong)?;
        let samples = self.samples.as_flattened();
        let (place, rest) = rest.split_at_mut_checked(samples.len()).ok_or(BodyFault::TooLong)?;
        for (place, byte) in place.iter_mut().zip(samples) {
            *place = *byte;
        }
        let after = encode_body(&(self.outcomes_total, self.misses_total), rest)?;
        Ok(before.saturating_add(samples.len()).saturating_add(after))
    }

    fn decode(body: &[u8]) -> Result<Self, BodyFault> {
        let (before, rest) = decode_start(body)?;
        let BeforeSamples { at_us, slot, sub_network, level, first_index, samples } = before;
        let bytes = usize::from(samples).saturating_mul(2);
        let (samples, rest) = rest.split_at_checked(bytes).ok_or(BodyFault::Malformed)?;
        let (samples, _) = samples.as_chunks();
        let samples = taken(samples).ok_or(BodyFault::Malformed)?;
        let (outcomes_total, misses_total) = decode_body(rest)?;
        Ok(Self {
            at_us,
            slot,
            sub_network,
            level,
            first_index,
            samples,
            outcomes_total,
            misses_total,
        })
    }
}

/// Caps on the board. They take the place of those that the policy image names, lower or not: an
/// agent that is to keep both sends the lower one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Limits {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Board input power, mW; [`crate::units::NO_POWER_CAP`] = none.
    pub power_cap_mw: u32,
    /// Hottest zone, m°C; [`crate::units::NO_TEMP_CAP`] = none.
    pub temp_cap_mdeg_c: i32,
    /// Whether the agent is able to park between requests.
    pub parking: bool,
}

/// Opens the upload of a policy image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct PolicyBegin {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Length of the image, bytes.
    pub length: u32,
    /// CRC-32C of the image's header and content, as in the image.
    pub crc: u32,
    /// Sequence number of the image: that of the active one + 1.
    pub sequence: u32,
}

/// The items, where there is room for them. What `heapless` has for it adds up lengths with a check
/// that not every target's optimiser removes, and a check that stays is a panic path.
fn taken<T: Copy, const N: usize>(items: &[T]) -> Option<Vec<T, N>> {
    if items.len() > N {
        return None;
    }
    let mut taken = Vec::new();
    for item in items {
        taken.push(*item).ok()?;
    }
    Some(taken)
}

/// A piece of the policy image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct PolicyChunk {
    /// Agent's time, µs.
    pub at_us: u32,
    /// Place of the first byte in the image.
    pub offset: u32,
    /// The bytes.
    #[serde(with = "whole")]
    pub bytes: Vec<u8, MAX_CHUNK>,
}

/// Bytes written and read as a whole: the same on the wire as one after another, in a fraction of
/// the time.
mod whole {
    use heapless::Vec;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &Vec<u8, N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<Vec<u8, N>, D::Error> {
        struct Bytes<const N: usize>;

        impl<const N: usize> Visitor<'_> for Bytes<N> {
            type Value = Vec<u8, N>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "at most {N} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                super::taken(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// Closes the upload and asks for the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct PolicyCommit {
    /// Agent's time, µs.
    pub at_us: u32,
    /// CRC-32C of the image, as in [`PolicyBegin`].
    pub crc: u32,
    /// Sequence number, as in [`PolicyBegin`].
    pub sequence: u32,
}

/// Asks for a report; changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Query {
    /// Agent's time, µs.
    pub at_us: u32,
    /// What is asked for.
    pub what: Question,
}

/// What [`Query`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Question {
    /// Never sent.
    Unused,
    /// Counters of the link: one [`crate::to_host::Status`].
    Link,
    /// Counters of the control loop: one [`crate::to_host::Status`].
    Work,
    /// Versions and last reset: one [`crate::to_host::Welcome`].
    Identity,
}

impl ToController {
    /// The kind in the frame's header.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Application(_) => Kind::Application,
            Self::Seed(_) => Kind::Seed,
            Self::Telemetry(_) => Kind::Telemetry,
            Self::Outcomes(_) => Kind::Outcomes,
            Self::Limits(_) => Kind::Limits,
            Self::PolicyBegin(_) => Kind::PolicyBegin,
            Self::PolicyChunk(_) => Kind::PolicyChunk,
            Self::PolicyCommit(_) => Kind::PolicyCommit,
            Self::Query(_) => Kind::Query,
        }
    }

    /// The agent's time stamp.
    #[must_use]
    pub fn at_us(&self) -> u32 {
        match self {
            Self::Hello(m) => m.at_us,
            Self::Application(m) => m.at_us,
            Self::Seed(m) => m.at_us,
            Self::Telemetry(m) => m.at_us,
            Self::Outcomes(m) => m.at_us,
            Self::Limits(m) => m.at_us,
            Self::PolicyBegin(m) => m.at_us,
            Self::PolicyChunk(m) => m.at_us,
            Self::PolicyCommit(m) => m.at_us,
            Self::Query(m) => m.at_us,
        }
    }

    /// Writes the body into `out`.
    ///
    /// # Errors
    /// [`BodyFault::TooLong`] where `out` is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BodyFault> {
        match self {
            Self::Hello(m) => encode_body(m, out),
            Self::Application(m) => encode_body(m, out),
            Self::Seed(m) => encode_body(m, out),
            Self::Telemetry(m) => encode_body(m, out),
            Self::Outcomes(m) => m.encode(out),
            Self::Limits(m) => encode_body(m, out),
            Self::PolicyBegin(m) => encode_body(m, out),
            Self::PolicyChunk(m) => encode_body(m, out),
            Self::PolicyCommit(m) => encode_body(m, out),
            Self::Query(m) => encode_body(m, out),
        }
    }

    /// Reads the body of a frame of kind `kind`.
    ///
    /// # Errors
    /// [`BodyFault::WrongKind`] for a kind that does not go to the controller,
    /// [`BodyFault::Malformed`] for bytes that are not such a message, whole.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Self, BodyFault> {
        Ok(match kind {
            Kind::Hello => Self::Hello(decode_body(body)?),
            Kind::Application => Self::Application(decode_body(body)?),
            Kind::Seed => Self::Seed(decode_body(body)?),
            Kind::Telemetry => Self::Telemetry(decode_body(body)?),
            Kind::Outcomes => Self::Outcomes(Outcomes::decode(body)?),
            Kind::Limits => Self::Limits(decode_body(body)?),
            Kind::PolicyBegin => Self::PolicyBegin(decode_body(body)?),
            Kind::PolicyChunk => Self::PolicyChunk(decode_body(body)?),
            Kind::PolicyCommit => Self::PolicyCommit(decode_body(body)?),
            Kind::Query => Self::Query(decode_body(body)?),
            _ => return Err(BodyFault::WrongKind),
        })
    }
}
