//! Scenarios of the proving ground with the firmware's controller: every message that the agent's
//! core sends while it serves a scenario goes to the answering image of the reference board too.
//!
//! The board, the queues and the agent are deterministic: where every answer is the same, byte by
//! byte, so is the run, and so are the figures of the table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use coshift_tools::ground::managers::{Coshift, Heard, Setting};
use coshift_tools::ground::oracle::oracle;
use coshift_tools::ground::scenario::{Instance, Scenario};
use coshift_tools::ground::world::{Score, run, score};

use crate::answers::{Compared, History, compare};
use crate::fuzz::Input;

/// Scenarios of the long campaign: nothing changes, two clocks under adversaries, four applications.
pub const PLAYED: [&str; 3] = ["single-quiet", "orin-two-clocks", "four-priorities"];
const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// One scenario, served by the controller of this machine and answered by the image's as well.
#[derive(Debug, Clone)]
pub struct Played {
    /// The scenario's name.
    pub scenario: String,
    /// Answers of both.
    pub compared: Compared,
    /// Score of each application.
    pub scores: Vec<Score>,
    /// Energy ÷ the oracle's.
    pub energy_vs_oracle: f64,
}

/// A shipped scenario, cut to its first seconds where `seconds` is given.
///
/// # Errors
/// There is none of this name, or it is damaged.
pub fn scenario(name: &str, seconds: Option<u64>) -> Result<Scenario> {
    let path: PathBuf = Path::new(SCENARIOS).join(name).with_extension("toml");
    let mut scenario = Scenario::load(&path)?;
    if let Some(seconds) = seconds {
        scenario.end_us = scenario.end_us.min(seconds * 1_000_000);
    }
    Ok(scenario)
}

/// Serves a scenario and has the image answer all that the controller was told. `change` may
/// change what the image is told and expected to answer.
///
/// # Errors
/// The run or the emulator fails; what differs is in what is returned.
pub fn play(
    qemu: &Path,
    image: &Path,
    scenario: &Scenario,
    change: impl FnOnce(&mut Vec<Heard>),
) -> Result<Played> {
    let instance = Instance::draw(scenario, 0).map_err(|error| anyhow!("{error}"))?;
    let setting = Setting { scenario, instance: &instance };
    let mut manager = Coshift::recorded(setting).map_err(|error| anyhow!(error))?;
    let done = run(scenario, &instance, &mut manager)?;
    let mut record = manager.record().to_vec();
    change(&mut record);
    let inputs: Vec<Input> = record.into_iter().map(input).collect();
    let mut history = Some(History::recorded(&instance.policy_bytes, inputs));
    let compared = compare(qemu, image, 1, 1, |_| history.take().context("one history is enough"))?;
    let scores = score(scenario, &done);
    let best = oracle(setting, false).map_err(|error| anyhow!("oracle: {error}"))?;
    let energy = |scores: &[Score]| scores.first().map_or(f64::NAN, |score| score.energy_j);
    let energy_vs_oracle = energy(&scores) / energy(&score(scenario, &best));
    Ok(Played { scenario: scenario.name.clone(), compared, scores, energy_vs_oracle })
}

fn input(heard: Heard) -> Input {
    let decisions = decisions(&heard.frames);
    Input { local_us: heard.local_us, bytes: heard.bytes, frames: heard.frames, decisions }
}

/// How many of these frames are decisions.
fn decisions(frames: &[Vec<u8>]) -> u32 {
    use coshift_shared::kind::Kind;
    use coshift_shared::reader::{FrameReader, Received};
    let mut reader = FrameReader::new();
    let mut count = 0;
    for byte in frames.iter().flatten() {
        if let Received::Packet(header, _) = reader.feed(*byte) {
            count += u32::from(Kind::from_byte(header.kind) == Some(Kind::Decision));
        }
    }
    count
}

/// The table of `docs/results.md`.
#[must_use]
pub fn table(played: &[Played]) -> String {
    let mut out = String::from(
        "| scenario | application | energy J | ÷ oracle | missed % | p99 ms | switches | parks | messages | decisions | answered differently |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for run in played {
        let names = scenario(&run.scenario, None)
            .map(|scenario| scenario.applications.into_iter().map(|a| a.name).collect::<Vec<_>>());
        let names = names.unwrap_or_default();
        for (index, score) in run.scores.iter().enumerate() {
            let name = names.get(index).map_or("?", String::as_str);
            out += &format!(
                "| {} | {name} | {:.1} | {:.4} | {:.3} | {:.1} | {} | {} | {} | {} | {} |\n",
                run.scenario,
                score.energy_j,
                run.energy_vs_oracle,
                100.0 * score.misses as f64 / score.inferences.max(1) as f64,
                score.p99_ms,
                score.level_switches,
                score.parks,
                run.compared.messages,
                run.compared.decisions,
                run.compared.differing,
            );
        }
    }
    out
}
