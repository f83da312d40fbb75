//! An engine that takes the policy's time, slowed down by a script.

use coshift_shared::policy::PolicyView;

use super::{Engine, EngineFault, Job, Ran};
use crate::cells::Cells;
use crate::spec::SlowdownScript;

/// Latency of the policy × scripted slowdown × noise.
#[derive(Debug, Clone)]
pub struct ScriptedEngine {
    cells: Cells,
    scripts: Vec<SlowdownScript>,
    /// Standard deviation of the noise, relative.
    noise: f64,
    random: u64,
    /// Whether [`Engine::run`] lets the time pass, as an inference would.
    sleeps: bool,
}

impl ScriptedEngine {
    /// An engine of this policy, with the scripts of the applications that are to be slowed down.
    /// `noise_bp` is the standard deviation of the latencies in 0.01 %,
    /// `seed` makes them repeatable.
    #[must_use]
    pub fn new(
        policy: &PolicyView<'_>,
        scripts: Vec<SlowdownScript>,
        noise_bp: u16,
        seed: u64,
    ) -> Self {
        Self::of_cells(Cells::of_policy(policy), scripts, noise_bp, seed)
    }

    /// [`ScriptedEngine::new`] with latencies from elsewhere.
    #[must_use]
    pub fn of_cells(cells: Cells, scripts: Vec<SlowdownScript>, noise_bp: u16, seed: u64) -> Self {
        Self {
            cells,
            scripts,
            noise: f64::from(noise_bp) / 10_000.0,
            random: seed | 1,
            sleeps: false,
        }
    }

    /// The same engine, whose runs take as long as they say.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        Self { sleeps: true, ..self }
    }

    /// Latency of a job, µs, without letting the time pass.
    ///
    /// # Errors
    /// [`EngineFault`] where the policy has no such cell.
    pub fn latency_us(&mut self, job: &Job) -> Result<u32, EngineFault> {
        let cell = job.level.and_then(|level| self.cells.get(job.table, level, job.sub_network));
        let Some(cell) = cell else {
            let (table, sub_network, level) = (job.table, job.sub_network, job.level);
            let why =
                format!("no latency for table {table}, sub-network {sub_network}, level {level:?}");
            return Err(EngineFault { slot: job.slot, why });
        };
        let script = self.scripts.iter().find(|script| *script.application == *job.application);
        let slowdown = script.map_or(1000, |script| script.at(job.start.us()));
        let factor = (1.0 + self.noise * self.normal()).max(0.05);
        let slower = f64::from(slowdown) / 1000.0 * factor;
        let latency = self.across_change(job, f64::from(cell.latency_us) * slower, slower);
        // Saturates, and is at least 1.
        Ok((latency.round() as u32).max(1))
    }

    /// Latency, µs, of a job that would take `before_us` at the level it starts at: what is left of
    /// it when a change of clocks settles runs at the new level.
    fn across_change(&self, job: &Job, before_us: f64, slower: f64) -> f64 {
        let next = job.next.and_then(|(level, in_us)| {
            Some((self.cells.get(job.table, level, job.sub_network)?, f64::from(in_us)))
        });
        match next {
            Some((cell, in_us)) if in_us < before_us => {
                let left = 1.0 - in_us / before_us;
                in_us + left * f64::from(cell.latency_us) * slower
            }
            _ => before_us,
        }
    }

    /// About normal with deviation 1: the sum of twelve uniform numbers, less 6.
    fn normal(&mut self) -> f64 {
        let mut sum = -6.0;
        for _ in 0..12 {
            // xorshift64 (Marsaglia, 2003).
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            sum += (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        }
        sum
    }
}

impl Engine for ScriptedEngine {
    fn run(&mut self, job: &Job) -> Result<Ran, EngineFault> {
        let latency_us = self.latency_us(job)?;
        if self.sleeps {
            std::thread::sleep(std::time::Duration::from_micros(u64::from(latency_us)));
        }
        // The scripted time, not the measured one: how long a sleep overshoots is no property of
        // the board that is played.
        Ok(Ran::of_latency(latency_us))
    }
}
