//! Sensors that lie: seven failures of four sensors, and the two halves of garbage, on a board that
//! is at its caps.
//!
//! The table they give stands in `docs/reliability.md` and is compared with it;
//! `COSHIFT_BLESS=1` rewrites it.

mod common;

use std::collections::VecDeque;
use std::ops::Range;

use common::published::published;
use common::{Bench, PERIOD_US, policy, targets};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    Limits, Outcomes, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::Decision;
use coshift_shared::units::{Age, NO_POWER_CAP, NO_TEMP_CAP};

/// A sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sensor {
    Temperature,
    Power,
    Latency,
    GpuLoad,
}

const SENSORS: [Sensor; 4] = [Sensor::Temperature, Sensor::Power, Sensor::Latency, Sensor::GpuLoad];

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No reading.
    Off,
    /// The reading it had when the failure began.
    Stuck,
    /// By the toss of a coin any value that fits into the message, or any that such a board can have.
    Garbage,
    /// Any value that fits into the message: of temperatures and powers hardly ever one that can be.
    Impossible,
    /// Any value that such a board can have under its cap.
    Disorder,
    /// Three quarters of the truth; 15 °C less.
    Wrong,
    /// Follows the truth with a time constant of 10 s.
    Slow,
    /// The truth of 2 s ago, as if it were fresh.
    Delayed,
    /// No reading in half of the periods.
    Intermittent,
}

const FAILURES: [Failure; 9] = [
    Failure::Off,
    Failure::Stuck,
    Failure::Garbage,
    Failure::Impossible,
    Failure::Disorder,
    Failure::Wrong,
    Failure::Slow,
    Failure::Delayed,
    Failure::Intermittent,
];

/// Periods before, of and after the failure: a minute, two and one.
const BEFORE: u32 = 1_200;
const LYING: u32 = 2_400;
const AFTER: u32 = 1_200;
/// Periods of 10 s: a co-runner that slows every request by 30 % begins so long after the
/// failure, and ends a minute later.
const CO_RUNNER: Range<u32> = BEFORE + 200..BEFORE + 1_400;
/// What the board draws over its policy: the power sensor has something to tell.
const DRAWS_MORE: f64 = 1.05;
/// Temperature cap, °C.
const CAP_DEG_C: f64 = 85.0;
/// Power cap, mW.
const CAP_MW: u32 = 7_000;
/// A board of this resistance (K/W) and time constant (s): hotter and faster than any fitted one.
const RESISTANCE: f64 = 8.0;
const TIME_CONSTANT: f64 = 60.0;
/// Periods that a board is at a safe level at least, if it stays there: its time constant. One that
/// knows its temperature comes and goes at the cap.
const STAYS: u32 = 1_200;
/// Periods within which a board whose temperature is lost is at a safe level for good: 25 for which
/// the last one read stands, and some to get there.
const SAFE_WITHIN: u32 = 30;

/// Which cap the board is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    PowerCap,
    TemperatureCap,
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn between(&mut self, range: &Range<f64>) -> f64 {
        range.start + (range.end - range.start) * f64::from(self.bits()) / 2_f64.powi(32)
    }
}

/// What a sensor may show that shows values without order.
struct Garbage {
    /// Any value that fits into the message, out of 32 bits.
    any: fn(u32) -> f64,
    /// Those that a board like this one can have, and those of them that are under its cap.
    likely: Range<f64>,
    under: Range<f64>,
}

impl Garbage {
    fn draw(&self, random: &mut Random) -> f64 {
        if random.bits() & 1 == 0 {
            random.between(&self.likely)
        } else {
            (self.any)(random.bits())
        }
    }
}

/// Slowdown.
const ANY_SLOWDOWN: Garbage =
    Garbage { any: |bits| f64::from(bits >> 16) / 4096.0, likely: 0.25..4.0, under: 0.25..1.0 };
/// Power, mW.
const ANY_POWER: Garbage =
    Garbage { any: f64::from, likely: 2_000.0..20_000.0, under: 2_000.0..CAP_MW as f64 };
