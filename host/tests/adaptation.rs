//! `coshift run --adapt`: the agent serves spoilt images, and gets better at them while it runs.
#![cfg(feature = "engine")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coshift_engine::corrupt::{Corruption, Kind};
use coshift_host::boards;
use coshift_host::cells::Cells;
use coshift_host::clock::Time;
use coshift_host::core::Caps;
use coshift_host::engine::{BoardEngine, Input, Models, ScriptedEngine};
use coshift_host::link::LinkSpec;
use coshift_host::notice::Notice;
use coshift_host::platform::VirtualBoard;
use coshift_host::report::Report;
use coshift_host::service::{self, ControlPath, Observer, Options};
use coshift_host::spec::ApplicationSpec;
use coshift_plant::policy;
use coshift_shared::policy::PolicyView;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

/// Images before the first adaptation and after it that are enough to compare.
const ENOUGH: u64 = 200;

/// Ends the run when enough was inferred.
struct Until(Arc<AtomicBool>);

impl Observer for Until {
    fn period(&mut self, report: &Report, _policy: &PolicyView<'_>) -> std::io::Result<()> {
        let adaptation = report.applications[0].adaptation.as_ref();
        if adaptation.is_some_and(|adaptation| adaptation.images >= ENOUGH) {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn notice(&mut self, _now: Time, _notice: &Notice) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn accuracy_on_spoilt_images_comes_back_in_a_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/coshift-28");
    let board = boards::find("--board", "virtual:xavier_nx").unwrap();
    let bytes = policy::bytes(&policy::first_image(&board).unwrap()).unwrap();
    let view = PolicyView::open(&bytes).unwrap();
    let mut models = Models::default();
    let input = Input {
        images: None,
        corruption: Some(Corruption { kind: Kind::Contrast, severity: 2 }),
        tiles_run: 32,
        adapt: Some(64),
        seed: 3,
    };
    models.load(&view, &folder, &input).unwrap();
    let cells = Cells::of_board(&board, &view).unwrap();
    let pace = ScriptedEngine::of_cells(cells, Vec::new(), 0, 1);
    let engine = Box::new(BoardEngine::new(pace, Some(Box::new(models))));
    let start = view.levels() - 1;
    let platform = VirtualBoard::new(&board, &view, start).unwrap();
    let app = "cam0=coshift-28,deadline=60ms,floor=90,rate=15";
    let socket =
        std::env::temp_dir().join(format!("coshift-adaptation-{}.sock", std::process::id()));
    let stop = Arc::new(AtomicBool::new(false));
    let options = Options {
        link: LinkSpec::InProcess,
        applications: vec![ApplicationSpec::parse("--app", app).unwrap()],
        period_us: 50_000,
        caps: Caps { power_mw: NO_POWER_CAP, temp_mdeg_c: NO_TEMP_CAP },
        parking: true,
        upload_policy: false,
        // Only where nothing adapts at all: the run ends when enough was inferred.
        duration_us: Some(600_000_000),
        control: ControlPath::Usual(socket),
        log: None,
        trace: None,
        freeze: false,
        stop: Arc::clone(&stop),
    };
    let report = service::run(view, &options, platform, engine, &mut Until(stop)).unwrap();
    let served = &report.applications[0];
    let adaptation = served.adaptation.as_ref().expect("adapted");
    assert!(adaptation.times >= 1 && adaptation.from_images == 64, "{adaptation:?}");
    assert!(adaptation.time_us > 0 && adaptation.time_us <= report.time_us);
    assert!(served.images - adaptation.images >= ENOUGH, "{served:?}");
    // 21 % as shipped and 64 % adapted from 200 images, the mean of all sub-networks.
    let before = adaptation.accuracy_before_pct.unwrap();
    assert!(before < 40.0 && adaptation.accuracy_pct > before + 20.0, "{adaptation:?}");
    let right = adaptation.accuracy_pct / 100.0 * adaptation.images as f64;
    assert_eq!(right.round() as u64, adaptation.right);
    // Nothing of the decisions waits for it.
    assert_eq!(served.failed, 0);
}
