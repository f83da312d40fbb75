//! The functions of the C interface. All `unsafe` of the package is here.

use core::ffi::c_void;
use core::{ptr, slice};

use coshift_controller::{Identity, Node};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_host::{FaultCode, ResetCause};

use crate::outbox::Outbox;
use crate::types::{
    COSHIFT_API_VERSION, COSHIFT_NO_WAIT_LIMIT, COSHIFT_NODE_ALIGN, COSHIFT_NODE_SIZE, CoshiftBoot,
    CoshiftInfo, CoshiftNode, CoshiftStatus,
};

/// What a live node begins with; anything else at the place is no node.
const MAGIC: u32 = 0x436f_5368;

/// Version of this interface: compare it with COSHIFT_API_VERSION of the header.
#[unsafe(no_mangle)]
pub extern "C" fn coshift_api_version() -> u32 {
    COSHIFT_API_VERSION
}

/// Makes a node in `size` bytes of memory at `memory` and stores its address in `node`.
///
/// `policy` is a policy image, read in place; with a length of 0 the node waits for one. On any
/// status but COSHIFT_STATUS_OK nothing is created.
///
/// # Safety
/// `memory` must be writable for `size` bytes and used by nobody else until the node is destroyed;
/// `boot` and `node` must be valid; the policy must stay unchanged where it is as long as the node
/// lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_create(
    memory: *mut c_void,
    size: usize,
    boot: *const CoshiftBoot,
    policy: *const u8,
    policy_length: usize,
    node: *mut *mut CoshiftNode,
) -> CoshiftStatus {
    if memory.is_null() || boot.is_null() || node.is_null() {
        return CoshiftStatus::Null;
    }
    if size < COSHIFT_NODE_SIZE {
        return CoshiftStatus::TooSmall;
    }
    if !memory.addr().is_multiple_of(COSHIFT_NODE_ALIGN) {
        return CoshiftStatus::Misaligned;
    }
    // SAFETY: valid by the contract; no field has a forbidden value. It may be unaligned.
    let boot = unsafe { ptr::read_unaligned(boot) };
    let (Some(reset_cause), Some(last_fault)) = (cause(boot.reset_cause), fault(boot.last_fault))
    else {
        return CoshiftStatus::BadValue;
    };
    // SAFETY: by the contract the image stays unchanged as long as the node, which is the only
    // holder of the view.
    let Some(policy) = (unsafe { bytes(policy, policy_length) }) else {
        return CoshiftStatus::Null;
    };
    let policy = if policy.is_empty() {
        None
    } else {
        match PolicyView::open(policy) {
            Ok(view) => Some(view),
            Err(_) => return CoshiftStatus::BadPolicy,
        }
    };
    let identity = Identity {
        version: boot.version,
        boot_nonce: boot.boot_nonce,
        reset_cause,
        last_fault,
        fault_detail: boot.fault_detail,
    };
    let place = memory.cast::<CoshiftNode>();
    // SAFETY: the memory is large and aligned enough (checked above and while compiling), writable
    // and nobody else's by the contract; `node` is valid, and written unaligned.
    unsafe {
        place.write(CoshiftNode {
            magic: MAGIC,
            node: Node::new(policy, identity),
            outbox: Outbox::new(),
        });
        ptr::write_unaligned(node, place);
    }
    CoshiftStatus::Ok
}

/// Ends a node: its memory and policy may be used for something else. Nothing is freed.
///
/// # Safety
/// `node` must be null or memory that a node was created in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_destroy(node: *mut CoshiftNode) -> CoshiftStatus {
    // SAFETY: the caller's contract.
    match unsafe { live(node) } {
        Ok(node) => {
            // Nothing in a node has a destructor.
            node.magic = 0;
            CoshiftStatus::Ok
        }
        Err(status) => status,
    }
}

/// Takes in received bytes at `local_us`, the caller's own clock in wrapping microseconds, which only
/// detects silence and times the decisions in one. Answers wait to be taken.
///
/// # Safety
/// `node` must be null or memory that a node was created in, used by no other context meanwhile;
/// `bytes` must be readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_feed(
    node: *mut CoshiftNode,
    bytes: *const u8,
    length: usize,
    local_us: u32,
) -> CoshiftStatus {
    // SAFETY: the caller's contract; the bytes are not held after the call.
    let (node, received) = match unsafe { (live(node), self::bytes(bytes, length)) } {
        (Ok(node), Some(received)) => (node, received),
        (Err(status), _) => return status,
        (_, None) => return CoshiftStatus::Null,
    };
    let CoshiftNode { node, outbox, .. } = node;
    let local = Instant::from_us(local_us);
    for byte in received {
        node.feed(*byte, local, &mut |frame| outbox.put(frame.bytes()));
    }
    CoshiftStatus::Ok
}

/// Lets time pass up to `local_us`: announcements, silence, a slice of a decision under way.
///
/// # Safety
/// `node` must be null or memory that a node was created in, used by no other context meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_poll(node: *mut CoshiftNode, local_us: u32) -> CoshiftStatus {
    // SAFETY: the caller's contract.
    match unsafe { live(node) } {
        Ok(CoshiftNode { node, outbox, .. }) => {
            node.poll(Instant::from_us(local_us), &mut |frame| outbox.put(frame.bytes()));
            CoshiftStatus::Ok
        }
        Err(status) => status,
    }
}

