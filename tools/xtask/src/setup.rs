//! `cargo xtask setup`: installs what is missing, after asking; repeats nothing.

use std::io::Write;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::embedded::{JETSON, LIBRARY_TARGETS, TARGET, Toolchain};
use crate::environment::{Environment, Rights, Wanted};
use crate::workspace;

/// Install what firmware and emulator tests need: the embedded targets and the emulator.
///
/// The targets come from rustup; where rustup cannot download them, Debian's compiler and library
/// source are used (packages rustc-web and rust-web-src). The emulator is the package
/// qemu-system-arm. Asks before it installs anything, and does nothing when nothing is missing.
/// COSHIFT_EMBEDDED_COMPILER=rustup or =debian asks for one of the two compilers.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Install without asking (CI=true does the same)
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let needs = [Need::Toolchain, Need::LibraryTargets, Need::Emulator];
    let environment = ensure(&needs, args.yes)?;
    if let Some(toolchain) = Toolchain::choose(&environment) {
        println!("images ({TARGET}) are built by {}", toolchain.describe());
    }
    if let Some(toolchain) = Toolchain::choose_for_libraries(&environment) {
        let targets = LIBRARY_TARGETS.join(", ");
        println!("libraries ({targets}) are built by {}", toolchain.describe());
    }
    if let Some(emulator) = &environment.emulator {
        println!("emulator: {}", emulator.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Something a command cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A compiler for images.
    Toolchain,
    /// A compiler for the targets that libraries are built for.
    LibraryTargets,
    /// `qemu-system-arm`.
    Emulator,
    /// Compiler, linker and emulator of programs for the Jetson's processor.
    Jetson,
}

/// One installation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `rustup target add`; where it fails, these packages serve instead (none: no way left).
    RustupTargets { targets: Vec<&'static str>, otherwise: Vec<&'static str> },
    /// `apt-get install`.
    Packages(Vec<&'static str>),
}

/// Why nothing can be installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// No rights: the command to be run by somebody who has them.
    NoRights(String),
    /// Neither rustup nor apt-get: what is missing.
    NoInstaller(Vec<&'static str>),
}

/// Packages of Debian's compiler that are missing.
fn compiler_packages(environment: &Environment) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if !environment.debian_compiler {
        packages.push("rustc-web");
    }
    if !environment.debian_source {
        packages.push("rust-web-src");
    }
    packages
}

