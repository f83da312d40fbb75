//! Numbers on the wire that never change: kinds and the places of variants.
//!
//! If a test here fails, change the code, not the test. A new kind or variant is appended, here
//! and there; a variant that is no longer sent stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use coshift_shared::kind::Kind;
use coshift_shared::schema::MESSAGES;
use coshift_shared::session::LinkCounters;
use coshift_shared::to_controller::{
    ApplicationState, BIAS_LEVELS, BiasState, Change, ClockState, Degrade, DeviceState, Objective,
    PowerState, Question, SeedState, SensorState, TailState, Targets,
};
use coshift_shared::to_host::{
    FaultCode, Missing, Mode, Reason, Refusal, ResetCause, Shortfall, Status, TraceEvent,
    UploadState, WorkCounters,
};
use postcard_schema::schema::DataModelType;
use serde::Serialize;

use crate::message::{FIRST_TO_HOST, Message, named_types};

const KINDS: [(u8, Kind, &str); 16] = [
    (0x01, Kind::Hello, "Hello"),
    (0x02, Kind::Application, "Application"),
    (0x03, Kind::Seed, "Seed"),
    (0x04, Kind::Telemetry, "Telemetry"),
    (0x05, Kind::Outcomes, "Outcomes"),
    (0x06, Kind::Limits, "Limits"),
    (0x07, Kind::PolicyBegin, "PolicyBegin"),
    (0x08, Kind::PolicyChunk, "PolicyChunk"),
    (0x09, Kind::PolicyCommit, "PolicyCommit"),
    (0x0a, Kind::Query, "Query"),
    (0x41, Kind::Welcome, "Welcome"),
    (0x42, Kind::Decision, "Decision"),
    (0x43, Kind::Status, "Status"),
    (0x44, Kind::PolicyAck, "PolicyAck"),
    (0x45, Kind::Refused, "Refused"),
    (0x46, Kind::Trace, "Trace"),
];

#[test]
fn kinds_keep_their_bytes() {
    for byte in 0..=u8::MAX {
        let pinned = KINDS.iter().find(|(pinned, ..)| *pinned == byte).map(|(_, kind, _)| *kind);
        assert_eq!(Kind::from_byte(byte), pinned, "kind {byte:#04x}");
    }
    assert_eq!(Kind::Unused as u8, 0);
    assert_eq!(Kind::ALL, KINDS.map(|(_, kind, _)| kind));
    let described = MESSAGES.map(|message| (message.kind as u8, message.kind, message.name));
    assert_eq!(described, KINDS, "the schemas' order, kinds and names");
}

#[test]
fn each_kind_goes_one_way() {
    use coshift_shared::packet::BodyFault;
    use coshift_shared::to_controller::ToController;
    use coshift_shared::to_host::ToHost;
    for (byte, kind, name) in KINDS {
        let to_controller = ToController::decode(kind, &[]) != Err(BodyFault::WrongKind);
        let to_host = ToHost::decode(kind, &[]) != Err(BodyFault::WrongKind);
        assert_eq!(to_controller, byte < FIRST_TO_HOST, "{name}");
        assert_eq!(to_host, byte >= FIRST_TO_HOST, "{name}");
    }
    assert_eq!(ToController::decode(Kind::Unused, &[]), Err(BodyFault::WrongKind));
    assert_eq!(ToHost::decode(Kind::Unused, &[]), Err(BodyFault::WrongKind));
}

#[test]
fn frozen_are_the_two_messages_that_settle_the_version() {
    let frozen = Kind::ALL.into_iter().filter(|kind| kind.frozen());
    assert_eq!(frozen.collect::<Vec<_>>(), [Kind::Hello, Kind::Welcome]);
}

fn index(value: &impl Serialize) -> u8 {
    let mut buffer = [0; 64];
    postcard::to_slice(value, &mut buffer).expect("it fits")[0]
}

/// Names of the variants of one enum, in the order of their indices, each of which was compared
/// with the first byte of an encoded value.
macro_rules! pinned {
    ($name:ident { $($index:literal $variant:ident $(($content:expr))?,)* }) => {{
        let mut names = Vec::new();
        $(
            let value = $name::$variant $(($content))?;
            assert_eq!(index(&value), $index, "{}::{}", stringify!($name), stringify!($variant));
            names.push(stringify!($variant));
        )*
        (stringify!($name), names)
    }};
}

const TARGETS: Targets = Targets {
    table: 0,
    objective: Objective::LeastEnergy,
    deadline_us: 0,
    period_us: 0,
    accuracy_floor_bp: 0,
    miss_target_bp: 0,
    priority: 0,
    degrade: Degrade::Accuracy,
    energy_budget_uj: 0,
};

const APPLICATION: ApplicationState = ApplicationState {
    slot: 0,
    mean_q24: 0,
    deviation_q24: 0,
    beyond: 0,
    fast: 0,
    next_index: 0,
    outcomes: 0,
    misses: 0,
    sub_network: 0,
};