/// Temperature, °C. One at the cap would have the board retreat, and stay so for 2 s.
const ANY_TEMPERATURE: Garbage = Garbage {
    any: |bits| f64::from(bits as i32) / 1000.0,
    likely: 30.0..CAP_DEG_C - 1.0,
    under: 30.0..CAP_DEG_C - 1.0,
};
/// Load, 0.1 %.
const ANY_LOAD: Garbage =
    Garbage { any: |bits| f64::from(bits >> 16), likely: 0.0..1_000.0, under: 0.0..1_000.0 };

/// A sensor that fails for a while.
struct Liar {
    failure: Failure,
    random: Random,
    history: VecDeque<f64>,
    /// What it shows while stuck or slow.
    shown: f64,
}

impl Liar {
    fn new(failure: Failure) -> Self {
        Self { failure, random: Random(0x5EED), history: VecDeque::new(), shown: f64::NAN }
    }

    /// What it shows in place of `truth`; `wrong` is the wrong value.
    fn show(&mut self, truth: f64, lies: bool, wrong: f64, garbage: &Garbage) -> Option<f64> {
        self.history.push_back(truth);
        if self.history.len() > 41 {
            self.history.pop_front();
        }
        if !lies {
            self.shown = truth;
            return Some(truth);
        }
        match self.failure {
            Failure::Off => None,
            Failure::Stuck => Some(self.shown),
            Failure::Garbage => Some(garbage.draw(&mut self.random)),
            Failure::Impossible => Some((garbage.any)(self.random.bits())),
            Failure::Disorder => Some(self.random.between(&garbage.under)),
            Failure::Wrong => Some(wrong),
            Failure::Slow => {
                self.shown += (truth - self.shown) * 0.05 / 10.0;
                Some(self.shown)
            }
            Failure::Delayed => self.history.front().copied(),
            Failure::Intermittent => (self.random.bits() & 1 == 0).then_some(truth),
        }
    }
}

/// What a run was like.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    /// Power over the cap while the sensor lied: at most, mW, and for how many periods.
    over_mw: u32,
    over_periods: u32,
    /// Hottest while it lied, over the cap, 0.1 °C; negative = under it.
    hottest: i32,
    /// Most periods in a row over the cap while it lied: the time to a safe level, as long as the cap's
    /// own sensor tells what is safe. None, where the board was over it when the failure ended.
    safe_within: Option<u32>,
    /// Periods of the failure after which power stayed where it cannot bring the board over its
    /// temperature cap, however long that lasts; none, where it did not stay there for [`STAYS`].
    safe_after: Option<u32>,
    /// Requests late while it lied, in 1/10 %.
    late_permille: u32,
    /// Periods after the failure ended in which the board was still over a cap.
    over_after: u32,
    /// Periods from the beginning of the failure on with power over its cap by more than a 32nd,
    /// which is what counts as no noise.
    clearly_over: u32,
    /// Levels decided.
    levels: Vec<u8>,
}

fn limit(bench: &mut Bench<'_>, at: At) {
    let at_us = bench.now.us();
    let (power_cap_mw, temp_cap_mdeg_c) = match at {
        At::PowerCap => (CAP_MW, NO_TEMP_CAP),
        At::TemperatureCap => (NO_POWER_CAP, (CAP_DEG_C * 1000.0) as i32),
    };
    let limits = Limits { at_us, power_cap_mw, temp_cap_mdeg_c, parking: false };
    bench.give(&ToController::Limits(limits));
}

