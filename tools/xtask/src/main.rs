//! Development commands of the workspace: set-up, tests, firmware images, emulator.
//!
//! `cargo xtask COMMAND` (an alias in `.cargo/config.toml`). Cargo alone cannot build the
//! firmware, because its target, profile and toolchain differ from the host's; these commands
//! can, and they install what is missing after asking.
#![forbid(unsafe_code)]

mod bench;
mod board;
mod budgets;
mod changes;
mod ci;
mod cuda;
mod demo;
mod device_side;
mod embedded;
mod environment;
mod firmware;
mod flash;
mod fuzz;
mod jetson;
mod libraries;
mod log;
mod policy;
mod qemu;
mod release;
mod setup;
mod sizes;
mod soak;
mod stack;
mod steps;
mod tally;
mod test;
mod uploads;
mod wire;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development commands of Coshift: set-up, demonstration, tests, firmware images, emulator.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Bench(bench::Args),
    Setup(setup::Args),
    Test(test::Args),
    Ci(ci::Args),
    Cuda(cuda::Args),
    Demo(demo::Args),
    Firmware(firmware::Args),
    Flash(flash::Args),
    Fuzz(fuzz::Args),
    Qemu(qemu::Args),
    Sizes(sizes::Args),
    Soak(soak::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Cuda(args) => cuda::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Firmware(args) => firmware::run(&args),
        Command::Flash(args) => flash::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Qemu(args) => qemu::run(&args),
        Command::Sizes(args) => sizes::run(&args),
        Command::Soak(args) => soak::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
