//! Training, packing and evaluating a tiny member of the family on made-up images.
#![cfg(feature = "engine")]

use std::path::{Path, PathBuf};
use std::process::Command;

use coshift_engine::corrupt::Corruption;
use coshift_engine::family::{Activation, Family, Stage, SubNet};
use coshift_engine::images::{Half, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::{Calibrated, Model};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::resample::Resampler;
use coshift_engine::train::alone::used;
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_tools::alone::{Compared, compare, named};
use coshift_tools::eval::{EvalArgs, Measured, eval, robust};
use coshift_tools::pack::{PackArgs, pack};
use coshift_tools::teacher;
use coshift_tools::train::{CHECKPOINT, Settings, TrainArgs, calibrate, checkpoint, split, train};

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
        whole: 0,
        random: 1,
        batch: 60,
        rate: 0.08,
        decay: 1e-4,
        smoothing: 0.05,
        taught: None,
        taught_by: None,
        finest: None,
        widened: None,
        shares: 2,
        seed: 7,
        limit: None,
        alone: None,
    };
    TrainArgs {
        data: data.into(),
        out: out.into(),
        resume: false,
        stop_after: None,
        alone: None,
        model: NOWHERE.into(),
        widen: None,
        teacher: None,
        no_teacher: false,
        settings,
    }
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
fn a_teacher_is_learned_from_and_named() {
    let data = data("teacher-data", 10);
    let [first, taught, parts, plain] =
        ["teacher", "taught", "taught-parts", "untaught"].map(fresh);
    train(&family(), &arguments(&data, &first), &mut |_| ()).unwrap();
    let file = first.join(CHECKPOINT);
    let with_teacher = |out: &Path, taught| {
        let mut args = TrainArgs { teacher: Some(file.clone()), ..arguments(&data, out) };
        args.settings.taught = taught;
        args
    };
    train(&family(), &with_teacher(&taught, None), &mut |_| ()).unwrap();
    let layout = Layout::new(&family()).unwrap();
    let (state, settings) = checkpoint(&layout, &taught.join(CHECKPOINT)).unwrap();
    assert_eq!(settings.taught, Some(0.5));
    assert_eq!(settings.taught_by, Some(teacher::hash(&file).unwrap()));
    train(&family(), &arguments(&data, &plain), &mut |_| ()).unwrap();
    let (without, settings) = checkpoint(&layout, &plain.join(CHECKPOINT)).unwrap();
    assert_eq!((settings.taught, settings.taught_by), (None, None));
    assert_ne!(state.values, without.values);

    // Resumed bit for bit; the teacher may come and go.
    let begun = TrainArgs { stop_after: Some(1), ..with_teacher(&parts, Some(0.5)) };
    train(&family(), &begun, &mut |_| ()).unwrap();
    let rest = TrainArgs { resume: true, ..with_teacher(&parts, Some(0.5)) };
    train(&family(), &rest, &mut |_| ()).unwrap();
    let (again, _) = checkpoint(&layout, &parts.join(CHECKPOINT)).unwrap();
    assert_eq!((again.values, again.optimiser), (state.values, state.optimiser));

    // Its outputs are probabilities, mostly right, and the same in any number of threads.
    let (set, _) = split(ImageSet::read_for(&data, Half::Train, &family()).unwrap());
    let outputs = teacher::outputs(&layout, &file, &set, 1).unwrap();
    assert_eq!(outputs, teacher::outputs(&layout, &file, &set, 3).unwrap());
    let rows = outputs.chunks_exact(family().classes);
    let right = rows.zip(&set.labels).filter(|(row, label)| {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{row:?}");
        row.iter().all(|chance| *chance <= row[usize::from(**label)])
    });
    let right = right.count();
    assert!(2 * right > set.len(), "{right} of {}", set.len());

    for (part, words) in [(0.0, "--taught 0"), (1.5, "--taught 1.5"), (f32::NAN, "--taught NaN")] {
        let args = with_teacher(&fresh("taught-wrong"), Some(part));
        let error = train(&family(), &args, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let nobody = TrainArgs { teacher: Some(NOWHERE.into()), ..arguments(&data, &fresh("nobody")) };
    let error = format!("{:#}", train(&family(), &nobody, &mut |_| ()).unwrap_err());
    assert!(error.contains(NOWHERE), "{error}");
}

#[test]
fn a_teacher_is_not_lost_on_the_way() {
    let data = data("kept-teacher-data", 10);
    let [first, taught] = ["kept-teacher", "kept-taught"].map(fresh);
    let one = |out: &Path| TrainArgs { stop_after: Some(1), ..arguments(&data, out) };
    train(&family(), &one(&first), &mut |_| ()).unwrap();
    let file = first.join(CHECKPOINT);
    let mut begun = TrainArgs { teacher: Some(file.clone()), ..one(&taught) };
    begun.settings.taught = Some(0.7);
    train(&family(), &begun, &mut |_| ()).unwrap();
    let (path, layout) = (taught.join(CHECKPOINT), Layout::new(&family()).unwrap());
    let written = std::fs::read(&path).unwrap();

    // Forgotten: nothing is trained, and the message says which it was and how to go on.
    let rest = || TrainArgs { resume: true, ..one(&taught) };
    let error = train(&family(), &rest(), &mut |line| panic!("{line}")).unwrap_err().to_string();
    let hash = teacher::hash(&file).unwrap();
    for words in [CHECKPOINT, &*hash, "--teacher FILE", "--no-teacher"] {
        assert!(error.contains(words), "{error}: no {words}");
    }
    assert!(std::fs::read(&path).unwrap() == written);
    // Given again, with the part that it had.
    let again = TrainArgs { teacher: Some(file), ..rest() };
    train(&family(), &again, &mut |_| ()).unwrap();
    let (state, settings) = checkpoint(&layout, &path).unwrap();
    assert_eq!((state.epochs, settings.taught, settings.taught_by), (2, Some(0.7), Some(hash)));
    // Left; from then on there is none to be asked for.
    std::fs::write(&path, written).unwrap();
    train(&family(), &TrainArgs { no_teacher: true, ..rest() }, &mut |_| ()).unwrap();
    let (without, settings) = checkpoint(&layout, &path).unwrap();
    assert_eq!((without.epochs, settings.taught, settings.taught_by), (2, None, None));
    assert_ne!(without.values, state.values);
    train(&family(), &rest(), &mut |_| ()).unwrap();
}

#[test]
fn a_wider_family_begins_with_the_weights_of_a_narrower_one() {
    let data = data("widen-data", 10);
    let [first, out, again] = ["narrow", "wide", "wide-again"].map(fresh);
    let mut lines = Vec::new();
    let mut args = arguments(&data, &first);
    (args.settings.batch, args.settings.epochs) = (20, 8);
    train(&family(), &args, &mut |line| lines.push(line.validation.clone())).unwrap();
    let file = first.join(CHECKPOINT);
    let wide = Family { expands: vec![1, 2, 3], ..family() };
    let args = |out: &Path| {
        let mut args = TrainArgs {
            widen: Some(file.clone()),
            teacher: Some(file.clone()),
            stop_after: Some(1),
            ..arguments(&data, out)
        };
        (args.settings.warm_up, args.settings.rate) = (0, 0.001);
        args
    };
    train(&wide, &args(&out), &mut |line| lines.push(line.validation.clone())).unwrap();
    // After an epoch at a low rate it knows what the narrower one learned: about as many of the 60
    // images kept aside, and more than who guesses.
    for ((name, before), (_, after)) in lines[7].iter().zip(&lines[8]) {
        assert!((before - after).abs() < 12.0 && *after > 50.0, "{name}: {before} to {after} %");
    }
    let layout = Layout::new(&wide).unwrap();
    let (state, settings) = checkpoint(&layout, &out.join(CHECKPOINT)).unwrap();
    let hash = teacher::hash(&file).unwrap();
    assert_eq!(
        (settings.widened.as_ref(), settings.taught_by.as_ref()),
        (Some(&hash), Some(&hash))
    );
    assert_eq!((state.epochs, settings.taught), (1, Some(0.5)));
    train(&wide, &args(&again), &mut |_| ()).unwrap();
    let (same, _) = checkpoint(&layout, &again.join(CHECKPOINT)).unwrap();
    assert_eq!(same.values, state.values, "bit for bit");

    // The narrower one says the same as a teacher of either family.
    let (set, _) = split(ImageSet::read_for(&data, Half::Train, &wide).unwrap());
    let narrow = Layout::new(&family()).unwrap();
    let (one, other) = (
        teacher::outputs(&narrow, &file, &set, 2).unwrap(),
        teacher::outputs(&layout, &file, &set, 2).unwrap(),
    );
    assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-4));

    // Resumed it still is one that was widened.
    let rest = TrainArgs { resume: true, widen: None, ..args(&out) };
    train(&wide, &rest, &mut |_| ()).unwrap();
    let (state, settings) = checkpoint(&layout, &out.join(CHECKPOINT)).unwrap();
    assert_eq!((state.epochs, settings.widened), (2, Some(hash)));

    // A wider one is no beginning of a narrower one.
    let wrong =
        TrainArgs { widen: Some(out.join(CHECKPOINT)), ..arguments(&data, &fresh("not-narrower")) };
    let error = format!("{:#}", train(&family(), &wrong, &mut |_| ()).unwrap_err());
    assert!(error.contains("inverted_bottleneck") && error.contains("at most"), "{error}");
    assert!(!wrong.out.join(CHECKPOINT).exists());
}

