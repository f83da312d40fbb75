//! The toolchain that compiles for other processors than this machine's.
//!
//! Two kinds serve: the pinned toolchain with the targets' libraries added by rustup, or, where
//! rustup cannot download them, Debian's compiler and library source, from which cargo builds
//! `core` itself (`-Zbuild-std`), linked by the pinned toolchain's `rust-lld`. For the processor of a
//! Jetson cargo builds `std` in the same way, linked by Debian's cross compiler.

use std::path::PathBuf;
use std::process::Command;

use crate::environment::{Environment, Wanted};

/// Target triple of the firmware: Cortex-M4 with its single-precision floating-point unit.
pub(crate) const TARGET: &str = "thumbv7em-none-eabihf";
/// Target triple of the C library: the Cortex-R5 of a Jetson.
pub(crate) const COPROCESSOR: &str = "armv7r-none-eabihf";
/// A core without atomic read-modify-write: what builds for it builds for every port.
pub(crate) const SMALLEST: &str = "thumbv6m-none-eabi";
/// Targets of libraries only, beside [`TARGET`].
pub(crate) const LIBRARY_TARGETS: [&str; 2] = [COPROCESSOR, SMALLEST];
/// The processor of a Jetson.
pub(crate) const JETSON: &str = "aarch64-unknown-linux-gnu";
/// Debian's compiler.
pub(crate) const DEBIAN_COMPILER: &str = "/usr/bin/rustc";
/// Environment variable that chooses the compiler of images where both are there.
pub(crate) const COMPILER_ENV: &str = "COSHIFT_EMBEDDED_COMPILER";

/// The compiler's flag for the section of stack sizes.
const STACK_SIZES: &str = "-Zemit-stack-sizes";

/// A toolchain that can build images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The pinned toolchain, which has the target's library.
    Rustup,
    /// Debian's compiler and library source with a linker from this folder.
    Debian {
        /// Folder of `rust-lld`.
        linker_dir: PathBuf,
    },
}

impl Toolchain {
    /// The toolchain this environment offers for [`TARGET`]; `None` where something must be installed first.
    pub(crate) fn choose(environment: &Environment) -> Option<Self> {
        Self::choose_with(environment, environment.rustup_target)
    }

    /// The toolchain for [`LIBRARY_TARGETS`], likewise.
    pub(crate) fn choose_for_libraries(environment: &Environment) -> Option<Self> {
        Self::choose_with(environment, environment.rustup_library_targets)
    }

    /// The toolchain for [`JETSON`], likewise.
    pub(crate) fn choose_for_jetson(environment: &Environment) -> Option<Self> {
        Self::choose_with(environment, environment.rustup_jetson_target)
    }

    fn choose_with(environment: &Environment, has_library: bool) -> Option<Self> {
        let debian = || {
            let linker_dir = environment.linker_dir.clone()?;
            environment.debian_complete().then_some(Self::Debian { linker_dir })
        };
        let rustup = || has_library.then_some(Self::Rustup);
        match environment.wanted {
            Wanted::Any => rustup().or_else(debian),
            Wanted::Rustup => rustup(),
            Wanted::Debian => debian(),
        }
    }

    /// Makes a cargo command compile for [`TARGET`] with this toolchain. Call it after the
    /// subcommand was given.
    pub(crate) fn apply(&self, command: &mut Command) {
        self.apply_for(TARGET, command);
    }

    /// The same for another target.
    pub(crate) fn apply_for(&self, target: &str, command: &mut Command) {
        self.apply_with("core", target, command);
    }

    /// The same for a target that has the standard library, and tests.
    pub(crate) fn apply_with_std(&self, target: &str, command: &mut Command) {
        self.apply_with("std,panic_abort,test", target, command);
    }

    /// Makes the compiler of a command that was made for images note how much stack each function
    /// takes, in a section that is not loaded: see [`crate::stack`]. Call it after [`Self::apply`].
    pub(crate) fn note_stack_sizes(command: &mut Command) {
        // A flag for the target reaches `core`, where it is built, and the compiler that links,
        // which is the one that generates the code; build scripts do without. No stable flag does
        // the same.
        command.env("RUSTFLAGS", STACK_SIZES).env("RUSTC_BOOTSTRAP", "1");
    }

    fn apply_with(&self, library: &str, target: &str, command: &mut Command) {
        command.args(["--target", target]);
        // Flags meant for the host's code would also reach `core`.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        match self {
            Self::Rustup => {
                command.env_remove("RUSTC");
            }
            Self::Debian { linker_dir } => {
                command.arg(format!("-Zbuild-std={library}"));
                command.env("RUSTC", DEBIAN_COMPILER).env("RUSTC_BOOTSTRAP", "1");
                let path = std::env::var_os("PATH").unwrap_or_default();
                let folders =
                    std::iter::once(linker_dir.clone()).chain(std::env::split_paths(&path));
                if let Ok(path) = std::env::join_paths(folders) {
                    command.env("PATH", path);
                }
            }
        }
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Rustup => "the pinned toolchain".to_owned(),
            Self::Debian { .. } => format!("{DEBIAN_COMPILER}, its library built from source"),
        }
    }
}