/// Runs a board with one sensor that fails; `second_zone`: with a second, honest temperature.
fn run(at: At, lie: Option<(Sensor, Failure)>, second_zone: bool) -> Found {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    let table = view.table(0).unwrap();
    let mut bench = Bench::new(view, Instant::START);
    let asked = Targets { deadline_us: 17_000, period_us: 20_000, ..targets() };
    bench.set(0, asked);
    limit(&mut bench, at);
    let mut last: Decision = bench.period();
    let mut liar = Liar::new(lie.map_or(Failure::Off, |(_, failure)| failure));
    let mut temp = if at == At::PowerCap { 30.0 } else { 60.0 };
    let mut found = Found {
        over_mw: 0,
        over_periods: 0,
        hottest: i32::MIN,
        safe_within: Some(0),
        safe_after: Some(0),
        late_permille: 0,
        over_after: 0,
        clearly_over: 0,
        levels: Vec::new(),
    };
    let (mut late, mut over) = (0, 0);
    for n in 0..BEFORE + LYING + AFTER {
        let lies = (BEFORE..BEFORE + LYING).contains(&n);
        let slowed = if CO_RUNNER.contains(&n) { 1.3 } else { 1.0 };
        let cell = table.cell(last.sub_networks[0], last.run_level).unwrap();
        let idle_mw = f64::from(view.level(last.run_level).unwrap().idle_mw);
        let latency_us = f64::from(cell.latency_us) * slowed;
        // A busy board serves as many requests as it can.
        let every_us = latency_us.max(f64::from(asked.period_us));
        let work_mw = f64::from(cell.energy_uj) * slowed * 1000.0 / every_us;
        let drawn_mw = (idle_mw + work_mw) * DRAWS_MORE;
        let load = (latency_us / every_us * 1000.0).round();
        // Where the temperature would end at this power.
        let end = 30.0 + RESISTANCE * drawn_mw / 1000.0;
        temp += (end - temp) * f64::from(PERIOD_US) / 1e6 / TIME_CONSTANT;

        let mut show = |sensor: Sensor, truth: f64, wrong: f64, garbage: &Garbage| {
            let mine = lie.is_some_and(|(lying, _)| lying == sensor);
            if mine { liar.show(truth, lies, wrong, garbage) } else { Some(truth) }
        };
        let shown_slowed = show(Sensor::Latency, slowed, slowed * 0.75, &ANY_SLOWDOWN);
        let shown_mw = show(Sensor::Power, drawn_mw, drawn_mw * 0.75, &ANY_POWER);
        let shown_temp = show(Sensor::Temperature, temp, temp - 15.0, &ANY_TEMPERATURE);
        let shown_load = show(Sensor::GpuLoad, load, load * 0.75, &ANY_LOAD);

        bench.wait_us(PERIOD_US);
        outcomes(&mut bench, &last, shown_slowed);
        let age = |reading: Option<f64>| reading.map_or(Age::MISSING, |_| Age::FRESH);
        let hottest = shown_temp.map_or(Temperature::MISSING, |deg_c| Temperature {
            mdeg_c: (deg_c * 1000.0).round() as i32,
            age: Age::FRESH,
        });
        let second = if second_zone {
            let mdeg_c = (temp * 1000.0).round() as i32 - 2_000;
            Temperature { mdeg_c, age: Age::FRESH }
        } else {
            Temperature::MISSING
        };
        let message = Telemetry {
            at_us: bench.now.us(),
            level: last.run_level,
            clocks_mhz: [0; 3],
            power_mw: shown_mw.unwrap_or(0.0).round() as u32,
            power_age: age(shown_mw),
            gpu_load_permille: shown_load.unwrap_or(0.0) as u16,
            gpu_load_age: age(shown_load),
            temperatures: [hottest, second],
        };
        let answer = bench.give(&ToController::Telemetry(message));

        let over_mw = (drawn_mw - f64::from(CAP_MW)).round();
        let over_mw = if at == At::PowerCap && over_mw > 0.0 { over_mw as u32 } else { 0 };
        let over_temp = ((temp - CAP_DEG_C) * 10.0).ceil() as i32;
        found.clearly_over += u32::from(n >= BEFORE && over_mw > CAP_MW / 32);
        if lies {
            found.over_mw = found.over_mw.max(over_mw);
            found.over_periods += u32::from(over_mw > 0);
            found.hottest = found.hottest.max(over_temp);
            let is_over = over_mw > 0 || (at == At::TemperatureCap && over_temp > 0);
            over = if is_over { over + 1 } else { 0 };
            let longest = found.safe_within.unwrap_or(0).max(over);
            let ends_over = is_over && n + 1 == BEFORE + LYING;
            found.safe_within = (!ends_over).then_some(longest);
            if end > CAP_DEG_C {
                let period = n + 1 - BEFORE;
                found.safe_after = (period + STAYS <= LYING).then_some(period);
            }
            late += u32::from(latency_us > f64::from(asked.deadline_us));
        } else if n >= BEFORE {
            let hot = at == At::TemperatureCap && over_temp > 0;
            found.over_after += u32::from(over_mw > 0 || hot);
        }
        last = common::decision(&answer).expect("telemetry is answered");
        found.levels.push(last.run_level);
    }
    found.late_permille = late * 1000 / LYING;
    found
}

