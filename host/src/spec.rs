//! What is asked for on the command line and over the control socket: applications and scripts of
//! slowdowns.

use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{Degrade, Objective, Targets};
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

use crate::core::Caps;
use crate::inputs::{self, InputFault, printable};

/// Longest name of an application.
pub const MAX_NAME: usize = 32;
/// Longest deadline, µs: one minute.
const MAX_DEADLINE_US: u64 = 60_000_000;
/// Share of requests that may miss their deadline where nothing else is said: 1 %.
const DEFAULT_MISS_BP: u16 = 100;

/// Why an application cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecFault {
    /// A value is not what goes there.
    #[error(transparent)]
    Input(#[from] InputFault),
    /// The text is not `NAME=NETWORK,key=value,…`.
    #[error("{argument}: \"{text}\": {why}")]
    Shape {
        /// The argument.
        argument: String,
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The policy has no such network.
    #[error("{argument}: unknown network \"{network}\"; the policy has {known}")]
    UnknownNetwork {
        /// The argument.
        argument: String,
        /// The network asked for.
        network: String,
        /// The networks there are.
        known: String,
    },
}

/// An application as asked for: `cam0=coshift-28,deadline=33ms,floor=92.5,rate=15`.
///
/// `objective` says what is optimised: `least-energy` at the accuracy floor (unless another is
/// named), `best-accuracy` within the energy budget, or `least-latency` within it where there is
/// one. `energy` is that budget, a request's energy beyond idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationSpec {
    /// Name of the application.
    pub name: String,
    /// Name of the network: that of an application table of the policy.
    pub network: String,
    /// Relative deadline, µs.
    pub deadline_us: u32,
    /// Time between requests, µs.
    pub period_us: u32,
    /// Least accuracy, 0.01 %.
    pub floor_bp: u16,
    /// Share of requests that may miss the deadline, 0.01 %.
    pub miss_bp: u16,
    /// Larger is served first.
    pub priority: u8,
    /// What is given up first.
    pub degrade: Degrade,
    /// What is optimised.
    pub objective: Objective,
    /// Energy beyond idle that a request may take, µJ; 0 = no budget.
    pub energy_uj: u32,
}

fn shape(argument: &str, text: &str, why: &str) -> SpecFault {
    SpecFault::Shape { argument: argument.into(), text: printable(text), why: why.into() }
}

fn check_name(argument: &str, name: &str) -> Result<(), SpecFault> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
        let why = "a name is 1 to 32 letters, digits, '_', '-' or '.'";
        return Err(shape(argument, name, why));
    }
    Ok(())
}

impl ApplicationSpec {
    /// Keys of a specification.
    pub const KEYS: &str = "deadline, rate, floor, priority, miss, degrade, objective, energy";

