//! `coshift run`: the runtime in real time, with threads around it.
//!
//! One thread runs the loop; the port, the engine and the control socket have theirs and talk to
//! it over one bounded channel. The loop never waits for any of them but on that channel.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use coshift_shared::policy::PolicyView;

use crate::clock::Time;
use crate::control::{Answer, ControlServer, Request, SocketFault};
use crate::core::{AgentCore, Caps, Settings};
use crate::engine::{Engine, EngineFault, Job, Ran};
use crate::frame_log::{Direction, FrameLog};
use crate::link::{Link, LinkEvent, LinkFault, LinkSpec, SerialLink};
use crate::notice::Notice;
use crate::platform::Platform;
use crate::report::{Report, ReportEvent, report};
use crate::runtime::{ApplicationFault, Effect, Input, Runtime};
use crate::spec::{self, ApplicationSpec};
use crate::trace::TraceFile;

/// Events that may wait for the loop; whoever brings more waits.
const EVENTS: usize = 256;
/// How long a client of the control socket waits for the loop.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What is to be run.
#[derive(Debug)]
pub struct Options {
    /// Where the controller is.
    pub link: LinkSpec,
    /// Applications at the start.
    pub applications: Vec<ApplicationSpec>,
    /// Control period, µs, 20,000 to 500,000.
    pub period_us: u32,
    /// Caps beside those of the policy.
    pub caps: Caps,
    /// Whether the board may be parked between requests.
    pub parking: bool,
    /// Whether a microcontroller that has another policy is sent the agent's.
    pub upload_policy: bool,
    /// When to end, µs after the start; `None` = when stopped.
    pub duration_us: Option<u64>,
    /// Where the control socket shall be.
    pub control: ControlPath,
    /// Where frames are logged.
    pub log: Option<PathBuf>,
    /// Where requests are traced.
    pub trace: Option<PathBuf>,
    /// Keep the first decision that serves every application.
    pub freeze: bool,
    /// Set from outside to end the run.
    pub stop: Arc<AtomicBool>,
}

/// Where the control socket shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlPath {
    /// Asked for: without it there is no run.
    Asked(PathBuf),
    /// The usual place: without it the run goes on and says so.
    Usual(PathBuf),
}

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFault {
    /// The link cannot be opened.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// An application cannot be served.
    #[error(transparent)]
    Application(#[from] ApplicationFault),
    /// Two applications have the same name.
    #[error("--app {name}: there are two applications of this name")]
    Doubled {
        /// The name.
        name: String,
    },
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketFault),
    /// The frame log cannot be started.
    #[error("frame log {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The trace cannot be started.
    #[error("trace {}: {source}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The reports cannot be written.
    #[error("cannot write the report: {0}")]
    Output(std::io::Error),
}

