//! `coshift run`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coshift_host::clock::Time;
use coshift_host::control;
use coshift_host::core::Caps;
use coshift_host::engine::ScriptedEngine;
use coshift_host::inputs;
use coshift_host::link::LinkSpec;
use coshift_host::notice::Notice;
use coshift_host::platform::ScriptedPlatform;
use coshift_host::policy_file;
use coshift_host::report::Report;
use coshift_host::service::{self, ControlPath, Observer, Options};
use coshift_host::spec::{ApplicationSpec, SlowdownScript};
use coshift_shared::policy::PolicyView;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Fault, complain, human};

/// Shortest and longest control period, µs.
const PERIOD_US: (u64, u64) = (20_000, 500_000);
/// Longest run, µs: a year.
const MAX_DURATION_US: u64 = 365 * 86_400 * 1_000_000;

const LINK_HELP: &str =
    "Where the controller is: in-process, or serial:PATH[@BAUD], 1000000 baud if not given";
const APP_HELP: &str =
    "Application, up to four: NAME=NETWORK,deadline=33ms,rate=15[,floor=92.5][,...]";
const APP_LONG_HELP: &str = "\
Application, up to four: NAME=NETWORK,deadline=33ms,rate=15
[,floor=92.5][,priority=0][,miss=1%][,degrade=accuracy|deadline]

NETWORK is one of the policy. deadline is relative to a request's release, rate in requests a
second, floor the least accuracy in percent, miss the share that may be late; a larger priority
(0 to 255) is served first; degrade is what is given up first.";
const SLOWDOWN_HELP: &str =
    "Slow an application down: NAME=FACTOR[,TIME:FACTOR]..., like cam0=1.0,10s:1.3,20s:1.0";

