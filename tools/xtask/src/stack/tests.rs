use super::*;

/// Functions of these bytes and calls; the first is reset, the last an interrupt.
fn program(functions: &[(u32, &[u32])]) -> Program {
    let functions: BTreeMap<u32, Function> = functions
        .iter()
        .zip(0..)
        .map(|((bytes, calls), place)| {
            let calls = calls.iter().copied().collect();
            let name = format!("f{place}");
            (place, Function { name, end: place + 1, bytes: *bytes, calls, ..Function::default() })
        })
        .collect();
    let last = functions.len() as u32 - 1;
    Program { functions, taken: BTreeSet::new(), vectors: vec![None, Some(0), Some(last)] }
}

fn depth(program: &Program) -> Result<u32> {
    Walk { program, depths: HashMap::new(), open: Vec::new() }.depth(0)
}

#[test]
fn the_deepest_chain_is_found_whatever_its_length() {
    let program = program(&[(8, &[1, 2]), (100, &[]), (16, &[3]), (85, &[]), (500, &[])]);
    let mut walk = Walk { program: &program, depths: HashMap::new(), open: Vec::new() };
    let names: Vec<_> = walk.chain(0).unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!((names, walk.depth(0).unwrap()), (vec!["f0".into(), "f2".into(), "f3".into()], 109));
}

#[test]
fn a_function_that_may_call_itself_has_no_bound() {
    let program = program(&[(8, &[1]), (8, &[2]), (8, &[1])]);
    let message = depth(&program).unwrap_err().to_string();
    assert!(message.contains("f1 calls f2 calls f1"), "{message}");
}

#[test]
fn a_call_through_a_pointer_may_reach_every_function_whose_address_is_taken() {
    let mut program = program(&[(8, &[]), (100, &[]), (900, &[])]);
    assert_eq!(depth(&program).unwrap(), 8);
    program.functions.get_mut(&0).unwrap().indirect = true;
    program.taken.insert(1);
    assert_eq!(depth(&program).unwrap(), 108);
}

#[test]
fn a_stack_pointer_from_a_register_has_no_bound() {
    let mut program = program(&[(8, &[1]), (0, &[])]);
    program.functions.get_mut(&1).unwrap().unknown = true;
    assert!(depth(&program).unwrap_err().to_string().contains("f1"));
}

#[test]
fn exceptions_are_added() {
    let link = |bytes| vec![Link { name: String::new(), bytes }];
    let bound = StackBound {
        thread: link(7),
        exceptions: vec![link(20), link(0)],
        indirect: vec![],
        untold: vec![],
    };
    assert_eq!(bound.bytes(), u64::from(7 + 20 + 2 * EXCEPTION_FRAME));
}

#[test]
fn names_are_readable() {
    let name = "_ZN18coshift_controller4node13Node$LT$S$GT$4send17h3c6064bc45ad09efE";
    assert_eq!(readable(name), "coshift_controller::node::Node<S>::send");
    assert_eq!(readable("memcpy"), "memcpy");
}

