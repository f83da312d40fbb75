//! zTT (Kim et al., MobiSys 2021; repository ztt-21/zTT at commit 5ac0036, read as code): a learner
//! that sets CPU and GPU clocks each second for frame rate, power and temperature.
//!
//! As in its code: state (CPU and GPU index, CPU and GPU power in 100 mW, CPU and GPU temperature,
//! frames/s), nine actions (three CPU × three GPU clocks), reward `u + v + β/P`, a 7-6-6-9 ReLU
//! network under Adam 0.05, ε from 1 by ×0.95 a step, a replay memory of 500 with batches of 64 and
//! training from 200 steps on, samples with a reward below 0 or above 1 stored three times. Its
//! target network is copied each step and every sample counts as final, so that no future is
//! discounted: a contextual bandit.
//!
//! What differs, because this board has other sensors: VDD_IN stands for total power, half of it for
//! either rail; one zone for both temperatures; the actions are those of the board's tables at the
//! same relative places as on its TX2; the rate aimed at is that of the requests. It knows no
//! deadlines: a board that keeps the rate late earns all of `u`.

use coshift_plant::board::Level;
use coshift_shared::units::MAX_APPLICATIONS;

use super::super::random::Random;
use super::{Event, Manager, Orders, Seen, Setting, When, highest};

const STEP_US: u64 = 1_000_000;
/// TX2: CPU indices 3, 7, 11 of 12, GPU indices 3, 7, 11 of 13.
const CPU_PLACES: [f64; 3] = [3.0 / 11.0, 7.0 / 11.0, 1.0];
const GPU_PLACES: [f64; 3] = [3.0 / 12.0, 7.0 / 12.0, 11.0 / 12.0];
const ACTIONS: usize = 9;
const BETA: f64 = 2.0;
const TARGET_C: f64 = 50.0;
const EPSILON_FACTOR: f64 = 0.95;
const MEMORY: usize = 500;
const BATCH: usize = 64;
const TRAIN_FROM: usize = 200;
const RATE: f64 = 0.05;
const SIZES: [usize; 4] = [7, 6, 6, ACTIONS];

/// Reward of a second: frames/s against the target, power in 100 mW, temperature.
#[must_use]
fn reward(rate: f64, target: f64, power_100mw: f64, temp_c: f64) -> f64 {
    let u = if rate >= target { 1.0 } else { rate / target };
    let v = if temp_c >= TARGET_C { -2.0 } else { 0.2 * (TARGET_C - temp_c).tanh() };
    u + v + BETA / power_100mw.max(1.0)
}

/// A small ReLU network with Adam.
#[derive(Debug, Clone)]
struct Network {
    /// Per layer: weights row by row, then biases.
    layers: Vec<Vec<f64>>,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
    steps: i32,
}

impl Network {
    fn new(random: &mut Random) -> Self {
        let layers: Vec<Vec<f64>> = SIZES
            .windows(2)
            .map(|pair| {
                let bound = (6.0 / (pair[0] + pair[1]) as f64).sqrt();
                let weights = (0..pair[0] * pair[1]).map(|_| random.between(-bound, bound));
                weights.chain((0..pair[1]).map(|_| 0.0)).collect()
            })
            .collect();
        let zeros: Vec<Vec<f64>> = layers.iter().map(|layer| vec![0.0; layer.len()]).collect();
        Self { first: zeros.clone(), second: zeros, layers, steps: 0 }
    }

    /// Activations of every layer, the input first.
    fn forward(&self, input: &[f64]) -> Vec<Vec<f64>> {
        let mut all = vec![input.to_vec()];
        for (index, layer) in self.layers.iter().enumerate() {
            let (from, to) = (SIZES[index], SIZES[index + 1]);
            let last = index + 2 == SIZES.len();
            let out = (0..to).map(|row| {
                let weights = &layer[row * from..(row + 1) * from];
                let sum: f64 = weights.iter().zip(&all[index]).map(|(w, x)| w * x).sum();
                let sum = sum + layer[from * to + row];
                if last { sum } else { sum.max(0.0) }
            });
            let out = out.collect();
            all.push(out);
        }
        all
    }

