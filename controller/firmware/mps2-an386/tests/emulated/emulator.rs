//! One emulator process with its two serial channels on sockets of the test.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use defmt_decoder::{DecodeError, Table};

/// A test that waits this long for a byte has found a hang; it asserts nothing about speed.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a test needs; where something is missing the test prints so and returns.
pub(crate) struct Needs {
    qemu: PathBuf,
    image: PathBuf,
}

impl Needs {
    /// The emulator and the image that `variable` names, or a line that says what is missing.
    pub(crate) fn find(variable: &str) -> Option<Self> {
        let found =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file());
        let missing = match (found("COSHIFT_QEMU"), found(variable)) {
            (Some(qemu), Some(image)) => return Some(Self { qemu, image }),
            (None, _) => "qemu-system-arm (run `cargo xtask test`)".to_owned(),
            (_, None) => format!("the image of {variable} (run `cargo xtask test`)"),
        };
        let required = std::env::var_os("COSHIFT_REQUIRE_EMULATOR").is_some_and(|v| v == "1");
        assert!(!required, "missing and required: {missing}");
        println!("SKIPPED: {missing}");
        None
    }
}

/// A running emulator; killed when it is dropped.
pub(crate) struct Emulator {
    child: Child,
    folder: PathBuf,
    image: PathBuf,
    /// Port of the protocol.
    pub(crate) port: UnixStream,
    /// Second channel.
    log: UnixStream,
}

impl Emulator {
    /// Starts the image. `fast` runs on instruction-counted time that does not wait for the
    /// wall clock: for tests in which seconds pass.
    pub(crate) fn start(needs: &Needs, fast: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("coshift-bringup-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        // The emulator connects to sockets that listen already: no byte is lost, nothing polled.
        let [port, log] =
            ["port", "log"].map(|name| UnixListener::bind(folder.join(name)).unwrap());
        let mut command = Command::new(&needs.qemu);
        command.args(["-machine", "mps2-an386", "-cpu", "cortex-m4", "-display", "none"]);
        command.args(["-monitor", "none", "-semihosting-config", "enable=on,target=native"]);
        for (number, name) in ["port", "log"].iter().enumerate() {
            let path = folder.join(name);
            command.arg("-chardev").arg(format!("socket,id=s{number},path={}", path.display()));
            command.arg("-serial").arg(format!("chardev:s{number}"));
        }
        if fast {
            command.args(["-icount", "shift=8,sleep=off"]);
        }
        // Accesses that real hardware would refuse.
        command.args(["-d", "guest_errors,unimp"]).arg("-D").arg(folder.join("errors"));
        command.arg("-kernel").arg(&needs.image);
        let errors = File::create(folder.join("stderr")).unwrap();
        let child = command.stdin(Stdio::null()).stderr(errors).spawn().unwrap();
        let [port, log] = [port, log].map(|listener| {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream
        });
        Self { child, folder, image: needs.image.clone(), port, log }
    }

    /// Sends bytes to the image.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.port.write_all(bytes).unwrap();
    }

    /// One line the image sends, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.port.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("no line, only {:?}: {error}", String::from_utf8_lossy(&line))
            });
            if byte == *b"\n" {
                return String::from_utf8(line).unwrap();
            }
            line.extend(byte);
        }
    }

    /// Waits for the emulator to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Its end closes the port.
        let mut rest = Vec::new();
        self.port.read_to_end(&mut rest).unwrap();
        self.child.wait().unwrap()
    }

    /// Log lines of an emulator that ended.
    pub(crate) fn log(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        self.log.read_to_end(&mut bytes).unwrap();
        let table = Table::parse(&fs::read(&self.image).unwrap()).unwrap().unwrap();
        let mut decoder = table.new_stream_decoder();
        decoder.received(&bytes);
        let mut lines = Vec::new();
        loop {
            match decoder.decode() {
                Ok(frame) => lines.push(frame.display(false).to_string()),
                Err(DecodeError::UnexpectedEof) => return lines,
                Err(DecodeError::Malformed) => panic!("malformed frame after {lines:?}"),
            }
        }
    }

    /// Ends the emulator; everything it complained of is a failure.
    pub(crate) fn stop(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for name in ["errors", "stderr"] {
            let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let text: Vec<&str> =
                text.lines().filter(|line| !line.contains("terminating on signal")).collect();
            assert!(text.is_empty(), "the emulator complains: {text:?}");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
