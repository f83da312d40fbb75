//! From the text of a board file to a checked [`Board`].

use std::collections::BTreeSet;

use super::file::{BoardFile, LevelFile};
use super::outline::{self, Outline};
use super::provenance::{self, MarkedNumber, Provenance};
use super::{Board, BoardError, Caps, FORMAT, Level, MAX_LEVELS, Settle, clocks, networks};
use crate::law::{PowerLaw, ThermalLaw};

/// The file that is checked, for errors with their place.
pub(super) struct Context<'a> {
    file: &'a str,
    outline: Outline,
}

impl Context<'_> {
    /// An error at a field.
    pub(super) fn error(&self, field: &str, problem: impl Into<String>) -> BoardError {
        BoardError {
            file: self.file.into(),
            line: self.outline.line_of(field),
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// A number that lies in a range, ends included.
    pub(super) fn within(
        &self,
        field: &str,
        value: f64,
        lowest: f64,
        highest: f64,
    ) -> Result<f64, BoardError> {
        if (lowest..=highest).contains(&value) {
            Ok(value)
        } else {
            Err(self.error(field, format!("{lowest} to {highest} goes, {value} found")))
        }
    }

    /// A clock of whole kHz, 1 MHz to 20 GHz.
    pub(super) fn khz(&self, field: &str, mhz: f64) -> Result<u32, BoardError> {
        let khz = self.within(field, mhz, 1.0, 20_000.0)? * 1e3;
        if (khz - khz.round()).abs() > 1e-6 {
            return Err(self.error(field, format!("whole kHz go, {mhz} MHz found")));
        }
        // In range by the check above.
        Ok(khz.round() as u32)
    }

    /// A name of at most `max` characters that fits the policy image and a dotted path.
    pub(super) fn name(&self, field: &str, name: &str, max: usize) -> Result<(), BoardError> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > max || !name.chars().all(sound) {
            return Err(
                self.error(field, format!("1 to {max} of a-z, 0-9, _ and - go, \"{name}\" found"))
            );
        }
        Ok(())
    }
}

/// Reads and checks a board file's text.
pub(super) fn board(text: &str, file: &str) -> Result<Board, BoardError> {
    let place = |error: &toml::de::Error, outline: Option<&Outline>| {
        let offset = error.span().map(|span| span.start);
        let (field, line) = match (outline, offset) {
            (Some(outline), Some(offset)) => {
                let (field, line) = outline.place_of(text, offset);
                (field, Some(line))
            }
            (_, offset) => (String::new(), offset.map(|offset| outline::line_in(text, offset))),
        };
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        BoardError { file: file.into(), line, field, problem }
    };
    let outline = Outline::new(text).map_err(|error| place(&error, None))?;
    let read: BoardFile = toml::from_str(text).map_err(|error| place(&error, Some(&outline)))?;
    let context = Context { file, outline };
    checked(&read, &context)
}

fn checked(read: &BoardFile, context: &Context<'_>) -> Result<Board, BoardError> {
    if read.format != FORMAT {
        return Err(context.error("format", format!("{FORMAT} goes, {} found", read.format)));
    }
    context.name("name", &read.name, 16)?;
    context.name("runtime", &read.runtime, 8)?;
    for field in &context.outline.fields {
        let finite = |text: &String| !text.contains("nan") && !text.contains("inf");
        if !field.number.as_ref().is_none_or(finite) {
            return Err(context.error(&field.path, "a finite number goes"));
        }
    }
    let levels = levels(&read.levels, context)?;
    let clocks = clocks::tables(read, &levels, context)?;
    let park_level = match read.park_level.map(usize::from) {
        Some(index) if index >= levels.len() => {
            let problem = format!("0 to {} goes, {index} found", levels.len().saturating_sub(1));
            return Err(context.error("park_level", problem));
        }
        found => found,
    };
    let utilisation =
        context.within("utilisation_limit_pct", read.utilisation_limit_pct, 0.1, 100.0)?;
    let power = power(read, &levels, context)?;
    let networks = networks::networks(read, &levels, context)?;
    Ok(Board {
        name: read.name.clone(),
        title: read.title.clone(),
        notes: read.notes.clone(),
        runtime: read.runtime.clone(),
        precision_bits: read.precision_bits,
        batch: read.batch,
        clocks,
        park_level,
        // 1 to 1000 by the check above.
        utilisation_permille: (utilisation * 10.0).round() as u16,
        settle: settle(read, context)?,
        caps: caps(read, context)?,
        power,
        thermal: thermal(read, context)?,
        networks,
        provenance: marks(read, context)?,
        levels,
    })
}

fn levels(read: &[LevelFile], context: &Context<'_>) -> Result<Vec<Level>, BoardError> {
    if read.is_empty() || read.len() > MAX_LEVELS {
        let problem = format!("1 to {MAX_LEVELS} levels go, {} found", read.len());
        return Err(context.error("levels", problem));
    }
    let mut levels: Vec<Level> = Vec::new();
    for (index, level) in read.iter().enumerate() {
        let khz = |name: &str, mhz: f64| -> Result<u32, BoardError> {
            let field = format!("levels[{index}].{name}");
            context.khz(&field, mhz)
        };
        let level = Level {
            cpu_khz: khz("cpu_mhz", level.cpu_mhz)?,
            gpu_khz: khz("gpu_mhz", level.gpu_mhz)?,
            emc_khz: khz("emc_mhz", level.emc_mhz)?,
        };
        if levels.last().is_some_and(|before| before.order() >= level.order()) {
            return Err(context.error(
                &format!("levels[{index}]"),
                "levels sorted by (gpu_mhz, emc_mhz, cpu_mhz) and different go, this one is not \
                 above the one before it",
            ));
        }
        levels.push(level);
    }
    Ok(levels)
}