/// Two outcomes of the slowdown shown; without one they are not to be learned from.
fn outcomes(bench: &mut Bench<'_>, last: &Decision, slowed: Option<f64>) {
    let sample = slowed.map_or(0, |slowed| (slowed * 4096.0).min(65_535.0) as u16);
    let first_index = bench.index[0];
    bench.index[0] += 2;
    bench.give(&ToController::Outcomes(Outcomes {
        at_us: bench.now.us(),
        slot: 0,
        sub_network: last.sub_networks[0],
        level: last.run_level,
        first_index,
        samples: std::iter::repeat_n(sample.to_le_bytes(), 2).collect(),
        outcomes_total: bench.index[0],
        misses_total: 0,
    }));
}

/// Both runs of one lie, or of none.
struct Row {
    lie: Option<(Sensor, Failure)>,
    power: Found,
    temperature: Found,
}

impl Row {
    fn new(lie: Option<(Sensor, Failure)>) -> Self {
        let (power, temperature) =
            (run(At::PowerCap, lie, false), run(At::TemperatureCap, lie, false));
        Self { lie, power, temperature }
    }

    fn text(&self) -> String {
        let seconds = |periods: u32| f64::from(periods * PERIOD_US) / 1e6;
        let name = self.lie.map_or("none | honest".into(), |(sensor, failure)| {
            format!("{} | {}", name(&format!("{sensor:?}")), name(&format!("{failure:?}")))
        });
        let over = match self.power.over_mw {
            0 => "0".into(),
            mw => format!("{mw} for {:.1}", seconds(self.power.over_periods)),
        };
        let known = |periods: Option<u32>| {
            periods.map_or("—".into(), |periods| format!("{:.2}", seconds(periods)))
        };
        let safe = |found: &Found, most: Option<u32>| match most {
            Some(most) => format!("{} ({})", known(found.safe_within), seconds(most)),
            None => known(found.safe_within),
        };
        let [power_most, temperature_most] = safe_within(self.lie);
        format!(
            "| {name} | {over} | {} | {:.1} | {:.1} | {:+.1} | {} | {} | {:.1} |\n",
            safe(&self.power, power_most),
            seconds(self.power.over_after),
            f64::from(self.power.late_permille) / 10.0,
            f64::from(self.temperature.hottest) / 10.0,
            safe(&self.temperature, temperature_most),
            known(self.temperature.safe_after),
            f64::from(self.temperature.late_permille) / 10.0
        )
    }
}

