//! Messages of policy uploads, right ones and wrong ones.

use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::Described;
use coshift_shared::to_controller::{
    MAX_CHUNK, PolicyBegin, PolicyChunk, PolicyCommit, ToController,
};

use super::Bytes;

/// How many bytes of the image were sent.
#[derive(Debug, Default)]
pub(super) struct Progress(usize);

impl Progress {
    /// The next messages of the upload of this image, or something else.
    pub(super) fn messages(
        &mut self,
        image: &[u8],
        at_us: u32,
        bytes: &mut Bytes<'_>,
    ) -> Vec<ToController> {
        let view = PolicyView::open(image).expect("a valid policy");
        let Described { length, crc, sequence } = Described::of(&view);
        let what = bytes.u8();
        match what % 8 {
            0 | 1 => {
                self.0 = 0;
                vec![ToController::PolicyBegin(PolicyBegin { at_us, length, crc, sequence })]
            }
            // Chunks in a row, as many as the rest of the byte says.
            2..=4 => (0..=what / 8).filter_map(|_| self.chunk(image, at_us)).collect(),
            5 => vec![ToController::PolicyCommit(PolicyCommit { at_us, crc, sequence })],
            6 => {
                // Another image, of any length.
                let (length, crc, sequence) = (bytes.u32() >> 16, bytes.u32(), bytes.u32() >> 30);
                let begin = ToController::PolicyBegin(PolicyBegin { at_us, length, crc, sequence });
                let commit = ToController::PolicyCommit(PolicyCommit { at_us, crc, sequence });
                if bytes.u8().is_multiple_of(2) { vec![begin] } else { vec![begin, commit] }
            }
            _ => {
                let (offset, count) = (u32::from(bytes.u16()), bytes.u8());
                let count = usize::from(count) % (MAX_CHUNK + 1);
                let bytes = (0..count).map(|_| bytes.u8()).collect();
                vec![ToController::PolicyChunk(PolicyChunk { at_us, offset, bytes })]
            }
        }
    }

    fn chunk(&mut self, image: &[u8], at_us: u32) -> Option<ToController> {
        let bytes = image.get(self.0..)?.chunks(MAX_CHUNK).next()?;
        let offset = u32::try_from(self.0).ok()?;
        self.0 += bytes.len();
        let bytes = bytes.iter().copied().collect();
        Some(ToController::PolicyChunk(PolicyChunk { at_us, offset, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use coshift_controller::store::{PolicyStore, Switch, Upload};

    use super::*;
    use crate::case::Case;
    use crate::ram_slot::RamSlot;

    #[test]
    fn a_few_bytes_are_a_whole_upload() {
        let case = Case::reference().unwrap();
        let next = case.numbered(case.sequence().unwrap() + 1, true).unwrap();
        let policy = PolicyView::open(&case.image).unwrap();
        let mut store = Upload::new(RamSlot::default(), Some(&policy));
        let mut progress = Progress::default();
        for byte in [0, 2 + 8 * 31, 5] {
            for message in progress.messages(&next, 0, &mut Bytes(&[byte])) {
                match &message {
                    ToController::PolicyBegin(begin) => store.begin(begin),
                    ToController::PolicyChunk(chunk) => store.chunk(chunk),
                    ToController::PolicyCommit(commit) => store.commit(commit),
                    other => unreachable!("{other:?}"),
                };
                while store.is_busy() {
                    let _answer = store.work();
                }
            }
        }
        assert_eq!(store.switch(), Some(Switch::Uploaded));
    }
}
