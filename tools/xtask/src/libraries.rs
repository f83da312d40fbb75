//! What other people's firmware links: the libraries without `std`, on every target, and the C
//! library.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::embedded::{COPROCESSOR, LIBRARY_TARGETS, TARGET, Toolchain};
use crate::environment::Environment;
use crate::firmware::{self, PROFILE};
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::workspace::{self, Workspace};

/// The libraries of the firmware. Each is built alone: no feature of a neighbour may hide a need of
/// the standard library.
const LIBRARIES: [&str; 2] = ["coshift-shared", "coshift-controller"];
/// The C library, and its file.
const C_LIBRARY: (&str, &str) = ("coshift-capi", "libcoshift_capi.a");
/// What the C library offers, by its header.
const HEADER: &str = include_str!("../../../controller/capi/include/coshift.h");

/// Builds everything for every target, and links the C library.
pub(crate) fn check(workspace: &Workspace, yes: bool, tally: &mut Tally) {
    let images = firmware::toolchain(yes);
    step(tally, &format!("no_std on {TARGET}"), images, |toolchain| {
        build_all(workspace, toolchain, TARGET)
    });
    let environment = setup::ensure(&[Need::LibraryTargets], yes);
    let toolchain = environment.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")).and_then(
        |environment| {
            Toolchain::choose_for_libraries(environment).context("no toolchain for its targets")
        },
    );
    for target in LIBRARY_TARGETS {
        let toolchain =
            toolchain.as_ref().map(Clone::clone).map_err(|error| anyhow::anyhow!("{error:#}"));
        step(tally, &format!("no_std on {target}"), toolchain, |toolchain| {
            build_all(workspace, toolchain, target)
        });
    }
    step(tally, &format!("C library on {COPROCESSOR}"), toolchain, |toolchain| {
        let library = c_library(workspace, toolchain)?;
        let environment = environment.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        link(workspace, environment, &library)
    });
}

/// Counts a step; without its toolchain it is skipped, in CI failed.
fn step(
    tally: &mut Tally,
    name: &str,
    toolchain: Result<Toolchain>,
    run: impl FnOnce(&Toolchain) -> Result<()>,
) {
    match toolchain {
        Ok(toolchain) => tally.check(name, run(&toolchain)),
        Err(error) if workspace::in_ci() => tally.check(name, Err(error)),
        Err(error) => tally.skip(name, &format!("{error:#}")),
    }
}

fn build_all(workspace: &Workspace, toolchain: &Toolchain, target: &str) -> Result<()> {
    for package in LIBRARIES {
        workspace::run(&mut build(workspace, toolchain, target, package))?;
    }
    Ok(())
}

fn build(workspace: &Workspace, toolchain: &Toolchain, target: &str, package: &str) -> Command {
    let mut command = workspace.cargo();
    command.args(["build", "--package", package, "--lib", "--profile", PROFILE]);
    command.arg("--target-dir").arg(firmware::target_dir(workspace));
    toolchain.apply_for(target, &mut command);
    command
}

/// Builds the C library for the co-processor and gives its path.
fn c_library(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let (package, file) = C_LIBRARY;
    workspace::run(&mut build(workspace, toolchain, COPROCESSOR, package))?;
    Ok(firmware::target_dir(workspace).join(COPROCESSOR).join(PROFILE).join(file))
}

/// Links every function of the header: the library needs nothing that it does not bring, and the
/// panic handler, which calls a symbol that nothing defines, is out of their reach.
fn link(workspace: &Workspace, environment: &Environment, library: &PathBuf) -> Result<()> {
    let folder = environment.linker_dir.as_ref().context("no rust-lld in the pinned toolchain")?;
    let mut command = Command::new(folder.join("rust-lld"));
    command.args(["-flavor", "gnu", "--gc-sections", "--entry=coshift_api_version"]);
    for function in functions(HEADER) {
        command.arg(format!("--undefined={function}"));
    }
    let output = firmware::target_dir(workspace).join("coshift_capi.elf");
    workspace::run(command.arg(library).arg("-o").arg(output))
}

/// Names of the functions that a header declares.
fn functions(header: &str) -> Vec<&str> {
    let lines = header.lines().filter(|line| !line.starts_with("//"));
    lines
        .filter_map(|line| {
            let name = line.split_once('(')?.0.rsplit([' ', '*']).next()?;
            name.starts_with("coshift_").then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_a_header_are_found() {
        let header = "// See coshift_x(y).\nuint32_t coshift_a(void);\n\
                      enum s coshift_b(struct n *node,\n    uint8_t *bytes);\nvoid *coshift_c(int);\n";
        assert_eq!(functions(header), ["coshift_a", "coshift_b", "coshift_c"]);
        let found = functions(HEADER);
        assert!(found.contains(&"coshift_node_create") && found.len() == 8, "{found:?}");
    }
}
