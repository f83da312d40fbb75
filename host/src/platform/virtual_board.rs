//! A board that is a model: clocks, power and temperature by the laws of a board file.
//!
//! * **Clocks** reach what was asked for after the longest settle time of those that change; until
//!   then the board runs as before.
//! * **Power** (VDD_IN) is the board's at the level in force: idle, plus what work adds while a
//!   request runs. Its integral is the energy of the whole board, exact over every request: where
//!   the host ran longer or shorter than the board would have, the difference is made up.
//! * **The power sensor** behaves like the INA3221 of Jetson boards: a new value every 7 ms, the
//!   mean since the one before, in steps of 40 mW.
//! * **Temperature** follows power by the board's thermal law.

use coshift_plant::Board;
use coshift_plant::law::ThermalLaw;
use coshift_shared::policy::{Level, PolicyView, Settle};

use super::{Achieved, Platform, PlatformFault, Reading, Readings};
use crate::cells::{BoardMismatch, Cells, levels_on, network_on};
use crate::clock::Time;
use crate::engine::Job;

/// Time of one scan of the power sensor, µs: three channels, shunt and bus voltage, 1.1 ms each.
const SCAN_US: u64 = 7_000;
/// Step of the power sensor, mW: 8 mA at 5 V.
const STEP_MW: f64 = 40.0;

/// A virtual board.
#[derive(Debug, Clone)]
pub struct VirtualBoard {
    name: String,
    cells: Cells,
    /// Crops of a request by table.
    tiles: Vec<u32>,
    levels: Vec<Level>,
    /// Power with nothing to do by level, W.
    idle_w: Vec<f64>,
    settle: Settle,
    thermal: ThermalLaw,
    ambient_c: f64,
    /// Level before the last change, level asked for, end of the settle window.
    from: u8,
    asked: u8,
    settled_at: Time,
    /// The running request.
    work: Option<Work>,
    /// Integrated up to here.
    at: Time,
    energy_j: f64,
    temp_c: f64,
    /// Power sensor: when and at which energy its window began.
    window: (Time, f64),
    busy_us: u64,
    power: Reading<u32>,
    load: Reading<u16>,
}

/// A running request.
#[derive(Debug, Clone, Copy)]
struct Work {
    table: u8,
    sub_network: u8,
    start: Time,
}

impl VirtualBoard {
    /// A board at level `start` of the policy, idle and at its ambient temperature.
    ///
    /// # Errors
    /// [`BoardMismatch`] names what of the policy the board does not have.
    pub fn new(board: &Board, policy: &PolicyView<'_>, start: u8) -> Result<Self, BoardMismatch> {
        let known = levels_on(board, policy)?;
        let start = start.min(policy.levels().saturating_sub(1));
        let idle_w: Vec<_> = known.iter().map(|level| board.power.idle_w(level)).collect();
        let idle_mw = idle_w.get(usize::from(start)).map_or(0.0, |watt| watt * 1e3);
        let ambient_c = board.thermal.ambient_c;
        let tables = (0..policy.tables()).filter_map(|table| policy.table(table));
        let tiles = tables.map(|table| Ok(network_on(board, policy, table.name())?.tiles));
        Ok(Self {
            tiles: tiles.collect::<Result<_, _>>()?,
            name: board.name.clone(),
            cells: Cells::of_board(board, policy)?,
            levels: (0..policy.levels()).filter_map(|level| policy.level(level)).collect(),
            settle: Settle {
                cpu_us: board.settle.cpu_us,
                gpu_us: board.settle.gpu_us,
                emc_us: board.settle.emc_us,
            },
            thermal: board.thermal,
            ambient_c,
            from: start,
            asked: start,
            settled_at: Time::START,
            work: None,
            at: Time::START,
            energy_j: 0.0,
            temp_c: board.thermal.after(ambient_c, 0.0, ambient_c, 0.0),
            window: (Time::START, 0.0),
            busy_us: 0,
            power: Reading { value: quantised(idle_mw), at: Time::START },
            load: Reading { value: 0, at: Time::START },
            idle_w,
        })
    }

    /// Energy of the whole board since the start, J.
    #[must_use]
    pub fn energy_j(&self) -> f64 {
        self.energy_j
    }

    fn idle_w(&self, level: u8) -> f64 {
        self.idle_w.get(usize::from(level)).copied().unwrap_or(0.0)
    }

    /// What a request adds to idle at a level, W.
    fn work_w(&self, work: &Work, level: u8) -> f64 {
        let cell = self.cells.get(work.table, level, work.sub_network);
        // µJ / µs = W.
        cell.map_or(0.0, |cell| f64::from(cell.energy_uj) / f64::from(cell.latency_us.max(1)))
    }

