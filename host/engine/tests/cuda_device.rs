//! Networks on a device, over a driver that is emulated on the host (`driver/libcuda.cpp`).
//!
//! The driver's library is looked for where a process says when it starts, so that the test starts
//! itself once more.

#[allow(dead_code, reason = "not every test binary uses all of it")]
#[path = "common/emulated.rs"]
mod emulated;

use std::path::Path;
use std::process::Command;

use coshift_engine::cuda::compare::{Compared, compare};
use coshift_engine::cuda::device::{CAPABILITIES, Device, DeviceFault, DeviceNetwork};
use coshift_engine::family::{COSHIFT_28, Exit, Family};
use coshift_engine::intermediate::{Intermediate, off};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, RunFault, Workspace};
use coshift_engine::train::network::forward;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;

const AGAIN: &str = "COSHIFT_EMULATED_DRIVER";

/// Whether this is a test's second start, over the emulated driver. Else starts it there, the kernels
/// compiled from the sources of a folder, with `set` in its environment; fails where that fails.
fn again(test: &str, sources: &Path, set: &[(&str, &str)]) -> bool {
    if std::env::var_os(AGAIN).is_some() {
        return true;
    }
    let folder = emulated::host_compiler::driver(Path::new(env!("CARGO_MANIFEST_DIR")), sources);
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("LD_LIBRARY_PATH", &folder)
        .env(AGAIN, "1")
        .envs(set.iter().copied())
        .status()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(status.success(), "{status}");
    false
}

#[test]
fn on_the_emulated_driver() {
    if again("on_the_emulated_driver", Path::new(emulated::FOLDER), &[]) {
        run();
    }
}

#[test]
fn a_driver_that_takes_no_kernels_is_named() {
    let set = [("COSHIFT_EMULATED_REFUSES", "1")];
    if again("a_driver_that_takes_no_kernels_is_named", Path::new(emulated::FOLDER), &set) {
        let fault = Device::open(0).unwrap_err().to_string();
        let expected = match CAPABILITIES {
            "none" => "built without kernels, for checks only (COSHIFT_CUDA_KERNELS=none)",
            _ => "the host, emulated has compute capability 87, the kernels are compiled for",
        };
        assert!(fault.starts_with(expected), "{fault}");
        assert!(!fault.contains('\n'), "{fault}");
    }
}

#[test]
fn every_tensor_is_the_cpu_s() {
    if !again("every_tensor_is_the_cpu_s", Path::new(emulated::FOLDER), &[]) {
        return;
    }
    let network = network();
    for images in [1, 2] {
        let mut on_gpu = DeviceNetwork::new(Device::open(0).unwrap(), &network, images).unwrap();
        for index in 0..network.len() {
            let input = noise(images * network.image_len(), &mut Random(64));
            let compared = compared(&mut on_gpu, &network, index, &input);
            let program = on_gpu.program(index).unwrap();
            assert_eq!(compared.len(), images * program.written.len());
            // Each of the launches, the logits last.
            assert!(program.written.iter().map(|w| w.launch).is_sorted());
            assert_eq!(compared.last().unwrap().launch, program.launches.len() - 1);
            assert_eq!(compared.last().unwrap().what, Intermediate::Logits);
            let far = compared.iter().find(|compared| !compared.within(MOST));
            assert!(far.is_none(), "sub-network {index}: {}", far.unwrap());
        }
        let fault = on_gpu.each_tensor(9, &[], |_, _, _| ()).unwrap_err().to_string();
        assert_eq!(fault, "sub-network 9: the model has 0 to 4");
    }
}