/// Who is told what the agent does.
pub trait Observer {
    /// A control period is over.
    ///
    /// # Errors
    /// What writing says; it ends the run.
    fn period(&mut self, report: &Report, policy: &PolicyView<'_>) -> std::io::Result<()>;

    /// Something is worth a line.
    ///
    /// # Errors
    /// What writing says; it ends the run.
    fn notice(&mut self, now: Time, notice: &Notice) -> std::io::Result<()>;
}

/// What reaches the loop.
enum Message {
    Link(LinkEvent),
    Done(Result<Ran, EngineFault>),
    Control(Request, SyncSender<Answer>),
}

struct Service<'p, 'o, P, O> {
    runtime: Runtime<'p, P>,
    clock: Instant,
    link: Option<Box<dyn Link>>,
    jobs: SyncSender<Job>,
    log: Option<FrameLog<std::fs::File>>,
    trace: Option<TraceFile>,
    observer: &'o mut O,
    effects: Vec<Effect>,
}

/// Runs the agent until its time is over or it is stopped, and returns the last report.
///
/// # Errors
/// [`ServiceFault`] where it cannot start, or the observer cannot write.
pub fn run<P: Platform, O: Observer>(
    policy: PolicyView<'_>,
    options: &Options,
    platform: P,
    engine: Box<dyn Engine>,
    observer: &mut O,
) -> Result<Report, ServiceFault> {
    let names = || options.applications.iter().map(|spec| &spec.name);
    if let Some((_, name)) =
        names().enumerate().find(|(index, name)| names().take(*index).any(|n| n == *name))
    {
        return Err(ServiceFault::Doubled { name: name.clone() });
    }
    let (events, messages) = sync_channel(EVENTS);
    let settings = Settings {
        period: coshift_shared::time::Duration::from_us(options.period_us),
        remote: options.link != LinkSpec::InProcess,
        boot_nonce: random() as u32,
        session_seed: random(),
        caps: options.caps,
        parking: options.parking,
        upload_policy: options.upload_policy,
    };
    let mut service = Service {
        runtime: Runtime::new(AgentCore::new(policy, settings), platform),
        clock: Instant::now(),
        link: None,
        jobs: start_engine(engine, events.clone())?,
        log: start_log(options)?,
        trace: start_trace(options)?,
        observer,
        effects: Vec::new(),
    };
    if options.freeze {
        service.runtime.freeze();
    }
    for spec in &options.applications {
        let now = service.now();
        service.runtime.set_application(now, "--app", spec.clone(), &mut service.effects)?;
    }
    let control = start_control(options, &events, &mut service)?;
    if let LinkSpec::Serial { path, baud } = &options.link {
        let events = events.clone();
        let tell = move |event| events.send(Message::Link(event)).is_ok();
        service.link = Some(Box::new(SerialLink::open(path.clone(), *baud, tell)?));
    }
    drop(events);
    let result = service.serve(&messages, options);
    // The link's threads may be waiting to hand over bytes; without a listener they end.
    drop(messages);
    drop(control);
    let frames_dropped = service.frames_dropped();
    let now = service.now();
    if let Some(log) = &mut service.log {
        let path = options.log.clone().unwrap_or_default();
        log.flush().map_err(|source| ServiceFault::Log { path, source })?;
    }
    if let Some(trace) = &mut service.trace {
        let path = options.trace.clone().unwrap_or_default();
        trace.flush().map_err(|source| ServiceFault::Trace { path, source })?;
    }
    result?;
    Ok(report(ReportEvent::End, now, &service.runtime, frames_dropped))
}

impl<P: Platform, O: Observer> Service<'_, '_, P, O> {
    fn now(&self) -> Time {
        Time::from_us(u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn frames_dropped(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.dropped())
    }

    fn serve(
        &mut self,
        messages: &Receiver<Message>,
        options: &Options,
    ) -> Result<(), ServiceFault> {
        let end = options.duration_us.map(Time::from_us);
        loop {
            let now = self.now();
            self.runtime.poll(now, Input::Time, &mut self.effects);
            self.carry_out().map_err(ServiceFault::Output)?;
            let now = self.now();
            if options.stop.load(Ordering::Relaxed) || end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            let due = self.runtime.next_wake(now);
            let due = end.map_or(due, |end| due.min(end));
            let wait = Duration::from_micros(due.us_since(now));
            match messages.recv_timeout(wait) {
                Ok(message) => self.take_in(message),
                Err(RecvTimeoutError::Timeout) => {}
                // The engine holds a sender as long as there is work for it.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take_in(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Link(LinkEvent::Up) => {
                self.runtime.poll(now, Input::LinkUp, &mut self.effects);
            }
            Message::Link(LinkEvent::Down(why)) => {
                let text = format!("the port is gone ({why}); looking for it");
                self.effects.push(Effect::Notice(Notice::Link(text)));
                self.runtime.poll(now, Input::LinkDown, &mut self.effects);
            }
            Message::Link(LinkEvent::Bytes(bytes)) => {
                self.record(now, Direction::FromMcu, &bytes);
                self.runtime.poll(now, Input::Bytes(&bytes), &mut self.effects);
            }
            Message::Done(result) => {
                self.runtime.poll(now, Input::Done(&result), &mut self.effects);
            }
            Message::Control(request, reply) => {
                let answer = self.answer(now, request);
                // A client that went away needs no answer.
                let _gone = reply.try_send(answer);
            }
        }
    }

    fn answer(&mut self, now: Time, request: Request) -> Answer {
        match request {
            Request::Status {} => {
                let dropped = self.frames_dropped();
                let report = report(ReportEvent::Status, now, &self.runtime, dropped);
                Answer::Status(Box::new(report))
            }
            Request::AppsSet { spec } => {
                let argument = "apps set";
                let result = ApplicationSpec::parse(argument, &spec)
                    .map_err(ApplicationFault::from)
                    .and_then(|spec| {
                        let name = spec.name.clone();
                        self.runtime
                            .set_application(now, argument, spec, &mut self.effects)
                            .map(|()| name)
                    });
                match result {
                    Ok(name) => Answer::Done(format!("application {name} is set")),
                    Err(fault) => Answer::Error(fault.to_string()),
                }
            }
            Request::LimitsSet { power_cap, temp_cap } => {
                let caps = self.runtime.core().settings().caps;
                let asked =
                    spec::caps("limits set", caps, power_cap.as_deref(), temp_cap.as_deref());
                match asked {
                    Ok(caps) => {
                        self.runtime.set_caps(now, caps, &mut self.effects);
                        Answer::Done("the limits are set".into())
                    }
                    Err(fault) => Answer::Error(fault.to_string()),
                }
            }
            Request::AppsRm { name } => {
                match self.runtime.remove_application(now, &name, &mut self.effects) {
                    Ok(()) => Answer::Done(format!("application {name} is removed")),
                    Err(fault) => Answer::Error(fault.to_string()),
                }
            }
        }
    }

    fn carry_out(&mut self) -> std::io::Result<()> {
        let now = self.now();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Send(frame) => {
                    self.record(now, Direction::ToMcu, frame.bytes());
                    if let Some(link) = &mut self.link {
                        link.send(&frame);
                    }
                }
                Effect::ToTwin(frame) => self.record(now, Direction::ToTwin, frame.bytes()),
                Effect::FromTwin(frame) => self.record(now, Direction::FromTwin, frame.bytes()),
                // One job at a time, so there is room; a dead engine shows as missed requests.
                Effect::Run(job) => {
                    if self.jobs.try_send(job).is_err() {
                        let text = "the engine's thread is gone".into();
                        self.observer.notice(now, &Notice::Engine(text))?;
                    }
                }
                Effect::Finished(finished) => {
                    let failed = self.trace.as_mut().and_then(|t| t.record(&finished).err());
                    if let Some(error) = failed {
                        self.trace = None;
                        let notice = Notice::Log(format!("the trace ends here: {error}"));
                        self.observer.notice(now, &notice)?;
                    }
                }
                Effect::Notice(notice) => self.observer.notice(now, &notice)?,
                Effect::Period => {
                    let report =
                        report(ReportEvent::Period, now, &self.runtime, self.frames_dropped());
                    self.observer.period(&report, self.runtime.core().policy())?;
                    self.flush_log(now)?;
                }
            }
        }
        Ok(())
    }