    /// Integrates power and temperature up to `now`, in two parts where the clocks settle between.
    fn advance(&mut self, now: Time) {
        let settles = self.settled_at;
        if self.at < settles && settles < now {
            self.part(settles, self.from);
        }
        let level = if now <= settles { self.from } else { self.asked };
        self.part(now, level);
    }

    fn part(&mut self, until: Time, level: u8) {
        let us = until.us_since(self.at);
        if us == 0 {
            return;
        }
        let power_w = self.idle_w(level) + self.work.map_or(0.0, |work| self.work_w(&work, level));
        let seconds = us as f64 / 1e6;
        self.energy_j += power_w * seconds;
        self.temp_c = self.thermal.after(self.temp_c, power_w, self.ambient_c, seconds);
        self.busy_us += if self.work.is_some() { us } else { 0 };
        self.at = until;
    }

    /// Takes a new value of the power sensor where its scan is over.
    fn scan(&mut self, now: Time) {
        let (since, energy_j) = self.window;
        let us = now.us_since(since);
        if us < SCAN_US {
            return;
        }
        let seconds = us as f64 / 1e6;
        let mean_mw = (self.energy_j - energy_j).max(0.0) / seconds * 1e3;
        self.power = Reading { value: quantised(mean_mw), at: now };
        let load = (self.busy_us.saturating_mul(1000) / us).min(1000);
        self.load = Reading { value: u16::try_from(load).unwrap_or(1000), at: now };
        self.window = (now, self.energy_j);
        self.busy_us = 0;
    }
}

/// Power as the sensor gives it, mW.
fn quantised(mw: f64) -> u32 {
    // Far inside the range of u32.
    ((mw / STEP_MW).round() * STEP_MW) as u32
}

impl Platform for VirtualBoard {
    fn apply(&mut self, level: u8, now: Time) -> Result<(), PlatformFault> {
        self.advance(now);
        let from = if now >= self.settled_at { self.asked } else { self.from };
        let places = (self.levels.get(usize::from(from)), self.levels.get(usize::from(level)));
        let (Some(old), Some(new)) = places else {
            return Err(PlatformFault {
                what: format!("level {level}"),
                why: format!("the board has levels 0 to {}", self.levels.len().saturating_sub(1)),
            });
        };
        let settle_us = u64::from(self.settle.between(old, new));
        self.from = from;
        self.asked = level;
        self.settled_at = now.after_us(settle_us);
        Ok(())
    }

    fn achieved(&mut self, now: Time) -> Achieved {
        let settled = now >= self.settled_at;
        let left_us = u32::try_from(self.settled_at.us_since(now)).unwrap_or(u32::MAX);
        Achieved {
            level: Some(if settled { self.asked } else { self.from }),
            settled,
            next: (!settled).then_some((self.asked, left_us)),
        }
    }

    fn read(&mut self, now: Time) -> Readings {
        self.advance(now);
        self.scan(now);
        let level = self.achieved(now).level;
        let clocks = level.and_then(|level| self.levels.get(usize::from(level)));
        let mhz = |khz: u32| u16::try_from((khz + 500) / 1000).unwrap_or(u16::MAX);
        // Far inside the range of i32.
        let temperature = Reading { value: (self.temp_c * 1000.0).round() as i32, at: now };
        Readings {
            level,
            clocks_mhz: clocks.map_or([0; 3], |l| [mhz(l.cpu_khz), mhz(l.gpu_khz), mhz(l.emc_khz)]),
            power_mw: Some(self.power),
            gpu_load_permille: Some(self.load),
            temperatures_mdeg_c: [Some(temperature), None],
        }
    }

    fn started(&mut self, job: &Job, now: Time) {
        self.advance(now);
        let (table, sub_network) = (job.table, job.sub_network);
        self.work = Some(Work { table, sub_network, start: now });
    }

    fn worked(&mut self, _job: &Job, latency_us: u32, now: Time) {
        self.advance(now);
        if let Some(work) = self.work.take() {
            let level = if now >= self.settled_at { self.asked } else { self.from };
            let difference_us = f64::from(latency_us) - now.us_since(work.start) as f64;
            self.energy_j += self.work_w(&work, level) * difference_us / 1e6;
        }
    }

    fn energy_mj(&mut self, now: Time) -> Option<u64> {
        self.advance(now);
        // Positive and far inside the range.
        Some((self.energy_j * 1e3).round() as u64)
    }

    fn models_time(&self) -> bool {
        true
    }

    fn tiles(&self, table: u8) -> Option<u32> {
        self.tiles.get(usize::from(table)).copied()
    }

