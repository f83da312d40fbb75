//! From a scenario file to a scenario: every value checked, every error with line and field.

use std::path::{Path, PathBuf};

use coshift_plant::Board;
use coshift_plant::machine::Knob;
use coshift_shared::to_controller::{Degrade, Objective};
use toml::Spanned;

use super::file::{
    ApplicationFile, ArrivalsFile, DegradeFile, ObjectiveFile, ScenarioFile, SlowdownFile,
    TargetFile,
};
use super::{
    Application, Arrivals, Limits, Loss, Pin, PolicyError, Scenario, ScenarioError, Slowdown,
    Targets, contention, series,
};

/// Name of the variable that says where the measured data is.
pub(super) const DATA_VARIABLE: &str = "COSHIFT_DATA";
/// Start of a path within the measured data.
const DATA_PREFIX: &str = "data:";
/// Noise where the scenario says none: what quiet traces have (0.2 to 0.7 %).
const NOISE_PCT: f64 = 0.5;
/// Longest scenario, s.
const MAX_S: f64 = 100_000.0;

struct Checker<'t> {
    file: String,
    text: &'t str,
    folder: PathBuf,
    name: String,
}

/// Microseconds of seconds that were checked to be few.
fn us(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

impl Scenario {
    /// Reads and checks a scenario file and the files it names.
    ///
    /// # Errors
    /// [`ScenarioError`] names file, line, field and expectation, or the measured data that is not
    /// on this machine.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Field {
            file: file.clone(),
            line: None,
            field: String::new(),
            problem: format!("cannot be read: {error}"),
        })?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(&text, &file, &folder)
    }

    /// Checks the text of a scenario; `file` is what errors call it, paths are relative to `folder`.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(text: &str, file: &str, folder: &Path) -> Result<Self, ScenarioError> {
        let checker =
            Checker { file: file.into(), text, folder: folder.into(), name: String::new() };
        let read: ScenarioFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| checker.line(span.start));
            let problem = error.message().replace('\n', " ");
            ScenarioError::Field { file: file.into(), line, field: String::new(), problem }
        })?;
        checker.scenario(&read)
    }
}

