//! The template of a port: copy this package, then replace what is marked PORT.
//!
//! It is a whole firmware for a Netduino Plus 2 (STM32F405, Cortex-M4) as QEMU emulates it, so that
//! a port begins with something that runs; `docs/porting.md` says how to go on. Registers are used
//! directly; `nucleo-f411re` shows the same with a HAL.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;
#[cfg(target_os = "none")]
mod uart;

#[cfg(target_os = "none")]
mod image {
    use coshift_controller::{Identity, Node};
    use coshift_firmware::armv7m;
    use coshift_firmware::super_loop::SuperLoop;
    use coshift_shared::policy::PolicyView;

    use crate::board::Board;

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
        defmt::info!("coshift {=str}, boot {=u32}", env!("CARGO_PKG_VERSION"), boot.boots);
        let policy = PolicyView::open(coshift_firmware::built_in_policy!()).ok();
        let node = cortex_m::singleton!(: Node<'static> = Node::new(policy, identity));
        let Some(node) = node else { armv7m::reset() };
        #[cfg(feature = "panic-probe")]
        defmt::info!("{=u8}", coshift_firmware::built_in_policy!()[boot_nonce as usize]);
        SuperLoop::new(board).run(node);
        armv7m::reset()
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this package is firmware: build its image with `cargo xtask firmware --board template`"
    );
    std::process::exit(2);
}
