//! `coshift run`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coshift_host::boards;
use coshift_host::cells::Cells;
use coshift_host::clock::Time;
use coshift_host::control;
use coshift_host::core::Caps;
#[cfg(feature = "engine")]
use coshift_host::engine::{ADAPTATION_IMAGES, Input, Models};
use coshift_host::engine::{BoardEngine, Infer, ScriptedEngine};
use coshift_host::inputs;
use coshift_host::link::LinkSpec;
use coshift_host::notice::Notice;
use coshift_host::platform::{ScriptedPlatform, VirtualBoard};
use coshift_host::policy_file;
use coshift_host::report::Report;
use coshift_host::service::{self, ControlPath, Observer, Options};
use coshift_host::spec::{ApplicationSpec, SlowdownScript};
use coshift_plant::policy;
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
const BOARD_HELP: &str = "Virtual board: virtual:NAME (agx_xavier, orin_nano, xavier_nx) or \
                          virtual:FILE.toml";
const APP_HELP: &str =
    "Application, up to four: NAME=NETWORK,deadline=33ms,rate=15[,floor=92.5][,...]";
const APP_LONG_HELP: &str = "\
Application, up to four: NAME=NETWORK,deadline=33ms,rate=15
[,floor=92.5][,priority=0][,miss=1%][,degrade=accuracy|deadline|energy]
[,objective=least-energy|best-accuracy|least-latency][,energy=500mJ]

NETWORK is one of the policy. deadline is relative to a request's release, rate in requests a
second, floor the least accuracy in percent, miss the share that may be late; a larger priority
(0 to 255) is served first; degrade is what is given up first. objective is what is optimised:
least energy at the floor, best accuracy within the energy budget of a request (beyond idle), or
least latency, within the budget where there is one.";
const SLOWDOWN_HELP: &str =
    "Slow an application down: NAME=FACTOR[,TIME:FACTOR]..., like cam0=1.0,10s:1.3,20s:1.0";

