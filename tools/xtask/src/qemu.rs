//! `cargo xtask qemu`: the development image in the emulator.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::board;
use crate::embedded::Toolchain;
use crate::firmware::{Image, Program};
use crate::log::Log;
use crate::policy;
use crate::setup::{self, Need};
use crate::workspace::{self, Workspace};

/// Run the development image of mps2-an386 in the emulator.
///
/// The port of the protocol is a pseudo-terminal, whose path is printed, or a unix socket; the
/// agent connects to either. Ends with the emulator's exit code: 101 after a panic, 102 after a
/// hard fault, 103 after the stack ran over, 134 after a lock-up of the core.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Port of the protocol: `pty`, or `unix:PATH` for a socket that waits for one client
    #[arg(long, value_name = "PORT", default_value = "pty")]
    serial: Serial,
    /// Show the image's log, decoded from its second channel
    #[arg(long)]
    log: bool,
    /// Policy image to compile in (default: the file that COSHIFT_POLICY names, else
    /// one made from boards/xavier_nx.toml)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Where the port of the protocol goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Serial {
    /// A pseudo-terminal.
    Pty,
    /// A unix socket at this path.
    Unix(PathBuf),
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path goes after `unix:`".to_owned()),
            // Commas separate the options of the emulator's command line.
            Some(path) if path.contains(',') => Err("the path may have no comma".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            None if text == "pty" => Ok(Self::Pty),
            None => Err("`pty` or `unix:PATH` goes here".to_owned()),
        }
    }
}

impl Serial {
    /// The emulator's character device with this id.
    fn device(&self, id: &str) -> String {
        match self {
            Self::Pty => format!("pty,id={id}"),
            Self::Unix(path) => {
                format!("socket,id={id},path={},server=on,wait=on", path.display())
            }
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let environment = setup::ensure(&[Need::Toolchain, Need::Emulator], args.yes)?;
    let toolchain = Toolchain::choose(&environment).context("no toolchain for the image")?;
    let emulator = environment.emulator.context("no emulator")?;
    let policy = policy::image(&workspace, args.policy.as_deref())?;
    let image = Image { board: board::MPS2_AN386, program: Program::Firmware, development: true };
    let image = image.build(&workspace, &toolchain, &policy)?;
    if let Serial::Unix(path) = &args.serial {
        eprintln!(
            "protocol port: unix:{} (the image starts when a client connects)",
            path.display()
        );
    }
    let status = emulate(&emulator, &image, &args.serial, args.log)?;
    Ok(exit_code(status))
}

/// Starts an image with the port of the protocol on a pseudo-terminal; gives its path.
pub(crate) fn start(emulator: &Path, image: &Path) -> Result<(Child, String)> {
    let mut command = machine(emulator, &Serial::Pty);
    command.args(["-serial", "null"]);
    command.arg("-kernel").arg(image).stdin(Stdio::null()).stdout(Stdio::piped());
    eprintln!("$ {}", workspace::describe(&command));
    let mut child = command.spawn().context("cannot start the emulator")?;
    let output = child.stdout.take().context("no output of the emulator")?;
    let mut lines = BufReader::new(output).lines();
    let port =
        lines.by_ref().map_while(Result::ok).find_map(|line| Some(pty_of(&line)?.to_owned()));
    let Some(port) = port else {
        let status = child.wait().context("cannot wait for the emulator")?;
        bail!("the emulator ended with {status} before it had a port");
    };
    // What it says later must not block it.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok((child, port))
}

/// The emulator with its first serial port.
fn machine(emulator: &Path, serial: &Serial) -> Command {
    let mut command = Command::new(emulator);
    command.args(["-machine", "mps2-an386", "-cpu", "cortex-m4", "-display", "none"]);
    command.args(["-monitor", "none", "-semihosting-config", "enable=on,target=native"]);
    command.args(["-chardev", &serial.device("port"), "-serial", "chardev:port"]);
    command
}

fn emulate(emulator: &Path, image: &Path, serial: &Serial, show_log: bool) -> Result<ExitStatus> {
    let mut command = machine(emulator, serial);
    let folder = std::env::temp_dir().join(format!("coshift-qemu-{}", std::process::id()));
    let listener = if show_log {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("log");
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        let device = format!("socket,id=log,path={}", path.display());
        command.args(["-chardev", &device, "-serial", "chardev:log"]);
        Some((listener, Log::of_image(image)?))
    } else {
        command.args(["-serial", "null"]);
        None
    };
    command.arg("-kernel").arg(image).stdin(Stdio::null()).stdout(Stdio::piped());
    eprintln!("$ {}", workspace::describe(&command));
    let mut child = command.spawn().context("cannot start the emulator")?;
    let output = child.stdout.take().context("no output of the emulator")?;
    if let Some((listener, log)) = listener {
        std::thread::spawn(move || {
            let read = listener
                .accept()
                .and_then(|(channel, _)| log.read(channel, |line| println!("{line}")));
            if let Err(error) = read {
                eprintln!("error: log: {error}");
            }
        });
    }
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read the output of the emulator")?;
        match pty_of(&line) {
            Some(path) => eprintln!("protocol port: serial:{path}"),
            None => println!("{line}"),
        }
    }
    let status = child.wait().context("cannot wait for the emulator")?;
    // The folder is empty but for the socket.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(status)
}

/// The pseudo-terminal in the emulator's announcement.
fn pty_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("char device redirected to ")?;
    rest.split(' ').next()
}

/// The emulator's code; a signal as a shell shows it, with what it means.
fn exit_code(status: ExitStatus) -> ExitCode {
    const LOCK_UP: i32 = 134;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    let meaning = match code {
        101 => "the image panicked",
        102 => "hard fault",
        103 => "the stack ran over",
        LOCK_UP => "the core locked up: a fault inside the fault handler",
        _ => "",
    };
    if !meaning.is_empty() {
        eprintln!("the emulator ended with code {code}: {meaning}");
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_a_pty_or_a_socket() {
        assert_eq!("pty".parse(), Ok(Serial::Pty));
        assert_eq!("unix:/tmp/a".parse(), Ok(Serial::Unix("/tmp/a".into())));
        for wrong in ["", "unix:", "/dev/ttyS0", "unix:a,b"] {
            assert!(wrong.parse::<Serial>().is_err(), "{wrong}");
        }
        let device = Serial::Unix("/tmp/a".into()).device("port");
        assert_eq!(device, "socket,id=port,path=/tmp/a,server=on,wait=on");
    }

    #[test]
    fn the_pty_is_found_in_the_announcement() {
        let line = "char device redirected to /dev/pts/3 (label port)";
        assert_eq!(pty_of(line), Some("/dev/pts/3"));
        assert_eq!(pty_of("qemu: something else"), None);
    }
}
