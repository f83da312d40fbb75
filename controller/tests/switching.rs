//! How often the level changes, and what it is allowed to be, over random inputs.

mod common;

use common::{
    Bench, GPU_MHZ, PERIOD_US, SUB_NETWORKS, energy_uj, idle_mw, latency_us, policy, targets,
};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    Degrade, Limits, Objective, SeedState, Targets, Telemetry, ToController,
};
use coshift_shared::to_host::{Decision, Missing, Mode, Reason};
use coshift_shared::units::{Age, NO_POWER_CAP};
use proptest::prelude::*;

/// Periods in a dwell of 500 ms.
const DWELL_PERIODS: u32 = 500_000 / PERIOD_US;

/// Reasons that no danger is behind.
fn at_leisure(reason: Reason) -> bool {
    matches!(reason, Reason::LessPower | Reason::BetterObjective)
}

fn telemetry(bench: &mut Bench<'_>, level: u8, power_mw: u32, temp_mdeg_c: i32) -> Decision {
    bench.wait_us(PERIOD_US);
    let message = Telemetry {
        level,
        power_mw,
        power_age: Age::FRESH,
        ..common::telemetry(bench.now, temp_mdeg_c)
    };
    common::decision(&bench.give(&ToController::Telemetry(message))).expect("an answer")
}

/// Caps on power and temperature; no parking, so that the bias of power is learned.
fn limit(bench: &mut Bench<'_>, power_cap_mw: u32) {
    let at_us = bench.now.us();
    let limits = Limits { at_us, power_cap_mw, temp_cap_mdeg_c: 85_000, parking: false };
    bench.give(&ToController::Limits(limits));
}

/// What one control period brings.
#[derive(Debug, Clone, Copy)]
struct Period {
    slowed: [f64; 2],
    power: f64,
    temp_mdeg_c: i32,
}

fn period() -> impl Strategy<Value = Period> {
    (prop::array::uniform2(0.7_f64..1.8), 0.3_f64..3.0, 40_000_i32..84_000)
        .prop_map(|(slowed, power, temp_mdeg_c)| Period { slowed, power, temp_mdeg_c })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two changes that no danger asked for, and a change out of danger and one back that nothing
    /// asked for, lie a dwell apart; whatever slowdown, power and temperature do.
    #[test]
    fn the_level_does_not_go_to_and_fro_faster_than_the_dwell(
        periods in prop::collection::vec(period(), 60..160),
        two in any::<bool>(),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 3_500_u32..8_000],
        objective in prop_oneof![
            Just(Objective::LeastEnergy), Just(Objective::BestAccuracy), Just(Objective::LeastLatency)
        ],
    ) {
        let image = policy();
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, Targets { objective, ..targets() });
        if two {
            bench.set(1, Targets { table: 1, deadline_us: 80_000, period_us: 120_000, ..targets() });
        }
        limit(&mut bench, cap_mw);
        let mut last = bench.period();
        let mut since = 0;
        for (n, now) in (1_u32..).zip(periods) {
            for (slot, slowed) in (0_u8..=u8::from(two)).zip(now.slowed) {
                let out = bench.outcomes(slot, 1, slowed);
                if let Some(decision) = common::decision(&out) {
                    // Between two telemetries only danger changes anything.
                    prop_assert!(decision.run_level == last.run_level || !at_leisure(decision.reason));
                    // Still at the instant of the telemetry before.
                    since = if decision.run_level == last.run_level { since } else { n - 1 };
                    last = decision;
                }
            }
            let power_mw = (f64::from(last.power_mw) * now.power) as u32;
            let decision = telemetry(&mut bench, last.run_level, power_mw, now.temp_mdeg_c);
            if decision.run_level != last.run_level {
                let rested = n - since >= DWELL_PERIODS;
                prop_assert!(rested || !at_leisure(decision.reason), "{:?} after {:?}", decision, last);
                since = n;
            }
            last = decision;
        }
    }

    /// At the edge of a cap noise alone makes no more than one change a dwell.
    #[test]
    fn noise_at_the_edge_of_a_cap_does_not_make_it_oscillate(
        noise in prop::collection::vec((0.99_f64..1.01, 0.97_f64..1.03), 400),
        cap_mw in 3_500_u32..8_000,
    ) {
        let image = policy();
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, targets());
        limit(&mut bench, cap_mw);
        let mut level = bench.period().run_level;
        let mut changes = 0;
        for (n, (slowed, power)) in (0_u32..).zip(noise) {
            bench.outcomes(0, 1, slowed);
            let now = bench.controller.decision(bench.now);
            let power_mw = (f64::from(now.power_mw) * power) as u32;
            let decision = telemetry(&mut bench, now.run_level, power_mw, 50_000);
            changes += u32::from(n >= 200 && decision.run_level != level);
            level = decision.run_level;
        }
        // 200 periods are 10 s, 20 dwells.
        prop_assert!(changes <= 4, "{} changes in 10 s", changes);
    }
}