    /// Reads a specification; `argument` names where it stood.
    ///
    /// # Errors
    /// [`SpecFault`] names the first thing that is wrong.
    pub fn parse(argument: &str, text: &str) -> Result<Self, SpecFault> {
        let expected = "expected NAME=NETWORK,deadline=33ms,rate=15[,floor=92.5][,priority=0]\
                        [,miss=1%][,degrade=accuracy|deadline|energy]\
                        [,objective=least-energy|best-accuracy|least-latency][,energy=500mJ]";
        let (name, rest) = text.split_once('=').ok_or_else(|| shape(argument, text, expected))?;
        check_name(argument, name)?;
        let argument = format!("{argument} {name}");
        let mut parts = rest.split(',');
        let network = parts.next().unwrap_or("").to_owned();
        if network.is_empty() || network.contains('=') {
            return Err(shape(&argument, text, expected));
        }
        let (mut deadline_us, mut period_us, mut floor_bp) = (None, None, None);
        let (mut miss_bp, mut priority, mut degrade) = (None, None, None);
        let (mut objective, mut energy_uj) = (None, None);
        for part in parts {
            let (key, value) =
                part.split_once('=').ok_or_else(|| shape(&argument, part, expected))?;
            let place = format!("{argument}, {key}");
            let doubled = match key {
                "deadline" => {
                    let us = inputs::duration_us(&place, value, 1, MAX_DEADLINE_US)?;
                    deadline_us.replace(u32::try_from(us).unwrap_or(u32::MAX)).is_some()
                }
                "rate" => period_us.replace(inputs::rate_period_us(&place, value)?).is_some(),
                "floor" => floor_bp.replace(inputs::percent_bp(&place, value)?).is_some(),
                "miss" => miss_bp.replace(inputs::percent_bp(&place, value)?).is_some(),
                "priority" => {
                    let whole = inputs::whole(&place, value, 0, 255)?;
                    priority.replace(u8::try_from(whole).unwrap_or(u8::MAX)).is_some()
                }
                "degrade" => degrade.replace(parse_degrade(&place, value)?).is_some(),
                "objective" => objective.replace(parse_objective(&place, value)?).is_some(),
                "energy" => energy_uj.replace(inputs::energy_uj(&place, value)?).is_some(),
                _ => {
                    let why =
                        format!("unknown key \"{}\"; known are {}", printable(key), Self::KEYS);
                    return Err(shape(&argument, part, &why));
                }
            };
            if doubled {
                return Err(shape(&argument, part, "the key is there twice"));
            }
        }
        let (objective, energy_uj) =
            (objective.unwrap_or(Objective::LeastEnergy), energy_uj.unwrap_or(0));
        match objective {
            Objective::BestAccuracy if energy_uj == 0 => {
                let why = "objective=best-accuracy needs a budget, like energy=500mJ";
                return Err(shape(&argument, text, why));
            }
            Objective::LeastEnergy if energy_uj > 0 => {
                let why = "energy goes with objective=best-accuracy or least-latency";
                return Err(shape(&argument, text, why));
            }
            _ => {}
        }
        let missing = |key: &str| shape(&argument, text, &format!("{key} is missing; {expected}"));
        Ok(Self {
            name: name.to_owned(),
            network,
            deadline_us: deadline_us.ok_or_else(|| missing("deadline"))?,
            period_us: period_us.ok_or_else(|| missing("rate"))?,
            floor_bp: floor_bp.unwrap_or(0),
            miss_bp: miss_bp.unwrap_or(DEFAULT_MISS_BP),
            priority: priority.unwrap_or(0),
            degrade: degrade.unwrap_or(Degrade::Accuracy),
            objective,
            energy_uj,
        })
    }

    /// The targets for the controller; the network is looked up in the policy.
    ///
    /// # Errors
    /// [`SpecFault::UnknownNetwork`] where the policy has no such table.
    pub fn targets(&self, argument: &str, policy: &PolicyView<'_>) -> Result<Targets, SpecFault> {
        let (table, _) = policy.table_named(&self.network).ok_or_else(|| {
            let names = (0..policy.tables()).filter_map(|index| policy.table(index));
            let known: Vec<_> = names.map(|table| table.name().to_owned()).collect();
            SpecFault::UnknownNetwork {
                argument: format!("{argument} {}", self.name),
                network: printable(&self.network),
                known: known.join(", "),
            }
        })?;
        Ok(Targets {
            table,
            objective: self.objective,
            deadline_us: self.deadline_us,
            period_us: self.period_us,
            accuracy_floor_bp: self.floor_bp,
            miss_target_bp: self.miss_bp,
            priority: self.priority,
            degrade: self.degrade,
            energy_budget_uj: self.energy_uj,
        })
    }
}

fn parse_degrade(argument: &str, text: &str) -> Result<Degrade, InputFault> {
    match text {
        "accuracy" => Ok(Degrade::Accuracy),
        "deadline" => Ok(Degrade::Deadline),
        "energy" => Ok(Degrade::Energy),
        _ => Err(InputFault::new(
            argument,
            text,
            "accuracy, deadline or energy: what is given up first",
        )),
    }
}

fn parse_objective(argument: &str, text: &str) -> Result<Objective, InputFault> {
    match text {
        "least-energy" => Ok(Objective::LeastEnergy),
        "best-accuracy" => Ok(Objective::BestAccuracy),
        "least-latency" => Ok(Objective::LeastLatency),
        _ => Err(InputFault::new(
            argument,
            text,
            "least-energy, best-accuracy or least-latency: what is optimised",
        )),
    }
}

