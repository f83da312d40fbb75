//! The operators of candle graphs on `candle_core::Device::Cuda`, against the same operators on the CPU:
//! on a GPU, and over a driver that is emulated on the host (`driver/candle.cpp`).
//!
//! What is emulated comes before the libraries of the toolkit, which a process loads when it starts: the
//! test starts itself once more.

mod common;

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Tensor};
use common::close::assert_close;
use common::operators::{Call, KINDS};
use common::random::{any, calibrated, noise, values};
use common::{emulated, family};
use coshift_engine::candle_blocked as ops;
use coshift_engine::candle_cuda::Resident;
use coshift_engine::candle_ops;
use coshift_engine::layout::Layout;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::random::Random;

const AGAIN: &str = "COSHIFT_EMULATED_DRIVER";

#[test]
fn over_the_emulated_driver() {
    if std::env::var_os(AGAIN).is_some() {
        return run(&Device::new_cuda(0).unwrap());
    }
    let folder = emulated::scratch("candle");
    std::fs::create_dir(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/candle.cpp");
    let library = folder.join("libcandle.so");
    emulated::compile(&source, Path::new(emulated::FOLDER), &library);
    let again = |settings: &[&str]| {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "over_the_emulated_driver", "--nocapture"]);
        again.env("LD_PRELOAD", &library).env(AGAIN, "1").env_remove(POOLS).env_remove(FAULT);
        again.envs(settings.iter().map(|setting| (setting, "1")));
        let output = again.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    // With memory pools, as GPUs have them, and without.
    for settings in [&[POOLS][..], &[]] {
        let (right, said) = again(settings);
        assert!(right, "{settings:?}: {said}");
    }
    // Where the offset of a tensor is lost, its values are others.
    let (right, said) = again(&[POOLS, FAULT]);
    assert!(!right && said.contains(" in place of "), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// What the emulated driver is asked for: memory pools, and to lose the offsets of tensors.
const POOLS: &str = "COSHIFT_EMULATED_POOLS";
const FAULT: &str = "COSHIFT_EMULATED_FAULT";

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn on_a_gpu() {
    run(&Device::new_cuda(0).unwrap());
}

fn run(device: &Device) {
    operators_equal_the_cpu(device);
    operators_mix_with_layers_of_candle(device);
    sub_networks_equal_the_executor(device);
    what_does_not_fit_is_named(device);
    training_says_that_it_runs_on_the_cpu(device);
    if std::env::var_os(AGAIN).is_some() {
        nothing_waits(device);
    }
}

/// What an error says, without the backtrace that candle may add.
fn said<T>(result: Result<T>) -> String {
    let fault = result.err().expect("an error").to_string();
    fault.lines().next().unwrap_or_default().to_owned()
}

fn list(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Random values of this shape, the last part of a tensor that begins `before` rows earlier.
fn tensors(shape: &[usize], before: usize, random: &mut Random, device: &Device) -> [Tensor; 2] {
    let mut whole = shape.to_vec();
    whole[0] += before;
    let whole =
        Tensor::from_vec(noise(whole.iter().product(), random), whole, &Device::Cpu).unwrap();
    [&Device::Cpu, device].map(|device| {
        let whole = whole.to_device(device).unwrap();
        whole.narrow(0, before, shape[0]).unwrap()
    })
}

fn operators_equal_the_cpu(device: &Device) {
    let mut random = Random(81);
    for case in 0..KINDS * 24 {
        let call = Call::random(case, &mut random);
        // Tensors that begin where their memory does, and later.
        let shapes = call.shapes();
        let both: Vec<_> = shapes
            .iter()
            .map(|shape| tensors(shape, case / KINDS % 3, &mut random, device))
            .collect();
        let [on_cpu, on_gpu] = [0, 1].map(|at| both.iter().map(|pair| pair[at].clone()).collect());
        let (on_cpu, on_gpu): (Vec<_>, Vec<_>) = (on_cpu, on_gpu);
        let wanted = call.run(&on_cpu).unwrap();
        let found = call.run(&on_gpu).unwrap();
        assert!(found.device().is_cuda());
        assert_eq!(found.dims(), wanted.dims(), "{call:?}");
        assert_close(&list(&found), &list(&wanted), &format!("{call:?}"));
    }
}

/// Halves of an image through candle's layers and ours in turn.
fn mixed(x: &Tensor, weight: &Tensor, taps: &Tensor, affine: &Tensor) -> Result<Tensor> {
    // Each of the first two is turned by a kernel of candle's first.
    let x = x.permute((0, 2, 3, 1))?.affine(0.5, 0.25)?;
    let y = ops::pointwise(&x, &weight.t()?, affine, None)?;
    let y = y.affine(2.0, -1.0)?;
    let y = ops::depthwise(&y, taps, affine, 2, None)?;
    ops::pool(&y.affine(1.0, 3.0)?)?.affine(0.5, 0.0)
}

fn operators_mix_with_layers_of_candle(device: &Device) {
    let mut random = Random(82);
    let shapes = [vec![2, 7, 6, 9], vec![7, 19], vec![25, 19], vec![2, 19]];
    let both = shapes.map(|shape| tensors(&shape, 1, &mut random, device));
    let [cpu, gpu] = [0, 1].map(|at| {
        let [x, weight, taps, affine] = [0, 1, 2, 3].map(|number| &both[number][at]);
        list(&mixed(x, weight, taps, affine).unwrap())
    });
    assert_close(&gpu, &cpu, "layers of candle's and ours");
}

fn network(random: &mut Random) -> Arc<Network> {
    let family = family();
    let layout = Layout::new(&family).unwrap();
    let values = values(&layout, random);
    let nets: Vec<_> = (0..3)
        .map(|_| {
            let net = any(&family, &[8], random);
            calibrated(&layout, &values, &net, 12, random)
        })
        .collect();
    Arc::new(Network::new(layout, values, &nets).unwrap())
}

fn sub_networks_equal_the_executor(device: &Device) {
    let mut random = Random(83);
    let network = network(&mut random);
    let resident = Resident::new(&network, device).unwrap();
    assert!(resident.resident_bytes() >= 4 * network.shared_values().len());
    assert!(format!("{resident:?}").contains("Resident"));
    let mut space = Workspace::default();
    for (place, images) in [1, 5, 2, 1, 3, 4].into_iter().enumerate() {
        let index = [0, 2, 1][place % 3];
        let [cpu, gpu] = tensors(&[images, 8, 8, 1], place % 2, &mut random, device);
        let logits = resident.run(index, &gpu).unwrap();
        assert_eq!(logits.dims(), [images, 4]);
        let wanted = network.run(index, &list(&cpu), &mut space).unwrap();
        assert_close(&list(&logits), wanted, &format!("sub-network {index}, {images} images"));
    }
    let [cpu, gpu] = tensors(&[2, 8, 8, 1], 0, &mut random, device);
    let wide = gpu.reshape((2, 4, 16, 1)).unwrap();
    let double = Tensor::zeros((2, 8, 8, 1), DType::F64, device).unwrap();
    let space = Arc::new(Mutex::new(space));
    for (fault, expected) in [
        (said(resident.run(7, &gpu)), "sub-network 7: the model has 0 to 2"),
        (said(resident.run(0, &cpu)), "weights are on a GPU"),
        (said(resident.run(0, &wide)), "64 values each"),
        (said(resident.run(0, &double)), "F64 where f32 goes"),
        (said(Resident::new(&network, &Device::Cpu)), "where a CUDA device goes"),
        (said(ops::sub_network(&gpu, &network, 0, &space)), "Resident"),
    ] {
        assert!(fault.starts_with("coshift-sub-network: "), "{fault}");
        assert!(fault.contains(expected), "{fault}");
    }
}

fn what_does_not_fit_is_named(device: &Device) {
    // No driver allocates nothing: an empty tensor is a part of another.
    let zeros = |shape: &[usize], device: &Device| {
        let whole: Vec<usize> = shape.iter().map(|len| *len.max(&1)).collect();
        let whole = Tensor::zeros(whole, DType::F32, device).unwrap();
        let narrowed = |x: Tensor, (dim, len): (usize, &usize)| x.narrow(dim, 0, *len);
        shape.iter().enumerate().try_fold(whole, narrowed).unwrap()
    };
    let double =
        |shape: &[usize], device: &Device| Tensor::zeros(shape, DType::F64, device).unwrap();
    type Case = (&'static str, fn(&dyn Fn(&[usize]) -> Tensor) -> Result<Tensor>);
    let cases: [Case; 11] = [
        ("at most 2", |t| ops::pointwise(&t(&[2, 4, 4, 3]), &t(&[5, 2]), &t(&[2, 5]), None)),
        ("[2, 4]", |t| ops::pointwise(&t(&[2, 4, 4, 3]), &t(&[4, 3]), &t(&[2, 5]), None)),
        ("rank", |t| ops::pointwise(&t(&[2, 16, 3]), &t(&[4, 3]), &t(&[2, 4]), None)),
        ("empty", |t| ops::pointwise(&t(&[0, 4, 4, 3]), &t(&[4, 3]), &t(&[2, 4]), None)),
        ("odd k", |t| ops::depthwise(&t(&[2, 4, 4, 3]), &t(&[4, 3]), &t(&[2, 3]), 1, None)),
        ("stride 3", |t| ops::depthwise(&t(&[2, 4, 4, 3]), &t(&[9, 3]), &t(&[2, 3]), 3, None)),
        ("3×3", |t| ops::first(&t(&[2, 4, 4, 3]), &t(&[9, 3]), &t(&[2, 5]), 1, None)),
        ("square", |t| ops::first(&t(&[2, 2, 8, 3]), &t(&[5, 3, 3, 3]), &t(&[2, 5]), 1, None)),
        ("[3, 3]", |t| ops::squeeze_excite(&t(&[2, 4, 4, 3]), &t(&[2, 4]), &t(&[2, 4]))),
        ("rank", |t| ops::pool(&t(&[2, 4, 3]))),
        ("empty", |t| ops::pool(&t(&[0, 4, 4, 3]))),
    ];
    for (expected, call) in cases {
        let [cpu, gpu] =
            [&Device::Cpu, device].map(|device| said(call(&|shape| zeros(shape, device))));
        assert_eq!(gpu, cpu);
        assert!(cpu.contains(expected), "{cpu}");
    }
    let one = |wrong: usize, device: &Device| {
        let of = |number: usize, shape: &[usize]| {
            if number == wrong { double(shape, device) } else { zeros(shape, device) }
        };
        let [x, weight, affine] = [of(0, &[1, 2, 2, 3]), of(1, &[4, 3]), of(2, &[2, 4])];
        said(ops::pointwise(&x, &weight, &affine, None))
    };
    for wrong in 0..3 {
        let [cpu, gpu] = [&Device::Cpu, device].map(|device| one(wrong, device));
        assert_eq!(gpu, "coshift-blocked-pointwise: F64 where f32 goes");
        assert_eq!(gpu, cpu);
    }
    let fault = said(ops::pool(&double(&[2, 4, 4, 3], device)));
    assert_eq!(fault, "coshift-blocked-pool: F64 where f32 goes");
    let (x, weight) = (zeros(&[1, 2, 2, 3], device), zeros(&[4, 3], &Device::Cpu));
    let fault = said(ops::pointwise(&x, &weight, &zeros(&[2, 4], device), None));
    assert!(fault.contains("device mismatch"), "{fault}");
    let fault = said(ops::pool(&zeros(&[65_536, 1, 1, 1], device)));
    assert_eq!(fault, "coshift-blocked-pool: 65536 images where at most 65535 go");
}

fn training_says_that_it_runs_on_the_cpu(device: &Device) {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, device).unwrap();
    let x = zeros(&[1, 4, 4, 3]);
    for result in
        [candle_ops::depthwise(&x, &zeros(&[9, 3]), 1), candle_ops::pointwise(&x, &zeros(&[5, 3]))]
    {
        let fault = said(result);
        assert!(fault.contains("training's operators run on the CPU"), "{fault}");
    }
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// How often somebody has waited for the emulated device.
fn waits() -> u64 {
    // SAFETY: looks a name up among the libraries of the process; the function has the type that
    // driver/libcuda.cpp gives it.
    unsafe {
        let found = dlsym(std::ptr::null_mut(), c"coshift_waits".as_ptr());
        assert!(!found.is_null(), "not over the emulated driver");
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> u64>(found)()
    }
}

fn nothing_waits(device: &Device) {
    // Without memory pools a driver can only free what nobody uses any more.
    if std::env::var_os(POOLS).is_none() {
        return;
    }
    let mut random = Random(84);
    let resident = Resident::new(&network(&mut random), device).unwrap();
    let calls: Vec<_> = (0..KINDS).map(|case| Call::random(case, &mut random)).collect();
    let mut argument = |shape: &Vec<usize>| tensors(shape, 1, &mut random, device)[1].clone();
    let arguments: Vec<Vec<_>> =
        calls.iter().map(|call| call.shapes().iter().map(&mut argument).collect()).collect();
    let images = argument(&vec![2, 8, 8, 1]);
    let before = waits();
    let results: Vec<_> = calls
        .iter()
        .zip(&arguments)
        .map(|(call, arguments)| call.run(arguments).unwrap())
        .collect();
    let logits = resident.run(1, &images).unwrap();
    assert_eq!(waits(), before);
    for result in results.iter().chain([&logits]) {
        assert!(list(result).iter().all(|value| value.is_finite()));
    }
    assert!(waits() > before);
}
