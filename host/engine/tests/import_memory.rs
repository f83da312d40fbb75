//! No file makes the reader use more memory than its bound: counted by the program's allocator.

#[allow(dead_code, reason = "a part of it is enough")]
mod held;
mod pickles;

use coshift_engine::import::checkpoint::MOST_GROWTH;
use coshift_engine::import::pickle::MOST_ITEMS;
use coshift_engine::import::{Checkpoint, MOST_NAME};
use held::used;
use pickles::{Pickle, archive, archive_of};

/// The bound of the module `import`: what lies beside the file itself.
fn bound(file: usize) -> usize {
    5 * file + (256 << 20)
}

#[test]
fn hostile_files_stay_within_the_bound() {
    const MANY: usize = 3 << 20;
    let storage = ("FloatStorage", "0", 4);
    let named = |name: &str| Pickle::new().op(b'}').text(name);
    // A tensor's arguments, remembered, then called again and again.
    let again = Pickle::new()
        .global("torch._utils", "_rebuild_tensor_v2")
        .raw(b"q\0")
        .op(b'(')
        .op(b'(')
        .text("storage")
        .global("torch", "FloatStorage")
        .text("0")
        .text("cpu")
        .int(4)
        .raw(b"tQ")
        .int(0)
        .ints(&[1; 8])
        .ints(&[1; 8])
        .raw(b"tq\x01")
        .raw(&b"h\0h\x01R".repeat(MANY));
    let pairs = Pickle::new()
        .raw(b"ccollections\nOrderedDict\nq\0](")
        .raw(&b"NN\x86".repeat(10_000))
        .raw(b"e\x85q\x01")
        .raw(&b"h\0h\x01R".repeat(MANY));
    for (what, pickle) in [
        ("tuples in tuples", Pickle::new().op(b')').repeat(0x85, MANY)),
        ("empty lists", Pickle::new().repeat(b']', MANY)),
        ("marks", Pickle::new().repeat(b'(', MANY)),
        ("memo", Pickle::new().op(b'N').repeat(0x94, MANY)),
        ("numbers", Pickle::new().raw(&b"K\0".repeat(MANY))),
        ("tensors", again),
        ("dictionaries", pairs),
        ("long name", Pickle::new().global(&"x".repeat(MANY), "y")),
        ("long text", Pickle::new().text(&"x".repeat(MANY)).op(b'a')),
        ("huge text", Pickle::new().raw(b"X\xff\xff\xff\xff")),
        ("huge tensor", named("x").tensor(storage, 0, &[1 << 40], &[0]).op(b's')),
        ("wide tensor", named("x").tensor(storage, 0, &[1 << 20, 1 << 10], &[0, 0]).op(b's')),
        (
            "huge storage",
            named("x").tensor(("FloatStorage", "0", i64::MAX), 0, &[1], &[1]).op(b's'),
        ),
    ] {
        refused(what, &archive(&pickle.end().0));
    }
    // The older format has several pickles, of which two are kept.
    let lists = Pickle::new().repeat(b']', MOST_ITEMS).end().0;
    let start = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."[..],
        b"\x80\x02}X\x0d\0\0\0little_endian\x88s.",
    ];
    let said = refused("two pickles", &[&start.concat()[..], &lists, &lists].concat());
    assert_eq!(said, "holds a list, expected a dictionary");
}