#[test]
fn a_finer_resolution_is_trained_shipped_and_measured() {
    let data = data("finer-data", 200);
    let [first, run, out, old] = ["coarse", "finer-run", "finer-out", "coarse-again"].map(fresh);
    train(&family(), &arguments(&data, &first), &mut |_| ()).unwrap();
    let file = first.join(CHECKPOINT);
    let finer = Family { resolutions: vec![12, 18], ..family() };
    let largest = SubNet { resolution: Some(18), ..family().largest() };
    assert_eq!((finer.finest(), family().finest()), (largest.clone(), family().largest()));

    // Begun with the weights of the training at one resolution only.
    let mut args = TrainArgs { widen: Some(file.clone()), ..arguments(&data, &run) };
    (args.settings.warm_up, args.settings.batch) = (0, 20);
    train(&finer, &args, &mut |_| ()).unwrap();
    let layout = Layout::new(&finer).unwrap();
    let (state, settings) = checkpoint(&layout, &run.join(CHECKPOINT)).unwrap();
    assert_eq!(settings.finest, Some(18));
    let (_, settings) = checkpoint(&layout, &file).unwrap();
    assert_eq!(settings.finest, None);
    // Another training than the one at one resolution, which a resumed one would mix with it.
    train(&family(), &TrainArgs { stop_after: Some(1), ..arguments(&data, &old) }, &mut |_| ())
        .unwrap();
    let mixed = TrainArgs { resume: true, ..arguments(&data, &old) };
    let error = train(&finer, &mixed, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("finest: None") && error.contains("finest: Some(18)"), "{error}");

    // A teacher speaks at the finest resolution that it learned at.
    let (set, _) = split(ImageSet::read_for(&data, Half::Train, &finer).unwrap());
    let coarse = Layout::new(&family()).unwrap();
    let said = |layout: &Layout, file: &Path| teacher::outputs(layout, file, &set, 2).unwrap();
    assert_eq!(said(&layout, &file), said(&coarse, &file));
    let taught = said(&layout, &run.join(CHECKPOINT));
    let rows = taught.chunks_exact(3).zip(&set.labels);
    let right = rows.filter(|(row, label)| row.iter().all(|p| *p <= row[usize::from(**label)]));
    assert!(right.count() * 2 > set.len());
    let error = teacher::outputs(&coarse, &run.join(CHECKPOINT), &set, 1).unwrap_err();
    assert!(format!("{error:#}").contains("resolution of a sub-network is 18"), "{error:#}");

    let packing = PackArgs {
        from: run,
        out: out.clone(),
        data: data.clone(),
        count: 6,
        random: 12,
        seed: 3,
        note: None,
        threads: 2,
    };
    pack(&finer, &packing).unwrap();
    let model = Model::read(&out).unwrap();
    let last = model.sub_networks.last().unwrap();
    assert_eq!((&last.net, last.macs), (&largest, layout.cost(&largest).0));
    assert!(last.macs > layout.cost(&family().largest()).0 * 2);
    for (again, sub) in measured(&out, Some(&data), NOWHERE, 2).iter().zip(&model.sub_networks) {
        assert_eq!(again.accuracy_pct, sub.accuracy_pct);
    }
    let network = Network::new(
        layout.clone(),
        state.optimiser.average.clone(),
        &[Calibrated {
            statistics: calibrate(&layout, &largest, &state.optimiser.average, &set),
            net: largest.clone(),
        }],
    )
    .unwrap();
    // The same images at 18 pixels, by hand.
    let test = ImageSet::read(&data, Half::Test).unwrap();
    let (images, mut fine) = (test.normalised(0, test.len()), Vec::new());
    Resampler::new(12, 18, 1).append(&images, &mut fine);
    let mut space = Workspace::default();
    let logits = network.run(0, &fine, &mut space).unwrap();
    let right = logits
        .chunks_exact(3)
        .zip(&test.labels)
        .filter(|(row, label)| row.iter().all(|logit| *logit <= row[usize::from(**label)]));
    let found = 100.0 * right.count() as f64 / test.len() as f64;
    assert!((found - last.accuracy_pct).abs() < 1e-9, "{found}, {}", last.accuracy_pct);
    let card = std::fs::read_to_string(out.join("CARD.md")).unwrap();
    assert!(
        card.contains("| expand ratios | resolution |") && card.contains(" | 18 |\n"),
        "{card}"
    );

    // Adapted from images made worse, each sub-network at its own resolution.
    let noise = "noise:2".parse::<Corruption>().unwrap();
    let mut all = Vec::new();
    let args = EvalArgs { corrupt: Some(noise), adapt: Some(40), ..eval_args(&out) };
    let args = EvalArgs { data: Some(data), ..args };
    robust(&args, Path::new(NOWHERE), &mut |robust| {
        all.push(robust.clone());
        Ok(())
    })
    .unwrap();
    assert_eq!(all.len(), model.sub_networks.len());
    assert!(all.iter().all(|robust| robust.adapted_pct.is_some_and(|pct| pct > 40.0)), "{all:?}");
}

