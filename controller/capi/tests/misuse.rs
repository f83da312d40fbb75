//! Calls that a C caller gets wrong: each is answered by a status, and nothing happens.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every call keeps the contract but for what the test is about: pointers that are null, \
              misaligned or of a node that was destroyed, which the functions must notice"
)]

use std::ffi::c_void;
use std::ptr;

use coshift_capi::{
    COSHIFT_API_VERSION, COSHIFT_NO_WAIT_LIMIT, COSHIFT_NODE_SIZE, CoshiftBoot, CoshiftInfo,
    CoshiftNode, CoshiftStatus, coshift_api_version, coshift_node_create, coshift_node_destroy,
    coshift_node_feed, coshift_node_info, coshift_node_poll, coshift_node_take,
    coshift_node_wait_us,
};

static BOOT: CoshiftBoot = CoshiftBoot {
    version: [1, 2, 3],
    reset_cause: 1,
    last_fault: 1,
    boot_nonce: 7,
    fault_detail: 0,
};

/// One spare word, to misalign.
#[repr(C, align(8))]
struct Memory([u8; COSHIFT_NODE_SIZE + 8]);

impl Memory {
    fn new() -> Box<Self> {
        Box::new(Self([0xa5; COSHIFT_NODE_SIZE + 8]))
    }

