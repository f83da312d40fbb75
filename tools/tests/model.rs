//! Training, packing and evaluating a tiny member of the family on made-up images.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};
use std::process::Command;

use coshift_engine::family::{Activation, Family, Stage};
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::Model;
use coshift_engine::network::Network;
use coshift_engine::train::random::Random;
use coshift_tools::eval::{EvalArgs, Measured, eval};
use coshift_tools::pack::{PackArgs, pack};
use coshift_tools::train::{CHECKPOINT, Settings, TrainArgs, checkpoint, train};

const NOWHERE: &str = "/nonexistent";

fn family() -> Family {
    let stage = |channels, stride, max_depth| Stage {
        channels,
        stride,
        activation: Activation::HSwish,
        squeeze_excite: false,
        min_depth: 1,
        max_depth,
    };
    Family {
        name: "tiny".into(),
        resolution: 12,
        resolutions: vec![],
        image_channels: 1,
        classes: 3,
        stem: 8,
        stem_stride: 1,
        first: 8,
        first_stride: 2,
        stages: vec![stage(8, 1, 2), stage(16, 2, 2)],
        kernels: vec![3, 5],
        expands: vec![1, 2],
        final_expand: 16,
        feature_mix: 16,
        bn_epsilon: 1e-5,
        exits: vec![],
    }
}

/// A folder of this test's own, empty.
fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Noisy pictures of an upright, a lying and a slanted bar.
fn pictures(count: usize, random: &mut Random) -> ImageSet {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (label, place) = (random.below(3), 4 + random.below(4));
        for row in 0..12 {
            for column in 0..12 {
                let on = match label {
                    0 => column == place,
                    1 => row == place,
                    _ => row + column == 7 + place,
                };
                let value = 80.0 + 40.0 * random.normal() + if on { 100.0 } else { 0.0 };
                pixels.push(value.clamp(0.0, 255.0) as u8);
            }
        }
        labels.push(label as u8);
    }
    ImageSet { side: 12, pixels, labels }
}

/// A data folder with 600 training and `test` test images.
fn data(name: &str, test: usize) -> PathBuf {
    let folder = fresh(name);
    let mut random = Random(21);
    pictures(600, &mut random).write(&folder, Half::Train).unwrap();
    pictures(test, &mut random).write(&folder, Half::Test).unwrap();
    folder
}

fn arguments(data: &Path, out: &Path) -> TrainArgs {
    let settings = Settings {
        epochs: 3,
        warm_up: 1,
        random: 1,
        batch: 60,
        rate: 0.08,
        decay: 1e-4,
        smoothing: 0.05,
        shares: 2,
        seed: 7,
        limit: None,
    };
    TrainArgs { data: data.into(), out: out.into(), resume: false, stop_after: None, settings }
}

#[test]
fn a_resumed_training_equals_one_without_a_break() {
    let data = data("resume-data", 10);
    let (whole, parts) = (fresh("resume-whole"), fresh("resume-parts"));
    let mut epochs = Vec::new();
    train(&family(), &arguments(&data, &whole), &mut |line| epochs.push(line.epoch)).unwrap();
    assert_eq!(epochs, [1, 2, 3]);
    let first = TrainArgs { stop_after: Some(1), ..arguments(&data, &parts) };
    train(&family(), &first, &mut |line| epochs.push(line.epoch)).unwrap();
    let layout = Layout::new(&family()).unwrap();
    let (early, _) = checkpoint(&layout, &parts.join(CHECKPOINT)).unwrap();
    assert_eq!(early.epochs, 1);
    // Interrupted in an epoch: its line is in the log, its checkpoint was never written, and the
    // line after it is torn.
    let log = parts.join("log.csv");
    let logged = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, format!("{logged}2,9.9,0.0,0.0,0.0,1.0\n3,0.")).unwrap();
    let rest = TrainArgs { resume: true, ..arguments(&data, &parts) };
    train(&family(), &rest, &mut |line| epochs.push(line.epoch)).unwrap();
    assert_eq!(epochs, [1, 2, 3, 1, 2, 3]);

    let lines = |path: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let without_seconds = |line: &str| line.rsplit_once(',').unwrap().0.to_owned();
        text.lines().map(without_seconds).collect()
    };
    assert_eq!(lines(&log), lines(&whole.join("log.csv")));
    let (whole, _) = checkpoint(&layout, &whole.join(CHECKPOINT)).unwrap();
    let (parts, _) = checkpoint(&layout, &parts.join(CHECKPOINT)).unwrap();
    assert_eq!(whole.values, parts.values, "bit for bit");
    assert_eq!(whole.optimiser, parts.optimiser, "bit for bit");
    assert_eq!((whole.epochs, parts.epochs), (3, 3));
    assert_ne!(early.values, whole.values);
}

