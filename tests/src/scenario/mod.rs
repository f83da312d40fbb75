//! What must hold, whatever the rig.

mod caps;
mod co_runner;
mod garbage;
mod joining;
mod loop_closes;
mod lossy;
mod mismatch;
mod play;
mod priorities;
mod restart;
mod stall;
mod targets;
mod upload;
mod watchdog;

use anyhow::Result;

use crate::rig::{Rig, Setup};

pub use play::{Play, check};
pub use restart::early;

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// How its rig is set up.
    pub setup: fn(&mut Setup),
    /// What happens, and what must hold.
    pub run: fn(&mut Play<'_>) -> Result<()>,
}

/// Decisions come from the microcontroller, fit the application and are carried out.
pub const LOOP_CLOSES: Scenario =
    Scenario { name: "the loop closes", setup: |_| {}, run: loop_closes::run };
/// A target changed at run time is answered within two periods.
pub const TARGET_CHANGED: Scenario =
    Scenario { name: "a target is changed", setup: |_| {}, run: targets::run };
/// Applications join until the board is full and leave again, each served while it is there.
pub const JOINING: Scenario =
    Scenario { name: "applications join and leave", setup: |_| {}, run: joining::run };
/// A cap on power comes and goes while latency is what counts: kept while it is there.
pub const POWER_CAP: Scenario =
    Scenario { name: "a cap on power", setup: |_| {}, run: caps::power };
/// A cap on power that no level keeps: said so, with the least power there is.
pub const NOTHING_FITS: Scenario =
    Scenario { name: "a cap that nothing keeps", setup: |_| {}, run: caps::infeasible };
/// The board is hotter than it may be: the safest level until it is cool.
pub const TOO_HOT: Scenario =
    Scenario { name: "a cap on temperature", setup: |_| {}, run: caps::temperature };
/// Two applications that cannot both have their floor: the one of the higher priority has it, and
/// what the other one lacks is named.
pub const PRIORITIES: Scenario =
    Scenario { name: "two applications and their priorities", setup: |_| {}, run: priorities::run };
/// A co-runner slows the application down: the level rises within ten inferences.
pub const CO_RUNNER: Scenario =
    Scenario { name: "a co-runner starts", setup: co_runner::setup, run: co_runner::run };
/// The microcontroller dies: the twin takes over within four periods; the next one is brought to
/// its state and decides after twenty equal decisions.
pub const RESTART: Scenario = Scenario {
    name: "the microcontroller dies and another one boots",
    setup: |_| {},
    run: restart::run,
};
/// A mebibyte of garbage: faults are counted, no decision is invalid, the loop goes on.
pub const GARBAGE: Scenario =
    Scenario { name: "garbage on the port", setup: |_| {}, run: garbage::run };
/// Frames get lost, damaged and doubled: gaps are seen, no sample is counted twice.
pub const LOSSY: Scenario = Scenario { name: "a lossy line", setup: |_| {}, run: lossy::run };
/// Ranges of versions that do not meet are shown on both sides.
pub const VERSIONS_DIFFER: Scenario = Scenario {
    name: "the versions do not meet",
    setup: mismatch::setup_versions,
    run: mismatch::run_versions,
};
/// Another policy is shown.
pub const POLICIES_DIFFER: Scenario = Scenario {
    name: "the policies differ",
    setup: mismatch::setup_policies,
    run: mismatch::run_policies,
};
/// The agent sends its policy to a microcontroller with another one, which restarts on it.
pub const UPLOAD: Scenario =
    Scenario { name: "the policy is uploaded", setup: upload::setup, run: upload::run };
/// The line dies in the middle of the upload: it goes on where it was.
pub const UPLOAD_CUT: Scenario = Scenario {
    name: "the line dies in an upload",
    setup: upload::setup_cut,
    run: upload::run_cut_link,
};
/// The microcontroller's power is cut in the middle of the upload: it boots on the old policy, and
/// the upload goes on.
pub const UPLOAD_RESET: Scenario = Scenario {
    name: "the microcontroller is reset in an upload",
    setup: upload::setup_cut,
    run: upload::run_reset,
};
/// The line loses, damages, doubles and reorders frames all through the upload.
pub const UPLOAD_LOSSY: Scenario = Scenario {
    name: "a policy goes over a lossy line",
    setup: upload::setup_lossy,
    run: upload::run_lossy,
};
/// The policy's number is not the next one: it is not sent, and the agent says which it must be.
pub const UPLOAD_REFUSED: Scenario = Scenario {
    name: "a policy of a number that is not the next one",
    setup: upload::setup_refused,
    run: upload::run_refused,
};
/// The microcontroller hangs: its watchdog brings it back, and it says so.
pub const WATCHDOG: Scenario =
    Scenario { name: "the microcontroller hangs", setup: |_| {}, run: watchdog::run };
/// The agent stalls: the microcontroller holds, then takes the safest level.
pub const STALL: Scenario = Scenario { name: "the agent stalls", setup: |_| {}, run: stall::run };

impl Scenario {
    /// The set-up of this scenario with a seed.
    #[must_use]
    pub fn setup(&self, seed: u64) -> Setup {
        let mut setup = Setup::new(seed);
        (self.setup)(&mut setup);
        setup
    }

    /// Runs the scenario to its end, the end of the agent included.
    ///
    /// # Errors
    /// The first thing that does not hold, with what the rig did before it.
    pub fn play(&self, rig: &mut dyn Rig) -> Result<()> {
        let mut play = Play::new(rig);
        let result = (self.run)(&mut play).and_then(|()| play.end());
        result.map_err(|error| error.context(play.circumstances()).context(self.name))
    }
}

/// A test of each scenario, played by `$play`: the same list on every rig.
#[macro_export]
macro_rules! scenario_tests {
    ($play:ident) => {
        $crate::scenario_tests! {
            $play:
            loop_closes = LOOP_CLOSES,
            target_changed = TARGET_CHANGED,
            joining = JOINING,
            power_cap = POWER_CAP,
            nothing_fits = NOTHING_FITS,
            too_hot = TOO_HOT,
            priorities = PRIORITIES,
            co_runner = CO_RUNNER,
            restart = RESTART,
            garbage = GARBAGE,
            lossy = LOSSY,
            versions_differ = VERSIONS_DIFFER,
            policies_differ = POLICIES_DIFFER,
            stall = STALL,
            upload = UPLOAD,
            upload_cut = UPLOAD_CUT,
            upload_reset = UPLOAD_RESET,
            upload_lossy = UPLOAD_LOSSY,
            upload_refused = UPLOAD_REFUSED,
            watchdog = WATCHDOG,
        }
    };
    ($play:ident: $($test:ident = $scenario:ident,)*) => {
        $(
            #[test]
            fn $test() {
                $play(&$crate::scenario::$scenario);
            }
        )*
    };
}
