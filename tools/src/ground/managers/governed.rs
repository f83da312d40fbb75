//! Kernel governors for the clocks, a choice made by hand for the sub-network.

use coshift_plant::Board;
use coshift_plant::board::Level;
use coshift_shared::units::MAX_APPLICATIONS;

use super::{Event, Manager, Orders, Seen, Setting, When};
use crate::simulate::conservative::Conservative;
use crate::simulate::ondemand::Ondemand;
use crate::simulate::podgov::{POLL_US, Podgov};
use crate::simulate::simple_ondemand::SimpleOndemand;
use crate::simulate::{Choice, ClockManager, Seen as BoardSeen};

/// What a governor sees of the board.
#[must_use]
pub(super) fn of_board(seen: &Seen<'_>) -> BoardSeen {
    BoardSeen {
        now_us: seen.now_us,
        clocks: seen.clocks,
        cpu_busy: seen.cpu_busy,
        gpu_busy_us: seen.gpu_busy_us,
    }
}

/// Governors with a choice of the sub-network.
#[derive(Debug)]
pub struct Governed<'s, C> {
    setting: Setting<'s>,
    governors: C,
    choice: Choice,
    clocks: Level,
}

impl<'s, C: ClockManager> Governed<'s, C> {
    /// These governors, at the clocks that they start with.
    #[must_use]
    pub fn new(setting: Setting<'s>, governors: C, choice: Choice) -> Self {
        let clocks = governors.first();
        Self { setting, governors, choice, clocks }
    }
}

impl<C: ClockManager> Manager for Governed<'_, C> {
    fn next_us(&self) -> Option<u64> {
        self.governors.next_us()
    }

    fn take(&mut self, seen: &Seen<'_>, _event: Event) {
        self.clocks = self.governors.step(&of_board(seen));
    }

    fn orders(&self) -> Orders {
        let sub_networks = [Some(0); MAX_APPLICATIONS];
        Orders { clocks: self.clocks, when: When::AtOnce, park: None, waits: false, sub_networks }
    }

    fn sub_network(&mut self, application: usize, index: usize) -> Option<usize> {
        let last = self.setting.accuracies_bp(application).len() - 1;
        let floor_bp = self.setting.instance.requests[application][index].floor_bp;
        Some(match self.choice {
            Choice::Largest => last,
            Choice::BestFitting => self.setting.best_fitting(application, floor_bp),
        })
    }
}

/// Governor of the CPU other than schedutil.
#[derive(Debug, Clone)]
enum Cpu {
    Ondemand(Ondemand),
    Conservative(Conservative),
}

/// Governor of the GPU.
#[derive(Debug, Clone)]
enum Gpu {
    Podgov(Podgov),
    Simple(SimpleOndemand),
}

/// Pairs of governors other than the stock ones; the memory clock is fixed at the highest.
#[derive(Debug, Clone)]
pub(super) struct Other {
    cpu: Cpu,
    gpu: Gpu,
    first: Level,
    next_poll_us: u64,
    polled_us: u64,
    gpu_khz: u32,
}

impl Other {
    fn new(board: &Board, make: impl Fn(&[u32], &[u32]) -> (Cpu, Gpu)) -> Result<Self, String> {
        let missing =
            || format!("board {}: no [clocks], the kernel's governors need them", board.name);
        let tables = board.clocks.as_ref().ok_or_else(missing)?;
        let (cpu, gpu) = make(&tables.cpu_khz, &tables.gpu_khz);
        let first = Level {
            cpu_khz: tables.cpu_khz[0],
            gpu_khz: tables.gpu_khz[0],
            emc_khz: board.levels.iter().map(|level| level.emc_khz).max().unwrap_or(0),
        };
        let gpu_khz = first.gpu_khz;
        Ok(Self { cpu, gpu, first, next_poll_us: POLL_US, polled_us: 0, gpu_khz })
    }

    pub(super) fn ondemand_podgov(board: &Board) -> Result<Self, String> {
        Self::new(board, |cpu, gpu| {
            (Cpu::Ondemand(Ondemand::new(cpu)), Gpu::Podgov(Podgov::new(gpu)))
        })
    }

    pub(super) fn conservative_simple(board: &Board) -> Result<Self, String> {
        Self::new(board, |cpu, gpu| {
            let gpu = Gpu::Simple(SimpleOndemand::new(gpu));
            (Cpu::Conservative(Conservative::new(cpu)), gpu)
        })
    }
}

impl ClockManager for Other {
    fn first(&self) -> Level {
        self.first
    }

    fn next_us(&self) -> Option<u64> {
        let cpu = match &self.cpu {
            Cpu::Ondemand(cpu) => cpu.next_us(),
            Cpu::Conservative(cpu) => cpu.next_us(),
        };
        Some(self.next_poll_us.min(cpu))
    }

    fn step(&mut self, seen: &BoardSeen) -> Level {
        if seen.now_us >= self.next_poll_us {
            let total_us = seen.now_us - (self.next_poll_us - POLL_US);
            let busy_us = seen.gpu_busy_us - self.polled_us;
            self.gpu_khz = match &mut self.gpu {
                Gpu::Podgov(gpu) => gpu.poll(seen.now_us, busy_us, total_us),
                Gpu::Simple(gpu) => gpu.poll(busy_us, total_us),
            };
            self.polled_us = seen.gpu_busy_us;
            self.next_poll_us = seen.now_us + POLL_US;
        }
        let cpu_khz = match &mut self.cpu {
            Cpu::Ondemand(cpu) => cpu.step(seen.now_us, seen.cpu_busy),
            Cpu::Conservative(cpu) => cpu.step(seen.now_us, seen.cpu_busy),
        };
        Level { cpu_khz, gpu_khz: self.gpu_khz, emc_khz: self.first.emc_khz }
    }
}