/// Run the agent: serve the applications, apply the clocks
///
/// The controller says which sub-network each application runs and at which clocks; it sits on a
/// microcontroller behind a serial port, or in the agent (in-process). With a microcontroller the
/// agent runs a twin of it, which takes over within four periods when it falls silent.
///
/// Requests come periodically, at each application's rate, earliest deadline first.
///
/// With --board virtual:NAME the board is a model fitted to published measurements: latency, power,
/// settle times and temperature are the model's, slowed down as --slowdown says. With --model the
/// requests are really inferred, on labelled images, and accuracy is counted; wall time is stretched
/// to the board's. Without --board, board and latencies are what the policy says.
///
/// Prints a line per change of decision, or with --json an object per control period and one at
/// the end. SIGINT and SIGTERM end the run with its summary.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Policy image: levels, networks, latencies and energies of the board [default: computed from
    /// --board, as for the firmware]
    #[arg(long, value_name = "FILE", required_unless_present = "board")]
    policy: Option<PathBuf>,
    #[arg(long, value_name = "BOARD", help = BOARD_HELP)]
    board: Option<String>,
    /// Model folder of a network, may be given several times; needs --board
    #[arg(long, value_name = "DIR", requires = "board")]
    model: Vec<PathBuf>,
    /// Folder with test images in IDX files [default: the model folder]
    #[arg(long, value_name = "DIR", requires = "model")]
    images: Option<PathBuf>,
    /// Crops of a request that are really inferred; its other tiles only take their time
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    tiles_run: u16,
    /// Make the test images worse: noise, blur or contrast, with :1 to :5 (3 if not given)
    #[arg(long, value_name = "KIND", requires = "model")]
    corrupt: Option<String>,
    /// Adapt the models to their images in the background: normalisation from the last NUMBER (32 to
    /// 250) of one image in four, again and again, while they run
    #[arg(long, value_name = "NUMBER", requires = "model")]
    adapt: Option<u16>,
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
    /// Send the policy to a microcontroller that has another one. Its number must be that of the
    /// microcontroller's + 1, or it must be the one that ran there before
    #[arg(long)]
    upload_policy: bool,
    /// Keep the run level between requests too
    #[arg(long)]
    no_park: bool,
    #[arg(long, value_name = "SCRIPT", help = SLOWDOWN_HELP)]
    slowdown: Vec<String>,
    /// Standard deviation of the latencies, percent of their mean
    #[arg(long, value_name = "PERCENT", default_value = "1%")]
    noise: String,
    /// Seed of the noise, of the images' order and of the sample that --adapt takes
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
    /// Write what became of every request to this new CSV file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Keep the first decision for ever: what happens without a controller
    #[arg(long, hide = true)]
    freeze_decision: bool,
    /// Say every event of the microcontroller's log
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fault> {
    let options = options(arguments)?;
    let scripts = scripts(arguments, &options.applications)?;
    let noise_bp = inputs::percent_bp("--noise", &arguments.noise)?;
    let board = arguments.board.as_deref().map(|text| boards::find("--board", text)).transpose()?;
    let bytes = match (&arguments.policy, &board) {
        (Some(path), _) => policy_file::read(path)?,
        (None, Some(board)) => policy::bytes(&policy::first_image(board)?)?,
        (None, None) => return Err("--policy or --board is missing".into()),
    };
    let policy = PolicyView::open(&bytes)?;
    // The fastest level until the first decision: nothing is late because nobody decided yet.
    let start = policy.levels().saturating_sub(1);
    let mut observer = Printer {
        json: arguments.json,
        verbose: arguments.verbose,
        out: std::io::stdout().lock(),
        last: None,
    };
    let report = match &board {
        Some(board) => {
            let cells = Cells::of_board(board, &policy)?;
            check_tiles(arguments, board, &options.applications)?;
            let pace = ScriptedEngine::of_cells(cells, scripts, noise_bp, arguments.seed);
            let infer = inference(arguments, &policy, &options.applications)?;
            let engine = Box::new(BoardEngine::new(pace, infer));
            let platform = VirtualBoard::new(board, &policy, start)?;
            stop_on_signals(&options.stop)?;
            service::run(policy, &options, platform, engine, &mut observer)?
        }
        None => {
            let engine = ScriptedEngine::new(&policy, scripts, noise_bp, arguments.seed);
            let platform = ScriptedPlatform::new(&policy, start);
            stop_on_signals(&options.stop)?;
            service::run(
                policy,
                &options,
                platform,
                Box::new(engine.in_real_time()),
                &mut observer,
            )?
        }
    };
    if arguments.json {
        writeln!(observer.out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(observer.out, "{}", human::summary(&report))?;
    }
    Ok(())
}

/// No more crops of a request are inferred than it has.
fn check_tiles(
    arguments: &Arguments,
    board: &coshift_plant::Board,
    applications: &[ApplicationSpec],
) -> Result<(), Fault> {
    let run = u32::from(arguments.tiles_run);
    let networks = applications.iter().filter_map(|spec| board.network(&spec.network));
    match networks.filter(|_| !arguments.model.is_empty()).find(|network| network.tiles < run) {
        None => Ok(()),
        Some(network) => {
            let (name, tiles) = (&network.name, network.tiles);
            Err(format!("--tiles-run {run}: a request of {name} has {tiles} tiles").into())
        }
    }
}

/// The models of the command line. An application whose network has none is said so: its latencies
/// are played.
#[cfg(feature = "engine")]
fn inference(
    arguments: &Arguments,
    policy: &PolicyView<'_>,
    applications: &[ApplicationSpec],
) -> Result<Option<Box<dyn Infer>>, Fault> {
    let mut models = Models::default();
    let corruption = (arguments.corrupt.as_deref().map(str::parse).transpose())
        .map_err(|why: String| format!("--corrupt {why}"))?;
    let (least, most) = ADAPTATION_IMAGES;
    if let Some(found) = arguments.adapt.filter(|count| !(least..=most).contains(count)) {
        return Err(format!("--adapt {found}: expected {least} to {most}").into());
    }
    let input = Input {
        images: arguments.images.as_deref(),
        corruption,
        tiles_run: usize::from(arguments.tiles_run),
        adapt: arguments.adapt.map(usize::from),
        seed: arguments.seed,
    };
    for folder in &arguments.model {
        let network = models.load(policy, folder, &input)?;
        if policy.table_named(&network).is_some_and(|(table, _)| models.infers_noise(table)) {
            let folder = folder.display();
            complain(&format!(
                "--model {folder}: published weights without images: {network} infers noise, no \
                 accuracy is counted"
            ));
        }
    }
    for spec in applications {
        let table = policy.table_named(&spec.network).map(|(index, _)| index);
        if table.is_some_and(|table| !models.serves(table)) {
            let (name, network) = (&spec.name, &spec.network);
            complain(&format!(
                "{name}: no --model for {network}: its latencies are the board's, nothing is inferred"
            ));
        }
    }
    Ok(Some(Box::new(models)))
}

#[cfg(not(feature = "engine"))]
fn inference(
    arguments: &Arguments,
    _policy: &PolicyView<'_>,
    _applications: &[ApplicationSpec],
) -> Result<Option<Box<dyn Infer>>, Fault> {
    match arguments.model.first() {
        None => Ok(None),
        Some(folder) => {
            let folder = folder.display();
            Err(format!("--model {folder}: this agent was built without inference").into())
        }
    }
}

fn options(arguments: &Arguments) -> Result<Options, Fault> {
    let (least, most) = PERIOD_US;
    let period_us = inputs::duration_us("--period", &arguments.period, least, most)?;
    let power_cap = arguments.power_cap.as_deref();
    let temp_cap = arguments.temp_cap.as_deref();
    let duration = arguments.duration.as_deref();
    let link = LinkSpec::parse("--link", &arguments.link)?;
    if arguments.upload_policy && link == LinkSpec::InProcess {
        return Err("--upload-policy: with --link in-process there is no microcontroller".into());
    }
    Ok(Options {
        link,
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
        parking: !arguments.no_park,
        upload_policy: arguments.upload_policy,
        duration_us: duration
            .map(|text| inputs::duration_us("--duration", text, 1, MAX_DURATION_US))
            .transpose()?,
        control: arguments
            .control
            .clone()
            .map_or_else(|| ControlPath::Usual(control::default_path()), ControlPath::Asked),
        log: arguments.log.clone(),
        trace: arguments.trace.clone(),
        freeze: arguments.freeze_decision,
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
