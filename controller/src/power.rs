//! Power as it is measured, and the temperature it leads to.
//!
//! **Bias.** Each level has a factor, measured ÷ predicted power, Q1.15, between 3/4 and 3/2. It is
//! learned, by 1/64 a reading (by 1/4 where it is clearly over the power cap), only while the board has been at the decided level for the dwell,
//! from readings taken within the control period that lie between a quarter and four times the
//! prediction, and only where parking is not allowed (a parked board draws less than any level's
//! prediction says). A level that never was measured takes the board's common factor, which every
//! reading moves: otherwise a level would look better only because nobody has been there.
//!
//! **Temperature.** First order: `dT/dt = (P − Pf)/C`, where `Pf` is the power that the present
//! temperature belongs to: power low-passed with the board's thermal time constant. The
//! temperature a horizon `h` ahead is `T + (h/C)·(P − Pf)`. Kept under the cap it leaves
//! `P ≤ Pf + (cap − margin − T)·C/h`, which is a cap on power like any other. While nobody reads
//! the temperature the worst case counts: all the time that it takes to get warm. With the last
//! temperature `T`, the board's thermal resistance `R`, and the power `Ps` that surely was part of
//! what made `T` (low-passed like `Pf`, but from 0 on: what went before is not known), it leaves
//! `P ≤ Ps + (cap − margin − T)/R`.

use coshift_shared::units::{MAX_LEVELS, NO_POWER_CAP, NO_TEMP_CAP};

/// One in Q1.15.
pub const ONE_Q15: u16 = 1 << 15;
const LEAST_Q15: u16 = 3 << 13;
const MOST_Q15: u16 = 3 << 14;
/// A reading over the cap by more than a 32nd of it is no noise: the board is over its cap.
const OVER_SHIFT: u32 = 5;
/// How far under its cap the predicted temperature is kept, m°C: reaching the cap is an emergency.
pub const TEMP_MARGIN_MDEG_C: i32 = 1_000;
/// Further reserve before power is raised, m°C: twice the step of common sensors.
pub const TEMP_RESERVE_MDEG_C: i32 = 1_000;
/// mW that a m°C of headroom leaves: `C/h`. No policy image says what the board's `C` is, so the
/// least one of the boards that were fitted counts, 63 J/K (Xavier NX: 214 s ÷ 3.4 K/W; Orin Nano:
/// 130 J/K), with a horizon of 31 s: a wrong `C` changes how early power is taken back, not where
/// the temperature ends, since `Pf` follows.
const MW_A_MDEG: u32 = 2;
/// Thermal resistance of a board whose policy image does not say it, 0.05 K/W: that of one without
/// a fan. With a fan it is 1.5 to 3.4 K/W.
const WORST_50MK_W: u32 = 8 * 20;
/// Time constant of `Pf` as a shift, µs: 2²⁸ µs = 268 s, above those fitted (200 to 214 s), so that
/// a board that is warming up is not taken for a settled one.
const TIME_CONSTANT_SHIFT: u32 = 28;
/// Most time that one telemetry stands for, µs.
const MOST_US: u32 = 1_000_000;

/// What was learned of the board's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power {
    /// Common factor, Q1.15.
    common: u16,
    /// Factor of each level, Q1.15; 0 = never measured.
    levels: [u16; MAX_LEVELS],
    /// `Pf` in 1/256 mW; `None` before the first telemetry.
    settled_q8: Option<u32>,
    /// `Ps` in 1/256 mW.
    sure_q8: u32,
}

impl Default for Power {
    fn default() -> Self {
        Self { common: ONE_Q15, levels: [0; MAX_LEVELS], settled_q8: None, sure_q8: 0 }
    }
}

/// A reading to learn from: within a quarter and four times of what was predicted.
#[must_use]
pub fn plausible(measured_mw: u32, predicted_mw: u32) -> bool {
    measured_mw >= predicted_mw >> 2 && measured_mw >> 2 <= predicted_mw && measured_mw > 0
}

