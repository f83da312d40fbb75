//! A board in virtual time, at any clocks: what managers and governors are simulated on.
//!
//! * **Clocks** are asked for one by one and change after their settle time; until then the board
//!   runs as before. A clock asked for anew before it settled starts to settle anew.
//! * **A request** runs its launch part on the CPU and then its overlapped part on GPU and memory
//!   ([`LatencyLaw`]). Each part progresses at the rate of the clocks of the moment, so that a
//!   change in the middle of a request counts for the rest of it.
//! * **Power** (VDD_IN) is the law's at the clocks in force: idle, and busy during both parts of a
//!   request. Its integral and the temperature are exact over every stretch of constant power
//!   ([`Trail`]).
//!
//! Time is whole µs. The launch part ends at the first µs at which it is over, what is left of that
//! µs goes to the overlapped part, and the end of a request is rounded to the nearest: at constant
//! clocks a request takes [`Board::latency_us`]. The board does not lower its clocks by heat.

mod trail;

pub use trail::{Point, Trail};

use std::fmt;

use crate::Board;
use crate::board::{Level, Settle};
use crate::law::{LatencyLaw, PowerLaw};

/// One of the three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knob {
    /// CPU clock.
    Cpu,
    /// GPU clock.
    Gpu,
    /// Memory clock.
    Emc,
}

/// A request to run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Its latency in quiet.
    pub latency: LatencyLaw,
    /// Share of the fitted busy power above idle that it draws.
    pub activity: f64,
    /// What multiplies both parts of the latency: slowdown and noise; above 0.
    pub factor: f64,
}

/// What happened at the time that [`Machine::advance`] stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The CPU launched everything, GPU and memory work on.
    LaunchDone,
    /// The request is done.
    RequestDone,
    /// A clock that was asked for is in force.
    ClocksChanged,
}

/// What of the board works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// The CPU: launch part of a request.
    Launch,
    /// GPU and memory: overlapped part of a request.
    Overlapped,
}

/// A request was started while another one runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one request at a time goes, another one runs")
    }
}

impl std::error::Error for Busy {}

#[derive(Debug, Clone, Copy)]
struct Running {
    work: Work,
    phase: Phase,
    /// Share of the phase that is left, 1 to 0; may be a little below 0 at the end of the launch
    /// part.
    left: f64,
    started_us: u64,
}

/// A clock on its way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    khz: u32,
    at_us: u64,
}

/// The board.
#[derive(Debug, Clone)]
pub struct Machine {
    power: PowerLaw,
    settle: Settle,
    now_us: u64,
    clocks: Level,
    /// By knob: CPU, GPU, memory.
    pending: [Option<Pending>; 3],
    running: Option<Running>,
    cpu_busy_us: u64,
    gpu_busy_us: u64,
    trail: Trail,
}

impl Machine {
    /// A board at these clocks, idle and at the ambient temperature of its file, at time 0.
    #[must_use]
    pub fn new(board: &Board, clocks: Level) -> Self {
        Self {
            power: board.power,
            settle: board.settle,
            now_us: 0,
            clocks,
            pending: [None; 3],
            running: None,
            cpu_busy_us: 0,
            gpu_busy_us: 0,
            trail: Trail::new(board.thermal, clocks),
        }
    }

    /// Time, µs.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Clocks in force.
    #[must_use]
    pub fn clocks(&self) -> Level {
        self.clocks
    }

    /// Clocks asked for: those in force once everything settled.
    #[must_use]
    pub fn asked(&self) -> Level {
        let [cpu, gpu, emc] = self.pending;
        let khz = |pending: Option<Pending>, now: u32| pending.map_or(now, |pending| pending.khz);
        Level {
            cpu_khz: khz(cpu, self.clocks.cpu_khz),
            gpu_khz: khz(gpu, self.clocks.gpu_khz),
            emc_khz: khz(emc, self.clocks.emc_khz),
        }
    }