/// Run the agent: serve the applications, apply the clocks
///
/// The controller says which sub-network each application runs and at which clocks; it sits on a
/// microcontroller behind a serial port, or in the agent (in-process). With a microcontroller the
/// agent runs a twin of it, which takes over within four periods when it falls silent.
///
/// Requests come periodically, at each application's rate, earliest deadline first. They run on a
/// scripted engine and a scripted board: latency, energy and settle times of the policy, slowed
/// down as --slowdown says.
///
/// Prints a line per change of decision, or with --json an object per control period and one at
/// the end. SIGINT and SIGTERM end the run with its summary.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Policy image: levels, networks, latencies and energies of the board
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    // Brackets in a doc comment would be links.
    #[arg(long, value_name = "LINK", help = LINK_HELP)]
    link: String,
    #[arg(long = "app", value_name = "SPEC", help = APP_HELP, long_help = APP_LONG_HELP)]
    apps: Vec<String>,
    /// Control period, 20ms to 500ms
    #[arg(long, value_name = "TIME", default_value = "50ms")]
    period: String,
    /// Cap on the board's input power, like 12W or 8500mW [default: the policy's]
    #[arg(long, value_name = "POWER")]
    power_cap: Option<String>,
    /// Cap on the hottest temperature, like 85C [default: the policy's]
    #[arg(long, value_name = "TEMPERATURE")]
    temp_cap: Option<String>,
    #[arg(long, value_name = "SCRIPT", help = SLOWDOWN_HELP)]
    slowdown: Vec<String>,
    /// Standard deviation of the latencies, percent of their mean
    #[arg(long, value_name = "PERCENT", default_value = "1%")]
    noise: String,
    /// Seed of the noise
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// End after this time, like 10s [default: when stopped]
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,
    /// Control socket [default: coshift.sock in $XDG_RUNTIME_DIR, or in /run]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Print one JSON object a period and one at the end
    #[arg(long)]
    json: bool,
    /// Log every frame to this new file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Say every event of the microcontroller's log
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fault> {
    let options = options(arguments)?;
    let scripts = scripts(arguments, &options.applications)?;
    let noise_bp = inputs::percent_bp("--noise", &arguments.noise)?;
    let bytes = policy_file::read(&arguments.policy)?;
    let policy = PolicyView::open(&bytes)?;
    // The fastest level until the first decision: nothing is late because nobody decided yet.
    let start = policy.levels().saturating_sub(1);
    let platform = ScriptedPlatform::new(&policy, start);
    let engine = ScriptedEngine::new(&policy, scripts, noise_bp, arguments.seed).in_real_time();
    stop_on_signals(&options.stop)?;
    let mut observer = Printer {
        json: arguments.json,
        verbose: arguments.verbose,
        out: std::io::stdout().lock(),
        last: None,
    };
    let report = service::run(policy, &options, platform, Box::new(engine), &mut observer)?;
    if arguments.json {
        writeln!(observer.out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(observer.out, "{}", human::summary(&report))?;
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Result<Options, Fault> {
    let (least, most) = PERIOD_US;
    let period_us = inputs::duration_us("--period", &arguments.period, least, most)?;
    let power_cap = arguments.power_cap.as_deref();
    let temp_cap = arguments.temp_cap.as_deref();
    let duration = arguments.duration.as_deref();
    Ok(Options {
        link: LinkSpec::parse("--link", &arguments.link)?,
        applications: arguments
            .apps
            .iter()
            .map(|text| ApplicationSpec::parse("--app", text))
            .collect::<Result<_, _>>()?,
        period_us: u32::try_from(period_us)?,
        caps: Caps {
            power_mw: power_cap
                .map_or(Ok(NO_POWER_CAP), |text| inputs::power_mw("--power-cap", text))?,
            temp_mdeg_c: temp_cap
                .map_or(Ok(NO_TEMP_CAP), |text| inputs::temp_mdeg_c("--temp-cap", text))?,
        },
        duration_us: duration
            .map(|text| inputs::duration_us("--duration", text, 1, MAX_DURATION_US))
            .transpose()?,
        control: arguments
            .control
            .clone()
            .map_or_else(|| ControlPath::Usual(control::default_path()), ControlPath::Asked),
        log: arguments.log.clone(),
        stop: Arc::new(AtomicBool::new(false)),
    })
}

fn scripts(
    arguments: &Arguments,
    applications: &[ApplicationSpec],
) -> Result<Vec<SlowdownScript>, Fault> {
    let mut scripts: Vec<SlowdownScript> = Vec::new();
    for text in &arguments.slowdown {
        let script = SlowdownScript::parse("--slowdown", text)?;
        let name = &script.application;
        if !applications.iter().any(|spec| spec.name == *name) {
            return Err(format!("--slowdown {name}: there is no --app of this name").into());
        }
        if scripts.iter().any(|known| known.application == *name) {
            return Err(format!("--slowdown {name}: there are two scripts for it").into());
        }
        scripts.push(script);
    }
    Ok(scripts)
}

/// The first signal ends the run, a second one the process.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), Fault> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(stop))?;
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}

/// Prints reports and notices.
struct Printer<W> {
    json: bool,
    verbose: bool,
    out: W,
    last: Option<human::Shown>,
}

impl<W: Write> Observer for Printer<W> {
    fn period(&mut self, report: &Report, _policy: &PolicyView<'_>) -> std::io::Result<()> {
        if self.json {
            writeln!(self.out, "{}", serde_json::to_string(report)?)?;
            return self.out.flush();
        }
        let shown = human::Shown::of(report);
        if self.last.as_ref() != Some(&shown) {
            writeln!(self.out, "{}", human::decision(report))?;
            self.out.flush()?;
            self.last = Some(shown);
        }
        Ok(())
    }

    fn notice(&mut self, now: Time, notice: &Notice) -> std::io::Result<()> {
        if self.verbose || !notice.is_detail() {
            complain(&format!("{} {notice}", human::time(now.us())));
        }
        Ok(())
    }
}