/// A power that is low-passed with the board's time constant, after `us`.
fn nearer(from: u32, target: u32, us: u32) -> u32 {
    let apart = i64::from(target).saturating_sub(i64::from(from));
    let step = apart.saturating_mul(i64::from(us.min(MOST_US))) >> TIME_CONSTANT_SHIFT;
    u32::try_from(i64::from(from).saturating_add(step)).unwrap_or(from)
}

/// What is left up to the margin under the cap, m°C.
fn headroom_mdeg(hottest_mdeg_c: i32, cap_mdeg_c: i32) -> i32 {
    cap_mdeg_c.saturating_sub(TEMP_MARGIN_MDEG_C).saturating_sub(hottest_mdeg_c)
}

impl Power {
    /// Factor of a level, Q1.15.
    #[must_use]
    pub fn bias_q15(&self, level: u8) -> u16 {
        match self.levels.get(usize::from(level)) {
            Some(0) | None => self.common,
            Some(factor) => *factor,
        }
    }

    /// Learns from a reading at `level`, where `predicted_mw` was predicted with its factor; fast
    /// where the reading is clearly over the cap.
    pub fn learn(&mut self, level: u8, measured_mw: u32, predicted_mw: u32, cap_mw: u32) {
        let most_mw = cap_mw.saturating_add(cap_mw >> OVER_SHIFT);
        let over = measured_mw > most_mw;
        let bias = self.bias_q15(level);
        // measured ÷ (predicted ÷ bias)
        let ratio = u64::from(measured_mw)
            .saturating_mul(u64::from(bias))
            .checked_div(u64::from(predicted_mw))
            .unwrap_or(u64::from(ONE_Q15));
        let ratio = u16::try_from(ratio).unwrap_or(u16::MAX).clamp(LEAST_Q15, MOST_Q15);
        let moved = |from: u16| {
            let apart = i32::from(ratio).saturating_sub(i32::from(from));
            let step =
                if over { apart.saturating_add(2) >> 2 } else { apart.saturating_add(32) >> 6 };
            let to = i32::from(from).saturating_add(step);
            u16::try_from(to).unwrap_or(ONE_Q15).clamp(LEAST_Q15, MOST_Q15)
        };
        self.common = moved(self.common);
        if let Some(factor) = self.levels.get_mut(usize::from(level)) {
            *factor = moved(bias);
        }
    }

    /// Moves `Pf` and, where the temperature was `read`, `Ps` towards `power_mw`, that was drawn for
    /// `us`.
    pub fn settle(&mut self, power_mw: u32, us: u32, read: bool) {
        let target = power_mw.min(u32::MAX >> 8) << 8;
        let settled = *self.settled_q8.get_or_insert(target);
        self.settled_q8 = Some(nearer(settled, target, us));
        if read {
            self.sure_q8 = nearer(self.sure_q8, target, us);
        }
    }

    /// Power that keeps the temperature under `cap_mdeg_c`, at `hottest_mdeg_c`, mW.
    #[must_use]
    pub fn thermal_cap_mw(&self, hottest_mdeg_c: Option<i32>, cap_mdeg_c: i32) -> u32 {
        let (Some(hottest), Some(settled)) = (hottest_mdeg_c, self.settled_q8) else {
            return NO_POWER_CAP;
        };
        if cap_mdeg_c == NO_TEMP_CAP {
            return NO_POWER_CAP;
        }
        let headroom = headroom_mdeg(hottest, cap_mdeg_c);
        let change = headroom.unsigned_abs().saturating_mul(MW_A_MDEG);
        let settled = settled >> 8;
        if headroom >= 0 { settled.saturating_add(change) } else { settled.saturating_sub(change) }
    }

    /// Power that keeps the temperature under `cap_mdeg_c` for good where `last_mdeg_c` was the last
    /// one read and the board has this thermal resistance (0.05 K/W; 0 = not known), mW.
    #[must_use]
    pub fn blind_cap_mw(&self, last_mdeg_c: i32, cap_mdeg_c: i32, resistance_50mk_w: u8) -> u32 {
        if cap_mdeg_c == NO_TEMP_CAP {
            return NO_POWER_CAP;
        }
        let resistance = match resistance_50mk_w {
            0 => WORST_50MK_W,
            known => u32::from(known),
        };
        let headroom = u32::try_from(headroom_mdeg(last_mdeg_c, cap_mdeg_c)).unwrap_or(0);
        let rise = match resistance_50mk_w {
            u8::MAX => None,
            _ => headroom.saturating_mul(20).checked_div(resistance),
        };
        (self.sure_q8 >> 8).saturating_add(rise.unwrap_or(0))
    }