    fn place(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

fn create(
    memory: *mut c_void,
    size: usize,
    boot: &CoshiftBoot,
    policy: &[u8],
) -> (CoshiftStatus, *mut CoshiftNode) {
    let mut node = ptr::null_mut();
    let status = unsafe {
        coshift_node_create(memory, size, boot, policy.as_ptr(), policy.len(), &raw mut node)
    };
    (status, node)
}

fn live(memory: &mut Memory) -> *mut CoshiftNode {
    let (status, node) = create(memory.place(), COSHIFT_NODE_SIZE, &BOOT, &[]);
    assert_eq!(status, CoshiftStatus::Ok);
    node
}

#[test]
fn the_version_is_that_of_the_header() {
    assert_eq!(coshift_api_version(), COSHIFT_API_VERSION);
}

#[test]
fn memory_that_does_not_do_is_refused_and_left_alone() {
    let mut memory = Memory::new();
    let place = memory.place();
    let misaligned = place.cast::<u8>().wrapping_add(4).cast();
    for (place, size, expected) in [
        (ptr::null_mut(), COSHIFT_NODE_SIZE, CoshiftStatus::Null),
        (place, 0, CoshiftStatus::TooSmall),
        (place, COSHIFT_NODE_SIZE - 1, CoshiftStatus::TooSmall),
        (misaligned, COSHIFT_NODE_SIZE, CoshiftStatus::Misaligned),
    ] {
        assert_eq!(create(place, size, &BOOT, &[]), (expected, ptr::null_mut()));
    }
    assert!(memory.0.iter().all(|byte| *byte == 0xa5));
}

#[test]
fn missing_arguments_of_create_are_refused() {
    let mut memory = Memory::new();
    let (place, size) = (memory.place(), COSHIFT_NODE_SIZE);
    let mut node = ptr::null_mut();
    unsafe {
        let no_boot = coshift_node_create(place, size, ptr::null(), ptr::null(), 0, &raw mut node);
        let no_node =
            coshift_node_create(place, size, &raw const BOOT, ptr::null(), 0, ptr::null_mut());
        let no_policy =
            coshift_node_create(place, size, &raw const BOOT, ptr::null(), 1, &raw mut node);
        assert_eq!([no_boot, no_node, no_policy], [CoshiftStatus::Null; 3]);
        let byte = 0_u8;
        let endless = coshift_node_create(
            place,
            size,
            &raw const BOOT,
            &raw const byte,
            usize::MAX,
            &raw mut node,
        );
        assert_eq!(endless, CoshiftStatus::Null);
    }
    assert!(node.is_null());
}

#[test]
fn values_and_policies_that_are_none_are_refused() {
    let mut memory = Memory::new();
    for boot in [
        CoshiftBoot { reset_cause: 0, ..BOOT },
        CoshiftBoot { reset_cause: 5, ..BOOT },
        CoshiftBoot { last_fault: 0, ..BOOT },
        CoshiftBoot { last_fault: 255, ..BOOT },
    ] {
        let (status, node) = create(memory.place(), COSHIFT_NODE_SIZE, &boot, &[]);
        assert_eq!((status, node), (CoshiftStatus::BadValue, ptr::null_mut()));
    }
    let (status, node) = create(memory.place(), COSHIFT_NODE_SIZE, &BOOT, b"CSPLnot a policy");
    assert_eq!((status, node), (CoshiftStatus::BadPolicy, ptr::null_mut()));
}

#[test]
fn every_function_notices_what_is_no_node() {
    let mut memory = Memory::new();
    let node = live(&mut memory);
    assert_eq!(unsafe { coshift_node_destroy(node) }, CoshiftStatus::Ok);
    let misaligned = node.cast::<u8>().wrapping_add(1).cast();
    for (node, expected) in [
        (ptr::null_mut(), CoshiftStatus::Null),
        (misaligned, CoshiftStatus::Misaligned),
        (node, CoshiftStatus::NoNode),
    ] {
        let (mut byte, mut length, mut wait) = (0_u8, 77_usize, 77_u32);
        let mut info = CoshiftInfo::default();
        unsafe {
            assert_eq!(coshift_node_feed(node, &raw const byte, 1, 0), expected);
            assert_eq!(coshift_node_poll(node, 0), expected);
            assert_eq!(coshift_node_wait_us(node, 0, &raw mut wait), expected);
            assert_eq!(coshift_node_take(node, &raw mut byte, 1, &raw mut length), expected);
            assert_eq!(coshift_node_info(node, &raw mut info), expected);
            assert_eq!(coshift_node_destroy(node), expected);
        }
        assert_eq!((byte, length, wait, info), (0, 77, 77, CoshiftInfo::default()));
    }
}

#[test]
fn null_results_and_arrays_are_refused_and_empty_ones_are_not() {
    let mut memory = Memory::new();
    let node = live(&mut memory);
    let mut length = 77;
    unsafe {
        assert_eq!(coshift_node_feed(node, ptr::null(), 1, 0), CoshiftStatus::Null);
        assert_eq!(coshift_node_feed(node, ptr::null(), 0, 0), CoshiftStatus::Ok);
        assert_eq!(coshift_node_wait_us(node, 0, ptr::null_mut()), CoshiftStatus::Null);
        assert_eq!(coshift_node_info(node, ptr::null_mut()), CoshiftStatus::Null);
        let mut byte = 0;
        assert_eq!(coshift_node_take(node, &raw mut byte, 1, ptr::null_mut()), CoshiftStatus::Null);
        assert_eq!(
            coshift_node_take(node, ptr::null_mut(), 1, &raw mut length),
            CoshiftStatus::Null
        );
        assert_eq!(length, 77);
        assert_eq!(coshift_node_take(node, ptr::null_mut(), 0, &raw mut length), CoshiftStatus::Ok);
    }
    assert_eq!(length, 0);
}

#[test]
fn frames_that_nobody_takes_are_dropped_whole_and_counted() {
    let mut memory = Memory::new();
    let node = live(&mut memory);
    let (mut info, mut wait) = (CoshiftInfo::default(), 0);
    let mut now = 0xffff_0000_u32;
    for _ in 0..100 {
        unsafe {
            assert_eq!(coshift_node_poll(node, now), CoshiftStatus::Ok);
            assert_eq!(coshift_node_wait_us(node, now, &raw mut wait), CoshiftStatus::Ok);
        }
        // Without a session it announces itself every 100 ms.
        assert_eq!(wait, 100_000);
        now = now.wrapping_add(wait);
    }
    assert_eq!(unsafe { coshift_node_info(node, &raw mut info) }, CoshiftStatus::Ok);
    assert!(info.dropped > 50 && info.waiting > 900, "{info:?}");
    assert_ne!(wait, COSHIFT_NO_WAIT_LIMIT);
    // What waits is whole frames: each ends in its zero, all of one length.
    let mut bytes = [0xff_u8; 2048];
    let mut length = 0;
    let status = unsafe { coshift_node_take(node, bytes.as_mut_ptr(), 2048, &raw mut length) };
    assert_eq!((status, length), (CoshiftStatus::Ok, info.waiting as usize));
    let frames: Vec<&[u8]> = bytes[..length].split_inclusive(|byte| *byte == 0).collect();
    assert_eq!(frames.len() as u32, 100 - info.dropped);
    assert!(frames.iter().all(|frame| frame.ends_with(&[0]) && frame.len() == frames[0].len()));
    assert!(bytes[length..].iter().all(|byte| *byte == 0xff), "wrote behind what it told");
}