#[test]
fn exits_that_images_take_are_refused() {
    if !again("exits_that_images_take_are_refused", Path::new(emulated::FOLDER), &[]) {
        return;
    }
    let mut family: Family = serde_json::from_str(COSHIFT_28).unwrap();
    family.exits = vec![Exit { stage: 1, threshold: 0.9 }];
    let layout = Layout::new(&family).unwrap();
    let values = optimiser::start(&layout, &mut Random(66));
    let (net, images) = (family.smallest(), noise(2 * 28 * 28, &mut Random(67)));
    let statistics = forward(&layout, &layout.units(&net), &values, &images, None).statistics;
    let network = Network::new(layout, values, &[Calibrated { net, statistics }]).unwrap();
    let fault = DeviceNetwork::new(Device::open(0).unwrap(), &network, 1).unwrap_err();
    let exits = RunFault::Exits { stages: vec![1] };
    assert!(matches!(&fault, DeviceFault::Run(run) if *run == exits), "{fault}");
}

/// A value of one kernel is wrong: file, text, its replacement, how the kernel's name begins, and
/// whether the logits show it.
const FAULTS: [(&str, &str, &str, &str, bool); 3] = [
    // One value of a map, too little to be seen in the logits.
    (
        "depthwise.cuh",
        "const float4 out = finished(sums[r], scale, shift, a.activation);",
        "float4 out = finished(sums[r], scale, shift, a.activation);
         out.x += K == 5 && row + column + r + block + quarter == 0 ? 0.003f : 0.0f;",
        "depthwise_5_",
        false,
    ),
    ("fused.cuh", "load4(a.tap_shift + channel)", "load4(a.tap_scale + channel)", "fused_", true),
    ("vector.cuh", "1.0f / float(a.pixels)", "1.01f / float(a.pixels)", "vector_", true),
];

#[test]
fn a_wrong_kernel_is_named_with_its_step() {
    for (number, (file, from, to, kernel, in_logits)) in FAULTS.into_iter().enumerate() {
        if std::env::var_os(AGAIN).is_none() {
            let sources = emulated::faulty(file, from, to);
            let fault = number.to_string();
            let set = [("COSHIFT_FAULT", &*fault)];
            again("a_wrong_kernel_is_named_with_its_step", &sources, &set);
            std::fs::remove_dir_all(sources).unwrap();
        } else if std::env::var("COSHIFT_FAULT").unwrap() == number.to_string() {
            let network = network();
            let mut on_gpu = DeviceNetwork::new(Device::open(0).unwrap(), &network, 1).unwrap();
            let mut named = 0;
            for index in 0..network.len() {
                let input = noise(network.image_len(), &mut Random(65));
                let logits = on_gpu.run(index, &input).unwrap().to_vec();
                let compared = compared(&mut on_gpu, &network, index, &input);
                let program = on_gpu.program(index).unwrap();
                let runs = program.launches.iter().any(|launch| launch.kernel.starts_with(kernel));
                let mut far = compared.iter().filter(|compared| !compared.within(MOST));
                let first = far.next();
                assert_eq!(first.is_some(), runs, "{from}: sub-network {index}");
                let Some(first) = first else { continue };
                named += 1;
                // It, and nothing after it that is right.
                assert!(first.kernel.starts_with(kernel), "{from}: {first}");
                assert!(far.all(|other| other.kernel.starts_with(kernel)), "{from}");
                assert_eq!(program.launches[first.launch].kernel, first.kernel);
                let text = first.to_string();
                assert!(text.starts_with(&format!("launch {} ({kernel}", first.launch)), "{text}");
                assert!(text.contains(&first.what.to_string()), "{text}");
                let mut space = Workspace::default();
                let wanted = network.run(index, &input, &mut space).unwrap();
                let far = off(&logits, wanted);
                assert_eq!(far > MOST, in_logits, "{from}: logits {far:.1e} away");
            }
            assert!(named > 0, "{from}: no sub-network runs {kernel}");
        }
    }
}

/// What may lie between two backends, as a share of a tensor's largest value.
const MOST: f64 = 1e-4;

fn compared(
    on_gpu: &mut DeviceNetwork,
    network: &Network,
    index: usize,
    images: &[f32],
) -> Vec<Compared> {
    compare(on_gpu, network, index, images, &mut Workspace::default()).unwrap()
}

fn noise(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal()).collect()
}

fn network() -> Network {
    let mut family: Family = serde_json::from_str(COSHIFT_28).unwrap();
    // Every kind of step.
    family.stages[1].squeeze_excite = true;
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
