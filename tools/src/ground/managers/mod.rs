//! The managers, behind one trait ([`Manager`]).
//!
//! | name | clocks | sub-network |
//! |---|---|---|
//! | `coshift` | the controller crate behind the agent's core and its real messages | the same |
//! | `coshift-cap` | schedutil + podgov, capped at what the controller decides | the controller |
//! | `max` | highest (`jetson_clocks`) | least accurate one at the floor |
//! | `powersave` | lowest of CPU and GPU | least accurate one at the floor |
//! | `schedutil-podgov` | schedutil, nvhost_podgov | largest |
//! | `schedutil-podgov-fit` | schedutil, nvhost_podgov | least accurate one at the floor |
//! | `ondemand-podgov` | ondemand, nvhost_podgov | least accurate one at the floor |
//! | `conservative-simple` | conservative, devfreq simple_ondemand | least accurate one at the floor |
//! | `dynamic-ofa` | schedutil, nvhost_podgov | ±1 by the mean latency of a window |
//! | `alert`, `alert-tuned` | ALERT's choice, as published and with a smaller process noise | the same |
//! | `ztt` | zTT's contextual bandit over 3 CPU × 3 GPU clocks | least accurate one at the floor |
//! | `pi` | PI control of the latency | least accurate one at the floor |
//! | `static-best` | the best single choice in hindsight, parking included | the same |
//! | `oracle` | perfect knowledge, see [`super::oracle`] | the same |
//! | `oracle-late` | the same with changes of clocks hidden behind launches: a bound, no reference | the same |
//! | `exec:CMD` | a program of the user's own, over JSON lines | the same |

mod alert;
mod coshift;
mod dynamic_ofa;
mod exec;
mod fixed;
mod governed;
mod interface;
mod pi;
mod static_best;
mod ztt;

use coshift_plant::board::Level;

pub use alert::{Alert, Constants as AlertConstants, Kalman};
pub use coshift::{Coshift, CoshiftCap, Heard};
pub use dynamic_ofa::DynamicOfa;
pub use exec::Exec;
pub use fixed::Fixed;
pub use governed::Governed;
pub use interface::{Done, Event, Manager, Orders, Seen, Setting, When};
pub use pi::Pi;
pub use static_best::static_best;
pub use ztt::Ztt;

use crate::simulate::{Choice, Stock};

/// Every manager by name, `exec:CMD` apart.
pub const NAMES: [&str; 17] = [
    "coshift",
    "coshift-cap",
    "max",
    "powersave",
    "schedutil-podgov",
    "schedutil-podgov-fit",
    "ondemand-podgov",
    "conservative-simple",
    "dynamic-ofa",
    "alert",
    "alert-tuned",
    "ztt",
    "pi",
    "static-best",
    "oracle",
    "oracle-late",
    "exec:CMD",
];

/// Whether there is a manager of this name.
#[must_use]
pub fn known(name: &str) -> bool {
    name.strip_prefix("exec:").map_or_else(|| NAMES.contains(&name), |command| !command.is_empty())
}

/// A manager that needs no run before its own; `static-best` and `oracle` do.
///
/// # Errors
/// Says why there is none: its name, or what it misses on this board.
pub fn build<'s>(name: &str, setting: Setting<'s>) -> Result<Box<dyn Manager + 's>, String> {
    let stock = || Stock::new(&setting.scenario.board).map_err(|error| error.to_string());
    Ok(match name {
        "coshift" => Box::new(Coshift::new(setting)?),
        "coshift-cap" => Box::new(CoshiftCap::new(setting, stock()?)?),
        "max" => Box::new(Fixed::fitting(setting, highest(&setting))),
        "powersave" => Box::new(Fixed::fitting(setting, lowest(&setting))),
        "schedutil-podgov" => Box::new(Governed::new(setting, stock()?, Choice::Largest)),
        "schedutil-podgov-fit" => Box::new(Governed::new(setting, stock()?, Choice::BestFitting)),
        "ondemand-podgov" => {
            let governors = governed::Other::ondemand_podgov(&setting.scenario.board)?;
            Box::new(Governed::new(setting, governors, Choice::BestFitting))
        }
        "conservative-simple" => {
            let governors = governed::Other::conservative_simple(&setting.scenario.board)?;
            Box::new(Governed::new(setting, governors, Choice::BestFitting))
        }
        "dynamic-ofa" => Box::new(DynamicOfa::new(setting, stock()?)),
        "alert" => Box::new(Alert::new(setting, AlertConstants::PUBLISHED)),
        "alert-tuned" => Box::new(Alert::new(setting, AlertConstants::TUNED)),
        "ztt" => Box::new(Ztt::new(setting)),
        "pi" => Box::new(Pi::new(setting)),
        other => match other.strip_prefix("exec:") {
            Some(command) => Box::new(Exec::new(setting, command)?),
            None => {
                return Err(format!(
                    "manager: one of {} goes, \"{other}\" found",
                    NAMES.join(", ")
                ));
            }
        },
    })
}

/// The highest clocks of the board's tables and levels.
#[must_use]
pub fn highest(setting: &Setting<'_>) -> Level {
    let top = |clock: fn(&Level) -> u32| setting.levels().iter().map(clock).max().unwrap_or(0);
    let tables = setting.scenario.board.clocks.as_ref();
    let last =
        |table: Option<&Vec<u32>>| table.and_then(|table| table.last().copied()).unwrap_or(0);
    Level {
        cpu_khz: top(|level| level.cpu_khz).max(last(tables.map(|tables| &tables.cpu_khz))),
        gpu_khz: top(|level| level.gpu_khz).max(last(tables.map(|tables| &tables.gpu_khz))),
        emc_khz: top(|level| level.emc_khz),
    }
}

/// The lowest CPU and GPU clocks, and the highest memory clock: no governor moves it.
#[must_use]
pub fn lowest(setting: &Setting<'_>) -> Level {
    let least = |clock: fn(&Level) -> u32| setting.levels().iter().map(clock).min().unwrap_or(0);
    let tables = setting.scenario.board.clocks.as_ref();
    let first = |table: Option<&Vec<u32>>| {
        table.and_then(|table| table.first().copied()).unwrap_or(u32::MAX)
    };
    Level {
        cpu_khz: least(|level| level.cpu_khz).min(first(tables.map(|tables| &tables.cpu_khz))),
        gpu_khz: least(|level| level.gpu_khz).min(first(tables.map(|tables| &tables.gpu_khz))),
        emc_khz: highest(setting).emc_khz,
    }
}
