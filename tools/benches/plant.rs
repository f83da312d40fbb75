//! Simulated inferences a minute of one core: scenarios in virtual time, each with this project's
//! controller in the loop behind its real messages.
//!
//! Prints one JSON object a scenario. Time is what this thread spent on a core, so that what else
//! the machine does counts little. The oracle is not part of it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use coshift_tools::ground::managers::{Setting, build};
use coshift_tools::ground::scenario::{Instance, Scenario};
use coshift_tools::ground::world::run;
use serde_json::json;

/// Least time measured, s: short runs are repeated with other seeds.
const LEAST_S: f64 = 2.0;
/// Scenarios: one application and nothing changing, two, four with priorities, and one that a co-runner slows down.
const SCENARIOS: [&str; 4] = ["single-quiet", "two-models", "four-priorities", "co-runner-60ms"];

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    for name in SCENARIOS {
        println!("{}", measured(&folder.join(name).with_extension("toml"))?);
    }
    Ok(())
}

fn measured(path: &Path) -> Result<serde_json::Value> {
    let scenario = Scenario::load(path)?;
    let (mut inferences, mut runs, mut spent) = (0, 0, 0.0);
    while spent < LEAST_S {
        let instance = Instance::draw(&scenario, runs).map_err(|error| anyhow!("{error}"))?;
        let setting = Setting { scenario: &scenario, instance: &instance };
        let before = Clock::now();
        let mut manager = build("coshift", setting).map_err(|error| anyhow!(error))?;
        let done = run(&scenario, &instance, manager.as_mut())
            .map_err(|error| anyhow!("{}: {error}", scenario.name))?;
        spent += before.elapsed_s().context("no clock")?;
        inferences += done.order.len();
        runs += 1;
    }
    Ok(json!({
        "scenario": scenario.name,
        "applications": scenario.applications.len(),
        "inferences": inferences,
        "runs": runs,
        "core_s": spent,
        "inferences_a_minute": (inferences as f64 * 60.0 / spent).round(),
    }))
}

/// Time of this thread on a core where the kernel tells it, else the clock's.
struct Clock {
    wall: Instant,
    on_core_ns: Option<u64>,
}

impl Clock {
    fn now() -> Self {
        Self { wall: Instant::now(), on_core_ns: on_core_ns() }
    }

    fn elapsed_s(&self) -> Option<f64> {
        match self.on_core_ns {
            None => Some(self.wall.elapsed().as_secs_f64()),
            Some(before) => Some((on_core_ns()?.checked_sub(before)?) as f64 / 1e9),
        }
    }
}

/// The first number of `schedstat`, ns.
fn on_core_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}
