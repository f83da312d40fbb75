//! Networks on a device, over a driver that is emulated on the host (`driver/libcuda.cpp`).
//!
//! The driver's library is looked for where a process says when it starts, so that the test starts
//! itself once more.

#[allow(dead_code, reason = "not every test binary uses all of it")]
#[path = "common/emulated.rs"]
mod emulated;

use std::path::Path;
use std::process::Command;

use coshift_engine::cuda::device::{CAPABILITIES, Device, DeviceFault, DeviceNetwork};
use coshift_engine::family::{COSHIFT_28, Family};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, RunFault, Workspace};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;

const AGAIN: &str = "COSHIFT_EMULATED_DRIVER";

#[test]
fn on_the_emulated_driver() {
    if std::env::var_os(AGAIN).is_some() {
        return run();
    }
    let folder = emulated::scratch("driver");
    std::fs::create_dir(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/libcuda.cpp");
    emulated::compile(&source, Path::new(emulated::FOLDER), &folder.join("libcuda.so"));
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "on_the_emulated_driver", "--nocapture"])
        .env("LD_LIBRARY_PATH", &folder)
        .env(AGAIN, "1")
        .status()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(status.success(), "{status}");
}

fn noise(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal()).collect()
}

fn network() -> Network {
    let family: Family = serde_json::from_str(COSHIFT_28).unwrap();
    let layout = Layout::new(&family).unwrap();
    let mut random = Random(61);
    let values = optimiser::start(&layout, &mut random);
    let mut nets = vec![family.smallest(), family.largest()];
    nets.extend((0..3).map(|_| sample(&family, &mut random)));
    let nets: Vec<_> = nets
        .into_iter()
        .map(|net| {
            let images = noise(8 * 28 * 28, &mut random);
            let statistics =
                forward(&layout, &layout.units(&net), &values, &images, None).statistics;
            Calibrated { net, statistics }
        })
        .collect();
    Network::new(layout, values, &nets).unwrap()
}

fn run() {
    let network = network();
    assert!(matches!(Device::open(1), Err(DeviceFault::NoDevice { ordinal: 1, .. })));
    for images in [1, 3] {
        let device = Device::open(0).unwrap();
        assert_eq!(device.name(), "the host, emulated");
        let mut on_gpu = DeviceNetwork::new(device, &network, images).unwrap();
        let (selector, mut space) = (on_gpu.selector(), Workspace::default());
        // Each after another one, and after itself, on other images each time.
        for (place, index) in [0, 1, 1, 3, 0, 4, 2].into_iter().enumerate() {
            let input = noise(images * network.image_len(), &mut Random(62 + place as u64));
            std::thread::scope(|scope| {
                scope.spawn(|| selector.select(index).unwrap());
            });
            let found = on_gpu.run_selected(&input).unwrap();
            let wanted = network.run(index, &input, &mut space).unwrap();
            let top = wanted.iter().fold(0.0_f32, |top, value| top.max(value.abs()));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * top;
            assert_eq!(found.len(), wanted.len());
            assert!(found.iter().zip(wanted).all(close), "{index}: {found:?}, {wanted:?}");
        }
        let input = noise(images * network.image_len(), &mut Random(63));
        assert_eq!(on_gpu.graph_times(1, &input, 3).unwrap().len(), 3);
        assert_eq!(selector.select(5), Err(RunFault::Index { index: 5, last: 4 }));
        let fault = on_gpu.run(0, &input[1..]).unwrap_err().to_string();
        let expected = images * network.image_len();
        assert!(fault.contains(&format!("{} values", expected - 1)), "{fault}");
        let fault = on_gpu.run(9, &input).unwrap_err().to_string();
        assert_eq!(fault, "sub-network 9: the model has 0 to 4");
        assert!(on_gpu.resident_bytes() > 4 * network.shared_values().len());
    }
    assert!(!CAPABILITIES.is_empty());
}
