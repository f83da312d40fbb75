//! What crosses the C interface.

use coshift_controller::Node;

use crate::outbox::Outbox;

/// Version of this interface: changes when a caller must.
pub const COSHIFT_API_VERSION: u32 = 1;

/// Bytes of memory a node needs.
pub const COSHIFT_NODE_SIZE: usize = 4096;

/// Alignment of that memory, bytes.
pub const COSHIFT_NODE_ALIGN: usize = 8;

/// What coshift_node_wait_us gives where time alone changes nothing.
pub const COSHIFT_NO_WAIT_LIMIT: u32 = 0xffff_ffff;

/// Telemetries without a decision after which a node is broken.
pub const COSHIFT_MOST_UNANSWERED: u8 = 10;
const _: () = assert!(COSHIFT_MOST_UNANSWERED == coshift_controller::node::UNANSWERED);

/// What a call came to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoshiftStatus {
    /// Done.
    Ok = 0,
    /// A pointer is null, or an array is null and its length is not 0.
    Null = 1,
    /// The memory has less than COSHIFT_NODE_SIZE bytes.
    TooSmall = 2,
    /// The memory is not aligned to COSHIFT_NODE_ALIGN bytes.
    Misaligned = 3,
    /// The pointer is no node: never created, or destroyed.
    NoNode = 4,
    /// The policy image is damaged or of another format; no node was created.
    BadPolicy = 5,
    /// A value is none of those its field may have; no node was created.
    BadValue = 6,
}

/// Why the last reset happened and what is told about it, for coshift_node_create.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoshiftBoot {
    /// Version of the firmware: major, minor, patch.
    pub version: [u8; 3],
    /// Cause of the last reset: 1 power-on, 2 watchdog, 3 software, 4 external.
    pub reset_cause: u8,
    /// Fault before it: 1 none, 2 panic, 3 hard fault, 4 stack overflow, 5 hang.
    pub last_fault: u8,
    /// A number that differs at each boot.
    pub boot_nonce: u32,
    /// What the fault left: line, program counter or address.
    pub fault_detail: u32,
}

/// State and counters of a node.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoshiftInfo {
    /// Mode of the controller: 1 boot, 2 waits for a policy, 3 runs, 4 holds, 5 safest level.
    pub mode: u8,
    /// Telemetries since a decision was last sent. 0, but while a decision is under way; at
    /// COSHIFT_MOST_UNANSWERED the node is broken, and the caller had better no longer feed its watchdog.
    pub unanswered: u8,
    /// Session with the agent; 0 = none yet.
    pub session: u16,
    /// Digest of everything taken in; equal digests give equal decisions.
    pub digest: u32,
    /// Frames taken in, wrapping.
    pub accepted: u32,
    /// Damaged, foreign or undecodable frames, wrapping.
    pub faults: u32,
    /// Frames dropped because nobody took the ones before them, wrapping.
    pub dropped: u32,
    /// Bytes that wait to be taken.
    pub waiting: u32,
}

/// A node, in memory of the caller. What is in it is the library's own business.
#[derive(Debug)]
pub struct CoshiftNode {
    pub(crate) magic: u32,
    pub(crate) node: Node<'static>,
    pub(crate) outbox: Outbox,
}

const _: () = assert!(size_of::<CoshiftNode>() <= COSHIFT_NODE_SIZE, "raise COSHIFT_NODE_SIZE");
const _: () = assert!(align_of::<CoshiftNode>() <= COSHIFT_NODE_ALIGN);
