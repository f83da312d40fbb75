//! What a fitted board file says about its own numbers: sources, marks, notes.

use std::collections::BTreeMap;

use coshift_plant::board::{Mark, NetworkFile, ProvenanceEntry};
use coshift_plant::fit::board_power::PowerFit;

use super::FittedNet;
use super::assemble::LADDER;
use super::grid::{CPU_MHZ, EMC_MHZ, Grid};

/// What the fit started from.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Name of the latency grid's file.
    pub(super) latency_file: String,
    /// Name of the power file.
    pub(super) power_file: Option<String>,
    /// Whether the power file has memory clocks.
    pub(super) power_has_emc: bool,
    /// Networks in the power file that the grid does not have.
    pub(super) others: Vec<String>,
    /// Calibration points for each network; `None` = all.
    pub(super) points: Option<usize>,
}

const LATENCY: &str = "latency";
const POWER: &str = "power";

pub(super) fn sources(known: &Known) -> BTreeMap<String, String> {
    let latency = (LATENCY.to_owned(), format!("{}: latency by clocks", known.latency_file));
    let power = known
        .power_file
        .as_ref()
        .map(|file| (POWER.to_owned(), format!("{file}: power of the board by clocks")));
    std::iter::once(latency).chain(power).collect()
}

/// What a reader of results must know.
pub(super) fn notes(
    grid: &Grid,
    fitted: &[FittedNet],
    networks: &[(String, Vec<usize>)],
    power: &PowerFit,
    known: &Known,
) -> Vec<String> {
    let mut notes = vec!["Fitted by `coshift-tools fit-board`.".to_owned()];
    notes.push(known.points.map_or_else(
        || "Latency laws fitted to all points, errors on the same points.".to_owned(),
        |points| {
            format!("Latency laws fitted to {points} points of each network, errors on the others.")
        },
    ));
    for (name, nets) in networks {
        for (id, net) in nets.iter().map(|net| &fitted[*net]).enumerate() {
            let error = net.error;
            notes.push(format!(
                "{name} {id} is {}: {:.2} % mean, {:.1} % largest error.",
                net.name, error.mape_pct, error.max_pct
            ));
        }
    }
    if power.busy_measured {
        notes.push(format!(
            "Busy power: {:.1} % mean, {:.1} % largest error.",
            power.error.mape_pct, power.error.max_pct
        ));
    } else {
        notes.push("No power was measured: energies say nothing about this board.".into());
    }
    if !power.idle_measured {
        notes.push("Idle power is assumed, not measured.".into());
    }
    if !grid.has_cpu {
        notes.push(
            "The grid has no CPU clock: there is one, assumed, and no floor of it matters.".into(),
        );
    }
    if grid.clocks(|point| point.emc_mhz).len() < 2 {
        notes.push(
            "The memory clock was not varied: nothing is known of other memory clocks.".into(),
        );
    }
    if grid.nets.iter().any(|net| net.accuracy_pct.is_none()) {
        notes.push("Networks without a measured accuracy stand with 0 %.".into());
    }
    notes
}

/// A mark with its fields and reason.
fn entry(mark: Mark, fields: &[&str], sources: &[&str], note: &str) -> ProvenanceEntry {
    let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    ProvenanceEntry { fields: list(fields), mark, sources: list(sources), note: note.into() }
}

pub(super) fn provenance(
    grid: &Grid,
    networks: &[(String, Vec<usize>)],
    written: &BTreeMap<String, NetworkFile>,
    power: &PowerFit,
    known: &Known,
) -> Vec<ProvenanceEntry> {
    let mut entries = clocks(grid);
    entries.extend([
        entry(
            Mark::Assumed,
            &["utilisation_limit_pct", "caps"],
            &[],
            "Choices: 5 % of the time left for what the tables do not know, 10 K under throttling, no power cap.",
        ),
        entry(Mark::Assumed, &["settle"], &[], "As measured on Jetson Orin Nano."),
        entry(
            Mark::Assumed,
            &["thermal"],
            &[],
            "As on Jetson Orin Nano with its fan; the resistance less where the highest busy power would end more than 50 K above ambient.",
        ),
    ]);
    entries.extend(powers(power, known));
    entries.extend(laws(grid, known));
    let named = |entry: fn(&str) -> String, which: &dyn Fn(&str) -> bool| -> Vec<String> {
        networks.iter().filter(|(name, _)| which(name)).map(|(name, _)| entry(name)).collect()
    };
    let accuracy = |name: &str| format!("network.{name}.sub_network.accuracy_pct");
    let is_ladder = networks.iter().any(|(_, nets)| grid.nets[nets[0]].accuracy_pct.is_some());
    let mut accuracies = |mark, which: &dyn Fn(&str) -> bool, sources: &[&str], note| {
        let fields = named(accuracy, which);
        if !fields.is_empty() {
            entries.push(ProvenanceEntry { fields, ..entry(mark, &[], sources, note) });
        }
    };
    let in_ladder = |name: &str| is_ladder && name == LADDER;
    accuracies(Mark::Measured, &in_ladder, &[LATENCY], "As the grid gives it.");
    accuracies(
        Mark::Assumed,
        &|name| !in_ladder(name),
        &[],
        "The grid gives no accuracy: none is claimed.",
    );
    let active = |name: &str| written.get(name).is_some_and(|network| network.activity.is_some());
    let activities = named(|name| format!("network.{name}.activity"), &active);
    if !activities.is_empty() {
        let note = "Power beyond idle as a share of the first network's, median of the points.";
        entries.push(ProvenanceEntry {
            fields: activities,
            ..entry(Mark::Fitted, &[], &[POWER], note)
        });
    }
    entries
}

