//! Firmware for the ST Nucleo-F411RE: the shared super-loop on this board.
//!
//! | what | where |
//! |---|---|
//! | protocol | USART2, PA2 and PA3: the virtual serial port of the board's ST-LINK, 1,000,000 baud |
//! | logs | defmt over RTT, read by the same ST-LINK |
//! | mode | the green light LD2, PA5 |
//! | power rails | INA3221 at 0x40 on I2C1: SCL PB8 (D15), SDA PB9 (D14) |
//! | over-current alert | PA8 (D7), low = raised: the sensor's open-drain pin CRITICAL |
//! | policy slots | flash sectors 6 and 7, one each |
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;

#[cfg(target_os = "none")]
mod image {
    use coshift_controller::store::Upload;
    use coshift_controller::{Identity, Node};
    use coshift_firmware::armv7m::{self, retained};
    use coshift_firmware::record::BootReport;
    use coshift_firmware::slots::{self, Active, Opened};
    use coshift_firmware::super_loop::SuperLoop;
    use coshift_shared::policy::PolicyView;
    use coshift_shared::protocol::VersionRange;

    use crate::board::{Board, BroughtUp, Slot};

    /// The node with its policy store.
    type Loop = Node<'static, Upload<Slot>>;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let Some(BroughtUp { board, slots, boot, nonce }) = Board::take() else { armv7m::reset() };
        let (node, mut active) = self::boot(slots, &boot, nonce);
        #[cfg(feature = "panic-probe")]
        probe(nonce as usize);
        // Not on the stack, of which the start takes most.
        let board = cortex_m::singleton!(: SuperLoop<Board> = SuperLoop::new(board));
        let Some(board) = board else { armv7m::reset() };
        let switch = board.run(node);
        if active.prepare(switch).is_err() {
            defmt::error!("the policy was not revoked; it runs on");
        }
        retained::note_restart();
        armv7m::reset()
    }

    /// The node on the policy of this boot, and the slot that it is in.
    fn boot([a, b]: [Slot; 2], boot: &BootReport, nonce: u32) -> (&'static mut Loop, Active<Slot>) {
        let identity = Identity {
            version: coshift_firmware::version!(),
            boot_nonce: nonce,
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
        let built_in = PolicyView::open(coshift_firmware::built_in_policy!()).ok();
        let Opened { policy, active, store } = slots::open(a, b, built_in);
        match &policy {
            Some(policy) => {
                defmt::info!("policy {=u32}, CRC {=u32:08x}", policy.sequence(), policy.crc());
            }
            None => defmt::error!("there is no policy; waiting for one"),
        }
        (placed(policy, identity, store), active)
    }

    /// The node in its place. It is built on the stack first: apart from the loop, whose stack would
    /// else have room for a second node for ever, and from whatever else start-up calls.
    #[inline(never)]
    fn placed(
        policy: Option<PolicyView<'static>>,
        identity: Identity,
        store: Upload<Slot>,
    ) -> &'static mut Loop {
        let node = cortex_m::singleton!(
            : Loop = Node::with_store(policy, identity, VersionRange::OURS, store)
        );
        let Some(node) = node else { armv7m::reset() };
        node
    }

    /// A panic path on purpose: the release image with this feature must not link.
    #[cfg(feature = "panic-probe")]
    fn probe(index: usize) {
        defmt::info!("{=u8}", coshift_firmware::built_in_policy!()[index]);
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this package is firmware: build its image with `cargo xtask firmware --board nucleo-f411re`"
    );
    std::process::exit(2);
}
