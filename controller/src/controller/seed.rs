//! Handing the whole state over, in parts.
//!
//! The agent takes the parts from the twin and sends them to microcontroller and twin alike. The
//! targets, caps and period are not among them: they are told by messages of their own before.

use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    BIAS_LEVELS, BiasState, ClockState, DeviceState, PowerState, Seed, SeedState, SensorState,
};
use coshift_shared::to_host::{Mode, Reason, Refusal, TraceEvent};
use coshift_shared::units::{MAX_APPLICATIONS, NO_LEVEL, NO_SUB_NETWORK};
use heapless::Vec;

use super::{Choice, Controller, Extra, Outputs, Sensors, Standing, State};
use crate::digest::Digest;

/// Parts of a seed at most: two an application, three of the device (sensors, device, clocks), three
/// of its power (one, and two of its biases).
pub const SEED_PARTS: usize = 2 * MAX_APPLICATIONS + 6;

impl Controller<'_> {
    /// The whole state for a seed: applications, sensors, power and its biases, device, clocks. The
    /// device's part sets what is asked for, which that of the clocks then replaces.
    #[must_use]
    pub fn seed(&self) -> Vec<SeedState, SEED_PARTS> {
        let mut parts = Vec::new();
        for (slot, application) in (0_u8..).zip(&self.slots) {
            if let Some(application) = application {
                // There is room for every slot.
                let _full = parts.push(SeedState::Application(application.state(slot)));
                let _full = parts.push(SeedState::Tail(application.tail_state(slot)));
            }
        }
        let nominal_since = match self.state {
            State::TooHot { nominal_since } => nominal_since,
            _ => None,
        };
        let _full = parts.push(SeedState::Sensors(SensorState {
            telemetry_us: self.sensors.telemetry_at.us(),
            achieved_level: self.sensors.achieved_level,
            temp_mdeg_c: self.sensors.hottest_mdeg_c.unwrap_or(i32::MIN),
            believed_us: self.sensors.believed_at.us(),
            dirty: self.dirty,
        }));
        let (common_q15, settled, sure_q8) = self.power.common();
        let settled_q8 = settled.unwrap_or(u32::MAX);
        let _full = parts.push(SeedState::Power(PowerState { common_q15, settled_q8, sure_q8 }));
        for (first, levels) in [0, 16].into_iter().zip(self.power.levels().chunks(BIAS_LEVELS)) {
            if levels.iter().all(|factor| *factor == 0) {
                continue;
            }
            let mut factors = [[0; 2]; BIAS_LEVELS];
            for (place, factor) in factors.iter_mut().zip(levels) {
                *place = factor.to_le_bytes();
            }
            let _full = parts.push(SeedState::Bias(BiasState { first, factors }));
        }
        let standing = self.standing.as_ref();
        let decision = self.decision(Instant::default());
        let _full = parts.push(SeedState::Device(DeviceState {
            mode: self.state.mode(),
            hold_since_us: match self.state {
                State::Hold { since } => since.us(),
                _ => 0,
            },
            too_hot: matches!(self.state, State::TooHot { .. }),
            nominal: nominal_since.is_some(),
            nominal_since_us: nominal_since.unwrap_or_default().us(),
            run_level: standing.map_or(NO_LEVEL, |standing| standing.choice.level),
            level_since_us: self.level_since.us(),
            extra_decision_us: self.extra_at.us(),
            reason: decision.reason,
            shortfall: decision.shortfall,
            power_mw: decision.power_mw,
        }));
        let clocks = self.held.state(self.asked, self.asked_since);
        let _full = parts.push(SeedState::Clocks(clocks));
        parts
    }

    #[inline(never)]
    pub(super) fn load(
        &mut self,
        now: Instant,
        seed: &Seed,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        if seed.part == 0 {
            self.seed_part = 0;
        }
        let last = seed.parts.checked_sub(1).ok_or(Refusal::BadValue)?;
        if seed.part != self.seed_part || seed.part > last {
            self.seed_part = 0;
            return Err(Refusal::SeedOutOfOrder);
        }
        match seed.state {
            SeedState::Application(state) => {
                let slot =
                    self.slots.get_mut(usize::from(state.slot)).ok_or(Refusal::NoSuchSlot)?;
                let policy = self.policy.as_ref().ok_or(Refusal::EmptySlot)?;
                slot.as_mut().ok_or(Refusal::EmptySlot)?.load(&state, policy);
            }
            SeedState::Tail(state) => {
                let slot =
                    self.slots.get_mut(usize::from(state.slot)).ok_or(Refusal::NoSuchSlot)?;
                let policy = self.policy.as_ref().ok_or(Refusal::EmptySlot)?;
                slot.as_mut().ok_or(Refusal::EmptySlot)?.load_tail(&state, policy);
            }
            SeedState::Device(state) => self.load_device(&state),
            SeedState::Sensors(state) => self.load_sensors(&state),
            SeedState::Power(state) => {
                let settled = (state.settled_q8 != u32::MAX).then_some(state.settled_q8);
                self.power.load_common(state.common_q15, settled, state.sure_q8);
            }
            SeedState::Bias(state) => self.power.load_levels(state.first, &state.factors),
            SeedState::Clocks(state) => self.load_clocks(&state),
            SeedState::Unused => return Err(Refusal::BadValue),
        }
        self.seed_part = seed.part.wrapping_add(1);
        if seed.part == last {
            self.seed_part = 0;
            // No part of the state that is handed over.
            self.forget_round();
            let infeasible = |standing: &Standing| standing.reason == Reason::Infeasible;
            self.exhausted = !self.dirty && self.standing.as_ref().is_some_and(infeasible);
            // What stands is a decision; another one beside the work of a seed would be too much.
            self.extra = self.standing.map(|_| Extra::Seeded);
            // Of the whole state, targets and limits included: a controller that lost one of
            // them, or a part of the seed, must not look like one that has everything.
            self.digest = Digest::default();
            for slot in &self.slots {
                self.digest.add(&slot.as_ref().map(|slot| slot.targets));
            }
            self.digest.add(&self.limits);
            for part in &self.seed() {
                self.digest.add(part);
            }
            self.trace(now, TraceEvent::Seeded, u32::from(seed.parts), out);
        }
        Ok(())
    }

    fn load_sensors(&mut self, state: &SensorState) {
        let telemetry_at = Instant::from_us(state.telemetry_us);
        let believed_at = Instant::from_us(state.believed_us);
        self.sensors = Sensors {
            telemetry_at,
            achieved_level: state.achieved_level,
            hottest_mdeg_c: (state.temp_mdeg_c != i32::MIN).then_some(state.temp_mdeg_c),
            believed_at,
            blind: telemetry_at.since(believed_at) >= self.patience(),
            doubt: None,
        };
        self.dirty = state.dirty;
    }

    fn load_clocks(&mut self, state: &ClockState) {
        let Some(policy) = &self.policy else { return };
        self.held.load(state, policy);
        if self.standing.is_some() && state.asked_level < policy.levels() {
            self.asked = state.asked_level;
            self.asked_since = Instant::from_us(state.asked_since_us);
        }
    }

    fn load_device(&mut self, state: &DeviceState) {
        if self.policy.is_none() {
            return;
        }
        let nominal_since = state.nominal.then_some(Instant::from_us(state.nominal_since_us));
        self.state = match state.mode {
            Mode::Hold => State::Hold { since: Instant::from_us(state.hold_since_us) },
            Mode::Safe if state.too_hot => State::TooHot { nominal_since },
            Mode::Safe => State::Silent,
            _ => State::Run,
        };
        self.level_since = Instant::from_us(state.level_since_us);
        self.extra_at = Instant::from_us(state.extra_decision_us);
        // What was decided since the last telemetry is not what stands now, whether or not the rest of
        // the seed comes.
        self.extra = None;
        let mut sub_networks = [NO_SUB_NETWORK; MAX_APPLICATIONS];
        for (sub_network, slot) in sub_networks.iter_mut().zip(&self.slots) {
            *sub_network = slot.as_ref().map_or(NO_SUB_NETWORK, |slot| slot.sub_network);
        }
        let known = self.policy.as_ref().is_some_and(|policy| state.run_level < policy.levels());
        self.asked = if known { state.run_level } else { NO_LEVEL };
        self.asked_since = self.level_since;
        self.standing = known.then_some(Standing {
            choice: Choice { level: state.run_level, sub_networks, power_mw: state.power_mw },
            reason: state.reason,
            shortfall: state.shortfall,
        });
    }
}