#[test]
fn what_does_not_fit_a_training_is_named() {
    let (data, out) = (data("faults-data", 10), fresh("faults-out"));
    let fails = |args: &TrainArgs, words: &[&str]| {
        let error = format!("{:#}", train(&family(), args, &mut |_| ()).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{error}: no {word}");
        }
    };
    let args = || arguments(&data, &out);
    fails(&TrainArgs { data: NOWHERE.into(), ..args() }, &[NOWHERE, "train-images-idx3-ubyte"]);
    fails(&TrainArgs { resume: true, ..args() }, &[CHECKPOINT, "No such file"]);
    let with = |change: fn(&mut Settings)| {
        let mut args = args();
        change(&mut args.settings);
        args
    };
    fails(&with(|settings| settings.batch = 541), &["540 images", "541"]);
    fails(&with(|settings| settings.shares = 0), &["--shares"]);
    fails(&with(|settings| settings.batch = 3), &["--batch"]);

    train(&family(), &TrainArgs { stop_after: Some(1), ..args() }, &mut |_| ()).unwrap();
    fails(&args(), &[CHECKPOINT, "is there already"]);
    let other = TrainArgs { resume: true, ..with(|settings| settings.seed = 8) };
    fails(&other, &[CHECKPOINT, "was trained with", "seed: 7", "seed: 8"]);
    let path = out.join(CHECKPOINT);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    fails(&TrainArgs { resume: true, ..args() }, &[CHECKPOINT, "not a whole safetensors file"]);
    // A checkpoint of another family.
    std::fs::write(&path, &bytes).unwrap();
    let wider = Family { feature_mix: 24, ..family() };
    let error = train(&wider, &TrainArgs { resume: true, ..args() }, &mut |_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("feature_mix_layer.conv.weight"), "{error:#}");
    // Images of another size and labels beyond the classes.
    let larger = Family { resolution: 28, ..family() };
    let error = train(&larger, &args(), &mut |_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("12×12 pixels where tiny takes 28×28"), "{error:#}");
    let fewer = Family { classes: 2, ..family() };
    let error = train(&fewer, &args(), &mut |_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("label 2"), "{error:#}");
}

fn eval_args(model: &Path) -> EvalArgs {
    EvalArgs {
        model: model.into(),
        data: None,
        json: true,
        threads: 1,
        corrupt: None,
        adapt: None,
        seed: 1,
    }
}