/// Caps as asked for, `none` for no cap but the policy's; what is not named stays as it is.
///
/// # Errors
/// [`InputFault`] names the one that is no power or no temperature.
pub fn caps(
    argument: &str,
    now: Caps,
    power: Option<&str>,
    temperature: Option<&str>,
) -> Result<Caps, InputFault> {
    let at = |what: &str| format!("{argument} {what}");
    Ok(Caps {
        power_mw: match power {
            None => now.power_mw,
            Some("none") => NO_POWER_CAP,
            Some(text) => inputs::power_mw(&at("--power-cap"), text)?,
        },
        temp_mdeg_c: match temperature {
            None => now.temp_mdeg_c,
            Some("none") => NO_TEMP_CAP,
            Some(text) => inputs::temp_mdeg_c(&at("--temp-cap"), text)?,
        },
    })
}

/// How much slower than the policy an application runs over time; steps at fixed times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowdownScript {
    /// Name of the application.
    pub application: String,
    /// (from, factor): time since the start in µs, factor in 0.001; sorted by time.
    pub steps: Vec<(u64, u32)>,
}

impl SlowdownScript {
    /// Most times slower that is told apart on the wire.
    const MAX_PERMILLE: u32 = 16_000;

    /// Reads `cam0=1.0,10s:1.3,20s:1.0`: a factor from the start, then times with factors.
    ///
    /// # Errors
    /// [`SpecFault`] names the first thing that is wrong.
    pub fn parse(argument: &str, text: &str) -> Result<Self, SpecFault> {
        let expected = "expected NAME=FACTOR[,TIME:FACTOR]…, like cam0=1.0,10s:1.3,20s:1.0";
        let (name, rest) = text.split_once('=').ok_or_else(|| shape(argument, text, expected))?;
        check_name(argument, name)?;
        let argument = format!("{argument} {name}");
        let mut steps: Vec<(u64, u32)> = Vec::new();
        for (index, part) in rest.split(',').enumerate() {
            let (at, factor) = match part.split_once(':') {
                Some((at, factor)) => {
                    (inputs::duration_us(&argument, at, 0, 86_400_000_000)?, factor)
                }
                None if index == 0 => (0, part),
                None => return Err(shape(&argument, part, expected)),
            };
            let factor = inputs::factor_permille(&argument, factor, Self::MAX_PERMILLE)?;
            if steps.last().is_some_and(|(before, _)| *before >= at) {
                return Err(shape(&argument, part, "times must rise from step to step"));
            }
            steps.push((at, factor));
        }
        Ok(Self { application: name.to_owned(), steps })
    }

    /// The factor in 0.001 at `us` µs after the start.
    #[must_use]
    pub fn at(&self, us: u64) -> u32 {
        self.steps.iter().rev().find(|(from, _)| *from <= us).map_or(1000, |(_, factor)| *factor)
    }
}

#[cfg(test)]
mod tests {
    use coshift_shared::to_controller::{Degrade, Objective};

    use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

    use super::{ApplicationSpec, Caps, SlowdownScript};

    #[test]
    fn a_whole_specification_is_read() {
        let text = "cam0=coshift-28,deadline=33ms,floor=92.5,rate=15,priority=3,miss=0.5%,\
                    degrade=deadline";
        let spec = ApplicationSpec::parse("--app", text).unwrap();
        assert_eq!((spec.name.as_str(), spec.network.as_str()), ("cam0", "coshift-28"));
        assert_eq!((spec.deadline_us, spec.period_us), (33_000, 66_667));
        assert_eq!((spec.floor_bp, spec.miss_bp, spec.priority), (9_250, 50, 3));
        assert_eq!(spec.degrade, Degrade::Deadline);
    }

