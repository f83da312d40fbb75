//! Firmware for the Arm MPS2 AN386: the shared super-loop on this board.
//!
//! It runs on the newest valid policy of its two slots, or on the one compiled in. After an upload it
//! restarts between two passes.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use coshift_controller::store::Upload;
    use coshift_controller::{Identity, Node};
    use coshift_firmware::slots::{Active, Opened};
    use coshift_firmware::super_loop::SuperLoop;
    use coshift_mps2_an386::board::{self, Board, RamSlot};
    use coshift_shared::policy::PolicyView;
    use coshift_shared::protocol::VersionRange;

    /// The node with its policy store.
    type Loop = Node<'static, Upload<RamSlot>>;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let Some(mut board) = Board::take() else { board::reset() };
        let (node, mut active) = boot(&mut board);
        #[cfg(feature = "panic-probe")]
        probe(&mut board.uart);
        // Not on the stack, of which the decision takes most.
        let board = cortex_m::singleton!(: SuperLoop<Board> = SuperLoop::new(board));
        let Some(board) = board else { board::reset() };
        let switch = board.run(node);
        if active.prepare(switch).is_err() {
            defmt::error!("the policy was not revoked; it runs on");
        }
        board::restart()
    }

    /// The node on the policy of this boot, and the slot that it is in. Apart from the loop, whose
    /// stack would else have room for a second node for ever.
    #[inline(never)]
    fn boot(board: &mut Board) -> (&'static mut Loop, Active<RamSlot>) {
        let boot = board.boot;
        let identity = Identity {
            version: coshift_firmware::version!(),
            boot_nonce: board.nonce,
            reset_cause: boot.cause,
            last_fault: boot.fault,
            fault_detail: boot.detail,
        };
        defmt::info!(
            "coshift {=str}, boot {=u32}, reset cause {=u8}, last fault {=u8} ({=u32:#010x})",
            env!("CARGO_PKG_VERSION"),
            boot.boots,
            boot.cause as u8,
            boot.fault as u8,
            boot.detail
        );
        let Some(slots) = board.slots.take() else { board::reset() };
        let Opened { policy, active, store } = board::open_slots(slots, built_in());
        match &policy {
            Some(policy) => {
                defmt::info!("policy {=u32}, CRC {=u32:08x}", policy.sequence(), policy.crc());
            }
            None => defmt::error!("there is no policy; waiting for one"),
        }
        let node = cortex_m::singleton!(
            : Loop = Node::with_store(policy, identity, VersionRange::OURS, store)
        );
        let Some(node) = node else { board::reset() };
        (node, active)
    }

    /// The policy compiled in; `None` where there is none, or it was damaged afterwards.
    fn built_in() -> Option<PolicyView<'static>> {
        let image = coshift_firmware::built_in_policy!();
        let policy = PolicyView::open(image).ok();
        if policy.is_none() && !image.is_empty() {
            defmt::error!("the policy compiled in is damaged");
        }
        policy
    }

    /// A panic path on purpose: the release image with this feature must not link.
    #[cfg(feature = "panic-probe")]
    fn probe(uart: &mut board::Uart) {
        let mut buffer = [0; 64];
        if let [index, ..] = *uart.read(&mut buffer) {
            let value = buffer[usize::from(index)];
            uart.send(&[value]);
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this package is firmware: build its image with `cargo xtask firmware`");
    std::process::exit(2);
}
