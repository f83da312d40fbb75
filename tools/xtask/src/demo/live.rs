//! The run itself: firmware in the emulator, the real agent, events at their times.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use coshift_host::report::{Report, ReportEvent};

use super::recording::{self, Recording};
use super::script::{Change, PERIOD_MS, Script};
use crate::qemu;
use crate::workspace;

/// How long the agent may say nothing before the run is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the run needs.
#[derive(Debug)]
pub(crate) struct Setting<'s> {
    pub(crate) agent: &'s Path,
    /// Emulator and image; `None` = the controller inside the agent.
    pub(crate) firmware: Option<(&'s Path, &'s Path)>,
    pub(crate) board: &'s str,
    pub(crate) model: &'s Path,
    /// Crops of a request that are inferred.
    pub(crate) tiles_run: u16,
    /// Folder for socket and trace, empty.
    pub(crate) folder: &'s Path,
    pub(crate) freeze: bool,
    /// When the emulator is killed, s.
    pub(crate) kill_mcu_s: Option<f64>,
}

/// A child that does not outlive the demonstration.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

enum Said {
    Report(Box<Report>),
    Notice(String),
    /// Standard output is closed: the agent is at its end.
    End,
}

/// Runs the script.
///
/// # Errors
/// Names what could not be started or ended early.
pub(crate) fn run(script: &Script, setting: &Setting<'_>) -> Result<Recording> {
    let mut emulator = None;
    let link = match setting.firmware {
        Some((program, image)) => {
            let (child, port) = qemu::start(program, image)?;
            let id = child.id();
            eprintln!(
                "the firmware runs in the emulator, process {id}; kill it: the twin takes over"
            );
            emulator = Some(Running(child));
            format!("serial:{port}")
        }
        None => "in-process".into(),
    };
    let socket = setting.folder.join("agent.sock");
    let trace = setting.folder.join("trace.csv");
    let (mut agent, said) = start_agent(script, setting, &link, &socket, &trace)?;
    let mut recording = Recording::default();
    let mut events = script.events.iter().peekable();
    let mut phases = script.phases.iter().peekable();
    let mut kill_s = setting.kill_mcu_s;
    let mut shown = None;
    loop {
        match said.recv_timeout(PATIENCE) {
            Ok(Said::Report(report)) => {
                let now_s = report.time_us as f64 / 1e6;
                while let Some(phase) = phases.next_if(|phase| phase.from_s <= now_s) {
                    eprintln!("{now_s:6.1} s  -- {}: {} --", phase.name, phase.story);
                }
                // The report of a period comes just after it; the one before the event is nearest.
                let soon_s = now_s + PERIOD_MS as f64 / 2e3;
                while let Some(event) = events.next_if(|event| event.at_s <= soon_s) {
                    eprintln!("{now_s:6.1} s  {}", event.what);
                    if let Some(arguments) = request(&event.change) {
                        tell(setting.agent, &arguments, &socket)?;
                    }
                }
                if kill_s.is_some_and(|at_s| at_s <= now_s) {
                    kill_s = None;
                    eprintln!("{now_s:6.1} s  the emulator is killed");
                    emulator = None;
                }
                let decision = (report.decider, report.run_level, report.sub_networks);
                if shown != Some(decision) {
                    shown = Some(decision);
                    eprintln!("{now_s:6.1} s    {}", decided(&report));
                }
                recording.periods.push(*report);
            }
            Ok(Said::Notice(line)) => recording.notices.push(line),
            Ok(Said::End) => break,
            Err(RecvTimeoutError::Timeout) => bail!("the agent says nothing any more"),
            Err(RecvTimeoutError::Disconnected) => bail!("the agent closed its output"),
        }
    }
    drop(emulator);
    ended(&agent.0.wait().context("cannot wait for the agent")?, &recording.notices)?;
    let text = std::fs::read_to_string(&trace).with_context(|| trace.display().to_string())?;
    recording.requests = recording::rows(&text)?;
    Ok(recording)
}

fn ended(status: &ExitStatus, notices: &[String]) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let last = notices.last().map_or("it said nothing", String::as_str);
    bail!("the agent ended with {status}: {last}");
}

