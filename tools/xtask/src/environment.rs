//! What this machine has: probed once, so that every decision about it is a pure function.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::embedded::{COMPILER_ENV, DEBIAN_COMPILER, JETSON, LIBRARY_TARGETS, TARGET};
use crate::workspace::{find_program, in_ci, stdout_of};

/// Oldest release of Debian's compiler that builds this edition and its dependencies.
pub(crate) const OLDEST_COMPILER: (u32, u32) = (1, 95);

/// Links programs of the Jetson's processor.
pub(crate) const JETSON_LINKER: &str = "aarch64-linux-gnu-gcc";
/// Debian's folder of the libraries that such programs load.
pub(crate) const JETSON_LIBRARIES: &str = "/usr/aarch64-linux-gnu";
/// Runs such programs.
pub(crate) const JETSON_EMULATOR: &str = "qemu-aarch64";

/// Everything that set-up and firmware builds depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The pinned toolchain has the library of the embedded target.
    pub(crate) rustup_target: bool,
    /// The pinned toolchain has the libraries of all [`LIBRARY_TARGETS`].
    pub(crate) rustup_library_targets: bool,
    /// The pinned toolchain has the library of the Jetson's processor.
    pub(crate) rustup_jetson_target: bool,
    /// `rustup` is there to add a target to the pinned toolchain.
    pub(crate) rustup: bool,
    /// Debian's compiler (package `rustc-web`), of [`OLDEST_COMPILER`] or later.
    pub(crate) debian_compiler: bool,
    /// The source of the standard library for that compiler (package `rust-web-src`).
    pub(crate) debian_source: bool,
    /// Folder of `rust-lld` in the pinned toolchain.
    pub(crate) linker_dir: Option<PathBuf>,
    /// The emulator.
    pub(crate) emulator: Option<PathBuf>,
    /// A linker for programs of the Jetson's processor, and the C library they need.
    pub(crate) jetson_linker: bool,
    /// `qemu-aarch64`, which runs them.
    pub(crate) jetson_emulator: bool,
    /// `probe-rs`, which writes images to boards.
    pub(crate) probe_rs: Option<PathBuf>,
    /// `apt-get` is there.
    pub(crate) apt: bool,
    /// Right to install packages.
    pub(crate) rights: Rights,
    /// A person can answer a question.
    pub(crate) interactive: bool,
    /// `CI=true`.
    pub(crate) ci: bool,
    /// Which compiler the user wants for images ([`COMPILER_ENV`]).
    pub(crate) wanted: Wanted,
}

/// Right to install system packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Running as root.
    Root,
    /// `sudo` works without a password, or may ask a person for it.
    Sudo,
    /// Neither.
    None,
}

/// Compiler wanted for firmware images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The pinned toolchain where it has the target, else Debian's.
    Any,
    /// Only the pinned toolchain with its target.
    Rustup,
    /// Only Debian's compiler with its library source.
    Debian,
}

impl Environment {
    /// Looks at the machine; starts a few quick programs and changes nothing.
    pub(crate) fn probe() -> anyhow::Result<Self> {
        use std::io::IsTerminal;
        let interactive = std::io::stdin().is_terminal();
        // The pinned toolchain's compiler, whatever RUSTC says.
        let sysroot = stdout_of(Command::new("rustc").args(["--print", "sysroot"]))
            .map(|path| Path::new(&path).join("lib/rustlib"));
        let host = stdout_of(Command::new("rustc").arg("-vV")).and_then(|text| host_of(&text));
        let debian = stdout_of(Command::new(DEBIAN_COMPILER).arg("-vV"));
        let debian_sysroot = stdout_of(Command::new(DEBIAN_COMPILER).args(["--print", "sysroot"]));
        Ok(Self {
            rustup_target: has_library(sysroot.as_deref(), TARGET),
            rustup_library_targets: LIBRARY_TARGETS
                .iter()
                .all(|target| has_library(sysroot.as_deref(), target)),
            rustup_jetson_target: has_library(sysroot.as_deref(), JETSON),
            rustup: find_program("rustup").is_some(),
            debian_compiler: debian
                .and_then(|text| release_of(&text))
                .is_some_and(|release| release >= OLDEST_COMPILER),
            debian_source: debian_sysroot.is_some_and(|folder| {
                Path::new(&folder).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
            }),
            linker_dir: sysroot
                .zip(host)
                .map(|(folder, host)| folder.join(host).join("bin"))
                .filter(|folder| folder.join("rust-lld").is_file()),
            emulator: emulator()?,
            jetson_linker: find_program(JETSON_LINKER).is_some()
                && Path::new(JETSON_LIBRARIES).join("lib/libc.so.6").is_file()
                && Path::new(JETSON_LIBRARIES).join("lib/crt1.o").is_file(),
            jetson_emulator: find_program(JETSON_EMULATOR).is_some(),
            probe_rs: find_program("probe-rs"),
            apt: find_program("apt-get").is_some(),
            rights: rights(interactive),
            interactive,
            ci: in_ci(),
            wanted: wanted(std::env::var(COMPILER_ENV).ok().as_deref())?,
        })
    }

