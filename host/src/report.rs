//! What the agent reports: one JSON object a control period, one at the end, one for `status`.
//!
//! All three are a [`Report`]; `event` tells them apart (`period`, `end`, `status`). Numbers carry
//! their unit in the name. Fields are only ever added.
//!
//! | field | meaning |
//! |---|---|
//! | `event` | `period`, `end` or `status` |
//! | `time_us` | agent's time since its start, µs |
//! | `decider` | who decides: `mcu`, `twin` or `in-process` |
//! | `link` | `in-process`, `down`, `greeting`, `versions-differ`, `policies-differ`, `in-session` or `silent` |
//! | `session` | number of the session; in-process, of that with the controller inside |
//! | `mode` | of the deciding controller: `boot`, `await-policy`, `run`, `hold` or `safe`; `null` before the first decision |
//! | `run_level`, `park_level` | decided levels; `null` = none |
//! | `level_khz` | clocks of the run level: CPU, GPU, memory, kHz |
//! | `sub_networks` | decided sub-network of slots 0 to 3; `null` = empty |
//! | `reason`, `reason_text` | why, as a word and as a sentence |
//! | `changed` | when the decision in force last became another, and the reason given then: `time_us`, `reason`, `reason_text`; `null` before the first |
//! | `shortfall` | what is missing, `null` where nothing is: `what`, `application`, `amount`, `text` |
//! | `predicted_power_mw` | mean power the decision expects, mW |
//! | `digest` | of the decision in force, eight hex digits |
//! | `decided_at_us` | agent's stamp the decision was taken at, wrapping µs |
//! | `digest_equal` | whether MCU and twin had taken in the same at the last decision; `null` = not compared |
//! | `equal_decisions` | equal decisions in a row |
//! | `achieved_level` | level read back; `null` = none of the list |
//! | `clocks_mhz` | clocks read back: CPU, GPU, memory |
//! | `power_mw`, `gpu_load_permille`, `temperatures_mdeg_c` | last readings; `null` = missing |
//! | `doubted` | sensors whose readings were there once and are not believed, by name; one that is believed again stays for up to 40 telemetries |
//! | `board` | what plays or is the board: `virtual:NAME`, `scripted` |
//! | `energy_mj` | energy of the whole board since the start, mJ; `null` where nothing counts it |
//! | `energy_source` | `modelled`: by the virtual board's model, not measured; `null` with `energy_mj` |
//! | `power_cap_mw`, `temp_cap_mdeg_c` | caps in force, the policy's included; `null` = none |
//! | `caps_set_at_us` | when caps were changed last |
//! | `twin_takeovers`, `handbacks` | how often the twin took over, and the MCU again |
//! | `sessions`, `seeds` | sessions opened with the MCU; states sent to it |
//! | `mcu_decisions` | decisions received from the MCU |
//! | `differing_decisions` | of these, with equal digests but another content |
//! | `invalid_decisions` | of these, with other digests than the twin's and a level or a sub-network that does not exist |
//! | `late_periods` | control periods that began late by more than a period |
//! | `level_changes` | changes of the run level made on the board |
//! | `parks` | how often the board was parked between requests |
//! | `from_mcu`, `to_mcu` | counters of both directions ([`LinkCounters`]); `to_mcu` is `null` until the MCU reported it |
//! | `frames_dropped` | frames the port did not take |
//! | `protocol` | `agent` and `mcu`: [oldest, newest] version; `mcu` is `null` until it was heard |
//! | `schema` | `agent` and `mcu`: fingerprint of the messages, hex |
//! | `policy_crc` | `agent` and `mcu`: CRC of the policy, hex |
//! | `mcu` | `null` or firmware `version`, `boot_nonce`, `reset_cause`, `last_fault`, and `work`, its counters |
//! | `policy_upload` | `null` or the upload of the agent's policy: `stage` (`waiting`, `beginning`, `sending`, `committing`, `restarting`, `done`, `failed`), `received`, `length`, `begun_at`, bytes, and `failure` |
//! | `applications` | see [`ApplicationReport`] |
//! | `requests`, `misses` | sums over the applications |