fn settle(read: &BoardFile, context: &Context<'_>) -> Result<Settle, BoardError> {
    let us = |name: &str, ms: f64| -> Result<u32, BoardError> {
        Ok((context.within(&format!("settle.{name}"), ms, 0.0, 1000.0)? * 1e3).round() as u32)
    };
    Ok(Settle {
        cpu_us: us("cpu_ms", read.settle.cpu_ms)?,
        gpu_us: us("gpu_ms", read.settle.gpu_ms)?,
        emc_us: us("emc_ms", read.settle.emc_ms)?,
    })
}

fn caps(read: &BoardFile, context: &Context<'_>) -> Result<Caps, BoardError> {
    let power_mw = match read.caps.power_w {
        Some(watt) => {
            Some((context.within("caps.power_w", watt, 0.1, 1000.0)? * 1e3).round() as u32)
        }
        None => None,
    };
    let temp_mdeg_c = match read.caps.temp_c {
        Some(temp) => Some((context.within("caps.temp_c", temp, 0.0, 150.0)? * 1e3).round() as i32),
        None => None,
    };
    Ok(Caps { power_mw, temp_mdeg_c })
}

fn power(
    read: &BoardFile,
    levels: &[Level],
    context: &Context<'_>,
) -> Result<PowerLaw, BoardError> {
    let file = &read.power;
    let at = |name: &str, mhz: f64| context.within(&format!("power.at.{name}"), mhz, 1.0, 20_000.0);
    let law = PowerLaw {
        at_cpu_ghz: at("cpu_mhz", file.at.cpu_mhz)? / 1e3,
        at_emc_ghz: at("emc_mhz", file.at.emc_mhz)? / 1e3,
        idle: [file.idle.base_w, file.idle.gpu_w_per_ghz],
        busy: [file.busy.base_w, file.busy.gpu_w_per_ghz, file.busy.gpu_power_w],
        busy_exponent: context.within(
            "power.busy.gpu_exponent",
            file.busy.gpu_exponent,
            1.0,
            10.0,
        )?,
        idle_emc: file.emc.idle_w_per_ghz,
        busy_emc: file.emc.busy_share_per_ghz,
        cpu_factor: context.within("power.cpu.w_per_ghz_v2", file.cpu.w_per_ghz_v2, 0.0, 100.0)?,
        cpu_idle_share: context.within("power.cpu.idle_share", file.cpu.idle_share, 0.0, 1.0)?,
        cpu_volt: [file.cpu.volt_min, file.cpu.volt_base, file.cpu.volt_per_ghz],
    };
    for (index, level) in levels.iter().enumerate() {
        let (idle, busy) = (law.idle_w(level), law.busy_w(level, 1.0));
        if idle <= 0.0 || busy <= idle || busy > 1000.0 {
            return Err(context.error(
                "power",
                format!(
                    "0 < idle < busy <= 1000 W goes at every level, idle {idle:.3} W and busy \
                     {busy:.3} W come out at level {index}"
                ),
            ));
        }
    }
    Ok(law)
}

fn thermal(read: &BoardFile, context: &Context<'_>) -> Result<ThermalLaw, BoardError> {
    let file = &read.thermal;
    let within = |name: &str, value: f64, lowest: f64, highest: f64| {
        context.within(&format!("thermal.{name}"), value, lowest, highest)
    };
    Ok(ThermalLaw {
        resistance_k_per_w: within("resistance_k_per_w", file.resistance_k_per_w, 0.01, 100.0)?,
        time_constant_s: within("time_constant_s", file.time_constant_s, 0.1, 1e5)?,
        ambient_c: within("ambient_c", file.ambient_c, -60.0, 100.0)?,
        throttle_c: within("throttle_c", file.throttle_c, 0.0, 150.0)?,
    })
}

fn marks(read: &BoardFile, context: &Context<'_>) -> Result<Provenance, BoardError> {
    for (index, entry) in read.provenance.iter().enumerate() {
        let at = format!("provenance[{index}]");
        if let Some(source) = entry.sources.iter().find(|key| !read.sources.contains_key(*key)) {
            let known = read.sources.keys().cloned().collect::<Vec<_>>().join(", ");
            let problem = format!("a key of [sources] goes ({known}), \"{source}\" found");
            return Err(context.error(&format!("{at}.sources"), problem));
        }
        if entry.sources.is_empty() && entry.note.is_empty() {
            return Err(context.error(&at, "a source or a note goes with every mark"));
        }
    }
    let mut marks = Provenance {
        sources: read.sources.clone(),
        entries: read.provenance.clone(),
        numbers: Vec::new(),
    };
    let mut paths = BTreeSet::new();
    for field in context.outline.fields.iter().filter(|field| field.number.is_some()) {
        if !provenance::counts(&field.path) {
            continue;
        }
        let Some(entry) = marks.of(&field.path) else {
            return Err(context.error(
                &field.path,
                "no entry of [[provenance]] says whether it is measured, fitted, assumed or \
                 specified",
            ));
        };
        let mark = entry.mark;
        paths.insert(provenance::parts(&field.path));
        marks.numbers.push(MarkedNumber { field: field.path.clone(), mark });
    }
    for (index, entry) in read.provenance.iter().enumerate() {
        for (place, field) in entry.fields.iter().enumerate() {
            let pattern = provenance::parts(field);
            if !paths.iter().any(|path| provenance::covers(&pattern, path)) {
                return Err(context.error(
                    &format!("provenance[{index}].fields[{place}]"),
                    format!("a field with a number in it goes, \"{field}\" has none"),
                ));
            }
        }
    }
    Ok(marks)
}
