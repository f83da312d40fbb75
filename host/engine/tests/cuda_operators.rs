//! The operators of candle graphs as CUDA launches, run on the host, against the same operators on the
//! CPU; and kernels with a fault, which must not pass.

#[allow(dead_code, reason = "not every test binary uses all of it")]
#[path = "common/close.rs"]
mod close;
#[allow(dead_code, reason = "not every test binary uses all of it")]
#[path = "common/emulated.rs"]
mod emulated;
#[path = "common/operators.rs"]
mod operators;

use candle_core::{Device, Tensor};
use close::close;
use coshift_engine::cuda::launch::Space;
use coshift_engine::cuda::operators::{Operator, Pointwise, Pool, TooLarge};
use coshift_engine::kernels::blocked::LANES;
use coshift_engine::train::random::Random;
use emulated::{Emulated, Memory, POISON};
use operators::{Call, KINDS};

/// Poison before a tensor; not a whole vector, so that none is aligned.
const BEFORE: usize = 5;
/// Behind it; more than a kernel with a fault reaches.
const BEHIND: usize = 4096;

fn list(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Runs the launches on arguments with gaps of poison around them, and compares.
fn check(kernels: &Emulated, call: &Call, case: u64) -> Result<(), String> {
    let mut random = Random(case);
    let (mut tensors, mut places) = (Vec::new(), Vec::new());
    for shape in call.shapes() {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
        tensors.push(Tensor::from_slice(&values, shape, &Device::Cpu).unwrap());
        places.push([&[f32::NAN; BEFORE][..], &values, &[f32::NAN; BEHIND]].concat());
    }
    let wanted = list(&call.run(&tensors).unwrap());
    let launches = call.launches([1, 16, 132][case as usize % 3]).unwrap();
    assert_eq!(launches.output, wanted.len(), "{call:?}");
    places.push(vec![f32::NAN; BEFORE + launches.output + BEHIND]);
    let mut memory =
        Memory { arena: vec![POISON; launches.scratch.div_ceil(LANES)], ..Memory::default() };
    for (place, address) in places.iter_mut().zip(&mut memory.tensors) {
        *address = place[BEFORE..].as_mut_ptr() as u64;
    }
    let before: Vec<_> = places.iter().map(|place| bits(place)).collect();
    for (number, launch) in launches.launches.iter().enumerate() {
        kernels.run(launch, &mut memory, case + number as u64)?;
    }
    let what = format!("{call:?}");
    let (arguments, result) = places.split_at(places.len() - 1);
    let (gap, behind) = result[0].split_at(BEFORE);
    let (found, behind) = behind.split_at(wanted.len());
    close(found, &wanted, &what)?;
    if !gap.iter().chain(behind).all(|value| value.is_nan()) {
        return Err(format!("{what}: writes beside its result"));
    }
    if arguments.iter().zip(&before).any(|(after, before)| bits(after) != *before) {
        return Err(format!("{what}: writes into an argument"));
    }
    Ok(())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn calls() -> impl Iterator<Item = (u64, Call)> {
    let mut random = Random(71);
    (0..KINDS * 30).map(move |case| (case as u64, Call::random(case, &mut random)))
}

#[test]
fn operators_equal_the_cpu() {
    for (case, call) in calls() {
        check(Emulated::kernels(), &call, case).unwrap();
    }
}

#[test]
fn kernels_with_a_fault_do_not_pass() {
    for (from, to) in [
        // Channels beyond the last are read, or are not zero.
        ("channel < a.channels ? a.x[from] : 0.0f", "a.x[from]"),
        ("pixel >= a.pixels", "pixel > a.pixels"),
        ("long(pixel % a.inner) * a.inner_step", "long(pixel % a.inner)"),
        ("blockIdx.z) * a.image_step", "blockIdx.z) * a.channel_step"),
        (
            "a.channels;\n    if (at >= all) {\n        return;\n    }\n    const long pixel",
            "a.channels;\n    const long pixel",
        ),
        (
            "const long map = long(blockIdx.z) * blocks + channel / LANES",
            "const long map = long(blockIdx.z) * (blocks - 1) + channel / LANES",
        ),
        ("first + 2 < a.channels ? from[2]", "first + 3 < a.channels ? from[2]"),
        ("first + i < a.row", "true"),
        ("pixel < a.pixels; pixel += slots", "pixel < a.pixels; pixel += slots + 1"),
        ("blocks * LANES + at % a.channels", "blocks * a.channels + at % a.channels"),
    ] {
        let mutant = Emulated::mutant("plain.cuh", from, to);
        let outcome = calls().try_for_each(|(case, call)| check(&mutant, &call, case));
        assert!(outcome.is_err(), "passes with\n{to}");
        println!("{}", outcome.unwrap_err());
    }
}

#[test]
fn tensors_are_read_value_by_value() {
    // A tensor may begin at any value, which vectors of four must not.
    for (_, call) in calls() {
        for launch in call.launches(16).unwrap().launches {
            let single = ["to_blocks", "from_blocks", "means", "scale"].contains(&launch.kernel);
            for (number, place) in launch.pointers.iter().enumerate() {
                let Some(place) = place else { continue };
                let tensor = matches!(place.space, Space::Tensor(_));
                let image = launch.kernel == "stem" && number == 0;
                assert!(!tensor || single || image, "{launch:?}");
                assert!(tensor || place.at % 4 == 0, "{launch:?}");
            }
        }
    }
}

#[test]
fn sizes_beyond_a_launch_are_named() {
    let pool = Pool { images: 65_536, pixels: 1, channels: 1 };
    let fault = TooLarge { what: "images", found: 65_536, most: 65_535 };
    assert_eq!(pool.launches(16), Err(fault));
    assert_eq!(fault.to_string(), "65536 images where at most 65535 go");
    let wide = |row, outputs| {
        let (images, pixels, inputs) = (1, 1, 1);
        let layer = Pointwise { images, pixels, inputs, row, outputs, activation: None };
        layer.launches(16).map_err(|fault| fault.what)
    };
    assert!(wide(1, 65_535 * 16).is_ok());
    assert_eq!(wide(1, 65_535 * 16 + 1), Err("channels"));
    assert_eq!(wide(1 << 27, 17), Err("values of one map or weight"));
    let pool = Pool { images: 1, pixels: usize::MAX, channels: 1 };
    assert_eq!(pool.launches(16).unwrap_err().what, "values of one map or weight");
}