use coshift_shared::protocol::VersionRange;
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::LinkCounters;
use coshift_shared::to_controller::{Degrade, Objective};
use coshift_shared::to_host::{Missing, WorkCounters};
use coshift_shared::units::{NO_POWER_CAP, NO_SUB_NETWORK, NO_TEMP_CAP};
use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::core::{Decider, LinkState, UploadStage};
use crate::explain;
use crate::platform::Platform;
use crate::runtime::{Adaptation, Runtime, Served};

/// Which report it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportEvent {
    /// A control period is over.
    Period,
    /// The run is over.
    End,
    /// Someone asked.
    Status,
}

/// A value of both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The agent's.
    pub agent: T,
    /// The microcontroller's.
    pub mcu: Option<T>,
}

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortfallReport {
    /// `time`, `accuracy`, `power` or `utilisation`.
    pub what: String,
    /// The application; `None` = the board.
    pub application: Option<String>,
    /// How much: µs for time, 0.01 % for accuracy, mW for power, 0.1 % for utilisation.
    pub amount: u32,
    /// The same as a sentence.
    pub text: String,
}

/// The upload of the agent's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReport {
    /// Where it is.
    pub stage: UploadStage,
    /// Bytes the microcontroller has.
    pub received: u32,
    /// Bytes of the policy.
    pub length: u32,
    /// Where it began the last time; over 0 where it went on after a cut.
    pub begun_at: u32,
    /// Why it was given up.
    pub failure: Option<String>,
}

/// The last change of the decision in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// When it was, µs since the agent's start.
    pub time_us: u64,
    /// Why, as a word.
    pub reason: String,
    /// Why, as a sentence.
    pub reason_text: String,
}

/// The microcontroller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McuReport {
    /// Firmware: major, minor, patch.
    pub version: [u8; 3],
    /// Drawn at its boot, hex.
    pub boot_nonce: String,
    /// Why it was reset last.
    pub reset_cause: String,
    /// Its last fault, in words.
    pub last_fault: Option<String>,
    /// Counters of its control loop.
    pub work: Option<WorkCounters>,
}

/// One application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplicationReport {
    /// Its name.
    pub name: String,
    /// Its slot, 0 to 3.
    pub slot: u8,
    /// Its network: an application table of the policy.
    pub network: String,
    /// Decided sub-network; `None` before the first decision.
    pub sub_network: Option<u8>,
    /// Accuracy of that sub-network, 0.01 %.
    pub accuracy_bp: Option<u16>,
    /// Relative deadline, µs.
    pub deadline_us: u32,
    /// Time between requests, µs.
    pub period_us: u32,
    /// Accuracy floor, 0.01 %.
    pub floor_bp: u16,
    /// Share of requests that may miss, 0.01 %.
    pub miss_target_bp: u16,
    /// Priority.
    pub priority: u8,
    /// `accuracy`, `deadline` or `energy`: what is given up first.
    pub degrade: String,
    /// `least-energy`, `best-accuracy` or `least-latency`: what is optimised.
    pub objective: String,
    /// Energy beyond idle that a request may take, µJ; `None` = no budget.
    pub energy_budget_uj: Option<u32>,
    /// Requests released.
    pub requests: u64,
    /// Requests served.
    pub done: u64,
    /// Requests late, dropped or failed.
    pub misses: u64,
    /// Requests that this machine finished late although the virtual board would not have: they
    /// are no misses. Many of them say that this machine is too busy for the run.
    pub late_by_host: u64,
    /// Requests dropped because too many waited.
    pub dropped: u64,
    /// Inferences that failed.
    pub failed: u64,
    /// When its targets were set last, µs since the agent's start.
    pub set_at_us: u64,
    /// Time this machine inferred that half of the inferences do not exceed, µs; on a virtual board
    /// that is not the latency. `None` where nothing was inferred.
    pub wall_p50_us: Option<u32>,
    /// Time this machine inferred that 99 % do not exceed, µs.
    pub wall_p99_us: Option<u32>,
    /// Images (crops) that a request is made of; `None` where the board does not know.
    pub tiles: Option<u32>,
    /// Of these, images really inferred per request; the others only take their time. `None` where
    /// nothing was inferred.
    pub tiles_run: Option<u64>,
    /// Images inferred.
    pub images: u64,
    /// Of these, images whose label was found.
    pub right: u64,
    /// Share of these, %: accuracy as measured, on other images than `accuracy_bp`'s. `None` where
    /// nothing was inferred.
    pub measured_accuracy_pct: Option<f64>,
    /// Of the images inferred, those that left at an early exit of their network.
    #[serde(default)]
    pub early: u64,
    /// Where its model was adapted to its images in the background; `None` = it is as shipped.
    #[serde(default)]
    pub adaptation: Option<AdaptationReport>,
    /// Latency of the inference that half of them do not exceed, µs.
    pub latency_p50_us: Option<u32>,
    /// Latency that 99 % do not exceed, µs.
    pub latency_p99_us: Option<u32>,
    /// Time from release to end that half do not exceed, µs.
    pub response_p50_us: Option<u32>,
    /// Time from release to end that 99 % do not exceed, µs.
    pub response_p99_us: Option<u32>,
    /// Mean slowdown the controller has learned, 0.001.
    pub slowdown_permille: Option<u32>,
}