    /// What of the board works.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.running.map_or(Phase::Idle, |running| running.phase)
    }

    /// Time that the CPU spent on launch parts so far, µs.
    #[must_use]
    pub fn cpu_busy_us(&self) -> u64 {
        self.cpu_busy_us
    }

    /// Time that the GPU spent on overlapped parts so far, µs.
    #[must_use]
    pub fn gpu_busy_us(&self) -> u64 {
        self.gpu_busy_us
    }

    /// Power at this moment, W.
    #[must_use]
    pub fn power_w(&self) -> f64 {
        match &self.running {
            Some(running) => self.power.busy_w(&self.clocks, running.work.activity),
            None => self.power.idle_w(&self.clocks),
        }
    }

    /// Energy, power, clocks and temperature up to now.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// [`Machine::trail`] of a machine that is not needed any longer.
    #[must_use]
    pub fn into_trail(self) -> Trail {
        self.trail
    }

    /// Asks for a clock, kHz, above 0; nothing happens where it was asked for already.
    pub fn ask(&mut self, knob: Knob, khz: u32) {
        let asked = self.asked();
        let (slot, before, settle_us) = match knob {
            Knob::Cpu => (0, asked.cpu_khz, self.settle.cpu_us),
            Knob::Gpu => (1, asked.gpu_khz, self.settle.gpu_us),
            Knob::Emc => (2, asked.emc_khz, self.settle.emc_us),
        };
        if before != khz {
            let at_us = self.now_us + u64::from(settle_us);
            self.pending[slot] = Some(Pending { khz, at_us });
        }
    }

    /// Starts a request now.
    ///
    /// # Errors
    /// [`Busy`] while another one runs.
    pub fn start(&mut self, work: Work) -> Result<(), Busy> {
        if self.running.is_some() {
            return Err(Busy);
        }
        let phase = if work.latency.cpu_ms > 0.0 { Phase::Launch } else { Phase::Overlapped };
        self.running = Some(Running { work, phase, left: 1.0, started_us: self.now_us });
        Ok(())
    }

    /// When something happens by itself at the clocks of now, µs.
    #[must_use]
    pub fn next_event_us(&self) -> Option<u64> {
        [self.part_end_us(), self.settled_us()].into_iter().flatten().min()
    }

    /// Lets the time pass up to `until_us` or the first event, whichever is earlier.
    ///
    /// Events of the same µs come from one call each.
    pub fn advance(&mut self, until_us: u64) -> Option<Event> {
        let (part, settled) = (self.part_end_us(), self.settled_us());
        let first = [part, settled].into_iter().flatten().min().unwrap_or(until_us);
        let stop = first.min(until_us).max(self.now_us);
        self.pass(stop);
        let due = |at: Option<u64>| at.is_some_and(|at| at <= stop);
        if due(part) {
            return Some(self.end_part());
        }
        if due(settled) {
            self.settle(stop);
            return Some(Event::ClocksChanged);
        }
        None
    }

    /// When the part of the request that runs is over at the clocks of now.
    fn part_end_us(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        let left_us = running.left * running.part_us(&self.clocks);
        // Not negative, and far inside the range of u64 for any sound board.
        let whole = |us: f64| us.max(0.0) as u64;
        Some(match running.phase {
            Phase::Launch => self.now_us + whole(left_us.ceil()),
            // A request takes 1 µs at least.
            _ => (self.now_us + whole(left_us.round())).max(running.started_us + 1),
        })
    }

    fn settled_us(&self) -> Option<u64> {
        self.pending.iter().flatten().map(|pending| pending.at_us).min()
    }

    /// Integrates up to `stop`, over which nothing changes.
    fn pass(&mut self, stop: u64) {
        let us = stop - self.now_us;
        if us == 0 {
            return;
        }
        self.trail.extend(stop, self.power_w(), self.clocks);
        if let Some(running) = &mut self.running {
            running.left -= us as f64 / running.part_us(&self.clocks);
            match running.phase {
                Phase::Launch => self.cpu_busy_us += us,
                _ => self.gpu_busy_us += us,
            }
        }
        self.now_us = stop;
    }

    fn end_part(&mut self) -> Event {
        match &mut self.running {
            Some(running) if running.phase == Phase::Launch => {
                let beyond_us = -running.left * running.part_us(&self.clocks);
                running.phase = Phase::Overlapped;
                let part_us = running.part_us(&self.clocks);
                running.left = if part_us > 0.0 { 1.0 - beyond_us / part_us } else { 0.0 };
                Event::LaunchDone
            }
            _ => {
                self.running = None;
                Event::RequestDone
            }
        }
    }

    fn settle(&mut self, now_us: u64) {
        let clocks = &mut self.clocks;
        let knobs = [&mut clocks.cpu_khz, &mut clocks.gpu_khz, &mut clocks.emc_khz];
        for (pending, knob) in self.pending.iter_mut().zip(knobs) {
            if let Some(Pending { khz, .. }) = pending.take_if(|pending| pending.at_us <= now_us) {
                *knob = khz;
            }
        }
    }
}

impl Running {
    /// How long the whole phase takes at these clocks, µs.
    fn part_us(&self, clocks: &Level) -> f64 {
        let latency = &self.work.latency;
        let launch_us = latency.cpu_us(clocks);
        let us = match self.phase {
            Phase::Launch => launch_us,
            _ => latency.us(clocks) - launch_us,
        };
        us * self.work.factor
    }
}