    /// One step of Adam on the squared error of the actions taken.
    fn train(&mut self, batch: &[&Sample]) {
        let mut gradients: Vec<Vec<f64>> =
            self.layers.iter().map(|layer| vec![0.0; layer.len()]).collect();
        for sample in batch {
            let all = self.forward(&sample.state);
            let mut delta = vec![0.0; ACTIONS];
            // The loss is the mean over all outputs, the others being their own targets.
            let scale = 2.0 / (batch.len() * ACTIONS) as f64;
            delta[sample.action] = scale * (all[3][sample.action] - sample.reward);
            for index in (0..self.layers.len()).rev() {
                let (from, to) = (SIZES[index], SIZES[index + 1]);
                let mut below = vec![0.0; from];
                for row in 0..to {
                    gradients[index][from * to + row] += delta[row];
                    for column in 0..from {
                        gradients[index][row * from + column] += delta[row] * all[index][column];
                        below[column] += delta[row] * self.layers[index][row * from + column];
                    }
                }
                delta = below
                    .iter()
                    .zip(&all[index])
                    .map(|(delta, out)| if *out > 0.0 { *delta } else { 0.0 })
                    .collect();
            }
        }
        self.steps += 1;
        let corrections = (1.0 - 0.9_f64.powi(self.steps), 1.0 - 0.999_f64.powi(self.steps));
        for (index, gradient) in gradients.iter().enumerate() {
            for (place, slope) in gradient.iter().enumerate() {
                let first = &mut self.first[index][place];
                *first = 0.9 * *first + 0.1 * slope;
                let second = &mut self.second[index][place];
                *second = 0.999 * *second + 0.001 * slope * slope;
                let step = *first / corrections.0 / ((*second / corrections.1).sqrt() + 1e-8);
                self.layers[index][place] -= RATE * step;
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Sample {
    state: [f64; 7],
    action: usize,
    reward: f64,
}

/// The manager.
#[derive(Debug)]
pub struct Ztt<'s> {
    setting: Setting<'s>,
    random: Random,
    network: Network,
    memory: Vec<Sample>,
    epsilon: f64,
    clocks: [(usize, usize, Level); ACTIONS],
    action: usize,
    before: Option<[f64; 7]>,
    done: u32,
    target: f64,
    next_us: u64,
    steps: usize,
}

impl<'s> Ztt<'s> {
    /// A learner that knows nothing, at the highest of its clocks.
    #[must_use]
    pub fn new(setting: Setting<'s>) -> Self {
        let board = &setting.scenario.board;
        let unique = |clock: fn(&Level) -> u32| {
            let mut clocks: Vec<u32> = board.levels.iter().map(clock).collect();
            clocks.sort_unstable();
            clocks.dedup();
            clocks
        };
        let (cpu, gpu) = match &board.clocks {
            Some(tables) => (tables.cpu_khz.clone(), tables.gpu_khz.clone()),
            None => (unique(|level| level.cpu_khz), unique(|level| level.gpu_khz)),
        };
        let emc_khz = highest(&setting).emc_khz;
        let at = |table: &[u32], place: f64| {
            let index = (place * (table.len() - 1) as f64).round() as usize;
            (index, table[index])
        };
        let clocks = std::array::from_fn(|action| {
            let (cpu, cpu_khz) = at(&cpu, CPU_PLACES[action / 3]);
            let (gpu, gpu_khz) = at(&gpu, GPU_PLACES[action % 3]);
            (cpu, gpu, Level { cpu_khz, gpu_khz, emc_khz })
        });
        let mut random = Random::new(setting.instance.seed, "ztt");
        let rates =
            (0..setting.applications().len()).map(|a| 1e6 / f64::from(setting.period_us(a)));
        Self {
            network: Network::new(&mut random),
            random,
            memory: Vec::new(),
            epsilon: 1.0,
            clocks,
            action: ACTIONS - 1,
            before: None,
            done: 0,
            target: rates.sum(),
            next_us: STEP_US,
            steps: 0,
            setting,
        }
    }

    fn step(&mut self, seen: &Seen<'_>) {
        self.next_us = seen.now_us + STEP_US;
        let power = seen.readings.power_mw.map_or(0.0, |r| f64::from(r.value) / 100.0);
        let temp = seen.readings.temperatures_mdeg_c[0].map_or(0.0, |r| f64::from(r.value) / 1e3);
        let rate = f64::from(std::mem::take(&mut self.done));
        let (cpu, gpu, _) = self.clocks[self.action];
        let state = [cpu as f64, gpu as f64, power / 2.0, power / 2.0, temp, temp, rate];
        if let Some(before) = self.before.replace(state) {
            let reward = reward(rate, self.target.floor(), power, temp);
            let copies = if (0.0..=1.0).contains(&reward) { 1 } else { 3 };
            for _ in 0..copies {
                if self.memory.len() == MEMORY {
                    self.memory.remove(0);
                }
                self.memory.push(Sample { state: before, action: self.action, reward });
            }
        }
        self.steps += 1;
        if self.steps >= TRAIN_FROM && self.memory.len() >= BATCH {
            let picks: Vec<usize> =
                (0..BATCH).map(|_| self.random.below(self.memory.len())).collect();
            let batch: Vec<&Sample> = picks.iter().map(|pick| &self.memory[*pick]).collect();
            self.network.train(&batch);
        }
        self.action = self.choose(&state, temp, rate);
        self.epsilon *= EPSILON_FACTOR;
    }

    fn choose(&mut self, state: &[f64; 7], temp: f64, rate: f64) -> usize {
        let (cpu, gpu) = (self.action / 3, self.action % 3);
        if temp >= TARGET_C {
            // Too hot: random among the lower clocks.
            return self.random.below(cpu.max(1)) * 3 + self.random.below(gpu.max(1));
        }
        if temp < TARGET_C - 5.0 && rate < self.target.floor() && self.random.uniform() < 0.3 {
            let higher = |random: &mut Random, place: usize| place + random.below(3 - place);
            let cpu = higher(&mut self.random, cpu);
            return cpu * 3 + higher(&mut self.random, gpu);
        }
        if self.random.uniform() < self.epsilon {
            return self.random.below(ACTIONS);
        }
        let outputs = self.network.forward(state).pop().unwrap_or_default();
        let best = outputs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(ACTIONS - 1, |(action, _)| action)
    }
}

impl Manager for Ztt<'_> {
    fn next_us(&self) -> Option<u64> {
        Some(self.next_us)
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        match event {
            Event::Time => self.step(seen),
            Event::Done(_) => self.done += 1,
            _ => {}
        }
    }

    fn orders(&self) -> Orders {
        let sub_networks = [Some(0); MAX_APPLICATIONS];
        let clocks = self.clocks[self.action].2;
        Orders { clocks, when: When::AtOnce, park: None, waits: false, sub_networks }
    }

    fn sub_network(&mut self, application: usize, index: usize) -> Option<usize> {
        let floor_bp = self.setting.instance.requests[application][index].floor_bp;
        Some(self.setting.best_fitting(application, floor_bp))
    }
}

#[cfg(test)]
mod tests {
    use super::{ACTIONS, Network, Random, Sample, reward};

    #[test]
    fn the_reward_is_the_published_one() {
        // 15 of 15 frames/s, 8 W, 40 °C: 1 + 0.2·tanh(10) + 2/80.
        assert!((reward(15.0, 15.0, 80.0, 40.0) - 1.225).abs() < 1e-6);
        // 12 of 15, at the temperature limit.
        assert!((reward(12.0, 15.0, 50.0, 50.0) - (0.8 - 2.0 + 0.04)).abs() < 1e-12);
    }

    #[test]
    fn the_network_learns_which_action_pays() {
        let mut random = Random::new(1, "ztt");
        let mut network = Network::new(&mut random);
        let samples: Vec<Sample> = (0..200)
            .map(|_| {
                let action = random.below(ACTIONS);
                let state = std::array::from_fn(|_| random.uniform());
                Sample { state, action, reward: if action == 4 { 1.0 } else { 0.2 } }
            })
            .collect();
        for _ in 0..400 {
            let picks: Vec<&Sample> = (0..64).map(|_| &samples[random.below(200)]).collect();
            network.train(&picks);
        }
        let outputs = network.forward(&[0.5; 7]).pop().unwrap();
        let best = (0..ACTIONS).max_by(|a, b| outputs[*a].total_cmp(&outputs[*b]));
        assert_eq!(best, Some(4), "{outputs:?}");
        assert!((outputs[4] - 1.0).abs() < 0.2, "{outputs:?}");
    }
}