/// How the model of an application was adapted to its images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdaptationReport {
    /// Adaptations so far.
    pub times: u32,
    /// When the first inference with the last of them ended, µs since the agent's start.
    pub time_us: u64,
    /// Images that its statistics were taken from.
    pub from_images: u32,
    /// Images inferred since the first adaptation.
    pub images: u64,
    /// Of these, images whose label was found.
    pub right: u64,
    /// Share of these, %.
    pub accuracy_pct: f64,
    /// Share of the images before the first adaptation whose label was found, %; `None` where there
    /// were none.
    pub accuracy_before_pct: Option<f64>,
}

/// A report; the fields are described in the [module](self).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "described in one table, in the module's documentation")]
pub struct Report {
    pub event: ReportEvent,
    pub time_us: u64,
    pub decider: Decider,
    pub link: LinkState,
    pub session: u16,
    pub mode: Option<String>,
    pub run_level: Option<u8>,
    pub park_level: Option<u8>,
    pub level_khz: Option<[u32; 3]>,
    pub sub_networks: [Option<u8>; 4],
    pub reason: Option<String>,
    pub reason_text: Option<String>,
    pub changed: Option<ChangeReport>,
    pub shortfall: Option<ShortfallReport>,
    pub predicted_power_mw: Option<u32>,
    pub digest: Option<String>,
    pub decided_at_us: Option<u32>,
    pub digest_equal: Option<bool>,
    pub equal_decisions: u32,
    pub achieved_level: Option<u8>,
    pub clocks_mhz: [u16; 3],
    pub power_mw: Option<u32>,
    pub gpu_load_permille: Option<u16>,
    pub temperatures_mdeg_c: [Option<i32>; 2],
    pub doubted: Vec<String>,
    pub board: String,
    pub energy_mj: Option<u64>,
    pub energy_source: Option<String>,
    pub power_cap_mw: Option<u32>,
    pub temp_cap_mdeg_c: Option<i32>,
    pub caps_set_at_us: u64,
    pub twin_takeovers: u32,
    pub handbacks: u32,
    pub sessions: u32,
    pub seeds: u32,
    pub mcu_decisions: u32,
    pub differing_decisions: u32,
    pub invalid_decisions: u32,
    pub late_periods: u32,
    pub level_changes: u64,
    pub parks: u64,
    pub from_mcu: LinkCounters,
    pub to_mcu: Option<LinkCounters>,
    pub frames_dropped: u64,
    pub protocol: Sides<[u8; 2]>,
    pub schema: Sides<String>,
    pub policy_crc: Sides<String>,
    pub policy_upload: Option<UploadReport>,
    pub mcu: Option<McuReport>,
    pub applications: Vec<ApplicationReport>,
    pub requests: u64,
    pub misses: u64,
}

fn hex(value: u32) -> String {
    format!("{value:08x}")
}

