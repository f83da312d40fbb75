//! A board of two sectors: policies to upload, an agent that uploads them, and boots.

use coshift_controller::store::{Answer, PolicyStore, Switch};
use coshift_firmware::slots::{self, Opened};
use coshift_firmware::stm32f4_flash::SectorSlot;
use coshift_shared::policy::slot::Described;
use coshift_shared::policy::{Cell, Level, PolicyImage, PolicyView, TableImage};
use coshift_shared::to_controller::{PolicyBegin, PolicyChunk, PolicyCommit};
use coshift_shared::to_host::UploadState;

use crate::model::Model;

/// The two slots.
pub(crate) type Slots = [SectorSlot<Model>; 2];

/// One application of four sub-networks at eight levels.
pub(crate) fn image(sequence: u32) -> Vec<u8> {
    image_with(sequence, sequence)
}

/// The same with other cells.
pub(crate) fn image_with(sequence: u32, salt: u32) -> Vec<u8> {
    let levels = (0..8).map(|index| Level {
        cpu_khz: 1_190_400,
        gpu_khz: 100_000 + 100_000 * index,
        emc_khz: 1_600_000,
        idle_mw: 2_000 + 100 * index,
    });
    let accuracies = [7_000, 7_100, 7_200, 7_300];
    let table = TableImage::sample("net", &accuracies, 8, |row, level| Cell {
        latency_us: 40_000 / (level + 1) * (row + 1),
        energy_uj: 90_000 + 1_000 * level + salt,
    });
    let image = PolicyImage::sample(levels.collect(), vec![table]);
    PolicyImage { sequence, park_level: Some(0), ..image }.to_bytes().unwrap()
}

/// Uploads as an agent does; whether the image is to be switched to.
pub(crate) fn upload(store: &mut impl PolicyStore, image: &[u8]) -> bool {
    let Described { length, crc, sequence } = Described::of(&PolicyView::open(image).unwrap());
    let mut answer = store.begin(&PolicyBegin { at_us: 0, length, crc, sequence });
    // More answers than there are pieces.
    for _ in 0..image.len() {
        while store.is_busy() {
            let said = store.work();
            if said != Answer::NOTHING {
                answer = said;
            }
        }
        let Some(ack) = answer.ack.filter(|_| answer.refusal.is_none()) else { return false };
        answer = match (ack.state, image.get(ack.next_offset as usize..)) {
            (UploadState::Active, _) => return true,
            (UploadState::Receiving, Some(rest)) if !rest.is_empty() => {
                let bytes = rest.iter().copied().take(38).collect();
                store.chunk(&PolicyChunk { at_us: 0, offset: ack.next_offset, bytes })
            }
            (UploadState::Receiving | UploadState::Checking, _) => {
                store.commit(&PolicyCommit { at_us: 0, crc, sequence })
            }
            _ => return false,
        };
    }
    false
}

/// Boots on two slots, uploads, restarts; the slots, what the board ran on, and what the store asked
/// for.
pub(crate) fn boot(
    [a, b]: Slots,
    built_in: Option<PolicyView<'static>>,
    new: &[u8],
) -> (Slots, Option<u32>, Option<Switch>) {
    let idle = b.clone();
    let Opened { policy, mut active, mut store } = slots::open(a, b, built_in);
    let ran_on = policy.map(|policy| policy.sequence());
    // What a cut has damaged unseen is rejected, and comes once more from the start.
    let _done = upload(&mut store, new) || upload(&mut store, new);
    let switch = store.switch();
    if let Some(switch) = switch {
        // Where it fails, as it does when the power is out, the same policy runs on.
        let _revoked = active.prepare(switch);
    }
    // On the policy compiled in, the second slot stays as it is.
    (sorted([active.into_slot().unwrap_or(idle), store.into_slot()]), ran_on, switch)
}

/// The slots in their order, powered again.
pub(crate) fn sorted(mut slots: Slots) -> Slots {
    slots.sort_by_key(|slot| slot.sector().number);
    slots.map(|slot| {
        let mut model = slot.into_sector();
        model.restart();
        SectorSlot::new(model)
    })
}