/// Files so large that even few bytes of memory for one of the file are more than what the bound
/// leaves beside them.
#[test]
fn large_texts_stay_within_the_bound() {
    const LONG: usize = 48 << 20;
    let storage = ("FloatStorage", "0", 4);
    let dots = ".".repeat(LONG);
    let tensor = |name: &str, storage| {
        Pickle::new().op(b'}').text(name).tensor(storage, 0, &[1], &[1]).op(b's').end().0
    };
    let said = refused("a name of dots", &archive(&tensor(&dots, storage)));
    assert!(said.contains(&format!("has {LONG} bytes, expected at most {MOST_NAME}")), "{said}");
    let key = refused("a long key", &archive(&tensor("x", ("FloatStorage", &dots, 4))));
    assert!(key.contains(&format!("a storage's key of {LONG} bytes, expected at most")), "{key}");
    // Written with five characters each in a fault that shows them.
    let controls = "\u{1}".repeat(LONG);
    let magic = &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..];
    let version = Pickle::new().text(&controls).end().0;
    let said = refused("a version of text", &[magic, &version].concat());
    assert_eq!(said, "version is a text, expected 1001");
    let called = Pickle::new().text(&controls).text(&controls).op(0x93).end();
    refused("a name that is called", &archive(&called.0));
    let about = b"\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    let one = tensor("x", ("FloatStorage", "0", 1));
    let keys = Pickle::new().op(b']').text(&controls).op(b'a').end().0;
    let said = refused("keys of storages", &[magic, about, &one, &keys, &[1; 8]].concat());
    assert!(said.ends_with("is of no tensor: its size is unknown"), "{said}");
}

/// Names of [`MOST_NAME`] bytes are read, and one more is not.
#[test]
fn the_longest_name_is_read() {
    for (length, read) in [(MOST_NAME, true), (MOST_NAME + 1, false)] {
        let name = "x".repeat(length);
        let tensor = Pickle::new().op(b'}').text(&name);
        let tensor = tensor.tensor(("FloatStorage", "0", 4), 0, &[1], &[1]).op(b's').end();
        let found = Checkpoint::read(&archive(&tensor.0));
        assert_eq!(found.is_ok_and(|found| found.tensors.contains_key(&name)), read, "{length}");
    }
}

#[test]
fn what_is_remembered_is_counted() {
    let numbers = (0..=MOST_ITEMS as u32).flat_map(|number| {
        let [a, b, c, d] = number.to_le_bytes();
        [b'r', a, b, c, d]
    });
    let pickle = Pickle::new().op(b'N').raw(&numbers.collect::<Vec<_>>()).end();
    let said = refused("numbers of the memo", &archive(&pickle.0));
    assert!(said.ends_with("remembers more than 524288 items"), "{said}");
}

/// Reads a file that is no checkpoint; gives what is said.
fn refused(what: &str, file: &[u8]) -> String {
    let (fault, used) = used(|| Checkpoint::read(file).expect_err(what).to_string());
    let used = used.peak;
    assert!(used > 0 && used <= bound(file.len()), "{what}: {used} bytes for {}", file.len());
    assert!(fault.len() < 500, "{what}: {fault}");
    println!("{what}: {used} bytes for {}", file.len());
    fault
}

#[test]
fn a_checkpoint_takes_what_its_bound_says() {
    // The most values that a file may have: a storage repeated by a stride of 0. Nothing else is large
    // here, so that the bound holds nearly without its fixed part.
    const VALUES: usize = 17 << 20;
    let growth = MOST_GROWTH as i64;
    let storage = ("FloatStorage", "0", VALUES as i64);
    let sizes = [growth, VALUES as i64];
    let pickle =
        Pickle::new().op(b'}').text("x").tensor(storage, 0, &sizes, &[0, 1]).op(b's').end();
    let values = vec![0; 4 * VALUES];
    let large = archive_of(&[("x/data.pkl", &pickle.0), ("x/data/0", &values)]);
    drop(values);
    let little = include_bytes!("fixtures/second-generation.pth");
    for (file, least, most) in [
        (&large[..], 4 * VALUES * 4, 5 * large.len() + (1 << 20)),
        // Most is what the pickle builds.
        (little, 1, 20 * little.len()),
    ] {
        let (read, used) = used(|| Checkpoint::read(file).unwrap());
        let used = used.peak;
        let held: usize = read.tensors.values().map(|tensor| tensor.data.len()).sum();
        assert!(used > held.max(least) && used < most, "{used} bytes for {}", file.len());
        assert!(used <= bound(file.len()));
    }
}