/// The report of a runtime at `now`; `frames_dropped` is the link's counter.
#[must_use]
pub fn report<P: Platform>(
    event: ReportEvent,
    now: Time,
    runtime: &Runtime<'_, P>,
    frames_dropped: u64,
) -> Report {
    let core = runtime.core();
    let decision = core.decision();
    let readings = runtime.readings();
    let counters = core.counters();
    let policy = core.policy();
    let level = decision.and_then(|decision| policy.level(decision.run_level));
    let name =
        |slot: u8| runtime.served().get(usize::from(slot))?.as_ref().map(|served| &*served.name);
    let shortfall = decision.and_then(|decision| {
        let shortfall = decision.shortfall;
        debug_assert_ne!(shortfall.what, Missing::Unused);
        Some(ShortfallReport {
            what: explain::missing_word(shortfall.what).into(),
            application: name(shortfall.slot).map(Into::into),
            amount: shortfall.amount,
            text: explain::shortfall(&shortfall, name)?,
        })
    });
    let applications: Vec<_> = (0_u8..)
        .zip(runtime.served())
        .filter_map(|(slot, served)| Some(application(slot, served.as_ref()?, runtime)))
        .collect();
    let peer = core.peer();
    Report {
        event,
        time_us: now.us(),
        decider: core.decider(),
        link: core.link(),
        session: core.session(),
        mode: decision.map(|decision| explain::mode(decision.mode).into()),
        run_level: decision.map(|decision| decision.run_level),
        park_level: decision
            .map(|decision| decision.park_level)
            .filter(|level| *level < policy.levels()),
        level_khz: level.map(|level| [level.cpu_khz, level.gpu_khz, level.emc_khz]),
        sub_networks: decision.map_or([None; 4], |decision| {
            decision.sub_networks.map(|index| (index != NO_SUB_NETWORK).then_some(index))
        }),
        reason: decision.map(|decision| explain::reason_word(decision.reason).into()),
        reason_text: decision.map(|decision| explain::reason(decision.reason).into()),
        changed: core.changed().map(|(at, reason)| ChangeReport {
            time_us: at.us(),
            reason: explain::reason_word(reason).into(),
            reason_text: explain::reason(reason).into(),
        }),
        shortfall,
        predicted_power_mw: decision.map(|decision| decision.power_mw),
        digest: decision.map(|decision| hex(decision.digest)),
        decided_at_us: decision.map(|decision| decision.at_us),
        digest_equal: core.judge().digest_equal,
        equal_decisions: core.judge().equal_run,
        achieved_level: readings.level,
        clocks_mhz: readings.clocks_mhz,
        power_mw: readings.power_mw.map(|reading| reading.value),
        gpu_load_permille: readings.gpu_load_permille.map(|reading| reading.value),
        temperatures_mdeg_c: readings.temperatures_mdeg_c.map(|r| r.map(|r| r.value)),
        doubted: explain::sensors(core.twin().node().controller().doubted())
            .into_iter()
            .map(Into::into)
            .collect(),
        board: runtime.platform().describe(),
        energy_mj: runtime.energy_mj(),
        energy_source: runtime.energy_mj().map(|_| "modelled".into()),
        power_cap_mw: Some(core.caps().power_mw).filter(|cap| *cap != NO_POWER_CAP),
        temp_cap_mdeg_c: Some(core.caps().temp_mdeg_c).filter(|cap| *cap != NO_TEMP_CAP),
        caps_set_at_us: runtime.caps_at().us(),
        twin_takeovers: counters.takeovers,
        handbacks: counters.handbacks,
        sessions: counters.sessions,
        seeds: counters.seeds,
        mcu_decisions: counters.mcu_decisions,
        differing_decisions: core.judge().differing,
        invalid_decisions: counters.invalid_decisions,
        late_periods: counters.late_periods,
        level_changes: runtime.level_changes(),
        parks: runtime.parks(),
        from_mcu: core.from_mcu(),
        to_mcu: core.to_mcu(),
        frames_dropped,
        protocol: Sides {
            agent: [VersionRange::OURS.min, VersionRange::OURS.current],
            mcu: peer.map(|peer| [peer.protocol_min, peer.protocol_current]),
        },
        schema: Sides { agent: hex(FINGERPRINT), mcu: peer.map(|peer| hex(peer.schema)) },
        policy_crc: Sides { agent: hex(policy.crc()), mcu: peer.map(|peer| hex(peer.policy_crc)) },
        policy_upload: core.upload().map(|upload| UploadReport {
            stage: upload.stage,
            received: upload.received,
            length: u32::try_from(policy.bytes().len()).unwrap_or(u32::MAX),
            begun_at: upload.begun_at,
            failure: upload.failure.clone(),
        }),
        mcu: peer.map(|peer| McuReport {
            version: peer.version,
            boot_nonce: hex(peer.boot_nonce),
            reset_cause: explain::reset_cause(peer.reset_cause).into(),
            last_fault: explain::fault(peer.last_fault, peer.fault_detail),
            work: core.mcu_work(),
        }),
        requests: applications.iter().map(|application| application.requests).sum(),
        misses: applications.iter().map(|application| application.misses).sum(),
        applications,
    }
}

