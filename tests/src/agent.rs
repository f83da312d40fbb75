//! The agent's process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use coshift_host::control::{self, Answer, Request};
use coshift_host::report::{Report, ReportEvent};
use rustix::process::{Pid, Signal, kill_process};

/// Control period: long, so that a busy machine is not taken for a silent microcontroller.
pub const PERIOD: &str = "200ms";
/// How long a report may take before the agent hangs; asserts nothing about speed.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the agent is started with.
#[derive(Debug)]
pub struct Start<'s> {
    /// The program.
    pub program: &'s Path,
    /// Policy image.
    pub policy: &'s Path,
    /// Its serial port.
    pub port: &'s Path,
    /// Application.
    pub app: &'s str,
    /// Slowdown of the application.
    pub slowdown: &'s str,
    /// Whether it sends the policy to a microcontroller that has another one.
    pub upload_policy: bool,
    /// Folder of its control socket.
    pub folder: &'s Path,
}

/// A running agent; killed when it is dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    control: PathBuf,
    reports: Receiver<Result<Report, String>>,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    /// Starts the agent.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(start: &Start<'_>) -> Result<Self> {
        let control = start.folder.join("agent.sock");
        let mut child = Command::new(start.program)
            .args(["run", "--json", "--period", PERIOD, "--app", start.app])
            .args(["--slowdown", start.slowdown])
            .args(start.upload_policy.then_some("--upload-policy"))
            .arg("--policy")
            .arg(start.policy)
            .arg("--control")
            .arg(&control)
            .arg("--link")
            .arg(format!("serial:{}", start.port.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", start.program.display()))?;
        let output = child.stdout.take().context("the agent has no output")?;
        let errors = child.stderr.take().context("the agent has no error output")?;
        let (sender, reports) = channel();
        // Both threads end with the agent's output.
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let report = line
                    .map_err(|error| error.to_string())
                    .and_then(|line| parse(&line).map_err(|error| format!("{error}: {line}")));
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        let notices = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&notices);
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Self { child, control, reports, notices })
    }

    /// The next report.
    ///
    /// # Errors
    /// The agent ended, hangs, or printed something else.
    pub fn report(&mut self) -> Result<Report> {
        match self.reports.recv_timeout(PATIENCE) {
            Ok(report) => report.map_err(|error| anyhow::anyhow!("no report: {error}")),
            Err(RecvTimeoutError::Timeout) => bail!("the agent hangs: {:?}", self.notices()),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the agent ended: {:?}", self.notices())
            }
        }
    }

    /// What it said on its error output.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks on the control socket.
    ///
    /// # Errors
    /// There is no answer, or it is an error.
    pub fn ask(&self, request: &Request) -> Result<Answer> {
        match control::ask(&self.control, request)? {
            Answer::Error(why) => bail!("the agent refuses {request:?}: {why}"),
            answer => Ok(answer),
        }
    }

    /// Freezes the process, or lets it go on.
    ///
    /// # Errors
    /// What the system says.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Interrupts it as a user would and returns its last report.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn end(&mut self) -> Result<Report> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let last = loop {
            let report = self.report()?;
            if report.event == ReportEvent::End {
                break report;
            }
        };
        let status = self.child.wait()?;
        ensure!(status.success(), "the agent ended with {status}: {:?}", self.notices());
        Ok(last)
    }
}

fn parse(line: &str) -> serde_json::Result<Report> {
    serde_json::from_str(line)
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Where it is gone already there is nothing to do.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
