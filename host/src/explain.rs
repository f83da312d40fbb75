//! Decisions, refusals and resets in words.

use coshift_shared::policy::{Level, PolicyView};
use coshift_shared::to_host::{
    FaultCode, Missing, Mode, Reason, Refusal, ResetCause, SensorSet, Shortfall,
};

/// A mode as one word.
#[must_use]
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Unused => "unused",
        Mode::Boot => "boot",
        Mode::AwaitPolicy => "await-policy",
        Mode::Run => "run",
        Mode::Hold => "hold",
        Mode::Safe => "safe",
    }
}

/// A reason as one word, for programs.
#[must_use]
pub fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Unused => "unused",
        Reason::Idle => "idle",
        Reason::Keep => "keep",
        Reason::Start => "start",
        Reason::TargetsChanged => "targets-changed",
        Reason::DeadlineAtRisk => "deadline-at-risk",
        Reason::PowerCap => "power-cap",
        Reason::LessPower => "less-power",
        Reason::BetterSubNetwork => "better-sub-network",
        Reason::Infeasible => "infeasible",
        Reason::StaleTelemetry => "stale-telemetry",
        Reason::AgentSilent => "agent-silent",
        Reason::TooHot => "too-hot",
        Reason::NoPolicy => "no-policy",
        Reason::BetterObjective => "better-objective",
        Reason::TemperatureCap => "temperature-cap",
        Reason::ClockHeld => "clock-held",
    }
}

/// A reason as a sentence, for people.
#[must_use]
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Unused => "no reason was given",
        Reason::Idle => "there is no application: the level that needs least power",
        Reason::Keep => "nothing is better than what runs",
        Reason::Start => "first decision of the session",
        Reason::TargetsChanged => "targets, caps or applications changed",
        Reason::DeadlineAtRisk => {
            "a promise is at risk: the level was left for it, or a better one is looked for"
        }
        Reason::PowerCap => {
            "the power cap is at risk: the level was left for it, or a better one is looked for"
        }
        Reason::LessPower => "keeps every promise with less power",
        Reason::BetterSubNetwork => "a better sub-network fits at the same level",
        Reason::Infeasible => "nothing keeps every promise",
        Reason::StaleTelemetry => "telemetry is stale: the last decision stands",
        Reason::AgentSilent => "telemetry stayed stale: the safest level",
        Reason::TooHot => {
            "a temperature reached its cap, or none was read for too long: the safest level"
        }
        Reason::NoPolicy => "there is no valid policy",
        Reason::BetterObjective => "keeps every promise and serves an objective better",
        Reason::ClockHeld => "something else holds a clock: the best level that can be reached",
        Reason::TemperatureCap => {
            "the temperature's cap is at risk: the level was left for it, or a better one is looked for"
        }
    }
}

/// Sensors by name.
#[must_use]
pub fn sensors(set: SensorSet) -> Vec<&'static str> {
    let [first, second] = SensorSet::TEMPERATURES;
    let names = [
        (first, "temperature of the hottest zone"),
        (second, "temperature of the second hottest zone"),
        (SensorSet::POWER, "power"),
        (SensorSet::GPU_LOAD, "load of the GPU"),
    ];
    names.into_iter().filter(|(sensor, _)| set.has(*sensor)).map(|(_, name)| name).collect()
}

/// Which readings are not believed, as a line: all of them, and not only those lost last.
#[must_use]
pub fn doubted(set: SensorSet) -> String {
    match sensors(set).as_slice() {
        [] => "every reading is believed again".into(),
        names => format!("not believed now: {}", names.join(", ")),
    }
}

/// What is missing as one word, for programs.
#[must_use]
pub fn missing_word(missing: Missing) -> &'static str {
    match missing {
        Missing::Unused => "unused",
        Missing::Nothing => "nothing",
        Missing::Time => "time",
        Missing::Accuracy => "accuracy",
        Missing::Power => "power",
        Missing::Utilisation => "utilisation",
        Missing::Energy => "energy",
        Missing::Temperature => "temperature",
    }
}

/// What is missing as a sentence; `None` where nothing is. `name` tells the application of a slot.
#[must_use]
pub fn shortfall<'n>(
    shortfall: &Shortfall,
    name: impl Fn(u8) -> Option<&'n str>,
) -> Option<String> {
    let who = name(shortfall.slot).map_or("the board", |name| name);
    let amount = f64::from(shortfall.amount);
    match shortfall.what {
        Missing::Nothing | Missing::Unused => None,
        Missing::Time => Some(format!(
            "{who} lacks {:.1} ms: the fastest choice that keeps its accuracy floor is too slow",
            amount / 1000.0
        )),
        Missing::Accuracy => Some(format!(
            "{who} lacks {:.2} % accuracy: no sub-network reaches its floor",
            amount / 100.0
        )),
        Missing::Power => Some(format!(
            "{:.2} W over the power cap: the least power that keeps every deadline",
            amount / 1000.0
        )),
        Missing::Utilisation => Some(format!(
            "the requests need {:.1} % more of the board's time than there is",
            amount / 10.0
        )),
        Missing::Energy => Some(format!(
            "{who} lacks {:.1} mJ a request: the least energy that keeps deadline and accuracy floor \
             is over its budget",
            amount / 1000.0
        )),
        Missing::Temperature => Some(format!(
            "{:.2} W over what keeps the temperature under its cap: the least power that keeps every \
             deadline",
            amount / 1000.0
        )),
    }
}

