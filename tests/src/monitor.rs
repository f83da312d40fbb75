//! A client of the emulator's monitor: resets the board, and stops its time.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A connection.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects.
    ///
    /// # Errors
    /// What the system or the monitor says.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("no monitor at {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        monitor.until("QMP")?;
        monitor.ask("qmp_capabilities")?;
        Ok(monitor)
    }

    /// Stops the board's time, lets `change` happen, resets the board and lets time go on.
    ///
    /// # Errors
    /// What the monitor or `change` says.
    pub fn reset_with(&mut self, change: impl FnOnce() -> Result<()>) -> Result<()> {
        self.ask("stop")?;
        change()?;
        self.send("system_reset")?;
        // It answers when the reset was asked for, and tells when it is done: in either order.
        let (mut answered, mut done) = (false, false);
        while !(answered && done) {
            let line = self.line()?;
            answered |= line.get("return").is_some();
            done |= line["event"] == "RESET";
        }
        self.ask("cont")
    }

    fn ask(&mut self, command: &str) -> Result<()> {
        self.send(command)?;
        self.until("return")
    }

    fn send(&mut self, command: &str) -> Result<()> {
        let line = format!("{{\"execute\":\"{command}\"}}\n");
        self.stream.get_mut().write_all(line.as_bytes()).context("the monitor is gone")
    }

    fn until(&mut self, key: &str) -> Result<()> {
        loop {
            let line = self.line()?;
            if let Some(error) = line.get("error") {
                bail!("the monitor refuses: {error}");
            }
            if line.get(key).is_some() {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).context("the monitor is gone")? == 0 {
            bail!("the monitor is gone");
        }
        serde_json::from_str(&line).with_context(|| format!("the monitor says {line}"))
    }
}