    /// Common factor (Q1.15), `Pf` and `Ps` in 1/256 mW, for a seed.
    #[must_use]
    pub fn common(&self) -> (u16, Option<u32>, u32) {
        (self.common, self.settled_q8, self.sure_q8)
    }

    /// Whether any level was measured.
    #[must_use]
    pub fn measured(&self) -> bool {
        self.levels.iter().any(|factor| *factor != 0)
    }

    /// Factors of the levels, Q1.15; 0 = never measured.
    #[must_use]
    pub fn levels(&self) -> &[u16; MAX_LEVELS] {
        &self.levels
    }

    /// Loads the common part of a seed: every level counts as never measured.
    pub fn load_common(&mut self, common_q15: u16, settled_q8: Option<u32>, sure_q8: u32) {
        let common = common_q15.clamp(LEAST_Q15, MOST_Q15);
        *self = Self { common, settled_q8, sure_q8, ..Self::default() };
    }

    /// Loads factors of a seed, of the levels from `first` on.
    pub fn load_levels(&mut self, first: u8, factors: &[[u8; 2]]) {
        for (place, factor) in self.levels.iter_mut().skip(usize::from(first)).zip(factors) {
            let factor = u16::from_le_bytes(*factor);
            *place = if factor == 0 { 0 } else { factor.clamp(LEAST_Q15, MOST_Q15) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST_Q15, MOST_Q15, ONE_Q15, Power, plausible};
    use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

    /// What is predicted with the factor learned so far, where the policy says `mw`.
    fn predicted(power: &Power, level: u8, mw: u32) -> u32 {
        mw * u32::from(power.bias_q15(level)) / u32::from(ONE_Q15)
    }

    #[test]
    fn a_bias_is_learned_within_a_per_mille_and_shared_with_levels_never_seen() {
        for (measured, factor) in [(6_600, 1.1), (5_400, 0.9), (6_003, 1.0005)] {
            let mut power = Power::default();
            for _ in 0..1_000 {
                power.learn(3, measured, predicted(&power, 3, 6_000), NO_POWER_CAP);
            }
            for level in [3, 9] {
                let bias = f64::from(power.bias_q15(level)) / f64::from(ONE_Q15);
                assert!((bias - factor).abs() < 2e-3, "{measured}: {bias}");
            }
        }
    }

    #[test]
    fn a_bias_stays_within_its_bounds() {
        let mut power = Power::default();
        for measured in [u32::MAX, 0].into_iter().cycle().take(10).flat_map(|m| [m; 300]) {
            power.learn(0, measured, predicted(&power, 0, 6_000), NO_POWER_CAP);
            assert!((LEAST_Q15..=MOST_Q15).contains(&power.bias_q15(0)));
            power.learn(1, measured, 0, NO_POWER_CAP);
        }
    }

    #[test]
    fn a_reading_clearly_over_the_cap_is_learned_at_once() {
        let mut power = Power::default();
        for _ in 0..8 {
            power.learn(3, 7_300, predicted(&power, 3, 6_500), 7_000);
        }
        assert!(predicted(&power, 3, 6_500) > 7_000);
        let mut power = Power::default();
        for _ in 0..8 {
            power.learn(3, 7_200, predicted(&power, 3, 6_500), 7_000);
        }
        assert!(predicted(&power, 3, 6_500) < 6_700, "noise at the cap's edge");
    }

    #[test]
    fn what_is_plausible_lies_within_four_times() {
        assert!(plausible(6_000, 6_000) && plausible(1_500, 6_000) && plausible(24_000, 6_000));
        assert!(!plausible(1_499, 6_000) && !plausible(24_004, 6_000) && !plausible(0, 0));
    }

    #[test]
    fn the_settled_power_follows_with_its_time_constant() {
        let mut power = Power::default();
        power.settle(5_000, 50_000, true);
        // One time constant of 2²⁸ µs in periods of 50 ms.
        for _ in 0..5_369 {
            power.settle(15_000, 50_000, true);
        }
        let settled = f64::from(power.common().1.unwrap()) / 256.0;
        let exact = 15_000.0 - 10_000.0 * (-1.0_f64).exp();
        assert!((settled - exact).abs() < 60.0, "{settled}, {exact}");
    }

    #[test]
    fn no_cap_and_no_reading_leave_power_alone() {
        let mut power = Power::default();
        assert_eq!(power.thermal_cap_mw(Some(50_000), 85_000), NO_POWER_CAP);
        power.settle(6_000, 50_000, true);
        assert_eq!(power.thermal_cap_mw(None, 85_000), NO_POWER_CAP);
        assert_eq!(power.thermal_cap_mw(Some(50_000), NO_TEMP_CAP), NO_POWER_CAP);
        assert_eq!(power.thermal_cap_mw(Some(80_000), 85_000), 6_000 + 8_000);
        assert_eq!(power.thermal_cap_mw(Some(84_000), 85_000), 6_000);
        assert_eq!(power.thermal_cap_mw(Some(90_000), 85_000), 0);
        assert_eq!(power.thermal_cap_mw(Some(i32::MAX), i32::MIN), 0);
    }

    /// A board of first order under the cap: it ends at the cap less the margin, without passing
    /// it, whatever its resistance and time constant are.
    #[test]
    fn blind_a_board_of_the_stated_resistance_stays_under_its_cap_for_good() {
        // Drawn before and after the last reading, W; how long before, s; K/W and s of the board.
        for (before, since_s, resistance, constant) in
            [(9.0, 5.0, 3.4, 214.0), (9.0, 2_000.0, 3.4, 214.0), (4.0, 60.0, 8.0, 60.0)]
        {
            let (mut power, mut temperature) = (Power::default(), 25.0_f64);
            let steps = (since_s * 20.0) as u32;
            for _ in 0..steps {
                power.settle((before * 1000.0) as u32, 50_000, true);
                temperature += (25.0 + before * resistance - temperature) * 0.05 / constant;
            }
            let last = (temperature * 1000.0) as i32;
            let most = power.blind_cap_mw(last, 85_000, (resistance * 20.0_f64).ceil() as u8);
            let end = 25.0 + f64::from(most) / 1000.0 * resistance;
            assert!(end <= 84.0, "{end} °C");
            // And not far under it, where the board was warm.
            assert!(since_s < 1_000.0 || end > 75.0, "{end} °C");
            let other = power.blind_cap_mw(last, 85_000, 0);
            assert_eq!(other, power.blind_cap_mw(last, 85_000, 160), "not known: 8 K/W");
            assert_eq!(power.blind_cap_mw(last, NO_TEMP_CAP, 0), NO_POWER_CAP);
            assert_eq!(power.blind_cap_mw(90_000, 85_000, 68), power.sure_q8 >> 8);
        }
    }

    #[test]
    fn a_board_that_takes_all_the_power_it_may_ends_under_its_cap() {
        for (resistance, time_constant) in [(3.4, 214.0), (1.54, 200.0), (1.0, 300.0), (4.0, 120.0)]
        {
            let (ambient, cap) = (25.0, 85.0);
            let mut power = Power::default();
            let mut temp = ambient + resistance * 5.0;
            let mut drawn = 5.0;
            for period in 0..100_000 {
                power.settle((drawn * 1000.0) as u32, 50_000, true);
                let hot = Some((temp * 1000.0) as i32);
                let most = f64::from(power.thermal_cap_mw(hot, 85_000)) / 1000.0;
                drawn = most.min(80.0);
                temp += (ambient + resistance * drawn - temp) * 0.05 / time_constant;
                assert!(temp < cap, "{resistance} K/W: {temp} after {period} periods");
            }
            assert!(temp > cap - 1.3 || drawn == 80.0, "{resistance} K/W: {temp}");
        }
    }
}