fn decided(report: &Report) -> String {
    let decider = serde_json::to_string(&report.decider).unwrap_or_default();
    let level = report.run_level.map_or_else(|| "-".into(), |level| level.to_string());
    let gpu = report.level_khz.map_or(0, |[_, gpu, _]| gpu / 1000);
    let sub = report.sub_networks[0].map_or_else(|| "-".into(), |sub| sub.to_string());
    let reason = report.changed.as_ref().map_or("", |changed| changed.reason_text.as_str());
    let lacks = report.shortfall.as_ref().map(|shortfall| format!(": {}", shortfall.text));
    format!(
        "{}: level {level} (GPU {gpu} MHz), sub-network {sub}; {reason}{}",
        decider.trim_matches('"'),
        lacks.unwrap_or_default()
    )
}

fn start_agent(
    script: &Script,
    setting: &Setting<'_>,
    link: &str,
    socket: &Path,
    trace: &Path,
) -> Result<(Running, Receiver<Said>)> {
    let mut command = Command::new(setting.agent);
    command.args(["run", "--link", link, "--json"]);
    command.args(["--board", &format!("virtual:{}", setting.board)]);
    command.arg("--model").arg(setting.model);
    command.args(["--tiles-run", &setting.tiles_run.to_string()]);
    command.args(["--app", &Script::application(script.deadline_ms, script.floor_bp)]);
    command.args(["--slowdown", &script.slowdown(), "--period", &format!("{PERIOD_MS}ms")]);
    // A little longer than the last phase, so that its last requests are served.
    command.args(["--duration", &format!("{}ms", (script.end_s() * 1e3) as u64 + 500)]);
    command.arg("--control").arg(socket).arg("--trace").arg(trace);
    if setting.freeze {
        command.arg("--freeze-decision");
    }
    eprintln!("$ {}", workspace::describe(&command));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start the agent")?;
    let (say, said) = channel();
    let reports = child.stdout.take().context("no output of the agent")?;
    let notices = child.stderr.take().context("no error output of the agent")?;
    let tell: Sender<Said> = say.clone();
    thread::spawn(move || {
        for line in BufReader::new(reports).lines().map_while(Result::ok) {
            let Ok(report) = serde_json::from_str::<Report>(&line) else { continue };
            let over = report.event == ReportEvent::End;
            if !over && tell.send(Said::Report(Box::new(report))).is_err() {
                return;
            }
        }
        let _gone = tell.send(Said::End);
    });
    thread::spawn(move || {
        for line in BufReader::new(notices).lines().map_while(Result::ok) {
            eprintln!("          {}", line.trim_start());
            if say.send(Said::Notice(line)).is_err() {
                return;
            }
        }
    });
    let running = Running(child);
    // The first report says that the socket is there, too.
    let start = Instant::now();
    while !socket.exists() && start.elapsed() < PATIENCE {
        match said.recv_timeout(Duration::from_millis(20)) {
            Ok(Said::Notice(line)) if line.starts_with("error: ") => bail!("the agent: {line}"),
            Ok(Said::End) => bail!("the agent ended before it began"),
            _ => {}
        }
    }
    Ok((running, said))
}

/// What the agent is asked for a change; `None` where its own script brings it about.
fn request(change: &Change) -> Option<Vec<String>> {
    match change {
        Change::Targets { deadline_ms, floor_bp } => {
            let spec = Script::application(*deadline_ms, *floor_bp);
            Some(vec!["apps".into(), "set".into(), spec])
        }
        Change::PowerCap(cap) => {
            let cap = cap.map_or_else(|| "none".into(), |mw| format!("{mw}mW"));
            Some(vec!["limits".into(), "set".into(), "--power-cap".into(), cap])
        }
        Change::Slowdown(_) => None,
    }
}

fn tell(agent: &Path, arguments: &[String], socket: &PathBuf) -> Result<()> {
    let mut command = Command::new(agent);
    command.args(arguments).arg("--control").arg(socket);
    let output = command.output().context("cannot start the agent's command")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}`: {}", workspace::describe(&command), said.trim());
    }
    Ok(())
}