    /// Debian's compiler, its source and a linker for it are all there.
    pub(crate) fn debian_complete(&self) -> bool {
        self.debian_compiler && self.debian_source && self.linker_dir.is_some()
    }
}

/// The emulator that `COSHIFT_QEMU` names, else that of the `PATH`.
fn emulator() -> anyhow::Result<Option<PathBuf>> {
    match std::env::var_os("COSHIFT_QEMU").filter(|path| !path.is_empty()).map(PathBuf::from) {
        None => Ok(find_program("qemu-system-arm")),
        Some(path) if path.is_file() => Ok(Some(path)),
        Some(path) => {
            anyhow::bail!("COSHIFT_QEMU is {}: no such file; unset it or name one", path.display())
        }
    }
}

/// Whether the toolchain of this folder has the library of a target.
fn has_library(rustlib: Option<&Path>, target: &str) -> bool {
    rustlib.is_some_and(|folder| folder.join(target).join("lib").is_dir())
}

fn rights(interactive: bool) -> Rights {
    if stdout_of(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Rights::Root;
    }
    if find_program("sudo").is_none() {
        return Rights::None;
    }
    let without_password = stdout_of(Command::new("sudo").args(["-n", "true"])).is_some();
    if without_password || interactive { Rights::Sudo } else { Rights::None }
}

fn wanted(value: Option<&str>) -> anyhow::Result<Wanted> {
    match value {
        None | Some("") => Ok(Wanted::Any),
        Some("rustup") => Ok(Wanted::Rustup),
        Some("debian") => Ok(Wanted::Debian),
        Some(other) => {
            anyhow::bail!("{COMPILER_ENV} is `{other}`; expected `rustup` or `debian`")
        }
    }
}

/// `(major, minor)` of the `release:` line of `rustc -vV`.
fn release_of(verbose_version: &str) -> Option<(u32, u32)> {
    let release = verbose_version.lines().find_map(|line| line.strip_prefix("release: "))?;
    let mut numbers = release.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The `host:` line of `rustc -vV`.
fn host_of(verbose_version: &str) -> Option<String> {
    verbose_version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\n\
                           host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n";

    #[test]
    fn release_and_host_are_read_from_verbose_version() {
        assert_eq!(release_of(VERBOSE), Some((1, 96)));
        assert_eq!(host_of(VERBOSE).as_deref(), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(release_of("release: nightly\n"), None);
        assert_eq!(release_of(""), None);
    }

    #[test]
    fn the_compiler_variable_takes_two_names_and_refuses_others() {
        assert_eq!(wanted(None).unwrap(), Wanted::Any);
        assert_eq!(wanted(Some("rustup")).unwrap(), Wanted::Rustup);
        assert_eq!(wanted(Some("debian")).unwrap(), Wanted::Debian);
        let message = wanted(Some("gcc")).unwrap_err().to_string();
        assert!(message.contains("gcc") && message.contains("debian"), "{message}");
    }
}
