//! `cargo xtask fuzz`: the fuzz targets under libFuzzer.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Workspace};

/// Targets, and folders of the corpus.
const TARGETS: [&str; 4] = ["reader", "policy", "step", "import"];
/// What makes libFuzzer see which branches an input takes; as cargo-fuzz has it, without sanitizer:
/// our crates forbid unsafe code, and this works on a stable compiler.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";
/// Longest input, bytes: a little more than the largest thing a target knows.
const MAX_LENGTH: usize = 20_000;

/// Look for inputs that break what must hold, guided by coverage.
///
/// Targets: reader (bytes on the line), policy (policy images), step (the controller behind its
/// messages), import (PyTorch checkpoints). What reaches new code goes into target/fuzz/corpus; --keep adds the smallest set of
/// it to tests/corpus, which every run of the tests replays. A finding ends with its input in
/// target/fuzz/findings. Needs a C++ compiler.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Target (default: all, one after another)
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// Seconds for each
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Add what is worth keeping to tests/corpus
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    if workspace::find_program("c++").is_none() {
        bail!("c++ is missing: run sudo apt-get install --yes g++");
    }
    let host = workspace::stdout_of(std::process::Command::new("rustc").arg("-vV"))
        .and_then(|text| Some(text.lines().find_map(|l| l.strip_prefix("host: "))?.to_owned()))
        .context("rustc does not say its host")?;
    let folder = workspace.target_dir.join("fuzz");
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--bins", "--target", &host]);
    build.arg("--manifest-path").arg(workspace.root.join("tests/fuzz/Cargo.toml"));
    build.arg("--target-dir").arg(folder.join("build")).env("RUSTFLAGS", COVERAGE);
    workspace::run(&mut build)?;
    let wanted = TARGETS.iter().filter(|name| args.target.as_deref().is_none_or(|t| t == **name));
    for name in wanted {
        fuzz(&workspace, &folder, &host, name, args)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn fuzz(
    workspace: &Workspace,
    folder: &std::path::Path,
    host: &str,
    name: &str,
    args: &Args,
) -> Result<()> {
    let program = folder.join("build").join(host).join("release").join(name);
    let (found, kept) =
        (folder.join("corpus").join(name), workspace.root.join("tests/corpus").join(name));
    let findings = folder.join("findings").join(name);
    for path in [&found, &kept, &findings] {
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    }
    let mut command = std::process::Command::new(&program);
    command.arg(&found).arg(&kept);
    command.arg(format!("-max_total_time={}", args.seconds));
    command.arg(format!("-max_len={MAX_LENGTH}"));
    command.args(["-print_final_stats=1", "-verbosity=0"]);
    command.arg(format!("-artifact_prefix={}/", findings.display()));
    workspace::run(&mut command)?;
    if args.keep {
        let mut merge = std::process::Command::new(&program);
        merge.arg("-set_cover_merge=1").arg("-verbosity=0").arg(&kept).arg(&found);
        workspace::run(&mut merge)?;
    }
    Ok(())
}