#[test]
fn flags_of_a_teacher_that_go_with_nothing_are_refused() {
    let out = fresh("no-teacher-flags");
    for (flags, missing) in [
        (&["--taught", "0.5"][..], "--teacher <FILE>"),
        (&["--resume", "--taught", "0.5"], "--teacher <FILE>"),
        (&["--no-teacher"], "--resume"),
        (&["--resume", "--no-teacher", "--teacher", NOWHERE], "cannot be used with"),
        (&["--resume", "--widen", NOWHERE], "cannot be used with"),
        (&["--alone", "0", "--widen", NOWHERE], "cannot be used with"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coshift-tools"));
        let ended = command.args(["train", "--out"]).arg(&out).args(flags).output().unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {text}");
        assert!(text.contains(missing), "{flags:?}: {text}");
        assert!(!out.join(CHECKPOINT).exists());
    }
}

/// A sub-network of [`family`] that is neither its smallest nor its largest.
const MIDDLE: &str = r#"{"depths":[1,2],"kernels":[3,3,5,3],"expands":[2,1,1,2]}"#;

fn alone(net: &str, args: TrainArgs) -> TrainArgs {
    let alone = Some(named(&family(), net, Path::new(NOWHERE)).unwrap());
    TrainArgs { settings: Settings { alone, ..args.settings }, ..args }
}

#[test]
fn a_sub_network_alone_trains_its_own_weights_only() {
    let data = data("alone-data", 10);
    let layout = Layout::new(&family()).unwrap();
    let (whole, parts, shared) =
        (fresh("alone-whole"), fresh("alone-parts"), fresh("alone-shared"));
    let mut judged = Vec::new();
    train(&family(), &alone(MIDDLE, arguments(&data, &whole)), &mut |line| {
        judged.push((line.epoch, line.validation[0].0, line.validation.len()));
    })
    .unwrap();
    assert_eq!(judged, [(1, "alone", 1), (2, "alone", 1), (3, "alone", 1)]);
    let log = std::fs::read_to_string(whole.join("log.csv")).unwrap();
    assert!(log.starts_with("epoch,loss,train_pct,alone_pct,seconds\n1,"), "{log}");

    let (state, settings) = checkpoint(&layout, &whole.join(CHECKPOINT)).unwrap();
    let net = settings.alone.unwrap();
    let start = optimiser::start(&layout, &mut Random(settings.seed));
    let used = used(&layout, &net);
    for (index, parameter) in layout.parameters.iter().enumerate() {
        let mut moved = 0;
        for (place, used) in used[index].iter().enumerate() {
            let value = state.values[index][place];
            if *used == 0.0 {
                assert_eq!(value, 0.0, "{} {place}", parameter.name);
                assert_eq!(state.optimiser.average[index][place], 0.0, "{}", parameter.name);
            } else {
                moved += usize::from(value != start[index][place]);
            }
        }
        let trained = used[index].iter().filter(|used| **used != 0.0).count();
        // A channel that is never above 0 learns nothing.
        assert!(10 * moved >= 9 * trained, "{}: {moved} of {trained}", parameter.name);
    }

    // Bit for bit, with a break; only with the same sub-network.
    let first = TrainArgs { stop_after: Some(1), ..alone(MIDDLE, arguments(&data, &parts)) };
    train(&family(), &first, &mut |_| ()).unwrap();
    let rest = |args| TrainArgs { resume: true, ..args };
    let error = train(&family(), &rest(arguments(&data, &parts)), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("was trained with"), "{error}");
    train(&family(), &rest(alone(MIDDLE, arguments(&data, &parts))), &mut |_| ()).unwrap();
    let (again, _) = checkpoint(&layout, &parts.join(CHECKPOINT)).unwrap();
    assert_eq!((&again.values, &again.optimiser), (&state.values, &state.optimiser));

    // The largest alone is the super-network's training without the others.
    train(&family(), &arguments(&data, &shared), &mut |_| ()).unwrap();
    let (shared, _) = checkpoint(&layout, &shared.join(CHECKPOINT)).unwrap();
    let largest = serde_json::to_string(&family().largest()).unwrap();
    let (few, many) = (fresh("alone-largest"), fresh("alone-warm-up"));
    train(&family(), &alone(&largest, arguments(&data, &few)), &mut |_| ()).unwrap();
    let mut warm_up = arguments(&data, &many);
    warm_up.settings.warm_up = 3;
    train(&family(), &warm_up, &mut |_| ()).unwrap();
    let [few, many] = [few, many].map(|out| checkpoint(&layout, &out.join(CHECKPOINT)).unwrap().0);
    assert_ne!(few.values, shared.values);
    // The largest uses no transform; in the super-network's training they stay the identity.
    let used = self::used(&layout, &family().largest());
    for ((few, many), used) in few.values.iter().zip(&many.values).zip(&used) {
        for ((few, many), used) in few.iter().zip(many).zip(used) {
            assert!(*used == 0.0 || few == many, "{few} {many}");
        }
    }
}

#[test]
fn a_sub_network_alone_is_compared_with_the_shared_weights() {
    let data = data("compare-data", 200);
    let (run, out) = (fresh("compare-run"), fresh("compare-model"));
    let mut args = arguments(&data, &run);
    args.settings.batch = 20;
    args.settings.epochs = 8;
    train(&family(), &args, &mut |_| ()).unwrap();
    let packing = PackArgs {
        from: run.clone(),
        out: out.clone(),
        data: data.clone(),
        count: 3,
        random: 3,
        seed: 1,
        note: None,
        threads: 2,
    };
    pack(&family(), &packing).unwrap();
    let model = Model::read(&out).unwrap();
    let smallest = &model.sub_networks[0];
    assert_eq!(named(&family(), "0", &out).unwrap(), smallest.net);

    let (first, second) = (fresh("compare-smallest"), fresh("compare-middle"));
    for (net, folder) in
        [(&serde_json::to_string(&smallest.net).unwrap()[..], &first), (MIDDLE, &second)]
    {
        let args = TrainArgs { out: folder.clone(), ..args.clone() };
        train(&family(), &TrainArgs { stop_after: Some(6), ..alone(net, args) }, &mut |_| ())
            .unwrap();
    }
    let mut all = Vec::new();
    let folders = [first.clone(), second];
    compare(&folders, &out, &data, 2, &mut |compared| {
        all.push(compared.clone());
        Ok(())
    })
    .unwrap();
    let Compared { epochs, of_epochs, index, macs, alone_pct, shared_pct, images, .. } = all[0];
    assert_eq!((epochs, of_epochs, index, macs, images), (6, 8, Some(0), smallest.macs, 200));
    assert_eq!(shared_pct, Some(smallest.accuracy_pct));
    // Better than the third that guessing reaches.
    assert!(alone_pct > 45.0, "{alone_pct} %");
    let line = all[0].to_string();
    assert!(line.contains("6 of 8 epochs") && line.contains("sub-network 0"), "{line}");
    let in_model = model.sub_networks.iter().any(|sub| sub.macs == all[1].macs);
    assert!(in_model || all[1].index.is_none() && all[1].shared_pct.is_none());

    // What is no such training, and what such a training is not.
    let fails = |trainings: &[PathBuf], words: &str| {
        let error = compare(trainings, &out, &data, 1, &mut |_| Ok(())).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{error:#}: no {words}");
    };
    fails(&[run], "not a training with --alone");
    fails(&[NOWHERE.into()], CHECKPOINT);
    let error = pack(&family(), &PackArgs { from: first, ..packing }).unwrap_err().to_string();
    assert!(error.contains("one sub-network alone"), "{error}");
    for (text, words) in [
        ("7000", "sub-networks"),
        ("middle", "expected an index or"),
        (r#"{"depths":[1,3],"kernels":[3,3,5,3],"expands":[2,1,1,2]}"#, "depths"),
        (r#"{"depths":[1,2],"kernels":[3,3,5],"expands":[2,1,1,2]}"#, "kernels"),
    ] {
        let error = format!("{:#}", named(&family(), text, &out).unwrap_err());
        assert!(error.starts_with("--alone") && error.contains(words), "{error}: no {words}");
    }
    let wider = Family { feature_mix: 24, ..family() };
    let error = named(&wider, "0", &out).unwrap_err().to_string();
    assert!(error.contains("another family"), "{error}");
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
        alone: vec![],
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
