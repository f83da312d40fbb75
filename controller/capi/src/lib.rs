//! The controller's node behind a C interface.
//!
//! A static library without allocation, clock and I/O: for the Cortex-R5 of a Jetson, for firmware
//! in C, for any RTOS. The header is `include/coshift.h`; a test keeps it equal to this source.
//!
//! One node is used by one context at a time: no function takes a lock. Bytes go in through
//! [`coshift_node_feed`], time through [`coshift_node_poll`]; frames to send wait in the node until
//! [`coshift_node_take`] has taken their bytes. Where the node has nowhere to put a frame it drops
//! it whole and counts it; its peer sees a gap and goes on.
//!
//! Built for a bare-metal target the library has no panic path: a reachable panic would leave an
//! undefined symbol in the link of whoever uses it.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic
    )
)]

mod node;
mod outbox;
mod types;

pub use node::{
    coshift_api_version, coshift_node_create, coshift_node_destroy, coshift_node_feed,
    coshift_node_info, coshift_node_poll, coshift_node_take, coshift_node_wait_us,
};
pub use types::{
    COSHIFT_API_VERSION, COSHIFT_MOST_UNANSWERED, COSHIFT_NO_WAIT_LIMIT, COSHIFT_NODE_ALIGN,
    COSHIFT_NODE_SIZE, CoshiftBoot, CoshiftInfo, CoshiftNode, CoshiftStatus,
};

/// There is no panic path: one that the linker can reach calls a symbol that does not exist.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn coshift_the_release_image_has_a_panic_path() -> !;
    }
    // SAFETY: never called: an image that could call it does not link.
    unsafe { coshift_the_release_image_has_a_panic_path() }
}