fn measured(model: &Path, data: Option<&Path>, installed: &str, threads: usize) -> Vec<Measured> {
    let args = EvalArgs { data: data.map(Into::into), threads, ..eval_args(model) };
    let mut all = Vec::new();
    eval(&args, Path::new(installed), &mut |measured| {
        all.push(*measured);
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn eval_reproduces_what_pack_wrote() {
    // More test images than are shipped.
    let data = data("pack-data", 1_250);
    let (run, out) = (fresh("pack-run"), fresh("pack-out"));
    let mut args = arguments(&data, &run);
    args.settings.batch = 20;
    args.settings.epochs = 14;
    args.stop_after = Some(10);
    train(&family(), &args, &mut |_| ()).unwrap();
    let packing = PackArgs {
        from: run,
        out: out.clone(),
        data: data.clone(),
        count: 4,
        random: 5,
        seed: 1,
        note: Some("A made-up note.".into()),
        threads: 2,
    };
    pack(&family(), &packing).unwrap();

    let model = Model::read(&out).unwrap();
    let subs = &model.sub_networks;
    assert!(!subs.is_empty() && subs.len() <= 4);
    assert_eq!(subs[0].net.depths, family().smallest().depths);
    for pair in subs.windows(2) {
        assert!(pair[0].macs < pair[1].macs && pair[0].accuracy_pct < pair[1].accuracy_pct);
    }
    for threads in [1, 2, 3] {
        let again = measured(&out, Some(&data), NOWHERE, threads);
        assert_eq!(again.len(), subs.len());
        for (again, sub) in again.iter().zip(subs) {
            let Measured { index, macs, accuracy_pct, images } = *again;
            assert_eq!((index, macs, images), (sub.index, sub.macs, 1_250));
            assert_eq!(accuracy_pct, sub.accuracy_pct, "{threads} threads");
            // Better than the third that guessing reaches.
            assert!(accuracy_pct > 45.0, "sub-network {index}: {accuracy_pct} %");
        }
    }
    // The folder that is installed, where there is one; else the shipped images.
    let installed = measured(&out, None, &data.display().to_string(), 2);
    assert_eq!(installed[0].images, 1_250);
    let shipped = measured(&out, None, NOWHERE, 2);
    assert_eq!(shipped[0].images, 1_000);
    let whole = ImageSet::read(&data, Half::Test).unwrap();
    let part = ImageSet::read(&out, Half::Test).unwrap();
    assert_eq!(part.pixels, whole.pixels[..1_000 * 144]);
    assert_eq!(part.labels, whole.labels[..1_000]);

    let card = std::fs::read_to_string(out.join("CARD.md")).unwrap();
    for words in ["training was not finished: 10 of 14 epochs", "--seed 7", "A made-up note."] {
        assert!(card.contains(words), "no {words} in\n{card}");
    }
    for (sub, here) in subs.iter().zip(&shipped) {
        let row = format!(
            "| {} | {:.2} | 1250 | {:.1} | {} | {} | {} |",
            sub.index, sub.accuracy_pct, here.accuracy_pct, sub.macs, sub.params, sub.blocks
        );
        assert!(card.contains(&row), "no {row} in\n{card}");
    }
    let plot = std::fs::read_to_string(out.join("accuracy.svg")).unwrap();
    assert_eq!(plot.matches("class=\"kept\"").count(), subs.len());
    assert!(
        std::fs::read_to_string(out.join("LICENSE.fashion-mnist")).unwrap().contains("Zalando")
    );

    // The same again gives the same files.
    let twin = fresh("pack-twin");
    pack(&family(), &PackArgs { out: twin.clone(), threads: 1, ..packing }).unwrap();
    for file in ["model.json", "t10k-images-idx3-ubyte.gz", "accuracy.svg"] {
        assert_eq!(std::fs::read(out.join(file)).unwrap(), std::fs::read(twin.join(file)).unwrap());
    }

    // Each file of the folder is whole or it is named.
    for (file, words) in [
        ("weights.safetensors", "not a whole safetensors file"),
        ("t10k-images-idx3-ubyte.gz", "damaged gzip"),
        ("model.json", "not a model description"),
    ] {
        let path = twin.join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let args = eval_args(&twin);
        let error = eval(&args, Path::new(NOWHERE), &mut |_| Ok(())).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(file) && error.contains(words), "{error}");
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(Network::load(&twin).is_ok());
}

/// The program itself: exit code and one line of error.
fn program(args: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_coshift-tools")).args(args).output().unwrap();
    (out.status.success(), String::from_utf8(out.stderr).unwrap())
}

#[test]
fn the_program_names_what_is_missing() {
    let folder = fresh("program");
    let out = folder.display().to_string();
    for (args, words) in [
        (vec!["eval", "--model", NOWHERE], "/nonexistent/model.json"),
        (vec!["pack", "--from", &out, "--out", &out, "--data", NOWHERE], CHECKPOINT),
        (vec!["train", "--out", &out, "--data", NOWHERE], "train-images-idx3-ubyte"),
    ] {
        let (success, error) = program(&args);
        assert!(!success, "{args:?}");
        assert!(error.starts_with("error: ") && error.contains(words), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn damaged_image_files_are_named() {
    let folder = fresh("idx");
    let images = folder.join("t10k-images-idx3-ubyte");
    let labels = folder.join("t10k-labels-idx1-ubyte");
    std::fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 1, 2]).unwrap();
    let cases: [(&[u8], &str); 6] = [
        (b"", "not an IDX file of bytes"),
        (&[0, 0, 13, 3], "not an IDX file of bytes"),
        (&[0, 0, 8, 3, 0, 0, 0, 1], "truncated in its header"),
        (&[0, 0, 8, 1, 0, 0, 0, 1, 5], "1 dimensions where images have 3"),
        (&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 9, 9], "1×2 pixels"),
        (&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], "0 bytes of data"),
    ];
    for (bytes, words) in cases {
        std::fs::write(&images, bytes).unwrap();
        let error = format!("{:#}", ImageSet::read(&folder, Half::Test).unwrap_err());
        assert!(error.contains("t10k-images") && error.contains(words), "{error}");
    }
    let two = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9];
    std::fs::write(&images, two).unwrap();
    let error = format!("{:#}", ImageSet::read(&folder, Half::Test).unwrap_err());
    assert!(error.contains("t10k-labels") && error.contains("2 images"), "{error}");
}