impl<'t> Checker<'t> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }

    fn error<T>(&self, at: &Spanned<T>, field: &str, problem: impl Into<String>) -> ScenarioError {
        ScenarioError::Field {
            file: self.file.clone(),
            line: Some(self.line(at.span().start)),
            field: field.into(),
            problem: problem.into(),
        }
    }

    fn within(
        &self,
        field: &str,
        value: &Spanned<f64>,
        low: f64,
        high: f64,
    ) -> Result<f64, ScenarioError> {
        let found = *value.get_ref();
        if (low..=high).contains(&found) {
            return Ok(found);
        }
        Err(self.error(value, field, format!("{low} to {high} goes, {found} found")))
    }

    fn maybe(
        &self,
        field: &str,
        value: Option<&Spanned<f64>>,
        low: f64,
        high: f64,
    ) -> Result<Option<f64>, ScenarioError> {
        value.map(|value| self.within(field, value, low, high)).transpose()
    }

    fn named(&self, field: &str, value: &Spanned<String>) -> Result<String, ScenarioError> {
        let name = value.get_ref();
        let sound = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        };
        if (1..=48).contains(&name.len()) && name.bytes().all(sound) {
            return Ok(name.clone());
        }
        let problem = format!("1 to 48 of a-z, 0-9, _, - go, \"{name}\" found");
        Err(self.error(value, field, problem))
    }

    fn scenario(mut self, read: &ScenarioFile) -> Result<Scenario, ScenarioError> {
        let name = self.named("name", &read.name)?;
        self.name.clone_from(&name);
        let end_us = us(self.within("duration_s", &read.duration_s, 1.0, MAX_S)?);
        let (board, board_text) = self.board(read)?;
        let noise_pct =
            self.maybe("noise_pct", read.noise_pct.as_ref(), 0.0, 20.0)?.unwrap_or(NOISE_PCT);
        if !(1..=4).contains(&read.application.len()) {
            let problem = format!("1 to 4 applications go, {} found", read.application.len());
            return Err(self.error(&read.name, "application", problem));
        }
        let mut applications: Vec<Application> = Vec::new();
        for (index, file) in read.application.iter().enumerate() {
            let application = self.application(&format!("application[{index}]"), file, &board)?;
            if applications.iter().any(|other| other.name == application.name) {
                let problem =
                    format!("names that differ go, \"{}\" is there twice", application.name);
                return Err(self.error(&file.name, &format!("application[{index}].name"), problem));
            }
            applications.push(application);
        }
        let hash = [self.text, board_text.as_str()].into_iter().flat_map(str::bytes);
        let hash = hash.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Ok(Scenario {
            seed: read.seed,
            end_us,
            cpu_floor: read.cpu_floor,
            noise: noise_pct / 100.0,
            limits: self.limits(read, &board)?,
            pins: self.pins(read, end_us)?,
            losses: self.losses(read, end_us)?,
            policy_error: self.policy_error(read)?,
            applications,
            hash,
            name,
            board,
        })
    }

    fn board(&self, read: &ScenarioFile) -> Result<(Board, String), ScenarioError> {
        let path = self.folder.join(read.board.get_ref());
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let problem = format!("{} cannot be read: {error}", path.display());
            self.error(&read.board, "board", problem)
        })?;
        let mut board = Board::parse(&text, &path.display().to_string())
            .map_err(|error| self.error(&read.board, "board", error.to_string()))?;
        if let Some(ambient) = self.maybe("ambient_c", read.ambient_c.as_ref(), -40.0, 80.0)? {
            board.thermal.ambient_c = ambient;
        }
        let resistance = read.thermal_resistance_k_per_w.as_ref();
        let resistance = self.maybe("thermal_resistance_k_per_w", resistance, 0.1, 50.0)?;
        if let Some(resistance) = resistance {
            board.thermal.resistance_k_per_w = resistance;
        }
        Ok((board, text))
    }

    fn rising<'s>(
        &self,
        field: &str,
        times: impl Iterator<Item = &'s Spanned<f64>>,
    ) -> Result<Vec<u64>, ScenarioError> {
        let mut before: Option<f64> = None;
        let mut out = Vec::new();
        for (index, at) in times.enumerate() {
            let field = format!("{field}[{index}].at_s");
            let seconds = self.within(&field, at, 0.0, MAX_S)?;
            let late = match before {
                None if seconds > 0.0 => Some(format!("0 goes for the first, {seconds} found")),
                Some(before) if seconds <= before => {
                    Some(format!("later than {before} goes, {seconds} found"))
                }
                _ => None,
            };
            if let Some(problem) = late {
                return Err(self.error(at, &field, problem));
            }
            before = Some(seconds);
            out.push(us(seconds));
        }
        Ok(out)
    }

    fn limits(&self, read: &ScenarioFile, board: &Board) -> Result<Vec<Limits>, ScenarioError> {
        let own =
            Limits { at_us: 0, power_mw: board.caps.power_mw, temp_mdeg_c: board.caps.temp_mdeg_c };
        let mut limits = vec![own];
        let mut before = None;
        for (index, file) in read.limits.iter().enumerate() {
            let at = format!("limits[{index}]");
            let seconds = self.within(&format!("{at}.at_s"), &file.at_s, 0.0, MAX_S)?;
            if before.is_some_and(|before| seconds <= before) {
                let problem = format!("rising times go, {seconds} is not after the one before it");
                return Err(self.error(&file.at_s, &format!("{at}.at_s"), problem));
            }
            before = Some(seconds);
            let power =
                self.maybe(&format!("{at}.power_cap_mw"), file.power_cap_mw.as_ref(), 1.0, 1e6)?;
            let temp =
                self.maybe(&format!("{at}.temp_cap_c"), file.temp_cap_c.as_ref(), 0.0, 150.0)?;
            let power = power.map(|mw| mw.round() as u32);
            let temp = temp.map(|deg| (deg * 1000.0).round() as i32);
            let entry = Limits {
                at_us: us(seconds),
                // A cap never lifts the board's own.
                power_mw: [power, own.power_mw].into_iter().flatten().min(),
                temp_mdeg_c: [temp, own.temp_mdeg_c].into_iter().flatten().min(),
            };
            if entry.at_us == 0 {
                limits.clear();
            }
            limits.push(entry);
        }
        Ok(limits)
    }

    fn span(
        &self,
        at: &str,
        from: &Spanned<f64>,
        to: Option<&Spanned<f64>>,
        end_us: u64,
    ) -> Result<(u64, u64), ScenarioError> {
        let from_s = self.within(&format!("{at}.from_s"), from, 0.0, MAX_S)?;
        let to_s = self.maybe(&format!("{at}.to_s"), to, from_s, MAX_S)?;
        Ok((us(from_s), to_s.map_or(end_us, us)))
    }

    fn pins(&self, read: &ScenarioFile, end_us: u64) -> Result<Vec<Pin>, ScenarioError> {
        let mut pins = Vec::new();
        for (index, file) in read.pinned.iter().enumerate() {
            let at = format!("pinned[{index}]");
            let (from_us, to_us) = self.span(&at, &file.from_s, file.to_s.as_ref(), end_us)?;
            let clocks = [
                ("cpu_mhz", &file.cpu_mhz, Knob::Cpu),
                ("gpu_mhz", &file.gpu_mhz, Knob::Gpu),
                ("emc_mhz", &file.emc_mhz, Knob::Emc),
            ];
            if clocks.iter().all(|(_, clock, _)| clock.is_none()) {
                let problem = "at least one of cpu_mhz, gpu_mhz, emc_mhz goes";
                return Err(self.error(&file.from_s, &at, problem));
            }
            for (name, clock, knob) in clocks {
                let field = format!("{at}.{name}");
                if let Some(mhz) = self.maybe(&field, clock.as_ref(), 1.0, 20_000.0)? {
                    pins.push(Pin { from_us, to_us, knob, khz: (mhz * 1e3).round() as u32 });
                }
            }
        }
        Ok(pins)
    }

    fn losses(&self, read: &ScenarioFile, end_us: u64) -> Result<Vec<Loss>, ScenarioError> {
        let mut losses = Vec::new();
        for (index, file) in read.sensor_loss.iter().enumerate() {
            let at = format!("sensor_loss[{index}]");
            let (from_us, to_us) = self.span(&at, &file.from_s, file.to_s.as_ref(), end_us)?;
            losses.extend(file.sensors.iter().map(|sensor| Loss {
                from_us,
                to_us,
                sensor: *sensor,
            }));
        }
        Ok(losses)
    }

    fn policy_error(&self, read: &ScenarioFile) -> Result<PolicyError, ScenarioError> {
        let Some(file) = &read.policy_error else { return Ok(PolicyError::NONE) };
        let scale = |name: &str, value: &Option<Spanned<f64>>| {
            let found = self.maybe(&format!("policy_error.{name}"), value.as_ref(), 0.1, 10.0)?;
            Ok(found.unwrap_or(1.0))
        };
        let spread = |name: &str, value: &Option<Spanned<f64>>| {
            let found = self.maybe(&format!("policy_error.{name}"), value.as_ref(), 0.0, 90.0)?;
            Ok(found.unwrap_or(0.0) / 100.0)
        };
        Ok(PolicyError {
            latency_scale: scale("latency_scale", &file.latency_scale)?,
            latency_spread: spread("latency_spread_pct", &file.latency_spread_pct)?,
            energy_scale: scale("energy_scale", &file.energy_scale)?,
            energy_spread: spread("energy_spread_pct", &file.energy_spread_pct)?,
        })
    }

    fn application(
        &self,
        at: &str,
        file: &ApplicationFile,
        board: &Board,
    ) -> Result<Application, ScenarioError> {
        let network = file.network.get_ref();
        let Some(network) = board.networks.iter().position(|known| known.name == *network) else {
            let names = board.network_names().join(", ");
            let problem = format!("a network of the board goes ({names}), \"{network}\" found");
            return Err(self.error(&file.network, &format!("{at}.network"), problem));
        };
        if file.target.is_empty() {
            let problem = "at least one [[application.target]] goes, none found";
            return Err(self.error(&file.name, &format!("{at}.target"), problem));
        }
        let target = format!("{at}.target");
        let times = self.rising(&target, file.target.iter().map(|target| &target.at_s))?;
        let targets = times.into_iter().zip(&file.target).enumerate();
        let targets = targets
            .map(|(index, (at_us, file))| self.targets(&format!("{target}[{index}]"), at_us, file))
            .collect::<Result<_, _>>()?;
        Ok(Application {
            name: self.named(&format!("{at}.name"), &file.name)?,
            network,
            arrivals: self.arrivals(&format!("{at}.arrivals"), &file.arrivals)?,
            slowdown: match &file.slowdown {
                Some(slowdown) => self.slowdown(&format!("{at}.slowdown"), slowdown)?,
                None => Slowdown::Noise,
            },
            miss_target: self.within(&format!("{at}.miss_target"), &file.miss_target, 0.0, 0.5)?,
            priority: file.priority,
            targets,
        })
    }

    fn targets(&self, at: &str, at_us: u64, file: &TargetFile) -> Result<Targets, ScenarioError> {
        let deadline =
            self.within(&format!("{at}.deadline_ms"), &file.deadline_ms, 0.1, 100_000.0)?;
        let floor = file.accuracy_floor_pct.as_ref();
        let floor = self.maybe(&format!("{at}.accuracy_floor_pct"), floor, 0.0, 100.0)?;
        let budget = file.energy_budget_mj.as_ref();
        let budget = self.maybe(&format!("{at}.energy_budget_mj"), budget, 0.001, 1e6)?;
        Ok(Targets {
            at_us,
            deadline_us: (deadline * 1e3).round() as u32,
            floor_bp: (floor.unwrap_or(0.0) * 100.0).round() as u16,
            objective: match file.objective {
                ObjectiveFile::LeastEnergy => Objective::LeastEnergy,
                ObjectiveFile::BestAccuracy => Objective::BestAccuracy,
                ObjectiveFile::LeastLatency => Objective::LeastLatency,
            },
            degrade: match file.degrade {
                None | Some(DegradeFile::Accuracy) => Degrade::Accuracy,
                Some(DegradeFile::Deadline) => Degrade::Deadline,
                Some(DegradeFile::Energy) => Degrade::Energy,
            },
            energy_budget_uj: (budget.unwrap_or(0.0) * 1e3).round() as u32,
        })
    }

    fn arrivals(
        &self,
        at: &str,
        spanned: &Spanned<ArrivalsFile>,
    ) -> Result<Arrivals, ScenarioError> {
        let file = spanned.get_ref();
        let wrong = |problem: String| self.error(spanned, at, problem);
        let of_csv = file.column.is_some() || file.speed.is_some();
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                return Ok(value);
            }
            Err(wrong(format!("{name}: {low} to {high} goes, {value} found")))
        };
        match (file.period_ms, file.poisson_per_s, &file.csv) {
            (Some(ms), None, None) if !of_csv => {
                Ok(Arrivals::Periodic(within("period_ms", ms, 1.0, 3.6e6)? * 1e3))
            }
            (None, Some(rate), None) if !of_csv => {
                Ok(Arrivals::Poisson(1e6 / within("poisson_per_s", rate, 1e-3, 1e3)?))
            }
            (None, None, Some(csv)) => {
                let Some(column) = &file.column else {
                    return Err(wrong("csv needs column".into()));
                };
                let speed = within("speed", file.speed.unwrap_or(1.0), 1e-3, 1e6)?;
                let times = series::times(&self.path(spanned, at, csv)?, column)?;
                Ok(Arrivals::Times(times.into_iter().map(|time| us(time / speed)).collect()))
            }
            _ => {
                let problem = "exactly one of period_ms, poisson_per_s, csv goes (column and speed \
                               with csv)";
                Err(wrong(problem.into()))
            }
        }
    }

    fn slowdown(
        &self,
        at: &str,
        spanned: &Spanned<SlowdownFile>,
    ) -> Result<Slowdown, ScenarioError> {
        let file = spanned.get_ref();
        let wrong = |problem: String| self.error(spanned, at, problem);
        let from_s = file.from_s.unwrap_or(0.0);
        if !(0.0..=MAX_S).contains(&from_s) {
            return Err(wrong(format!("from_s: 0 to {MAX_S} goes, {from_s} found")));
        }
        let from_us = us(from_s);
        let of_csv = file.baseline_csv.is_some() || file.column.is_some();
        match (&file.csv, &file.markov, &file.switching) {
            (Some(csv), None, None) => {
                let Some(column) = &file.column else {
                    return Err(wrong("csv needs column".into()));
                };
                let loaded = series::numbers(&self.path(spanned, at, csv)?, column)?;
                let quiet = match &file.baseline_csv {
                    Some(path) => series::numbers(&self.path(spanned, at, path)?, column)?,
                    None => loaded.clone(),
                };
                let unit = series::median(&quiet);
                let relative =
                    |values: Vec<f64>| values.into_iter().map(|value| value / unit).collect();
                Ok(Slowdown::Trace { quiet: relative(quiet), loaded: relative(loaded), from_us })
            }
            (None, Some(name), None) if !of_csv => {
                let mut models = contention::shipped().map_err(wrong)?;
                let Some(model) = models.remove(name) else {
                    let names = models.into_keys().collect::<Vec<_>>().join(", ");
                    return Err(wrong(format!("markov: one of {names} goes, \"{name}\" found")));
                };
                Ok(Slowdown::Markov { model, from_us })
            }
            (None, None, Some(switching)) if !of_csv => {
                let sound = (0.1..=16.0).contains(&switching.on)
                    && (0.01..=MAX_S).contains(&switching.mean_s);
                if !sound {
                    let problem = "switching: on of 0.1 to 16 and mean_s of 0.01 or more go";
                    return Err(wrong(problem.into()));
                }
                let mean_us = switching.mean_s * 1e6;
                Ok(Slowdown::Switching { on: switching.on, mean_us, from_us })
            }
            _ => Err(wrong(
                "exactly one of csv, markov, switching goes (baseline_csv and column with csv)"
                    .into(),
            )),
        }
    }

    /// A file that the scenario names: in the measured data, relative to it, or absolute.
    fn path<T>(&self, at: &Spanned<T>, field: &str, text: &str) -> Result<PathBuf, ScenarioError> {
        let Some(rest) = text.strip_prefix(DATA_PREFIX) else {
            let path = self.folder.join(text);
            if path.is_file() {
                return Ok(path);
            }
            return Err(self.error(at, field, format!("{} is no file", path.display())));
        };
        let data = std::env::var_os(DATA_VARIABLE).map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
            PathBuf::from,
        );
        let path = data.join(rest);
        if path.is_file() {
            return Ok(path);
        }
        Err(ScenarioError::NoData { scenario: self.name.clone(), path: path.display().to_string() })
    }
}
