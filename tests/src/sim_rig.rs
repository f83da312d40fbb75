//! The rig in virtual time: the agent's runtime and the controller's node, deterministic by seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use coshift_host::core::{AgentCore, Caps, Settings};
use coshift_host::engine::ScriptedEngine;
use coshift_host::platform::ScriptedPlatform;
use coshift_host::report::{Report, ReportEvent, report};
use coshift_host::runtime::Runtime;
use coshift_host::simulation::Simulation;
use coshift_host::spec::{self, ApplicationSpec, SlowdownScript};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Duration;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

use crate::case::Case;
use crate::faults::Faults;
use crate::line::Line;
use crate::mutant::Mutant;
use crate::rig::{Rig, Setup};
use crate::sim_mcu::SimMcu;
use crate::wire::Direction;

/// Control period, ms.
const PERIOD_MS: u32 = 50;
/// Standard deviation of the latencies, 0.01 %.
const NOISE_BP: u16 = 100;

/// Agent and microcontroller in virtual time.
#[derive(Debug)]
pub struct SimRig<'c> {
    case: &'c Case,
    line: Arc<Mutex<Line>>,
    simulation: Simulation<'c, ScriptedPlatform, SimMcu<'c>>,
    reports: VecDeque<Report>,
}

/// The policies of both sides: they outlive the rig, which reads them in place.
#[derive(Debug)]
pub struct Policies<'c> {
    case: &'c Case,
    agent: Vec<u8>,
}

impl<'c> Policies<'c> {
    /// The policies a set-up asks for.
    ///
    /// # Errors
    /// What is wrong with the image.
    pub fn new(case: &'c Case, setup: &Setup) -> Result<Self> {
        let agent = setup.policy(case)?;
        Ok(Self { case, agent })
    }
}

impl<'c> SimRig<'c> {
    /// A rig at its start.
    ///
    /// # Errors
    /// What is wrong with policy or set-up.
    pub fn start(policies: &'c Policies<'c>, setup: &Setup, mutant: Mutant) -> Result<Self> {
        let case = policies.case;
        let ours = PolicyView::open(&policies.agent).context("policy of the agent")?;
        let theirs = PolicyView::open(&case.image).context("policy of the microcontroller")?;
        let line = Arc::new(Mutex::new(setup.line(&policies.agent)));
        let mcu = SimMcu::new(theirs, setup.mcu_versions, Arc::clone(&line), setup.seed, mutant);
        let settings = Settings {
            period: Duration::from_ms(PERIOD_MS),
            remote: true,
            boot_nonce: 0xA6E7_0001,
            session_seed: setup.seed.wrapping_mul(0x1234_5678_9abc),
            caps: Caps { power_mw: NO_POWER_CAP, temp_mdeg_c: NO_TEMP_CAP },
            parking: false,
            upload_policy: setup.upload_policy,
        };
        let platform = ScriptedPlatform::new(&ours, ours.levels() - 1);
        let runtime = Runtime::new(AgentCore::new(ours, settings), platform);
        let script = SlowdownScript::parse("--slowdown", &setup.slowdown)?;
        let engine = ScriptedEngine::new(&ours, vec![script], NOISE_BP, setup.seed);
        let simulation = Simulation::new(runtime, engine, mcu);
        let mut rig = Self { case, line, simulation, reports: VecDeque::new() };
        rig.set(&case.spec(case.first))?;
        Ok(rig)
    }

    /// The microcontroller.
    #[must_use]
    pub fn mcu(&self) -> &SimMcu<'c> {
        &self.simulation.link
    }

    fn run_a_period(&mut self) {
        let end = self.simulation.now().after_us(u64::from(PERIOD_MS) * 1000);
        let reports = &mut self.reports;
        self.simulation.run_until(end, |now, runtime, _| {
            reports.push_back(report(ReportEvent::Period, now, runtime, 0));
        });
    }
}

impl Rig for SimRig<'_> {
    fn case(&self) -> &Case {
        self.case
    }

    fn in_virtual_time(&self) -> bool {
        true
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&mut self) -> Result<Report> {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Ok(report);
            }
            self.run_a_period();
        }
    }

    fn pass_time(&mut self) {
        self.run_a_period();
    }

    fn notices(&self) -> Vec<String> {
        self.simulation.notices.iter().map(|(_, notice)| notice.to_string()).collect()
    }

    fn set(&mut self, spec: &str) -> Result<()> {
        let spec = ApplicationSpec::parse("--app", spec)?;
        let mut effects = Vec::new();
        let now = self.simulation.now();
        self.simulation.runtime.set_application(now, "--app", spec, &mut effects)?;
        self.simulation.apply(effects);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        let mut effects = Vec::new();
        let now = self.simulation.now();
        self.simulation.runtime.remove_application(now, name, &mut effects)?;
        self.simulation.apply(effects);
        Ok(())
    }

    fn limit(&mut self, power: Option<&str>, temperature: Option<&str>) -> Result<()> {
        let now = self.simulation.now();
        let caps = self.simulation.runtime.core().settings().caps;
        let caps = spec::caps("limits set", caps, power, temperature)?;
        let mut effects = Vec::new();
        self.simulation.runtime.set_caps(now, caps, &mut effects);
        self.simulation.apply(effects);
        Ok(())
    }

    fn hang_mcu(&mut self) -> Result<()> {
        self.simulation.link.hang();
        Ok(())
    }

    fn kill_mcu(&mut self) -> Result<()> {
        self.simulation.link.kill();
        Ok(())
    }

    fn boot_mcu(&mut self) -> Result<()> {
        self.simulation.link.boot();
        Ok(())
    }

    /// The agent's frames wait: a process in virtual time cannot be frozen, but the
    /// microcontroller sees the same.
    fn stall_agent(&mut self, stalled: bool) -> Result<()> {
        self.line().set(Direction::ToMcu, Faults { stall: stalled, ..Faults::NONE });
        Ok(())
    }

    fn end(&mut self) -> Result<Report> {
        let now = self.simulation.now();
        Ok(report(ReportEvent::End, now, &self.simulation.runtime, 0))
    }
}
