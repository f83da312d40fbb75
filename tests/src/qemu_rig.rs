//! The rig of real programs: the agent's process, the relay, and the release image under QEMU.

use std::fs;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use coshift_host::control::Request;
use coshift_host::report::Report;
use coshift_shared::protocol::VersionRange;

use crate::agent::{Agent, Start};
use crate::case::Case;
use crate::debug_stub::DebugStub;
use crate::emulator::Emulator;
use crate::line::Line;
use crate::need::Needs;
use crate::relay::Relay;
use crate::rewrite::Rewrite;
use crate::rig::{Rig, Setup};
use crate::wire::Direction;

/// Between two looks at something that no report tells of.
const LOOK: Duration = Duration::from_millis(50);

/// Agent, relay and emulator.
#[derive(Debug)]
pub struct QemuRig {
    case: Case,
    needs: Needs,
    // In the order in which they end: whoever talks before the one it talks to.
    agent: Agent,
    emulator: Option<Emulator>,
    relay: Relay,
    folder: Folder,
    boots: u32,
}

/// A folder of the rig's own, gone with it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind where the system does not let it go.
        let _left = fs::remove_dir_all(&self.0);
    }
}

impl QemuRig {
    /// Starts everything.
    ///
    /// # Errors
    /// What is wrong with the set-up, or cannot be started.
    pub fn start(needs: &Needs, setup: &Setup) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("coshift-rig-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0)?;
        let image = fs::read(&needs.policy)
            .with_context(|| format!("policy image {}", needs.policy.display()))?;
        let case = Case::of(image)?;
        let policy = folder.0.join("policy.bin");
        let bytes = setup.policy(&case)?;
        let mut line = setup.line(&bytes);
        fs::write(&policy, bytes)?;
        if setup.mcu_versions != VersionRange::OURS {
            // The image speaks what this build does, so each side is told that the other does not.
            for direction in Direction::BOTH {
                line.rewrite(direction, Rewrite::Versions(setup.mcu_versions));
            }
        }
        let relay = Relay::start(line)?;
        let (emulator, port) = Emulator::start(needs, &folder.0, 0)?;
        relay.connect(port)?;
        let agent = Agent::start(&Start {
            program: &needs.agent,
            policy: &policy,
            port: relay.port(),
            app: &case.spec(case.first),
            slowdown: &setup.slowdown,
            upload_policy: setup.upload_policy,
            folder: &folder.0,
        })?;
        let needs = needs.clone();
        Ok(Self { case, needs, agent, emulator: Some(emulator), relay, folder, boots: 1 })
    }
}

impl Rig for QemuRig {
    fn case(&self) -> &Case {
        &self.case
    }

    fn in_virtual_time(&self) -> bool {
        false
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.relay.line()
    }

    fn report(&mut self) -> Result<Report> {
        self.agent.report()
    }

    fn pass_time(&mut self) {
        std::thread::sleep(LOOK);
    }

    fn notices(&self) -> Vec<String> {
        self.agent.notices()
    }

    fn set(&mut self, spec: &str) -> Result<()> {
        self.agent.ask(&Request::AppsSet { spec: spec.to_owned() }).map(drop)
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        self.agent.ask(&Request::AppsRm { name: name.to_owned() }).map(drop)
    }

    fn limit(&mut self, power: Option<&str>, temperature: Option<&str>) -> Result<()> {
        let [power_cap, temp_cap] = [power, temperature].map(|cap| cap.map(str::to_owned));
        self.agent.ask(&Request::LimitsSet { power_cap, temp_cap }).map(drop)
    }

    fn hang_mcu(&mut self) -> Result<()> {
        let emulator = self.emulator.as_ref().context("there is no emulator to hang")?;
        let mut stub = DebugStub::connect(emulator.debug_socket())?;
        // A branch to itself where it stands; the next boot loads the image anew.
        let pc = stub.program_counter()?;
        stub.write(pc, &[0xfe, 0xe7])?;
        stub.go_on()
    }

    fn kill_mcu(&mut self) -> Result<()> {
        let emulator = self.emulator.take().context("there is no emulator to kill")?;
        let complaints = emulator.kill();
        self.relay.disconnect()?;
        complaints
    }

    fn boot_mcu(&mut self) -> Result<()> {
        let (emulator, port) = Emulator::start(&self.needs, &self.folder.0, self.boots)?;
        self.boots += 1;
        self.emulator = Some(emulator);
        self.relay.connect(port)
    }

    fn stall_agent(&mut self, stalled: bool) -> Result<()> {
        self.agent.freeze(stalled)
    }

    fn end(&mut self) -> Result<Report> {
        let report = self.agent.end()?;
        match self.emulator.take() {
            Some(emulator) => emulator.kill().map(|()| report),
            None => Ok(report),
        }
    }
}
