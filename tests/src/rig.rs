//! What a scenario can do with a rig.

use std::sync::MutexGuard;

use anyhow::Result;
use coshift_host::report::Report;
use coshift_shared::protocol::VersionRange;
use coshift_shared::to_controller::MAX_CHUNK;

use crate::case::Case;
use crate::faults::Faults;
use crate::line::Line;
use crate::wire::Direction;

/// How a rig is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What faults and noise come from.
    pub seed: u64,
    /// Slowdown of the application over time, as `--slowdown` takes it.
    pub slowdown: String,
    /// Versions the microcontroller speaks.
    pub mcu_versions: VersionRange,
    /// Whether the agent has another policy than the microcontroller.
    pub other_policy: bool,
    /// Whether the agent sends its policy to a microcontroller that has another one.
    pub upload_policy: bool,
    /// Whether the line to the microcontroller dies when about half of that policy went over.
    pub cut_upload: bool,
    /// Whether the agent's other policy has a number that the microcontroller must not take.
    pub unfit_number: bool,
    /// Faults of both directions of the line from the start.
    pub faults: Faults,
}

impl Setup {
    /// An application at its policy's latency, both sides of this build.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            slowdown: format!("{}=1.0", Case::NAME),
            mcu_versions: VersionRange::OURS,
            other_policy: false,
            upload_policy: false,
            cut_upload: false,
            unfit_number: false,
            faults: Faults::NONE,
        }
    }

    /// The policy of the agent.
    ///
    /// # Errors
    /// The image cannot be built.
    pub fn policy(&self, case: &Case) -> Result<Vec<u8>> {
        match (self.other_policy, self.unfit_number) {
            (false, _) => Ok(case.image.clone()),
            (true, false) => case.other_image(),
            (true, true) => case.numbered(case.sequence()?.wrapping_add(2), false),
        }
    }

    /// The line at the start, for an agent with this policy.
    #[must_use]
    pub fn line(&self, policy: &[u8]) -> Line {
        let mut line = Line::new(self.seed);
        for direction in Direction::BOTH {
            line.set(direction, self.faults);
        }
        if self.cut_upload {
            let chunks = policy.len().div_ceil(MAX_CHUNK) as u64;
            let faults = Faults { dead_after: Some(chunks / 2), ..Faults::NONE };
            line.set(Direction::ToMcu, faults);
        }
        line
    }
}

/// An agent and a microcontroller with a line between them. The agent serves one application at
/// first, [`Case::spec`] of [`Case::first`].
pub trait Rig {
    /// The policy and the application.
    fn case(&self) -> &Case;

    /// Whether time is virtual: then nothing is late because the machine is busy.
    fn in_virtual_time(&self) -> bool;

    /// The line.
    fn line(&self) -> MutexGuard<'_, Line>;

    /// The agent's report of its next control period.
    ///
    /// # Errors
    /// The agent ended, or does not go on.
    fn report(&mut self) -> Result<Report>;

    /// Lets time pass, about a control period; without the agent's help.
    fn pass_time(&mut self);

    /// What the agent said so far beside its reports, a line each.
    fn notices(&self) -> Vec<String>;

    /// Sets an application of the running agent.
    ///
    /// # Errors
    /// What the agent answers.
    fn set(&mut self, spec: &str) -> Result<()>;

    /// Removes an application of the running agent.
    ///
    /// # Errors
    /// What the agent answers.
    fn remove(&mut self, name: &str) -> Result<()>;

    /// Changes the caps of the running agent, as `coshift limits set` takes them.
    ///
    /// # Errors
    /// What the agent answers.
    fn limit(&mut self, power: Option<&str>, temperature: Option<&str>) -> Result<()>;

    /// The microcontroller's loop hangs, until its watchdog resets it.
    ///
    /// # Errors
    /// It could not be brought to hang.
    fn hang_mcu(&mut self) -> Result<()>;

    /// Ends the microcontroller at once, as a power cut would; its non-volatile memory stays.
    ///
    /// # Errors
    /// It could not be ended.
    fn kill_mcu(&mut self) -> Result<()>;

    /// Boots a microcontroller, on the same line.
    ///
    /// # Errors
    /// It could not be booted.
    fn boot_mcu(&mut self) -> Result<()>;

    /// The agent says nothing any more, until this is called with `false`.
    ///
    /// # Errors
    /// It could not be stopped, or not go on.
    fn stall_agent(&mut self, stalled: bool) -> Result<()>;

    /// Ends the run in order and returns its last report.
    ///
    /// # Errors
    /// What complains at the end: an exit code, accesses that hardware would have refused.
    fn end(&mut self) -> Result<Report>;
}