#[test]
fn the_compilers_figures_are_read() {
    let data = [
        // Thumb code at 0x400 that takes 8 bytes, and at 0x1_2346 that takes 300.
        [0x01, 0x04, 0x00, 0x00, 0x08].as_slice(),
        &[0x47, 0x23, 0x01, 0x00, 0xac, 0x02],
        // None, in one byte and in two; the most there can be.
        &[0x61, 0x00, 0x00, 0x00, 0x00],
        &[0x63, 0x00, 0x00, 0x00, 0x80, 0x00],
        &[0x65, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    let sizes = [(0x400, 8), (0x1_2346, 300), (0x60, 0), (0x62, 0), (0x64, u32::MAX)];
    assert_eq!(read_sizes(&data.concat()).unwrap(), sizes);
    assert_eq!(read_sizes(&[]).unwrap(), []);
}

#[test]
fn figures_that_are_cut_short_are_an_error() {
    let data = [0x01, 0x04, 0x00, 0x00, 0x08, 0x47, 0x23, 0x01, 0x00, 0xac, 0x02];
    for length in 0..=data.len() {
        let read = read_sizes(&data[..length]);
        if [0, 5, data.len()].contains(&length) {
            read.unwrap();
        } else {
            let error = read.unwrap_err().to_string();
            assert!(error.contains("cut short"), "{length}: {error}");
        }
    }
}

#[test]
fn a_figure_over_32_bits_is_an_error() {
    for size in [[0xff, 0xff, 0xff, 0xff, 0x1f].as_slice(), &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]] {
        let error = read_sizes(&[&[1, 4, 0, 0], size].concat()).unwrap_err().to_string();
        assert!(error.contains("no 32 bits"), "{error}");
    }
}

#[test]
fn a_function_whose_instructions_take_less_than_the_compiler_says_has_no_bound() {
    let mut program = program(&[(8, &[1]), (24, &[])]);
    program.check().unwrap();
    let function = program.functions.get_mut(&1).unwrap();
    function.emitted = Some(24);
    program.check().unwrap();
    program.functions.get_mut(&1).unwrap().emitted = Some(25);
    let error = program.check().unwrap_err().to_string();
    assert!(error.contains("f1 take 24 B where the compiler says 25 B"), "{error}");
}

/// The release image, where there is one.
fn release_image() -> Option<Vec<u8>> {
    let Some(image) = std::env::var_os("COSHIFT_FIRMWARE") else {
        println!("SKIPPED: the firmware image (run `cargo xtask test`)");
        return None;
    };
    Some(std::fs::read(image).unwrap())
}

#[test]
fn the_release_image_has_a_bound() {
    let Some(elf) = release_image() else { return };
    let bound = StackBound::of(&elf).unwrap();
    assert!(bound.thread.len() > 3 && !bound.exceptions.is_empty(), "{bound:?}");
    // Of every function on the way down the compiler tells its figure: the start, which is assembly,
    // aside, and what a toolchain brings compiled.
    let brought = |name: &str| name.starts_with("__") || name.starts_with("mem");
    let told = |link: &&Link| !bound.untold.contains(&link.name) || brought(&link.name);
    assert!(bound.thread.iter().filter(told).count() + 1 >= bound.thread.len(), "{bound:?}");
    let program = Program::read(&elf).unwrap();
    assert!(2 * bound.untold.len() < program.functions.len(), "{:?}", bound.untold);
}

#[test]
fn a_release_image_whose_figures_are_missing_or_larger_has_no_bound() {
    let Some(elf) = release_image() else { return };
    let refused = |elf: &[u8]| format!("{:#}", StackBound::of(elf).unwrap_err());
    let file = object::File::parse(&*elf).unwrap();
    let section = file.section_by_name(STACK_SIZES).unwrap();
    let (start, length) = section.file_range().unwrap();
    let (start, end) = (start as usize, (start + length) as usize);

    // The section is there, by another name.
    let mut unnamed = elf.clone();
    let name = elf.windows(STACK_SIZES.len()).position(|part| part == STACK_SIZES.as_bytes());
    unnamed[name.unwrap() + 1] = b'x';
    assert!(refused(&unnamed).contains("no section .stack_sizes"), "{}", refused(&unnamed));

    // The last byte of the section ends a figure: now another one would have to follow.
    let mut cut = elf.clone();
    cut[end - 1] |= 0x80;
    assert!(refused(&cut).contains("cut short"), "{}", refused(&cut));

    // A function that is said to take more than its instructions do, in the same one byte.
    let program = Program::read(&elf).unwrap();
    let mut place = start;
    let entries = read_sizes(&elf[start..end]).unwrap();
    let (size, name) = entries
        .iter()
        .find_map(|(address, bytes)| {
            let size = place + 4;
            place = size + (u32::BITS - bytes.leading_zeros()).div_ceil(7).max(1) as usize;
            let function = &program.functions[address];
            (*bytes < 0x7f && function.bytes == *bytes).then_some((size, &function.name))
        })
        .unwrap();
    let mut larger = elf.clone();
    larger[size] += 1;
    let said = refused(&larger);
    assert!(said.contains(name) && said.contains("the compiler says"), "{said}");

    // A figure of a function that is not there.
    let mut nowhere = elf.clone();
    nowhere[start..start + 4].copy_from_slice(&0x2000_0001_u32.to_le_bytes());
    assert!(refused(&nowhere).contains("where no function begins"), "{}", refused(&nowhere));
}
