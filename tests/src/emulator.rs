//! The release image in the emulator.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::need::Needs;

/// How long the emulator may take to connect.
const PATIENCE: Timespec = Timespec { tv_sec: 180, tv_nsec: 0 };

/// Bytes of the board's PSRAM; the emulator wants the file to be of this size.
const PSRAM_BYTES: u64 = 16 << 20;

/// A running emulator; killed when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    /// Accesses that real hardware would refuse, and what else it complains of.
    complaints: [PathBuf; 2],
    debug_socket: PathBuf,
    monitor_socket: PathBuf,
}

/// The file behind the board's PSRAM, of which the policy store has the first part.
#[must_use]
pub fn psram(folder: &Path) -> PathBuf {
    folder.join("psram")
}

impl Emulator {
    /// Boots the image and returns the port of its protocol. Files go to `folder`, named with
    /// `number`.
    ///
    /// # Errors
    /// What the system or the emulator says.
    pub fn start(needs: &Needs, folder: &Path, number: u32) -> Result<(Self, UnixStream)> {
        Self::start_with(needs, folder, number, &[])
    }

    /// The same with more arguments for the emulator.
    ///
    /// # Errors
    /// What the system or the emulator says.
    pub fn start_with(
        needs: &Needs,
        folder: &Path,
        number: u32,
        arguments: &[String],
    ) -> Result<(Self, UnixStream)> {
        let socket = folder.join(format!("port-{number}"));
        // The emulator connects to a socket that listens already: no byte is lost.
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        let complaints =
            ["errors", "stderr"].map(|name| folder.join(format!("emulator-{number}.{name}")));
        let [errors, stderr] = &complaints;
        let mut command = Command::new(&needs.qemu);
        // The slots of the policy store are in PSRAM: with a file behind it they outlive the
        // emulator, as flash does a power cut.
        let memory = psram(folder);
        let file = File::options().create(true).write(true).truncate(false).open(&memory)?;
        file.set_len(PSRAM_BYTES)?;
        command.arg("-object").arg(format!(
            "memory-backend-file,id=psram,size={PSRAM_BYTES},share=on,mem-path={}",
            memory.display()
        ));
        command.args(["-machine", "mps2-an386,memory-backend=psram", "-cpu", "cortex-m4"]);
        command.args(["-display", "none"]);
        let debug_socket = folder.join(format!("debug-{number}"));
        command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", debug_socket.display()));
        let monitor_socket = folder.join(format!("monitor-{number}"));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor_socket.display()));
        command.args(["-monitor", "none"]).args(arguments);
        command.arg("-chardev").arg(format!("socket,id=port,path={}", socket.display()));
        command.args(["-serial", "chardev:port", "-serial", "null"]);
        command.args(["-d", "guest_errors,unimp"]).arg("-D").arg(errors);
        command.arg("-kernel").arg(&needs.firmware);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(stderr)?);
        let child = command.spawn().context("cannot start the emulator")?;
        let emulator = Self { child, complaints, debug_socket, monitor_socket };
        let mut ends = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        if poll(&mut ends, Some(&PATIENCE))? == 0 {
            bail!("the emulator does not connect: {:?}", emulator.complaints()?);
        }
        let (port, _) = listener.accept()?;
        Ok((emulator, port))
    }

    /// Where its debug stub listens.
    #[must_use]
    pub fn debug_socket(&self) -> &Path {
        &self.debug_socket
    }

    /// Where its monitor listens.
    #[must_use]
    pub fn monitor_socket(&self) -> &Path {
        &self.monitor_socket
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        // Its sockets close a moment before it can be waited for.
        for _ in 0..50 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    }

    /// Ends the emulator at once.
    ///
    /// # Errors
    /// What it complained of while it ran.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let complaints = self.complaints()?;
        ensure!(complaints.is_empty(), "the emulator complains: {complaints:?}");
        Ok(())
    }

    fn complaints(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in &self.complaints {
            let text = match fs::read_to_string(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text?,
            };
            let known = |line: &&str| !line.contains("terminating on signal");
            lines.extend(text.lines().filter(known).map(str::to_owned));
        }
        Ok(lines)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Where it is gone already there is nothing to do.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