    /// Logs bytes. A log that cannot be written is given up, said once; the run goes on.
    fn record(&mut self, now: Time, direction: Direction, bytes: &[u8]) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.record(now, direction, bytes) {
            self.give_up_log(&error);
        }
    }

    fn flush_log(&mut self, now: Time) -> std::io::Result<()> {
        let failed = self.log.as_mut().and_then(|log| log.flush().err());
        if let Some(error) = failed {
            self.give_up_log(&error);
            if let Some(Effect::Notice(notice)) = self.effects.pop() {
                self.observer.notice(now, &notice)?;
            }
        }
        Ok(())
    }

    fn give_up_log(&mut self, error: &std::io::Error) {
        self.log = None;
        let text = format!("the frame log ends here: {error}");
        self.effects.push(Effect::Notice(Notice::Log(text)));
    }
}

fn start_log(options: &Options) -> Result<Option<FrameLog<std::fs::File>>, ServiceFault> {
    let Some(path) = &options.log else { return Ok(None) };
    let fault = |source| ServiceFault::Log { path: path.clone(), source };
    FrameLog::create(path).map(Some).map_err(fault)
}

fn start_trace(options: &Options) -> Result<Option<TraceFile>, ServiceFault> {
    let Some(path) = &options.trace else { return Ok(None) };
    let fault = |source| ServiceFault::Trace { path: path.clone(), source };
    TraceFile::create(path).map(Some).map_err(fault)
}

fn start_engine(
    mut engine: Box<dyn Engine>,
    events: SyncSender<Message>,
) -> Result<SyncSender<Job>, ServiceFault> {
    let (jobs, queue) = sync_channel::<Job>(1);
    thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            for job in queue {
                if events.send(Message::Done(engine.run(&job))).is_err() {
                    return;
                }
            }
        })
        .map_err(ServiceFault::Thread)?;
    Ok(jobs)
}

fn start_control<P: Platform, O: Observer>(
    options: &Options,
    events: &SyncSender<Message>,
    service: &mut Service<'_, '_, P, O>,
) -> Result<Option<ControlServer>, ServiceFault> {
    let events = events.clone();
    let serve = move |request| {
        let (reply, answer) = sync_channel(1);
        if events.send(Message::Control(request, reply)).is_err() {
            return Answer::Error("the agent is ending".into());
        }
        answer
            .recv_timeout(ANSWER_TIME)
            .unwrap_or_else(|_| Answer::Error("the agent does not answer".into()))
    };
    match &options.control {
        ControlPath::Asked(path) => Ok(Some(ControlServer::start(path, serve)?)),
        ControlPath::Usual(path) => match ControlServer::start(path, serve) {
            Ok(server) => Ok(Some(server)),
            Err(fault) => {
                let text = format!("running without a control socket: {fault}");
                service.effects.push(Effect::Notice(Notice::Link(text)));
                Ok(None)
            }
        },
    }
}

/// A number that differs at each start: the keys of the standard library's hash maps come from
/// the system's random source.
fn random() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(std::process::id())
}
