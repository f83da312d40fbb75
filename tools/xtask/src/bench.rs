//! `cargo xtask bench`: how costs grow, and how fast the simulation is.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use coshift_shared::kind::Kind;
use serde_json::Value;

use crate::board;
use crate::sizes::Bench;
use crate::steps::{self, CaseId, Measured, Shape, Step};
use crate::workspace::{self, Workspace};

/// Benches, in the order they run.
const BENCHES: [&str; 2] = ["growth", "plant"];
/// Cases for each point of the growth.
const CASES: u32 = 100;
/// A telemetry that takes less decides nothing itself: without a search it takes 1,000 to 1,500, and from
/// 3,500 on where it only looks at the standing level.
const SENT_AGAIN: u64 = 2_000;
/// The largest of each axis: applications, sub-networks, levels.
const LARGEST: [u8; 3] = [4, 16, 32];
const AXES: [&str; 3] = ["applications", "sub-networks", "levels"];

/// Run the benches and write what they measure into docs/performance.md.
///
/// growth: instructions of controller steps by applications, sub-networks and levels, counted by the
/// emulator: exact, the same on every machine. plant: simulated inferences a minute of one core,
/// with the controller in the loop: depends on the machine, so no check holds it against anything.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Bench (default: all, one after another)
    #[arg(value_parser = BENCHES)]
    name: Option<String>,
    /// Only print, and leave docs/performance.md as it is
    #[arg(long)]
    dry_run: bool,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    for name in BENCHES.iter().filter(|name| args.name.as_deref().is_none_or(|n| n == **name)) {
        let table = match *name {
            "growth" => growth(&Bench::new(&workspace, board::MPS2_AN386, args.yes)?)?,
            _ => plant(&workspace)?,
        };
        println!("{table}");
        if !args.dry_run {
            write(&workspace.root.join("docs/performance.md"), name, &table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Cost of steps along each axis, the other two at their largest.
fn growth(bench: &Bench) -> Result<String> {
    let mut table = String::from(
        "| applications | sub-networks | levels | period, dearest | period, mean | unbounded \
         | telemetry, mean | sent again, % | telemetry, dearest step | outcomes, mean \
         | outcomes, dearest step |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let ids: Vec<_> = (0..CASES).map(|index| CaseId { seed: 1, index }).collect();
    for sizes in points() {
        let [applications, sub_networks, levels] = sizes;
        let shape = Shape::Sized { applications, sub_networks, levels };
        let measured = bench.measure(shape, &ids)?;
        let unbounded = steps::measure(&bench.emulator, &bench.image, shape, &ids, u32::MAX)?;
        let mut row = format!("| {applications} | {sub_networks} | {levels} |");
        row += &format!(" {} |", measured.worst_period().context("no period was measured")?);
        for measured in [&measured, &unbounded] {
            row += &format!(" {} |", measured.mean_period().context("no period was measured")?);
        }
        for kind in [Kind::Telemetry, Kind::Outcomes] {
            let steps = measured.of(kind);
            let mean = steps.mean().context("no step was measured")?;
            let worst = steps.worst().context("no step was measured")?.instructions;
            row += &format!(" {mean} |");
            if kind == Kind::Telemetry {
                row += &format!(" {} |", sent_again_percent(&steps));
            }
            row += &format!(" {worst} |");
        }
        table += &row;
        table.push('\n');
    }
    Ok(format!(
        "Instructions (the release profile, Cortex-M4), {CASES} random policies a row. Cells, targets and \
         caps are drawn as those of the worst step, but a case has five periods, not 16, and no board \
         parks. A period is its outcomes and one telemetry, with all slices of their decisions; a mean \
         of a kind is that of a message and the slices that follow it, the dearest step one slice or \
         message alone. The axes are {}.\n\n\
         As a rule, the more applications, sub-networks and levels there are, the more often outcomes \
         show that a promise is broken: a decision searches then and there, the telemetry behind it only \
         sends that one again (*sent again*: less than {SENT_AGAIN} instructions), and its own mean falls \
         while that of the period grows. One decision's search ends at its bound and the next one goes on \
         there, so the period levels off; *unbounded* is a period whose searches always go to their end.\n\n\
         {table}",
        AXES.join(", ")
    ))
}

/// How many of these telemetries only send what outcomes before them had decided, %.
fn sent_again_percent(telemetries: &Measured) -> usize {
    let again = |step: &&Step| step.altogether < SENT_AGAIN;
    let count = telemetries.steps.iter().filter(again).count();
    (count * 100).checked_div(telemetries.steps.len()).unwrap_or(0)
}

/// Every point once: each axis doubled up to its largest, the others at theirs.
fn points() -> Vec<[u8; 3]> {
    let mut points = Vec::new();
    for axis in 0..LARGEST.len() {
        let mut size = 1;
        while size <= LARGEST[axis] {
            let mut point = LARGEST;
            point[axis] = size;
            if !points.contains(&point) {
                points.push(point);
            }
            size *= 2;
        }
    }
    points
}

fn plant(workspace: &Workspace) -> Result<String> {
    let mut command = workspace.cargo();
    command.args(["bench", "--package", "coshift-tools", "--no-default-features"]);
    command.args(["--bench", "plant"]).stderr(Stdio::inherit());
    eprintln!("$ {}", workspace::describe(&command));
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", workspace::describe(&command), output.status);
    }
    let text = String::from_utf8(output.stdout).context("the bench's output")?;
    let mut table = String::from(
        "| scenario | applications | inferences | core time, s | inferences a minute |\n\
         |---|---|---|---|---|\n",
    );
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let row: Value = serde_json::from_str(line).context("the bench's output")?;
        let number = |key: &str| row[key].as_f64().with_context(|| format!("no {key} in {line}"));
        let name = row["scenario"].as_str().context("no scenario in the bench's output")?;
        table += &format!(
            "| {name} | {} | {} | {:.2} | {} |\n",
            number("applications")?,
            number("inferences")?,
            number("core_s")?,
            number("inferences_a_minute")?
        );
        rows += 1;
    }
    if rows == 0 {
        bail!("the bench printed no result");
    }
    let machine = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let machine = machine
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    Ok(format!(
        "Virtual boards with this project's controller in the loop, behind its real messages; time is \
         that of one core ({machine}).\n\n{table}"
    ))
}

/// Puts a table, with the date, between the markers of its bench; adds them where they are missing.
fn write(path: &Path, name: &str, table: &str) -> Result<()> {
    let date = workspace::stdout_of(Command::new("date").args(["-u", "+%Y-%m-%d"]))
        .context("`date` does not say the date")?;
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => HEAD.to_owned(),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let new = replaced(&old, name, &format!("Measured {date}.\n\n{table}"))
        .with_context(|| format!("{}", path.display()))?;
    fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

const HEAD: &str = "# Performance\n\nWritten by `cargo xtask bench`; change nothing between the \
                    markers by hand.\n";

/// The text with other content between the markers of a bench.
fn replaced(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench {name} -->"), format!("<!-- end of {name} -->"));
    let Some((before, rest)) = text.split_once(&begin) else {
        return Ok(format!("{text}\n## {name}\n\n{begin}\n{content}{end}\n"));
    };
    let (_, after) =
        rest.split_once(&end).with_context(|| format!("`{begin}` has no `{end}` after it"))?;
    Ok(format!("{before}{begin}\n{content}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_axis_grows_alone_and_no_point_comes_twice() {
        let points = points();
        assert_eq!(points.len(), 3 + 5 + 6 - 2);
        assert!(points.contains(&LARGEST) && points.contains(&[1, 16, 32]));
        assert!(
            points.iter().all(|p| (0..3).filter(|axis| p[*axis] != LARGEST[*axis]).count() < 2)
        );
    }

    #[test]
    fn telemetries_that_decide_nothing_are_counted() {
        let case = CaseId { seed: 0, index: 0 };
        let step = |altogether| {
            let kind = Kind::Telemetry;
            Step { case, kind, instructions: altogether, altogether, slices: 0 }
        };
        let steps = [1_100, 1_999, 2_000, 40_000].map(step).to_vec();
        assert_eq!(sent_again_percent(&Measured { steps }), 50);
        assert_eq!(sent_again_percent(&Measured::default()), 0);
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let first = replaced(HEAD, "a", "1\n").unwrap();
        let both = replaced(&first, "b", "2\n").unwrap();
        let again = replaced(&both, "a", "3\n").unwrap();
        assert_eq!(again, both.replace("1\n", "3\n"));
        let broken = "<!-- bench a -->\n";
        assert!(replaced(broken, "a", "").unwrap_err().to_string().contains("end of a"));
    }
}