fn clocks(grid: &Grid) -> Vec<ProvenanceEntry> {
    let mut entries = vec![entry(
        Mark::Specified,
        &["levels", "clocks"],
        &[LATENCY],
        "Clocks of the grid; the kernel's tables may have more.",
    )];
    if !grid.has_cpu {
        entries.push(entry(
            Mark::Assumed,
            &["levels.cpu_mhz", "clocks.cpu_mhz"],
            &[],
            &format!("The grid has no CPU clock: {CPU_MHZ} MHz."),
        ));
    }
    if !grid.has_emc {
        entries.push(entry(
            Mark::Assumed,
            &["levels.emc_mhz"],
            &[],
            &format!("The grid has no memory clock: {EMC_MHZ} MHz."),
        ));
    }
    entries
}

fn powers(power: &PowerFit, known: &Known) -> Vec<ProvenanceEntry> {
    let error = power.error;
    let busy = if power.busy_measured {
        let mut note = format!(
            "Relative errors least, outliers weighing little: {:.1} % mean, {:.1} % largest error.",
            error.mape_pct, error.max_pct
        );
        if !known.others.is_empty() {
            let others = known.others.join(", ");
            note += &format!(" Of networks that the grid does not have: {others}.");
        }
        entry(Mark::Fitted, &["power.busy"], &[POWER], &note)
    } else {
        let note = "Not measured: that of Jetson Xavier NX over clock / highest clock.";
        entry(Mark::Assumed, &["power.busy"], &[], note)
    };
    let exponent = entry(
        Mark::Assumed,
        &["power.busy.gpu_exponent"],
        &[],
        "Shape of dynamic power with voltage rising with the clock.",
    );
    let idle = if power.idle_measured {
        entry(Mark::Fitted, &["power.idle"], &[POWER], "Rows of net idle.")
    } else {
        let note = "Not measured: 48 % of busy power at the lowest and 33 % at the highest GPU clock, as Jetson Xavier NX has it.";
        entry(Mark::Assumed, &["power.idle"], &[], note)
    };
    let emc = if power.emc_measured {
        entry(
            Mark::Fitted,
            &["power.emc"],
            &[POWER],
            "Memory clock varied; where the rows leave its share of idle power open, near that of Jetson Orin Nano.",
        )
    } else {
        let note = "As fitted to Jetson Orin Nano: 9 % of idle power and 21 % of what work adds for a GHz.";
        entry(Mark::Assumed, &["power.emc"], &[], note)
    };
    let at = if known.power_has_emc {
        "The highest clocks of the grid; the CPU clock of the powers is not recorded."
    } else {
        "The highest clocks of the grid; CPU and memory clock of the powers are not recorded."
    };
    let cpu = "k f V(f)²: 0.63 W at 1.728 GHz, one core busy with launches, V(f) of Tegra210; less where measured powers leave no room.";
    vec![
        busy,
        exponent,
        idle,
        emc,
        entry(Mark::Assumed, &["power.at"], &[], at),
        entry(Mark::Assumed, &["power.cpu"], &[], cpu),
    ]
}

fn laws(grid: &Grid, known: &Known) -> Vec<ProvenanceEntry> {
    let tiles = entry(
        Mark::Specified,
        &["network.*.tiles"],
        &[LATENCY],
        "A request is what the grid's latencies are of.",
    );
    let note = known.points.map_or_else(
        || "t = ((a/f_gpu)^p + (b/f_emc)^p)^(1/p) + c f_ref/f_cpu, all points.".to_owned(),
        |points| {
            format!(
                "t = ((a/f_gpu)^p + (b/f_emc)^p)^(1/p) + c f_ref/f_cpu, {points} points of each network."
            )
        },
    );
    let law = entry(Mark::Fitted, &["network.*.sub_network.law"], &[LATENCY], &note);
    let mut entries = vec![tiles, law];
    if grid.clocks(|point| point.emc_mhz).len() < 2 {
        entries.push(entry(
            Mark::Assumed,
            &["network.*.sub_network.law.emc_mhz_ms", "network.*.sub_network.law.p"],
            &[],
            "One memory clock: how the latency parts into GPU and memory work is not known, and has no effect.",
        ));
    }
    entries.push(if grid.clocks(|point| point.cpu_mhz).len() < 2 {
        entry(
            Mark::Assumed,
            &["network.*.latency.cpu_ref_mhz"],
            &[],
            "One CPU clock: that all of c is launch work in proportion to 1/f_cpu is not measured.",
        )
    } else {
        entry(
            Mark::Specified,
            &["network.*.latency.cpu_ref_mhz"],
            &[LATENCY],
            "The highest CPU clock of the grid.",
        )
    });
    entries
}