/// A level with its clocks: `7 (CPU 1190 GPU 1109 EMC 1600 MHz)`.
#[must_use]
pub fn level(index: u8, policy: &PolicyView<'_>) -> String {
    policy.level(index).map_or_else(
        || "none of the list".into(),
        |Level { cpu_khz, gpu_khz, emc_khz, .. }| {
            let mhz = |khz: u32| (khz + 500) / 1000;
            let (cpu, gpu, emc) = (mhz(cpu_khz), mhz(gpu_khz), mhz(emc_khz));
            format!("{index} (CPU {cpu} GPU {gpu} EMC {emc} MHz)")
        },
    )
}

/// A range of versions: `1` or `1 to 3`.
#[must_use]
pub fn range(min: u8, current: u8) -> String {
    if min == current { format!("{min}") } else { format!("{min} to {current}") }
}

/// The cause of a reset.
#[must_use]
pub fn reset_cause(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::Unused => "unknown cause",
        ResetCause::PowerOn => "power",
        ResetCause::Watchdog => "watchdog",
        ResetCause::Software => "firmware",
        ResetCause::External => "reset line",
    }
}

/// The last fault; `None` where there was none.
#[must_use]
pub fn fault(code: FaultCode, detail: u32) -> Option<String> {
    match code {
        FaultCode::Unused | FaultCode::None => None,
        FaultCode::Panic => Some(format!("panic in line {detail}")),
        FaultCode::HardFault => Some(format!("hard fault at {detail:#010x}")),
        FaultCode::StackOverflow => Some(format!("stack overflow at {detail:#010x}")),
        FaultCode::Hang => Some("control loop hung or no longer answered".into()),
    }
}

/// Why a message was refused.
#[must_use]
pub fn refusal(why: Refusal) -> &'static str {
    match why {
        Refusal::Unused => "no reason was given",
        Refusal::Unsupported => "not supported by this build",
        Refusal::NoSuchSlot => "there is no such slot",
        Refusal::NoSuchTable => "the policy has no such application table",
        Refusal::BadValue => "a value is out of range",
        Refusal::EmptySlot => "there is no application in the slot",
        Refusal::SeedOutOfOrder => "the seed's parts did not come in order",
        Refusal::VersionMismatch => "the protocol ranges do not meet",
        Refusal::WrongSequence => "its sequence number is not that of the active policy + 1",
        Refusal::NoUpload => "there is no upload that it belongs to",
        Refusal::StorageFault => "the policy store cannot be written",
    }
}

#[cfg(test)]
mod tests {
    use coshift_shared::to_host::{FaultCode, Missing, SensorSet, Shortfall};

    #[test]
    fn lines_name_the_sensors_and_the_fault() {
        let both = SensorSet::POWER.with(SensorSet::GPU_LOAD);
        assert_eq!(super::doubted(both), "not believed now: power, load of the GPU");
        assert_eq!(super::doubted(SensorSet::NONE), "every reading is believed again");
        let hang = super::fault(FaultCode::Hang, 0);
        assert_eq!(hang.as_deref(), Some("control loop hung or no longer answered"));
        assert_eq!(super::fault(FaultCode::None, 0), None);
    }

    #[test]
    fn shortfalls_name_who_and_how_much() {
        let name = |slot| (slot == 1).then_some("cam1");
        let of = |what, slot, amount| super::shortfall(&Shortfall { what, slot, amount }, name);
        assert_eq!(of(Missing::Nothing, 255, 0), None);
        assert!(of(Missing::Time, 1, 4_200).unwrap().starts_with("cam1 lacks 4.2 ms"));
        assert!(of(Missing::Accuracy, 1, 250).unwrap().starts_with("cam1 lacks 2.50 %"));
        assert!(of(Missing::Power, 255, 1_500).unwrap().starts_with("1.50 W over"));
        assert!(of(Missing::Utilisation, 255, 105).unwrap().contains("10.5 %"));
        assert!(of(Missing::Energy, 1, 12_300).unwrap().starts_with("cam1 lacks 12.3 mJ"));
        assert!(of(Missing::Temperature, 255, 900).unwrap().starts_with("0.90 W over"));
    }
}
