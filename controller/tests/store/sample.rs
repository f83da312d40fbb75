//! Policies to upload, and an agent that uploads them.

use coshift_controller::store::{Answer, PolicyStore, Slot, Upload};
use coshift_shared::policy::slot::{Described, SlotView, Which, newest};
use coshift_shared::policy::{Cell, Level, PolicyImage, PolicyView, TableImage};
use coshift_shared::to_controller::{PolicyBegin, PolicyChunk, PolicyCommit};
use coshift_shared::to_host::UploadState;

use crate::flash::Flash;

/// One application of four sub-networks at eight levels. `salt` changes its cells.
pub(crate) fn image(sequence: u32, salt: u32) -> Vec<u8> {
    let levels = (0..8).map(|index| Level {
        cpu_khz: 1_190_400,
        gpu_khz: 100_000 + 100_000 * index,
        emc_khz: 1_600_000,
        idle_mw: 2_000 + 100 * index,
    });
    let accuracies = [7_000, 7_100, 7_200, 7_300];
    let table = TableImage::sample("net", &accuracies, 8, |row, level| Cell {
        latency_us: 40_000 / (level + 1) * (row + 1) + salt,
        energy_uj: 90_000 + 1_000 * level + salt,
    });
    let image = PolicyImage::sample(levels.collect(), vec![table]);
    PolicyImage { sequence, park_level: Some(0), ..image }.to_bytes().unwrap()
}

pub(crate) fn described(image: &[u8]) -> Described {
    Described::of(&PolicyView::open(image).unwrap())
}

pub(crate) fn begin(image: &[u8]) -> PolicyBegin {
    let Described { length, crc, sequence } = described(image);
    PolicyBegin { at_us: 0, length, crc, sequence }
}

pub(crate) fn commit(image: &[u8]) -> PolicyCommit {
    let Described { crc, sequence, .. } = described(image);
    PolicyCommit { at_us: 0, crc, sequence }
}

/// The piece of an image from `offset` on.
pub(crate) fn chunk(image: &[u8], offset: usize) -> PolicyChunk {
    let bytes = image[offset..].iter().copied().take(38).collect();
    PolicyChunk { at_us: 0, offset: offset as u32, bytes }
}

/// Does all work; the last answer that says anything.
pub(crate) fn work(store: &mut impl PolicyStore) -> Option<Answer> {
    let mut last = None;
    while store.is_busy() {
        last = Some(store.work()).filter(|answer| *answer != Answer::NOTHING).or(last);
    }
    last
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The image is committed.
    Active,
    /// It was damaged in the slot.
    Rejected,
    /// The store failed, or its power is out.
    Failed,
}

/// Uploads an image as an agent does; how it ended, and where it began.
pub(crate) fn upload(store: &mut impl PolicyStore, image: &[u8]) -> (End, usize) {
    let mut first = None;
    let mut answer = store.begin(&begin(image));
    // An upload that starts over because of a torn unit does so once.
    for _ in 0..4 * image.len() {
        let said = work(store).unwrap_or(answer);
        let Some(ack) = said.ack.filter(|_| said.refusal.is_none()) else {
            return (End::Failed, first.unwrap_or(0));
        };
        let next = ack.next_offset as usize;
        let begun = *first.get_or_insert(next);
        answer = match ack.state {
            UploadState::Active => return (End::Active, begun),
            UploadState::Rejected => return (End::Rejected, begun),
            UploadState::Checking => store.commit(&commit(image)),
            _ if next == image.len() => store.commit(&commit(image)),
            _ => {
                let answer = store.chunk(&chunk(image, next));
                // It starts over: what is asked for comes with the erased slot.
                if answer == Answer::NOTHING { store.begin(&begin(image)) } else { answer }
            }
        };
    }
    panic!("the upload does not end");
}

/// Two slots with the policy that runs.
#[derive(Debug, Clone)]
pub(crate) struct Board<const UNIT: usize> {
    pub(crate) a: Flash<UNIT>,
    pub(crate) b: Flash<UNIT>,
}

impl<const UNIT: usize> Board<UNIT> {
    /// A board that was sent this policy before.
    pub(crate) fn with(old: &[u8]) -> Self {
        let mut board = Self { a: Flash::new(), b: Flash::new() };
        let mut store = Upload::new(board.a, None);
        assert_eq!(upload(&mut store, old).0, End::Active);
        board.a = store.into_slot();
        board.a.forget();
        assert_eq!(board.policy(), Some(old));
        board
    }

    /// What it runs on after a boot.
    pub(crate) fn which(&self) -> Option<Which> {
        newest(&self.a.view(), &self.b.view())
    }

    pub(crate) fn policy(&self) -> Option<&[u8]> {
        let slot: SlotView<'_> = match self.which()? {
            Which::A => self.a.view(),
            Which::B => self.b.view(),
        };
        Some(slot.policy()?.bytes())
    }

    /// Boots, and does something with the store of the spare slot.
    pub(crate) fn boot<T>(&mut self, then: impl FnOnce(&mut Upload<Flash<UNIT>>) -> T) -> T {
        let (active, spare) = match self.which() {
            Some(Which::B) => (&self.b, &mut self.a),
            _ => (&self.a, &mut self.b),
        };
        let view = active.view();
        let mut store = Upload::new(spare.clone(), view.policy().as_ref());
        let result = then(&mut store);
        *spare = store.into_slot();
        result
    }
}