    #[test]
    fn objectives_carry_their_budget() {
        let read = |more: &str| {
            let text = format!("cam0=net,deadline=33ms,rate=15{more}");
            let spec = ApplicationSpec::parse("--app", &text).unwrap();
            (spec.objective, spec.energy_uj)
        };
        assert_eq!(read(""), (Objective::LeastEnergy, 0));
        assert_eq!(read(",objective=least-latency"), (Objective::LeastLatency, 0));
        let budget = ",objective=best-accuracy,energy=250mJ,degrade=energy";
        assert_eq!(read(budget), (Objective::BestAccuracy, 250_000));
        assert_eq!(read(",energy=1.5J,objective=least-latency").1, 1_500_000);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("cam0", "NAME=NETWORK"),
            ("=net,deadline=3ms,rate=1", "a name is"),
            ("cam 0=net,deadline=3ms,rate=1", "a name is"),
            ("cam0=,deadline=3ms,rate=1", "NAME=NETWORK"),
            ("cam0=deadline=3ms,rate=1", "NAME=NETWORK"),
            ("cam0=net,rate=1", "deadline is missing"),
            ("cam0=net,deadline=3ms", "rate is missing"),
            ("cam0=net,deadline=3ms,rate=1,rate=2", "twice"),
            ("cam0=net,deadline=3ms,rate=1,speed=2", "unknown key \"speed\""),
            ("cam0=net,deadline=33,rate=1", "cam0, deadline: \"33\" is not a time"),
            ("cam0=net,deadline=0ms,rate=1", "cam0, deadline: \"0ms\" is not a time"),
            ("cam0=net,deadline=3ms,rate=0", "cam0, rate: \"0\" is not a rate"),
            ("cam0=net,deadline=3ms,rate=1,floor=920", "\"920\" is not a percentage"),
            ("cam0=net,deadline=3ms,rate=1,priority=256", "\"256\" is not a whole number"),
            ("cam0=net,deadline=3ms,rate=1,degrade=none", "accuracy, deadline or energy"),
            ("cam0=net,deadline=3ms,rate=1,objective=fun", "\"fun\" is not least-energy"),
            ("cam0=net,deadline=3ms,rate=1,objective=best-accuracy", "needs a budget"),
            ("cam0=net,deadline=3ms,rate=1,energy=5mJ", "energy goes with objective"),
            ("cam0=net,deadline=3ms,rate=1,energy=5", "\"5\" is not an energy"),
        ] {
            let fault = ApplicationSpec::parse("--app", text).unwrap_err().to_string();
            assert!(fault.contains(part), "{text}: {fault}");
            assert!(fault.starts_with("--app"), "{text}: {fault}");
            assert!(!fault.contains('\n'), "{text}: {fault}");
        }
    }

    #[test]
    fn caps_change_one_by_one() {
        let now = Caps { power_mw: 9_000, temp_mdeg_c: 80_000 };
        let both = super::caps("limits set", now, Some("12W"), None).unwrap();
        assert_eq!(both, Caps { power_mw: 12_000, temp_mdeg_c: 80_000 });
        let none = super::caps("limits set", now, Some("none"), Some("none")).unwrap();
        assert_eq!(none, Caps { power_mw: NO_POWER_CAP, temp_mdeg_c: NO_TEMP_CAP });
        let fault = super::caps("limits set", now, None, Some("12W")).unwrap_err().to_string();
        assert!(fault.starts_with("limits set --temp-cap: \"12W\""), "{fault}");
    }

    #[test]
    fn scripts_step_at_their_times() {
        let script = SlowdownScript::parse("--slowdown", "cam0=1.0,10s:1.3,20s:0.9").unwrap();
        assert_eq!(script.at(0), 1000);
        assert_eq!(script.at(9_999_999), 1000);
        assert_eq!(script.at(10_000_000), 1300);
        assert_eq!(script.at(u64::MAX), 900);
        for text in ["cam0", "cam0=", "cam0=1.0,1.2", "cam0=1,5s:2,3s:1", "cam0=0", "cam0=17"] {
            let fault = SlowdownScript::parse("--slowdown", text).unwrap_err().to_string();
            assert!(fault.starts_with("--slowdown"), "{text}: {fault}");
        }
    }
}