    fn describe(&self) -> String {
        format!("virtual:{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use coshift_plant::policy::{bytes, first_image};
    use coshift_shared::policy::PolicyView;

    use super::{SCAN_US, VirtualBoard};
    use crate::boards;
    use crate::clock::Time;
    use crate::engine::Job;
    use crate::platform::Platform;

    fn at(us: u64) -> Time {
        Time::from_us(us)
    }

    fn with_board(test: impl FnOnce(VirtualBoard, &coshift_plant::Board)) {
        let board = boards::find("--board", "virtual:xavier_nx").unwrap();
        let image = bytes(&first_image(&board).unwrap()).unwrap();
        let policy = PolicyView::open(&image).unwrap();
        test(VirtualBoard::new(&board, &policy, 3).unwrap(), &board);
    }

    fn job(level: u8) -> Job {
        let application = "cam0".into();
        let (request, slot, table, sub_network) = (1, 0, 0, 2);
        let (level, next) = (Some(level), None);
        Job { request, application, slot, table, sub_network, level, next, start: at(0) }
    }

    #[test]
    fn idle_energy_is_idle_power_over_time_across_a_settle_window() {
        with_board(|mut virtual_board, board| {
            let idle = |level: usize| board.power.idle_w(&board.levels[level]);
            virtual_board.apply(9, at(1_000_000)).unwrap();
            let settle = u64::from(board.settle.gpu_us);
            assert_eq!(virtual_board.achieved(at(1_000_000 + settle - 1)).level, Some(3));
            let after = virtual_board.achieved(at(1_000_000 + settle));
            assert_eq!((after.level, after.settled), (Some(9), true));
            virtual_board.read(at(3_000_000));
            let low = (1_000_000 + settle) as f64 / 1e6;
            let expected = idle(3) * low + idle(9) * (3.0 - low);
            let found = virtual_board.energy_j();
            assert!((found - expected).abs() < 1e-9, "{found} J, {expected} J expected");
        });
    }

    #[test]
    fn a_request_adds_the_energy_of_the_board_however_long_the_host_took() {
        with_board(|mut virtual_board, board| {
            let network = &board.networks[0];
            let (sub, level) = (&network.sub_networks[2], &board.levels[3]);
            let (latency, energy) =
                (board.latency_us(sub, level), board.energy_uj(network, sub, level));
            for (wall_us, latency_us) in [(latency, latency), (5_000, latency), (900_000, latency)]
            {
                let before = virtual_board.energy_j();
                let start = virtual_board.at;
                virtual_board.started(&job(3), start);
                let end = start.after_us(u64::from(wall_us));
                virtual_board.worked(&job(3), latency_us, end);
                let idle = board.power.idle_w(level) * f64::from(wall_us) / 1e6;
                let added = virtual_board.energy_j() - before - idle;
                let expected = f64::from(energy) / 1e6;
                assert!((added - expected).abs() < 1e-9, "{added} J, {expected} J expected");
            }
        });
    }

    #[test]
    fn the_sensor_gives_the_mean_of_its_window_in_steps_and_keeps_it_meanwhile() {
        with_board(|mut virtual_board, board| {
            let idle_mw = board.power.idle_w(&board.levels[3]) * 1e3;
            let first = virtual_board.read(at(SCAN_US)).power_mw.unwrap();
            assert!((f64::from(first.value) - idle_mw).abs() <= 20.0, "{first:?} for {idle_mw}");
            assert_eq!(first.value % 40, 0);
            virtual_board.started(&job(3), at(SCAN_US));
            let kept = virtual_board.read(at(2 * SCAN_US - 1)).power_mw.unwrap();
            assert_eq!(kept, first);
            let busy = virtual_board.read(at(2 * SCAN_US)).power_mw.unwrap();
            let expected = f64::from(board.busy_mw(&board.networks[0], &board.levels[3]));
            assert!((f64::from(busy.value) - expected).abs() <= 25.0, "{busy:?} for {expected}");
            assert_eq!(virtual_board.read(at(2 * SCAN_US)).gpu_load_permille.unwrap().value, 1000);
        });
    }

    #[test]
    fn it_gets_as_warm_as_the_law_says() {
        with_board(|mut virtual_board, board| {
            let power_w = board.power.idle_w(&board.levels[3]);
            let steady = board.thermal.steady_c(power_w, board.thermal.ambient_c);
            let hour = at(3_600_000_000);
            let found = virtual_board.read(hour).temperatures_mdeg_c[0].unwrap().value;
            assert!((f64::from(found) / 1e3 - steady).abs() < 0.1, "{found} m°C, {steady} °C");
        });
    }
}
