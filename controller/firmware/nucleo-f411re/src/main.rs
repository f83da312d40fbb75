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
    use coshift_controller::{Identity, Node};
    use coshift_firmware::armv7m;
    use coshift_firmware::super_loop::SuperLoop;
    use coshift_shared::policy::PolicyView;

    use crate::board::Board;

    /// Keeps the policy aligned, so that it may be read by words where the compiler sees it can.
    #[repr(C, align(4))]
    struct Aligned<T: ?Sized>(T);

    static POLICY: &Aligned<[u8]> =
        &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/policy.bin")));

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let Some((board, boot, boot_nonce)) = Board::take() else { armv7m::reset() };
        let identity = Identity {
            version: coshift_firmware::version!(),
            boot_nonce,
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
        let policy = PolicyView::open(&POLICY.0).ok();
        if policy.is_none() {
            defmt::error!("no valid policy image; waiting for one");
        }
        let node = cortex_m::singleton!(: Node<'static> = Node::new(policy, identity));
        let Some(node) = node else { armv7m::reset() };
        #[cfg(feature = "panic-probe")]
        probe(usize::from(identity.boot_nonce as u8));
        SuperLoop::new(board).run(node)
    }

    /// A panic path on purpose: the release image with this feature must not link.
    #[cfg(feature = "panic-probe")]
    fn probe(index: usize) {
        defmt::info!("{=u8}", POLICY.0[index]);
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this package is firmware: build its image with `cargo xtask firmware --board nucleo-f411re`"
    );
    std::process::exit(2);
}
