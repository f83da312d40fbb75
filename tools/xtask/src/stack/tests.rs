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
    let bound =
        StackBound { thread: link(7), exceptions: vec![link(20), link(0)], indirect: vec![] };
    assert_eq!(bound.bytes(), u64::from(7 + 20 + 2 * EXCEPTION_FRAME));
}

#[test]
fn names_are_readable() {
    let name = "_ZN18coshift_controller4node13Node$LT$S$GT$4send17h3c6064bc45ad09efE";
    assert_eq!(readable(name), "coshift_controller::node::Node<S>::send");
    assert_eq!(readable("memcpy"), "memcpy");
}

#[test]
fn the_release_image_has_a_bound() {
    let Some(image) = std::env::var_os("COSHIFT_FIRMWARE") else {
        println!("SKIPPED: the firmware image (run `cargo xtask test`)");
        return;
    };
    let elf = std::fs::read(image).unwrap();
    let bound = StackBound::of(&elf).unwrap();
    assert!(bound.thread.len() > 3 && !bound.exceptions.is_empty(), "{bound:?}");
    // What the compiler itself emitted of sizes, where the image carries it.
    let program = Program::read(&elf).unwrap();
    for (address, emitted) in emitted_sizes(&elf).unwrap() {
        let function = &program.functions[&address];
        assert!(function.bytes >= emitted, "{}: {emitted} emitted", function.name);
    }
}