/// `GpuLoad` as "gpu load".
fn name(variant: &str) -> String {
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push(' ');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Within how many periods a board that is over its power cap, and one that is over its temperature
/// cap, is under it again; none where the sensor that tells so lies and nothing else does.
fn safe_within(lie: Option<(Sensor, Failure)>) -> [Option<u32>; 2] {
    // The dwell, before power counts as that of a level; a temperature is seen coming.
    let honest = [Some(10), Some(0)];
    match lie {
        None | Some((Sensor::Latency | Sensor::GpuLoad, _)) => honest,
        // The prediction, or a reading that is near enough.
        Some((Sensor::Power, failure)) => match failure {
            Failure::Stuck | Failure::Wrong | Failure::Disorder => [None, honest[1]],
            _ => [Some(0), honest[1]],
        },
        Some((Sensor::Temperature, failure)) => match failure {
            Failure::Stuck | Failure::Wrong => [honest[0], None],
            // What it shows is 10 s behind.
            Failure::Slow => [honest[0], Some(400)],
            _ => honest,
        },
    }
}

fn check(row: &Row, honest: &Row) {
    let Row { lie, power, temperature } = row;
    let sensor = lie.map(|(sensor, _)| sensor);
    // As far as the other sensors can tell: a cap is kept while its own sensor is honest.
    if sensor != Some(Sensor::Temperature) {
        assert!(temperature.hottest <= 0, "{lie:?}: {} over", temperature.hottest);
        assert_eq!(temperature.over_after, 0, "{lie:?}");
    }
    if sensor != Some(Sensor::Power) {
        // A dwell passes before power counts as that of a level, and each level has its own bias.
        // Latencies that are too short and without order send the board to and fro between two levels,
        // so that a dwell seldom passes.
        let to_and_fro = *lie == Some((Sensor::Latency, Failure::Disorder));
        let (clearly, over) = if to_and_fro { (60, 60) } else { (40, 20) };
        assert!(power.clearly_over <= clearly, "{lie:?}: clearly for {}", power.clearly_over);
        assert!(power.over_periods <= over, "{lie:?}: for {} periods", power.over_periods);
        assert!(power.over_after <= 100, "{lie:?}: for {} periods after it", power.over_after);
    }
    for (found, most) in [power, temperature].into_iter().zip(safe_within(*lie)) {
        let Some(most) = most else { continue };
        let safe = found.safe_within.is_some_and(|periods| periods <= most);
        assert!(safe, "{lie:?}: safe within {:?}, not {most}", found.safe_within);
    }
    // Power: what is believed is within 3/4 of the prediction; honest again, it is learned within
    // 15 s, by 1/64 a reading.
    let most = f64::from(CAP_MW) * (DRAWS_MORE / 0.75 - 1.0);
    assert!(f64::from(power.over_mw) <= most, "{lie:?}: {} mW over", power.over_mw);
    assert!(power.over_after <= 300, "{lie:?}: over for {} periods after it", power.over_after);
    // What is not asked has no say.
    if sensor == Some(Sensor::GpuLoad) {
        assert_eq!((power, temperature), (&honest.power, &honest.temperature), "{lie:?}");
    }
    if sensor == Some(Sensor::Temperature) {
        assert_eq!(power, &honest.power, "{lie:?}: there was no temperature cap");
    }
    // Where a temperature is not there, or cannot be, the worst case counts: at once from the last
    // one read on, and after 25 periods for good.
    let unbelievable = |failure: Failure| {
        matches!(failure, Failure::Off | Failure::Impossible | Failure::Garbage | Failure::Disorder)
    };
    if lie.is_some_and(|(sensor, how)| sensor == Sensor::Temperature && unbelievable(how)) {
        assert!(temperature.hottest <= 0, "{lie:?}: {} over", temperature.hottest);
        let safe = temperature.safe_after.is_some_and(|periods| periods <= SAFE_WITHIN);
        assert!(safe, "{lie:?}: at a safe level after {:?} periods", temperature.safe_after);
    }
    // Where power is not there, or cannot be, the prediction counts, with the bias learned before.
    // Of values that can be, those over the cap are learned from sixteen times as fast.
    if matches!(lie, Some((Sensor::Power, Failure::Off | Failure::Impossible | Failure::Garbage))) {
        assert_eq!(power.over_periods, 0, "{lie:?}: {} mW over", power.over_mw);
    }
    // Too hot when the sensor is honest again: the safest level at once, whatever it was before.
    if temperature.hottest > 0 && temperature.over_after > 0 {
        let first = usize::try_from(BEFORE + LYING).unwrap();
        assert_eq!(temperature.levels[first], 0, "{lie:?}");
    }
}

#[test]
fn no_lie_takes_the_board_over_a_cap_as_far_as_the_other_sensors_can_tell() {
    let honest = Row::new(None);
    check(&honest, &honest);
    let mut table = honest.text();
    for sensor in SENSORS {
        for failure in FAILURES {
            let row = Row::new(Some((sensor, failure)));
            check(&row, &honest);
            table.push_str(&row.text());
        }
    }
    let table = format!(
        "| sensor | failure | over the power cap, mW for s | safe within, s | after it, s | late, % \
         | over the temperature cap, °C | safe within, s | for good after, s | late, % |\n\
         |---|---|---|---|---|---|---|---|---|---|\n{table}"
    );
    published("docs/reliability.md", "sensor lies", &format!("\n{table}"));
}

/// Where a second zone, 2 °C cooler, is honest, no lie of the first one heats the board by more
/// than those 2 °C.
#[test]
fn a_second_zone_tells_what_the_first_one_does_not() {
    for failure in FAILURES {
        let found = run(At::TemperatureCap, Some((Sensor::Temperature, failure)), true);
        assert!(found.hottest <= 20, "{failure:?}: {}", found.hottest);
    }
}