/// What a controller knows of its board, in floating point, from its seed.
struct Known {
    mean: f64,
    guard: f64,
    /// Measured ÷ predicted power of each level.
    bias: Vec<f64>,
    /// What the temperature leaves, mW.
    thermal_mw: f64,
}

impl Known {
    fn of(bench: &Bench<'_>) -> Self {
        let slot = bench.controller.slots()[0].as_ref().expect("an application");
        let one = |q24: u32| f64::from(q24) / f64::from(1 << 24);
        let (mean, guard) = (one(slot.slowdown.mean_q24()), one(slot.guard_q24()));
        let (mut common, mut settled, mut sure, mut hottest, mut blind) =
            (1.0, 0.0, 0.0, 0.0, false);
        let mut factors = Vec::new();
        for part in bench.controller.seed() {
            match part {
                SeedState::Power(state) => {
                    common = f64::from(state.common_q15) / 32_768.0;
                    settled = f64::from(state.settled_q8) / 256.0;
                    sure = f64::from(state.sure_q8) / 256.0;
                }
                SeedState::Bias(state) => factors.extend(state.factors),
                SeedState::Sensors(state) => {
                    hottest = f64::from(state.temp_mdeg_c) / 1000.0;
                    blind = state.telemetry_us.wrapping_sub(state.believed_us) >= 25 * PERIOD_US;
                }
                _ => {}
            }
        }
        // A seed says nothing of factors as long as none was learned.
        factors.resize(GPU_MHZ.len().max(factors.len()), [0; 2]);
        let bias = |factor: &[u8; 2]| match u16::from_le_bytes(*factor) {
            0 => common,
            factor => f64::from(factor) / 32_768.0,
        };
        // A degree under the cap of 85 °C: 2 W a degree, or 8 degrees a W where nobody reads any.
        let left = 84.0 - hottest;
        let thermal_mw = if blind {
            sure + left.max(0.0) / 8.0 * 1000.0
        } else {
            (settled + left * 2_000.0).max(0.0)
        };
        Self { mean, guard, bias: factors.iter().map(bias).collect(), thermal_mw }
    }

    /// Whether a level with this sub-network keeps every promise, each tighter by a share, the caps by
    /// twice that.
    fn keeps(&self, asked: &Targets, cap_mw: u32, level: usize, sub: usize, tighter: f64) -> bool {
        let within = 1.0 - tighter;
        let period = f64::from(asked.period_us);
        let (latency, energy) =
            (f64::from(latency_us(sub, level)), f64::from(energy_uj(sub, level)));
        // One window may hold more requests than the mean one.
        let (whole, window) = ((100_000.0 / period).floor(), 100_000.0);
        let part = ((window - whole * period) / latency).min(1.0);
        let crest = ((whole + part) * period / window).max(1.0);
        let idle = f64::from(idle_mw(level));
        let work = energy * self.mean / period * 1000.0;
        let busy = latency * self.mean / period;
        let mean_mw = self.bias[level] * (idle + work / busy.max(1.0));
        let peak_mw = self.bias[level] * (idle + work * crest / (busy * crest).max(1.0));
        let cap_mw = f64::from(cap_mw) * (within - tighter);
        SUB_NETWORKS[sub].0 >= asked.accuracy_floor_bp
            && latency * self.guard <= f64::from(asked.deadline_us) * within
            && busy <= 0.9 * within
            && mean_mw <= cap_mw.min(self.thermal_mw * (within - tighter))
            && peak_mw <= cap_mw * (1.0 - 1.0 / 256.0)
    }