/// How long after `local_us` the node must be polled, in microseconds, stored in `wait_us`: 0 = now,
/// COSHIFT_NO_WAIT_LIMIT = time alone changes nothing. Received bytes are to be fed at once, but for
/// when a decision is under way (0 just after a poll): bytes fed then have the rest of it done in
/// one call, bytes that wait until it is not 0 any more do not.
///
/// # Safety
/// `node` must be null or memory that a node was created in; `wait_us` must be valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_wait_us(
    node: *mut CoshiftNode,
    local_us: u32,
    wait_us: *mut u32,
) -> CoshiftStatus {
    if wait_us.is_null() {
        return CoshiftStatus::Null;
    }
    // SAFETY: the caller's contract.
    let node = match unsafe { live(node) } {
        Ok(node) => node,
        Err(status) => return status,
    };
    let local = Instant::from_us(local_us);
    let wait = match node.node.next_poll() {
        None => COSHIFT_NO_WAIT_LIMIT,
        Some(due) if local.reached(due) => 0,
        Some(due) => due.since(local).us(),
    };
    // SAFETY: valid by the contract.
    unsafe { ptr::write_unaligned(wait_us, wait) };
    CoshiftStatus::Ok
}

/// Takes up to `size` bytes of the frames to send and stores how many in `length`.
///
/// # Safety
/// `node` must be null or memory that a node was created in, used by no other context meanwhile;
/// `bytes` must be writable for `size` bytes; `length` must be valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_take(
    node: *mut CoshiftNode,
    bytes: *mut u8,
    size: usize,
    length: *mut usize,
) -> CoshiftStatus {
    if length.is_null() || (bytes.is_null() && size != 0) {
        return CoshiftStatus::Null;
    }
    // SAFETY: the caller's contract.
    let node = match unsafe { live(node) } {
        Ok(node) => node,
        Err(status) => return status,
    };
    let mut taken = 0_usize;
    while taken < size {
        let Some(byte) = node.outbox.take() else { break };
        // SAFETY: writable for `size` bytes by the contract, and `taken` is less. A byte at a time,
        // as the memory may hold anything before.
        unsafe { bytes.add(taken).write(byte) };
        taken = taken.wrapping_add(1);
    }
    // SAFETY: valid by the contract.
    unsafe { ptr::write_unaligned(length, taken) };
    CoshiftStatus::Ok
}

/// Stores the state and the counters of a node in `info`.
///
/// # Safety
/// `node` must be null or memory that a node was created in; `info` must be valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coshift_node_info(
    node: *mut CoshiftNode,
    info: *mut CoshiftInfo,
) -> CoshiftStatus {
    if info.is_null() {
        return CoshiftStatus::Null;
    }
    // SAFETY: the caller's contract.
    let CoshiftNode { node, outbox, .. } = match unsafe { live(node) } {
        Ok(node) => node,
        Err(status) => return status,
    };
    let link = node.link();
    let found = CoshiftInfo {
        mode: node.controller().mode() as u8,
        unanswered: node.unanswered(),
        session: node.session(),
        digest: node.controller().digest(),
        accepted: link.accepted,
        faults: link.faults(),
        dropped: outbox.dropped(),
        waiting: u32::try_from(outbox.waiting()).unwrap_or(u32::MAX),
    };
    // SAFETY: valid by the contract.
    unsafe { ptr::write_unaligned(info, found) };
    CoshiftStatus::Ok
}

/// The node behind a pointer, where one lives.
///
/// # Safety
/// The pointer must be null or memory that a node was created in, used by no other context as long
/// as the reference.
unsafe fn live<'n>(node: *mut CoshiftNode) -> Result<&'n mut CoshiftNode, CoshiftStatus> {
    if node.is_null() {
        return Err(CoshiftStatus::Null);
    }
    if !node.addr().is_multiple_of(COSHIFT_NODE_ALIGN) {
        return Err(CoshiftStatus::Misaligned);
    }
    // SAFETY: memory that a node was created in, by the contract; read through the pointer, as
    // what is there may be no node any more.
    if unsafe { (&raw const (*node).magic).read() } != MAGIC {
        return Err(CoshiftStatus::NoNode);
    }
    // SAFETY: the magic number says that a node lives here, by the contract nobody else uses it.
    Ok(unsafe { &mut *node })
}

/// The bytes of an array; `None`: null with a length, or longer than memory can be.
///
/// # Safety
/// The array must be readable and stay unchanged as long as the slice.
unsafe fn bytes<'b>(array: *const u8, length: usize) -> Option<&'b [u8]> {
    if length == 0 {
        return Some(&[]);
    }
    if array.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: not null, a length that memory can have, readable and unchanged by the contract.
    Some(unsafe { slice::from_raw_parts(array, length) })
}

fn cause(code: u8) -> Option<ResetCause> {
    let causes =
        [ResetCause::PowerOn, ResetCause::Watchdog, ResetCause::Software, ResetCause::External];
    causes.into_iter().find(|cause| *cause as u8 == code)
}

fn fault(code: u8) -> Option<FaultCode> {
    let faults = [
        FaultCode::None,
        FaultCode::Panic,
        FaultCode::HardFault,
        FaultCode::StackOverflow,
        FaultCode::Hang,
    ];
    faults.into_iter().find(|fault| *fault as u8 == code)
}
