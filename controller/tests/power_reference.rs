//! The laws of power and heat in integers against the same equations in floating point.

use coshift_controller::power::{ONE_Q15, Power, plausible};
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};
use proptest::prelude::*;

/// Time constant of the power that the present temperature belongs to, µs.
const TIME_CONSTANT_US: f64 = (1_u64 << 28) as f64;
/// Under the cap, °C.
const MARGIN_C: f64 = 1.0;
/// C/h, W/K.
const HEADROOM_W_K: f64 = 2.0;

/// `docs/control.md`, "Power and temperature", without any rounding.
struct Reference {
    common: f64,
    levels: [Option<f64>; 32],
    settled_mw: Option<f64>,
    sure_mw: f64,
}

impl Reference {
    fn new() -> Self {
        Self { common: 1.0, levels: [None; 32], settled_mw: None, sure_mw: 0.0 }
    }

    fn bias(&self, level: u8) -> f64 {
        self.levels[usize::from(level)].unwrap_or(self.common)
    }

    fn learn(&mut self, level: u8, measured_mw: u32, policy_mw: u32, cap_mw: u32) {
        let ratio = (f64::from(measured_mw) / f64::from(policy_mw)).clamp(0.75, 1.5);
        let over = f64::from(measured_mw) > f64::from(cap_mw) * (1.0 + 1.0 / 32.0);
        let rate = if over { 1.0 / 4.0 } else { 1.0 / 64.0 };
        let bias = self.bias(level);
        self.common += (ratio - self.common) * rate;
        self.levels[usize::from(level)] = Some(bias + (ratio - bias) * rate);
    }

    fn settle(&mut self, power_mw: u32, us: u32, read: bool) {
        let power_mw = f64::from(power_mw);
        let share = f64::from(us) / TIME_CONSTANT_US;
        let settled = *self.settled_mw.get_or_insert(power_mw);
        self.settled_mw = Some(settled + (power_mw - settled) * share);
        if read {
            self.sure_mw += (power_mw - self.sure_mw) * share;
        }
    }

    fn thermal_cap_mw(&self, hottest_c: f64, cap_c: f64) -> f64 {
        let headroom = cap_c - MARGIN_C - hottest_c;
        (self.settled_mw.unwrap() + headroom * HEADROOM_W_K * 1000.0).max(0.0)
    }

    fn blind_cap_mw(&self, last_c: f64, cap_c: f64, k_w: f64) -> f64 {
        self.sure_mw + (cap_c - MARGIN_C - last_c).max(0.0) / k_w * 1000.0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Factors are within 0.25 % of those in floating point: half a step of the slow rate, in which
    /// a factor stands still (32 of 32,768), and what predictions in whole mW lose.
    #[test]
    fn factors_are_those_of_the_equations(
        readings in prop::collection::vec(
            (0..32_u8, 2_000_u32..15_000, 0.6_f64..1.7, 0..4_u8), 1..600
        ),
        cap in prop_oneof![Just(NO_POWER_CAP), 3_000_u32..15_000],
    ) {
        let (mut power, mut reference) = (Power::default(), Reference::new());
        for (level, policy_mw, factor, few) in readings {
            // Some levels are met again and again.
            let level = if few > 0 { level % 3 } else { level };
            let measured_mw = (f64::from(policy_mw) * factor) as u32;
            let bias = u32::from(power.bias_q15(level));
            let predicted_mw = (policy_mw * bias) / u32::from(ONE_Q15);
            prop_assert!(plausible(measured_mw, predicted_mw));
            power.learn(level, measured_mw, predicted_mw, cap);
            reference.learn(level, measured_mw, policy_mw, cap);
            for level in 0..32 {
                let found = f64::from(power.bias_q15(level)) / f64::from(ONE_Q15);
                let apart = (found - reference.bias(level)).abs();
                prop_assert!(apart < 2.5e-3, "level {}: {} off", level, apart);
            }
        }
    }

    /// What the caps on heat leave is at most what the equations leave, and less by no more than
    /// what rounding down each step adds up to: 1/256 mW a step, of which `2²⁸ ÷ step` stay.
    #[test]
    fn heat_leaves_what_the_equations_leave_and_never_more(
        steps in prop::collection::vec((0_u32..20_000, any::<bool>()), 1..600),
        us in 10_000_u32..=1_000_000,
        hottest_mdeg_c in -20_000_i32..100_000,
        cap_mdeg_c in 50_000_i32..100_000,
        resistance in 1_u8..=254,
    ) {
        let (mut power, mut reference) = (Power::default(), Reference::new());
        for (power_mw, read) in steps {
            power.settle(power_mw, us, read);
            reference.settle(power_mw, us, read);
        }
        let celsius = |mdeg_c: i32| f64::from(mdeg_c) / 1000.0;
        let lost_mw = TIME_CONSTANT_US / f64::from(us) / 256.0;
        let bound = |found: u32, exact: f64, what: &str| {
            let short = exact - f64::from(found);
            // Whole mW, of two numbers.
            prop_assert!(short > -1e-6, "{} more is left: {}", what, -short);
            prop_assert!(short <= lost_mw + 2.0, "{} less is left: {} > {}", what, short, lost_mw);
            Ok(())
        };
        let found = power.thermal_cap_mw(Some(hottest_mdeg_c), cap_mdeg_c);
        let exact = reference.thermal_cap_mw(celsius(hottest_mdeg_c), celsius(cap_mdeg_c));
        bound(found, exact, "seen")?;
        let found = power.blind_cap_mw(hottest_mdeg_c, cap_mdeg_c, resistance);
        let k_w = f64::from(resistance) / 20.0;
        bound(found, reference.blind_cap_mw(celsius(hottest_mdeg_c), celsius(cap_mdeg_c), k_w), "blind")?;
        prop_assert_eq!(power.thermal_cap_mw(Some(hottest_mdeg_c), NO_TEMP_CAP), NO_POWER_CAP);
    }
}