/// What has to be installed for `needs`, cheapest way first; empty when nothing is missing.
fn plan(environment: &Environment, needs: &[Need]) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    let mut packages = Vec::new();
    let mut targets = Vec::new();
    if needs.contains(&Need::Toolchain) && Toolchain::choose(environment).is_none() {
        targets.push(TARGET);
    }
    let libraries = Toolchain::choose_for_libraries(environment);
    if needs.contains(&Need::LibraryTargets) && libraries.is_none() {
        targets.extend(LIBRARY_TARGETS);
    }
    if needs.contains(&Need::Jetson) && Toolchain::choose_for_jetson(environment).is_none() {
        targets.push(JETSON);
    }
    if !targets.is_empty() {
        // Debian's compiler needs the pinned toolchain's linker, which no package brings.
        let otherwise = if environment.wanted == Wanted::Rustup
            || environment.linker_dir.is_none()
            || !environment.apt
        {
            Vec::new()
        } else {
            compiler_packages(environment)
        };
        if environment.rustup && environment.wanted != Wanted::Debian {
            steps.push(Step::RustupTargets { targets, otherwise });
        } else if otherwise.is_empty() {
            return Err(Refusal::NoInstaller(vec!["rustup"]));
        } else {
            packages.extend(otherwise);
        }
    }
    if needs.contains(&Need::Emulator) && environment.emulator.is_none() {
        packages.push("qemu-system-arm");
    }
    if needs.contains(&Need::Jetson) {
        if !environment.jetson_linker {
            packages.extend(["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]);
        }
        if !environment.jetson_emulator {
            packages.push("qemu-user");
        }
    }
    if !packages.is_empty() {
        if !environment.apt {
            return Err(Refusal::NoInstaller(packages));
        }
        if environment.rights == Rights::None {
            return Err(Refusal::NoRights(apt_line(&packages, true)));
        }
        steps.push(Step::Packages(packages));
    }
    Ok(steps)
}

/// The command that installs packages, as one would type it.
fn apt_line(packages: &[&str], sudo: bool) -> String {
    let sudo = if sudo { "sudo " } else { "" };
    format!(
        "{sudo}apt-get update && {sudo}apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs what is missing for `needs` and returns the environment as it is then.
///
/// # Errors
/// When somebody said no, rights are missing (the message holds the exact command), or an
/// installation failed.
pub(crate) fn ensure(needs: &[Need], yes: bool) -> Result<Environment> {
    let environment = Environment::probe()?;
    let steps = match plan(&environment, needs) {
        Ok(steps) => steps,
        Err(refusal) => bail!(refusal_text(&refusal)),
    };
    if steps.is_empty() {
        return Ok(environment);
    }
    for step in &steps {
        match step {
            Step::RustupTargets { targets, otherwise } => {
                let line = format!("rustup target add {}", targets.join(" "));
                consent(&environment, yes, &line)?;
                let mut rustup = Command::new("rustup");
                let added = workspace::run(rustup.args(["target", "add"]).args(targets));
                if let Err(error) = added {
                    if otherwise.is_empty() {
                        return Err(error);
                    }
                    eprintln!("rustup cannot add the targets; Debian's compiler serves instead");
                    install(&environment, otherwise, yes)?;
                }
            }
            Step::Packages(packages) => install(&environment, packages, yes)?,
        }
    }
    let environment = Environment::probe()?;
    match plan(&environment, needs) {
        Ok(left) if left.is_empty() => Ok(environment),
        _ => bail!("installed what was planned ({steps:?}), and something is still missing"),
    }
}

fn install(environment: &Environment, packages: &[&str], yes: bool) -> Result<()> {
    let sudo = environment.rights != Rights::Root;
    if environment.rights == Rights::None {
        bail!(refusal_text(&Refusal::NoRights(apt_line(packages, true))));
    }
    consent(environment, yes, &apt_line(packages, sudo))?;
    let apt = || {
        let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.arg("apt-get");
        }
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    workspace::run(apt().arg("update"))?;
    workspace::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

/// Asks whether `line` may be run, unless that is settled already.
fn consent(environment: &Environment, yes: bool, line: &str) -> Result<()> {
    if yes || environment.ci {
        return Ok(());
    }
    if !environment.interactive {
        bail!("missing parts can be installed by `{line}` (or give --yes)");
    }
    eprint!("Install what is missing with `{line}`? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    bail!("not installed; the command is `{line}`")
}

fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoRights(line) => {
            format!("no right to install packages here; run this as an administrator: {line}")
        }
        Refusal::NoInstaller(missing) => {
            format!("missing and not installable from here: {}", missing.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const BOTH: [Need; 2] = [Need::Toolchain, Need::Emulator];

    /// A Debian machine with rustup where nothing is missing.
    fn complete() -> Environment {
        Environment {
            rustup_target: true,
            rustup_library_targets: true,
            rustup_jetson_target: true,
            rustup: true,
            debian_compiler: true,
            debian_source: true,
            linker_dir: Some(PathBuf::from("/toolchain/bin")),
            emulator: Some(PathBuf::from("/usr/bin/qemu-system-arm")),
            jetson_linker: true,
            jetson_emulator: true,
            probe_rs: None,
            apt: true,
            rights: Rights::Root,
            interactive: false,
            ci: false,
            wanted: Wanted::Any,
        }
    }

    /// The same machine, fresh.
    fn bare() -> Environment {
        Environment {
            rustup_target: false,
            rustup_library_targets: false,
            rustup_jetson_target: false,
            debian_compiler: false,
            debian_source: false,
            emulator: None,
            jetson_linker: false,
            jetson_emulator: false,
            ..complete()
        }
    }

    fn rustup(targets: Vec<&'static str>, otherwise: Vec<&'static str>) -> Step {
        Step::RustupTargets { targets, otherwise }
    }

    #[test]
    fn targets_of_libraries_are_added_with_that_of_images_or_built_by_debian() {
        let needs = [Need::Toolchain, Need::LibraryTargets];
        let machine = Environment { debian_compiler: true, debian_source: true, ..bare() };
        assert_eq!(plan(&machine, &needs), Ok(vec![]));
        let machine = Environment { apt: false, ..bare() };
        let all = vec![TARGET, LIBRARY_TARGETS[0], LIBRARY_TARGETS[1]];
        assert_eq!(plan(&machine, &needs), Ok(vec![rustup(all, vec![])]));
        let machine = Environment { rustup_target: true, ..machine };
        assert_eq!(plan(&machine, &needs), Ok(vec![rustup(LIBRARY_TARGETS.to_vec(), vec![])]));
        assert_eq!(plan(&machine, &[Need::Toolchain]), Ok(vec![]));
    }

    #[test]
    fn the_processor_of_a_jetson_needs_compiler_linker_and_emulator() {
        let needs = [Need::Jetson];
        assert_eq!(plan(&complete(), &needs), Ok(vec![]));
        let all = vec!["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];
        let otherwise = vec!["rustc-web", "rust-web-src"];
        let steps = vec![rustup(vec![JETSON], otherwise), Step::Packages(all)];
        assert_eq!(plan(&bare(), &needs), Ok(steps));
        // Debian's compiler serves where rustup has no such library.
        let machine = Environment { rustup_jetson_target: false, ..complete() };
        let machine = Environment { jetson_emulator: false, ..machine };
        assert_eq!(plan(&machine, &needs), Ok(vec![Step::Packages(vec!["qemu-user"])]));
        assert_eq!(plan(&machine, &BOTH), Ok(vec![]));
    }

    #[test]
    fn nothing_missing_means_no_step() {
        assert_eq!(plan(&complete(), &BOTH), Ok(vec![]));
        // Either toolchain is enough.
        assert_eq!(plan(&Environment { rustup_target: false, ..complete() }, &BOTH), Ok(vec![]));
        let rustup_only =
            Environment { debian_compiler: false, debian_source: false, ..complete() };
        assert_eq!(plan(&rustup_only, &BOTH), Ok(vec![]));
    }

    #[test]
    fn a_bare_machine_tries_rustup_and_names_the_packages_that_serve_instead() {
        let steps = plan(&bare(), &BOTH);
        let otherwise = vec!["rustc-web", "rust-web-src"];
        let expected =
            vec![rustup(vec![TARGET], otherwise), Step::Packages(vec!["qemu-system-arm"])];
        assert_eq!(steps, Ok(expected));
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let no_source = Environment { debian_source: false, rustup: false, ..bare() };
        let no_source = Environment { debian_compiler: true, ..no_source };
        let steps = plan(&no_source, &[Need::Toolchain]);
        assert_eq!(steps, Ok(vec![Step::Packages(vec!["rust-web-src"])]));
        let no_emulator = Environment { emulator: None, ..complete() };
        assert_eq!(plan(&no_emulator, &[Need::Toolchain]), Ok(vec![]));
    }

    #[test]
    fn a_wanted_compiler_is_the_only_one_planned() {
        let debian = Environment { wanted: Wanted::Debian, ..bare() };
        let packages = Step::Packages(vec!["rustc-web", "rust-web-src", "qemu-system-arm"]);
        assert_eq!(plan(&debian, &BOTH), Ok(vec![packages]));
        let rustup = Environment { wanted: Wanted::Rustup, ..bare() };
        assert_eq!(plan(&rustup, &[Need::Toolchain]), Ok(vec![self::rustup(vec![TARGET], vec![])]));
        // A complete Debian compiler does not serve somebody who asked for rustup's.
        let other = Environment { wanted: Wanted::Rustup, rustup_target: false, ..complete() };
        assert_ne!(plan(&other, &[Need::Toolchain]), Ok(vec![]));
    }

    #[test]
    fn without_rights_the_exact_command_is_told() {
        let refused = plan(&Environment { rights: Rights::None, ..bare() }, &[Need::Emulator]);
        let Err(refusal) = refused else { panic!("planned without rights") };
        let text = refusal_text(&refusal);
        let command = "sudo apt-get update && \
                       sudo apt-get install --yes --no-install-recommends qemu-system-arm";
        assert!(text.ends_with(command), "{text}");
    }

    #[test]
    fn without_any_installer_the_missing_parts_are_named() {
        let machine = Environment { apt: false, rustup: false, ..bare() };
        assert_eq!(plan(&machine, &BOTH), Err(Refusal::NoInstaller(vec!["rustup"])));
        let refused = plan(&Environment { apt: false, ..bare() }, &[Need::Emulator]);
        assert_eq!(refused, Err(Refusal::NoInstaller(vec!["qemu-system-arm"])));
    }

    #[test]
    fn debian_cannot_serve_without_the_pinned_linker() {
        let machine = Environment { linker_dir: None, rustup_target: false, ..complete() };
        assert_eq!(Toolchain::choose(&machine), None);
        let step = rustup(vec![TARGET], vec![]);
        assert_eq!(plan(&machine, &[Need::Toolchain]), Ok(vec![step]));
    }

    #[test]
    fn consent_is_given_by_flag_or_ci_and_else_refused_without_a_person() {
        assert!(consent(&complete(), true, "x").is_ok());
        assert!(consent(&Environment { ci: true, ..complete() }, false, "x").is_ok());
        let message = consent(&complete(), false, "apt-get install y").unwrap_err().to_string();
        assert!(message.contains("apt-get install y") && message.contains("--yes"), "{message}");
    }

    #[test]
    fn the_pinned_toolchain_is_preferred() {
        assert_eq!(Toolchain::choose(&complete()), Some(Toolchain::Rustup));
        let without = Environment { rustup_target: false, ..complete() };
        let linker_dir = PathBuf::from("/toolchain/bin");
        assert_eq!(Toolchain::choose(&without), Some(Toolchain::Debian { linker_dir }));
        assert_eq!(Toolchain::choose(&bare()), None);
    }
}