    fn fits(&self, asked: &Targets, cap_mw: u32, tighter: f64) -> bool {
        (0..GPU_MHZ.len()).any(|level| {
            (0..SUB_NETWORKS.len()).any(|sub| self.keeps(asked, cap_mw, level, sub, tighter))
        })
    }
}

/// Power stays under the caps whenever any level keeps every promise under them: a decision that says
/// that nothing is missing keeps all of them by what floating point makes of what was learned, and one
/// that misses something is made where no level and no sub-network keeps all of them.
#[test]
fn predicted_power_is_under_the_cap_whenever_anything_fits() {
    let degrade =
        prop_oneof![Just(Degrade::Accuracy), Just(Degrade::Deadline), Just(Degrade::Energy)];
    let strategy = (prop::collection::vec(period(), 1..60), 3_000_u32..9_000, degrade);
    let said = std::cell::RefCell::new(std::collections::BTreeMap::<String, u32>::new());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) };
    let run = |(periods, cap_mw, degrade): (Vec<Period>, u32, _)| {
        let image = policy();
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        let asked = Targets { degrade, ..targets() };
        bench.set(0, asked);
        limit(&mut bench, cap_mw);
        for now in periods {
            let between = common::decision(&bench.outcomes(0, 1, now.slowed[0])).is_some();
            let level = bench.controller.decision(bench.now).run_level;
            let decision = telemetry(&mut bench, level, 5_000, now.temp_mdeg_c);
            let what = decision.shortfall.what;
            let kept = what == Missing::Nothing;
            prop_assert!(!kept || decision.power_mw <= cap_mw, "{:?}", decision);
            // The answer to the telemetry behind one that outcomes asked for may say that again.
            if between || decision.mode != Mode::Run {
                continue;
            }
            *said.borrow_mut().entry(format!("{what:?}")).or_default() += 1;
            let known = Known::of(&bench);
            if kept {
                let (level, sub) = (decision.run_level.into(), decision.sub_networks[0].into());
                let keeps = known.keeps(&asked, cap_mw, level, sub, -0.003);
                prop_assert!(keeps, "{:?} {} {} {:?}", decision, known.guard, known.mean, asked);
            } else {
                let fits = known.fits(&asked, cap_mw, 0.003);
                prop_assert!(!fits, "{:?} {} {} {:?}", decision, known.guard, known.mean, asked);
            }
        }
        Ok(())
    };
    if let Err(why) = proptest::test_runner::TestRunner::new(config).run(&strategy, run) {
        panic!("{why}");
    }
    let said = said.into_inner();
    println!("{said:?}");
    for what in ["Nothing", "Power", "Temperature"] {
        assert!(said.get(what).is_some_and(|said| *said > 500), "{said:?}");
    }
}

#[test]
fn a_temperature_on_its_way_to_the_cap_takes_power_back_before_it_is_there() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    // Needs the highest levels; gives up accuracy where it must.
    let fast = Targets { deadline_us: 12_500, period_us: 16_000, ..targets() };
    bench.set(0, fast);
    let mut last = bench.period();
    assert_eq!(last.shortfall.what, Missing::Nothing);
    let free = last;
    // A board of 8 K/W and 60 s: faster and hotter than any that was fitted.
    let (mut temp, mut hottest) = (70.0_f64, 0.0_f64);
    let mut limited = false;
    for _ in 0..20_000 {
        let drawn = last.power_mw;
        temp += (30.0 + 8.0 * f64::from(drawn) / 1000.0 - temp) * 0.05 / 60.0;
        hottest = hottest.max(temp);
        last = telemetry(&mut bench, last.run_level, drawn, (temp * 1000.0) as i32);
        assert_eq!(last.mode, Mode::Run, "{temp}");
        limited |= last.power_mw < free.power_mw;
        if last.shortfall.what != Missing::Nothing {
            assert_eq!(last.shortfall.what, Missing::Temperature, "{last:?}");
        }
    }
    assert!(limited && hottest < 85.0 && hottest > 80.0, "{hottest}");
}