fn share_pct(right: u64, images: u64) -> Option<f64> {
    (images > 0).then(|| 100.0 * right as f64 / images as f64)
}

/// The report of one application.
fn application<P: Platform>(
    slot: u8,
    served: &Served,
    runtime: &Runtime<'_, P>,
) -> ApplicationReport {
    let core = runtime.core();
    let place = usize::from(slot);
    let sub_network = core
        .decision()
        .and_then(|decision| decision.sub_networks.get(place).copied())
        .filter(|index| *index != NO_SUB_NETWORK);
    let table = core.policy().table(served.table);
    let row = table.and_then(|table| table.sub_network(sub_network?));
    let learned = core.twin().node().controller().slots().get(place).and_then(Option::as_ref);
    ApplicationReport {
        name: served.name.to_string(),
        slot,
        network: served.spec.network.clone(),
        sub_network,
        accuracy_bp: row.map(|row| row.accuracy_bp),
        deadline_us: served.spec.deadline_us,
        period_us: served.spec.period_us,
        floor_bp: served.spec.floor_bp,
        miss_target_bp: served.spec.miss_bp,
        priority: served.spec.priority,
        degrade: match served.spec.degrade {
            Degrade::Deadline => "deadline",
            Degrade::Energy => "energy",
            _ => "accuracy",
        }
        .into(),
        objective: match served.spec.objective {
            Objective::BestAccuracy => "best-accuracy",
            Objective::LeastLatency => "least-latency",
            _ => "least-energy",
        }
        .into(),
        energy_budget_uj: Some(served.spec.energy_uj).filter(|budget| *budget > 0),
        requests: served.requests,
        done: served.done,
        misses: served.misses,
        late_by_host: served.late_by_host,
        dropped: served.source.dropped,
        failed: served.failed,
        set_at_us: served.set_at.us(),
        wall_p50_us: served.wall.at(500),
        wall_p99_us: served.wall.at(990),
        tiles: runtime.platform().tiles(served.table),
        tiles_run: Some(served.images / served.done.max(1)).filter(|images| *images > 0),
        images: served.images,
        right: served.right,
        measured_accuracy_pct: share_pct(served.right, served.images),
        early: served.early,
        adaptation: served.adaptation.map(|Adaptation { adapted, at, images, right }| {
            AdaptationReport {
                times: adapted.times,
                time_us: at.us(),
                from_images: adapted.images,
                images,
                right,
                accuracy_pct: share_pct(right, images).unwrap_or_default(),
                accuracy_before_pct: share_pct(
                    served.right.saturating_sub(right),
                    served.images.saturating_sub(images),
                ),
            }
        }),
        latency_p50_us: served.latency.at(500),
        latency_p99_us: served.latency.at(990),
        response_p50_us: served.response.at(500),
        response_p99_us: served.response.at(990),
        slowdown_permille: learned.and_then(|slot| {
            u32::try_from((u64::from(slot.slowdown.mean_q24()) * 1000 + (1 << 23)) >> 24).ok()
        }),
    }
}
