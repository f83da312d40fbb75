//! Readings that are not believed are told sensor by sensor: at once, once, and when they are back.

mod common;

use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Application, Change, Telemetry, Temperature, ToController};
use coshift_shared::to_host::{SensorSet, ToHost, TraceEvent};
use coshift_shared::units::Age;

use common::{Bench, PERIOD_US, policy, targets, telemetry};

/// Telemetries within which a reading that came back is told: two windows.
const BACK: usize = 40;

struct Session<'p> {
    bench: Bench<'p>,
}

impl<'p> Session<'p> {
    fn new(bytes: &'p [u8]) -> Self {
        let policy = PolicyView::open(bytes).unwrap();
        let mut bench = Bench::new(policy, Instant::from_us(0xffff_0000));
        bench.set(0, targets());
        Self { bench }
    }

    /// Periods with a telemetry that is changed so; what was told in them, and in which.
    fn periods(
        &mut self,
        count: usize,
        change: impl Fn(usize, &mut Telemetry),
    ) -> Vec<(usize, SensorSet)> {
        let mut told = Vec::new();
        for period in 0..count {
            self.bench.wait_us(PERIOD_US);
            let mut message = telemetry(self.bench.now, 45_000);
            change(period, &mut message);
            for output in self.bench.give(&ToController::Telemetry(message)) {
                match output {
                    ToHost::Trace(trace) if trace.event == TraceEvent::ReadingsDoubted => {
                        told.push((period, SensorSet::from_bits(trace.argument)));
                    }
                    _ => {}
                }
            }
        }
        if let Some((_, last)) = told.last() {
            assert_eq!(self.bench.controller.doubted(), *last);
        }
        told
    }
}

/// A way to spoil a telemetry.
type Spoil = fn(&mut Telemetry);

#[test]
fn each_sensor_is_told_when_it_is_lost_and_when_it_is_back() {
    let [first, _] = SensorSet::TEMPERATURES;
    let ways: [(SensorSet, Spoil); 10] = [
        (first, |m| m.temperatures[0] = Temperature::MISSING),
        (first, |m| m.temperatures[0].age = Age::from_us(2_540_000)),
        (first, |m| m.temperatures[0].mdeg_c = 200_000),
        (first, |m| m.temperatures[0].mdeg_c = -60_000),
        (SensorSet::POWER, |m| m.power_age = Age::MISSING),
        (SensorSet::POWER, |m| m.power_age = Age::from_us(2_540_000)),
        (SensorSet::POWER, |m| m.power_mw = 0),
        (SensorSet::POWER, |m| m.power_mw = 500_000),
        (SensorSet::GPU_LOAD, |m| m.gpu_load_age = Age::MISSING),
        (SensorSet::GPU_LOAD, |m| m.gpu_load_permille = 1001),
    ];
    let bytes = policy();
    for (place, (sensor, spoil)) in ways.into_iter().enumerate() {
        let mut session = Session::new(&bytes);
        // The second zone is never there, and is not missed.
        assert_eq!(session.periods(100, |_, _| {}), []);
        let told = session.periods(200, |_, message| spoil(message));
        assert_eq!(told, [(0, sensor)], "way {place}: at once, and once");
        let told = session.periods(200, |_, _| {});
        assert_eq!(told.len(), 1, "way {place}: {told:?}");
        assert!(told[0].0 < BACK && told[0].1 == SensorSet::NONE, "way {place}: {told:?}");
    }
}

#[test]
fn a_sensor_that_comes_and_goes_is_told_once() {
    let bytes = policy();
    let mut session = Session::new(&bytes);
    session.periods(10, |_, _| {});
    let told = session.periods(400, |period, message| {
        if period % 3 == 1 {
            message.power_age = Age::MISSING;
        }
    });
    assert_eq!(told, [(1, SensorSet::POWER)]);
}

#[test]
fn a_second_lost_sensor_is_told_beside_the_first() {
    let bytes = policy();
    let mut session = Session::new(&bytes);
    session.periods(10, |_, _| {});
    let both = SensorSet::POWER.with(SensorSet::GPU_LOAD);
    let told = session.periods(100, |period, message| {
        message.power_age = Age::MISSING;
        if period >= 7 {
            message.gpu_load_age = Age::MISSING;
        }
    });
    assert_eq!(told, [(0, SensorSet::POWER), (7, both)]);
    let told = session.periods(100, |_, message| message.power_age = Age::MISSING);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 < BACK && told[0].1 == SensorSet::POWER, "{told:?}");
}

/// What was predicted is no measure: it is a mean, of what runs from now on.
#[test]
fn power_is_doubted_only_where_no_board_draws_it() {
    let bytes = policy();
    let mut session = Session::new(&bytes);
    for idle in [false, true] {
        if idle {
            let at_us = session.bench.now.us();
            let change = Change::Remove;
            let leave = Application { at_us, slot: 0, change };
            session.bench.give(&ToController::Application(leave));
        }
        for power_mw in [1, 20_000, 60_000, 250_000] {
            let told = session.periods(50, |_, message| message.power_mw = power_mw);
            assert_eq!(told, [], "idle {idle}, {power_mw} mW");
        }
    }
    let told = session.periods(50, |_, message| message.power_mw = 250_001);
    assert_eq!(told, [(0, SensorSet::POWER)]);
}

#[test]
fn a_new_session_tells_again_what_is_lost() {
    let bytes = policy();
    let mut session = Session::new(&bytes);
    session.periods(10, |_, _| {});
    session.periods(10, |_, message| message.power_age = Age::MISSING);
    let now = session.bench.now;
    session.bench.controller.start_session(now, PERIOD_US, 8);
    assert_eq!(session.bench.controller.doubted(), SensorSet::NONE);
    let told = session.periods(50, |_, message| message.power_age = Age::MISSING);
    assert_eq!(told, [(0, SensorSet::POWER)]);
    // What was never there in any session is not missed.
    let now = session.bench.now;
    session.bench.controller.start_session(now, PERIOD_US, 9);
    assert_eq!(session.periods(50, |_, _| {}), []);
}