const DEVICE: DeviceState = DeviceState {
    mode: Mode::Run,
    hold_since_us: 0,
    too_hot: false,
    nominal: false,
    nominal_since_us: 0,
    run_level: 0,
    level_since_us: 0,
    extra_decision_us: 0,
    reason: Reason::Keep,
    shortfall: Shortfall::NONE,
    power_mw: 0,
};

const SENSORS: SensorState = SensorState {
    telemetry_us: 0,
    achieved_level: 0,
    temp_mdeg_c: 0,
    believed_us: 0,
    dirty: false,
};

const TAIL: TailState = TailState {
    slot: 0,
    threshold_q24: 0,
    excess_q24: 0,
    correction_q24: 0,
    boost_q24: 0,
    quiet: 0,
};

const POWER: PowerState = PowerState { common_q15: 0, settled_q8: 0, sure_q8: 0 };

const BIAS: BiasState = BiasState { first: 0, factors: [[0; 2]; BIAS_LEVELS] };

const CLOCKS: ClockState =
    ClockState { asked_level: 0, asked_since_us: 0, low_khz: [0; 3], high_khz: [0; 3], seen_us: 0 };

#[test]
fn variants_keep_their_places() {
    let pinned: BTreeMap<&str, Vec<&str>> = [
        pinned!(Change { 0 Unused, 1 Set(TARGETS), 2 Remove, }),
        pinned!(Objective { 0 Unused, 1 LeastEnergy, 2 BestAccuracy, 3 LeastLatency, }),
        pinned!(Degrade { 0 Unused, 1 Accuracy, 2 Deadline, 3 Energy, }),
        pinned!(SeedState {
            0 Unused, 1 Application(APPLICATION), 2 Device(DEVICE), 3 Sensors(SENSORS),
            4 Tail(TAIL), 5 Power(POWER), 6 Bias(BIAS), 7 Clocks(CLOCKS),
        }),
        pinned!(Question { 0 Unused, 1 Link, 2 Work, 3 Identity, }),
        pinned!(ResetCause { 0 Unused, 1 PowerOn, 2 Watchdog, 3 Software, 4 External, }),
        pinned!(FaultCode {
            0 Unused, 1 None, 2 Panic, 3 HardFault, 4 StackOverflow, 5 Hang,
        }),
        pinned!(Mode { 0 Unused, 1 Boot, 2 AwaitPolicy, 3 Run, 4 Hold, 5 Safe, }),
        pinned!(Reason {
            0 Unused, 1 Idle, 2 Keep, 3 Start, 4 TargetsChanged, 5 DeadlineAtRisk, 6 PowerCap,
            7 LessPower, 8 BetterSubNetwork, 9 Infeasible, 10 StaleTelemetry, 11 AgentSilent,
            12 TooHot, 13 NoPolicy, 14 BetterObjective, 15 TemperatureCap, 16 ClockHeld,
        }),
        pinned!(Missing {
            0 Unused, 1 Nothing, 2 Time, 3 Accuracy, 4 Power, 5 Utilisation, 6 Energy,
            7 Temperature,
        }),
        pinned!(Status {
            0 Unused, 1 Link(LinkCounters::default()), 2 Work(WorkCounters::default()),
        }),
        pinned!(UploadState { 0 Unused, 1 Receiving, 2 Checking, 3 Active, 4 Rejected, }),
        pinned!(Refusal {
            0 Unused, 1 Unsupported, 2 NoSuchSlot, 3 NoSuchTable, 4 BadValue, 5 EmptySlot,
            6 SeedOutOfOrder, 7 VersionMismatch, 8 WrongSequence, 9 NoUpload, 10 StorageFault,
        }),
        pinned!(TraceEvent {
            0 Unused, 1 SessionStarted, 2 ModeChanged, 3 Seeded, 4 SamplesLost, 5 QueueOverrun,
            6 ReadingsDoubted,
        }),
    ]
    .into();

    // The schemas know every enum and variant that goes on the wire: none is missing above.
    let mut types = BTreeMap::new();
    for message in MESSAGES {
        named_types(message.schema, &mut types);
    }
    let mut found = BTreeMap::new();
    for (name, named) in types {
        if let DataModelType::Enum(variants) = named.ty {
            found.insert(name, variants.iter().map(|variant| variant.name).collect::<Vec<_>>());
        }
    }
    assert_eq!(found, pinned);
}

#[test]
fn a_variant_behind_the_last_one_is_refused() {
    use coshift_shared::packet::BodyFault;
    let query = |index: u8| Message::decode(Kind::Query, &[0, index]);
    let accepted: BTreeSet<u8> = (0..=u8::MAX).filter(|index| query(*index).is_ok()).collect();
    assert_eq!(accepted, BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(query(4), Err(BodyFault::Malformed));
}
