//! Checkpoints that PyTorch wrote (`fixtures/make.py`), and files that somebody else might.

#[allow(dead_code, reason = "a part of it is enough")]
mod common;

mod pickles;

use std::path::{Path, PathBuf};
use std::process::Command;

use coshift_engine::family::{Activation, Family, Stage};
use coshift_engine::import::Checkpoint;
use coshift_engine::layout::Layout;
use coshift_engine::tensors::TensorFile;
use pickles::{Pickle, archive, archive_of, archive_with};
use safetensors::tensor::Dtype;

const FILES: [&str; 8] = [
    "values.pth",
    "values-4.pth",
    "values-legacy.pth",
    "first-generation.pth",
    "second-generation.pth",
    "published.pth",
    "published-a.pth",
    "published-b.pth",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

/// The network of `fixtures/make.py`.
fn family() -> Family {
    let stage = |max_depth, squeeze_excite| Stage {
        channels: 8,
        stride: 1,
        activation: Activation::Relu,
        squeeze_excite,
        min_depth: 1,
        max_depth,
    };
    Family {
        name: "fixture".into(),
        resolution: 8,
        resolutions: vec![],
        image_channels: 1,
        classes: 3,
        stem: 8,
        stem_stride: 1,
        first: 8,
        first_stride: 1,
        stages: vec![stage(1, false), stage(2, true)],
        kernels: vec![3, 5],
        expands: vec![1],
        final_expand: 8,
        feature_mix: 8,
        bn_epsilon: 1e-5,
        exits: vec![],
    }
}

fn floats(checkpoint: &Checkpoint, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = &checkpoint.tensors[name];
    assert_eq!(tensor.dtype, Dtype::F32, "{name}");
    let values = tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    (tensor.shape.clone(), values.collect())
}

#[test]
fn values_of_every_kind_and_view_are_read() {
    for name in ["values.pth", "values-4.pth", "values-legacy.pth"] {
        let read = Checkpoint::read(&bytes(name)).unwrap();
        let base: Vec<f32> = (0..24_u8).map(f32::from).collect();
        assert_eq!(floats(&read, "plain"), (vec![2, 3, 4], base.clone()));
        let turned: Vec<f32> =
            (0..4).flat_map(|k| (0..6).map(move |ij| f32::from(ij as u8 * 4 + k))).collect();
        assert_eq!(floats(&read, "turned"), (vec![4, 2, 3], turned));
        assert_eq!(floats(&read, "expanded"), (vec![2, 3], vec![1.0, 1.0, 1.0, 2.0, 2.0, 2.0]));
        assert_eq!(floats(&read, "head"), (vec![4], base[..4].to_vec()));
        assert_eq!(floats(&read, "tail"), (vec![2, 3], base[4..10].to_vec()));
        assert_eq!(floats(&read, "stepped"), (vec![3], vec![1.0, 4.0, 7.0]));
        assert_eq!(floats(&read, "half"), (vec![2], vec![1.5, -2.25]));
        assert_eq!(floats(&read, "brain"), (vec![2], vec![1.5, -3.0]));
        assert_eq!(floats(&read, "double"), (vec![1], vec![0.1]));
        assert_eq!(floats(&read, "parameter"), (vec![1], vec![3.0]));
        assert_eq!(floats(&read, "empty"), (vec![0, 3], vec![]));
        assert_eq!(floats(&read, "layer.running_var"), (vec![1], vec![1.0]));
        for (name, dtype, shape, data) in [
            ("count", Dtype::I64, vec![], &[7, 0, 0, 0, 0, 0, 0, 0][..]),
            ("ints", Dtype::I32, vec![2], &[255, 255, 255, 255, 2, 0, 0, 0]),
            ("shorts", Dtype::I16, vec![2], &[255, 255, 2, 0]),
            ("chars", Dtype::I8, vec![2], &[255, 2]),
            ("bytes", Dtype::U8, vec![2], &[1, 255]),
            ("flags", Dtype::BOOL, vec![2], &[1, 0]),
        ] {
            let tensor = &read.tensors[name];
            assert_eq!((tensor.dtype, &tensor.shape, &tensor.data[..]), (dtype, &shape, data));
        }
        assert_eq!(read.tensors.len(), 17 + 5);
    }
}

#[test]
fn both_generations_of_names_become_the_networks() {
    let layout = Layout::new(&family()).unwrap();
    let first = Checkpoint::read(&bytes("first-generation.pth")).unwrap();
    let second = Checkpoint::read(&bytes("second-generation.pth")).unwrap();
    assert_eq!(first, second);
    first.check(&layout).unwrap();
    // Values by the rule of make.py, through safetensors.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generations.safetensors");
    first.write(&path).unwrap();
    let file = TensorFile::read(&path).unwrap();
    let values = file.values(&layout, "").unwrap();
    let names: Vec<&String> = first.tensors.keys().collect();
    for (parameter, values) in layout.parameters.iter().zip(values) {
        let k = names.iter().position(|name| **name == parameter.name).unwrap();
        let want: Vec<f32> = (0..values.len()).map(|i| ((7 * i + k) % 64) as f32).collect();
        assert_eq!(values, want, "{}", parameter.name);
    }
    file.tensor("blocks.3.conv.depth_conv.bn.bn.running_mean", &[8]).unwrap();
    // A family that the file is not of.
    let larger = Family { classes: 4, ..family() };
    let said = first.check(&Layout::new(&larger).unwrap()).unwrap_err();
    assert_eq!(
        said,
        "tensor classifier.linear.weight is F32 [3, 8], expected F32 [4, 8] as fixture has it"
    );
    let deeper = Family { stages: vec![family().stages[1].clone(); 2], ..family() };
    let said = first.check(&Layout::new(&deeper).unwrap()).unwrap_err();
    assert_eq!(said, "no tensor blocks.1.conv.depth_conv.se.fc.reduce.weight, which fixture has");
}

/// The fixtures again, from the PyTorch that is installed, where one is.
#[test]
fn the_installed_pytorch_writes_the_same() {
    let Some(python) = common::need::python("torch") else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pytorch");
    std::fs::create_dir_all(&folder).unwrap();
    let mut make = Command::new(&python);
    let made = make.arg(fixtures().join("make.py")).arg(&folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for name in FILES {
        let now = Checkpoint::read_file(&folder.join(name)).unwrap();
        assert_eq!(now, Checkpoint::read(&bytes(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_file_that_is_cut_or_damaged_is_never_read_as_something_else() {
    for name in FILES {
        let whole = bytes(name);
        let read = Checkpoint::read(&whole).unwrap();
        // Every length of the small files; every byte of the last 100 of the others.
        let step = if whole.len() < 10_000 { 1 } else { 23 };
        for length in (0..whole.len()).rev().filter(|at| at % step == 0 || whole.len() - at < 100) {
            let fault = Checkpoint::read(&whole[..length]).expect_err("a part of the file");
            assert!(!fault.to_string().contains('\n'), "{fault}");
        }
        let (mut seen, legacy) = (0, !whole.starts_with(b"PK"));
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            match Checkpoint::read(&damaged) {
                Ok(other) if !legacy => assert_eq!(other, read, "{name}: byte {at}"),
                // The older format has no check sum: a value may differ.
                Ok(_) => {}
                Err(_) => seen += 1,
            }
        }
        assert!(seen > 0, "{name}");
    }
}

#[test]
fn what_is_no_checkpoint_is_named() {
    for (bytes, want) in [
        (&b""[..], "not a PyTorch checkpoint: an empty file"),
        (b"\x89HDF\r\n\x1a\n....", "not a PyTorch checkpoint: begins with [89, 48, 44, 46,"),
        (b"\x80\x02K\x01.", "not a PyTorch checkpoint: a pickle of something else"),
        (b"\x80\x02cnumpy\narray\n.", "not a PyTorch checkpoint: a pickle of something else"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF", "truncated: argument of an opcode at byte 4 needs 10"),
        (b"PK\x03\x04 not an archive", "archive: no directory at its end: truncated"),
    ] {
        let fault = Checkpoint::read(bytes).unwrap_err().to_string();
        assert!(fault.starts_with(want), "{fault}");
    }
    let missing = Checkpoint::read_file(&fixtures().join("missing.pth")).unwrap_err().to_string();
    assert!(missing.contains("missing.pth: "), "{missing}");
    let foreign = Checkpoint::read_file(&fixtures().join("make.py")).unwrap_err().to_string();
    assert!(foreign.contains("make.py: not a PyTorch checkpoint"), "{foreign}");
}

fn refused(pickle: Pickle) -> String {
    let fault = Checkpoint::read(&archive(&pickle.0)).expect_err("a hostile pickle");
    fault.to_string()
}

#[test]
fn nothing_is_called_but_what_builds_tensors() {
    for (module, name) in [
        ("os", "system"),
        ("builtins", "eval"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("torch", "load"),
        ("collections", "defaultdict"),
        ("", ""),
    ] {
        let said = refused(Pickle::new().global(module, name).text("true").op(0x85).op(b'R').end());
        let want = format!("names \"{module}.{name}\", which no tensor needs");
        assert!(said.ends_with(&want), "{said}");
        let said = refused(Pickle::new().text(module).text(name).op(0x93).end());
        assert!(said.ends_with(&want), "{said}");
    }
    let inst = refused(Pickle::new().op(b'(').op(b'i').raw(b"os\nsystem\n").end());
    assert!(inst.contains("opcode 0x69, which no tensor needs"), "{inst}");
    let object = refused(Pickle::new().global("torch", "FloatStorage").op(b')').op(0x81).end());
    assert!(object.contains("opcode 0x81"), "{object}");
    let called = refused(Pickle::new().global("torch", "FloatStorage").op(b')').op(b'R').end());
    assert!(called.contains("calls a kind of storage"), "{called}");
    let text = refused(Pickle::new().text("x").op(b')').op(b'R').end());
    assert!(text.contains("calls a text"), "{text}");
}

#[test]
fn deep_and_circular_structures_are_walked_without_recursion() {
    const DEEP: usize = 200_000;
    let tuples = Pickle::new().op(b')').repeat(0x85, DEEP);
    assert_eq!(refused(tuples.end()), "holds a tuple, expected a dictionary");
    let lists = Pickle::new().repeat(b']', DEEP).repeat(b'a', DEEP - 1);
    assert_eq!(refused(lists.end()), "holds a list, expected a dictionary");
    let marks = Pickle::new().repeat(b'(', DEEP).op(b')').repeat(b't', DEEP);
    assert_eq!(refused(marks.end()), "holds a tuple, expected a dictionary");
    // A dictionary that is its own state_dict.
    let circular = Pickle::new().op(b'}').raw(b"q\0").text("state_dict").raw(b"h\0").op(b's');
    let said = refused(circular.end());
    assert!(said.contains("entry \"state_dict\" of state_dict is a dictionary"), "{said}");
    let many = Pickle::new().op(b'N').raw(b"q\0").raw(&b"h\0".repeat(2 << 20));
    assert!(refused(many.end()).ends_with("more than 524288 items"));
    let marks = Pickle::new().repeat(b'(', 2 << 20);
    assert!(refused(marks.end()).ends_with("more than 524288 items"));
}

#[test]
fn a_tensor_stays_within_its_storage() {
    let float = ("FloatStorage", "0", 4);
    for (storage, offset, sizes, strides, want) in [
        (float, 1, &[4][..], &[1][..], "reach beyond its storage of 4 values"),
        (float, 0, &[2, 3], &[3, 1], "reach beyond its storage"),
        (float, i64::MAX, &[1], &[1], "reach beyond its storage"),
        (float, 0, &[2], &[i64::MAX], "reach beyond its storage"),
        (float, 0, &[3, 2], &[i64::MAX, i64::MAX], "reach beyond its storage"),
        (float, -1, &[1], &[1], "a size, stride or offset that is no count"),
        (float, 0, &[-1], &[1], "a size, stride or offset that is no count"),
        (float, 0, &[1 << 40], &[0], "are more than the "),
        (float, 0, &[1 << 33, 1 << 33], &[0, 0], "are more than the "),
        (float, 0, &[0, i64::MAX], &[1, 1], "are more than the "),
        (float, 0, &[0, i64::MAX, i64::MAX], &[1, 1, 1], "are more than the "),
        (float, 0, &[1], &[], "1 sizes and 0 strides"),
        (float, 0, &[1; 9], &[1; 9], "9 sizes and 9 strides, expected as many of both, 8"),
        (("FloatStorage", "0", 5), 0, &[1], &[1], "its storage of 5 × 4 bytes has 16 bytes"),
        (("FloatStorage", "0", i64::MAX), 0, &[1], &[1], "its storage of 9223372036854775807"),
        (("FloatStorage", "0", -1), 0, &[1], &[1], "a storage that is not"),
        (("DoubleStorage", "0", 4), 0, &[1], &[1], "its storage of 4 × 8 bytes has 16 bytes"),
        (("FloatStorage", "../0", 4), 0, &[1], &[1], "no storage \"../0\" in the file"),
    ] {
        let tensor = Pickle::new().op(b'}').text("x").tensor(storage, offset, sizes, strides);
        let said = refused(tensor.op(b's').end());
        assert!(said.contains(want), "{sizes:?}: {said}");
    }
    // The same with what fits, so that it was not refused for something else; and size 1 with any
    // stride.
    for (offset, sizes, strides, want) in [
        (1, &[3][..], &[1][..], &[1.0, 2.0, 3.0][..]),
        (0, &[2, 2], &[1, 2], &[0.0, 2.0, 1.0, 3.0]),
        (3, &[1, 1], &[i64::MAX, i64::MAX], &[3.0]),
        (9, &[0], &[1], &[]),
    ] {
        let tensor = Pickle::new().op(b'}').text("x").tensor(float, offset, sizes, strides);
        let read = Checkpoint::read(&archive(&tensor.op(b's').end().0)).unwrap();
        assert_eq!(floats(&read, "x").1, want);
    }
}

#[test]
fn many_views_of_one_storage_are_bounded() {
    let mut pickle = Pickle::new().op(b'}').op(b'(');
    for index in 0..2000 {
        let name = format!("t{index}");
        pickle = pickle.text(&name).tensor(("FloatStorage", "0", 4), 0, &[100, 1000], &[0, 0]);
    }
    let said = refused(pickle.op(b'u').end());
    assert!(said.contains("are more than the "), "{said}");
}

#[test]
fn what_is_no_dictionary_of_tensors_is_named() {
    for (pickle, want) in [
        (Pickle::new().op(b'N'), "holds None, expected a dictionary"),
        (Pickle::new().op(b'}'), "the file's dictionary, which has no state_dict, holds no tensor"),
        (
            Pickle::new().op(b'}').text("epoch").op(b'N').op(b's'),
            "entry \"epoch\" of the file's dictionary, which has no state_dict, is None, expected",
        ),
        (
            Pickle::new().op(b'}').text("state_dict").op(b'N').op(b's'),
            "state_dict is None, expected a dictionary",
        ),
        (Pickle::new().op(b'}').op(b'N').op(b'N').op(b's'), "a name in the file's dictionary"),
        (Pickle::new().op(b'}').op(b'N').op(b's'), "takes an item where there is none"),
        (Pickle::new().op(b'a'), "takes an item where there is none"),
        (Pickle::new().op(b't'), "takes a mark where there is none"),
        (Pickle::new().op(b'N').op(b'N').op(b'a'), "appends to None, expected a list"),
        (Pickle::new().op(b'N').op(b'(').op(b'u'), "sets items of None, expected a dictionary"),
        (Pickle::new().op(b'}').op(b'(').op(b'N').op(b'u'), "sets a key without a value"),
        (Pickle::new().raw(b"h\x07"), "recalls 7, never remembered"),
        (Pickle::new().raw(b"q\0"), "remembers an item where there is none"),
        (Pickle::new().op(b'N').op(b'N').op(b'b'), "sets attributes of None"),
        (Pickle::new().raw(b"\x80\x09"), "protocol 9, expected 2 to 5"),
        (Pickle::new().raw(b"U\x01\xff"), "a text that is not UTF-8"),
    ] {
        let said = refused(pickle.end());
        assert!(said.contains(want), "{said}");
    }
    // Two names of the file that are one published name.
    let storage = ("FloatStorage", "0", 4);
    let twice = Pickle::new()
        .op(b'}')
        .text("first_conv.bn.weight")
        .tensor(storage, 0, &[1], &[1])
        .op(b's')
        .text("first_conv.bn.bn.weight")
        .tensor(storage, 0, &[1], &[1])
        .op(b's');
    let said = refused(twice.end());
    assert!(said.contains("another of the published name first_conv.bn.weight"), "{said}");
}

#[test]
fn an_archive_that_does_not_fit_itself_is_refused() {
    let pickle = Pickle::new().op(b'}').end().0;
    let good = archive(&pickle);
    let directory = u32::from_le_bytes(good[good.len() - 6..good.len() - 2].try_into().unwrap());
    let record = directory as usize;
    let changed = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        Checkpoint::read(&bytes).unwrap_err().to_string()
    };
    for (at, value, want) in [
        (record + 10, &[8, 0][..], "is compressed or encrypted"),
        (record + 8, &[1, 0], "is compressed or encrypted"),
        (record + 16, &[0, 0, 0, 0], "is damaged: its check sum is another"),
        (record + 42, &[0xf0, 0xff, 0xff, 0xff], "archive: offset 4294967280 in a file of "),
        (record + 42, &[1, 0, 0, 0], "no entry where"),
        (good.len() - 6, &[0xff, 0xff, 0xff, 0x7f], "archive: offset 2147483647 in a file of"),
        (good.len() - 12, &[9, 0], "its directory has fewer entries than it says"),
    ] {
        let said = changed(at, value);
        assert!(said.contains(want), "{said}");
    }
    let long = [0xff, 0xff, 0xff, 0x7f];
    let said = changed(record + 20, &[long, long].concat());
    assert!(said.contains("truncated: entry of the archive"), "{said}");
    for (names, want) in [
        (&["x/data.pkl", "x/data.pkl"][..], "entry \"x/data.pkl\" is there twice"),
        (&["x/data.pkl", "y/data.pkl"], "expected one entry FOLDER/data.pkl"),
        (&["data.pkl"], "expected one entry FOLDER/data.pkl"),
        (&["x/model.json"], "expected one entry FOLDER/data.pkl"),
    ] {
        let entries: Vec<_> = names.iter().map(|name| (*name, &pickle[..])).collect();
        let said = Checkpoint::read(&archive_of(&entries)).unwrap_err().to_string();
        assert!(said.contains(want), "{said}");
    }
    // Many records of one entry, whose check sum would be worked out for each of them: refused at the
    // first that the file is too small for, though all sums are right.
    let entries = [("x/data.pkl", &pickle[..]), ("x/data/0", &[7; 100_000][..])];
    for more in [1, 10_000] {
        let said = Checkpoint::read(&archive_with(&entries, more)).unwrap_err().to_string();
        let at = if more == 1 { "00000000" } else { "00000005" };
        let want = "the entries up to it hold more bytes than the file";
        assert_eq!(said, format!("archive: entry \"{at}\": {want}"));
    }
    let big = archive_of(&[("x/data.pkl", &pickle), ("x/byteorder", b"big")]);
    assert!(Checkpoint::read(&big).unwrap_err().to_string().contains("byteorder is not little"));
}
