//! Power cuts, torn writes and flipped bits in the policy store of the release image.
//!
//! The board has the policies 2 and 3 in its two slots and is sent number 4. A plugin of the
//! emulator logs every word that the image stores into its slots meanwhile. What a power cut after
//! the k-th store leaves of the board is exactly what the first k stores left in that memory: all
//! else is lost. So for every k that memory is put together, the image boots on it, and says in its
//! Welcome which policy it runs: it must be number 3 or number 4.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use coshift_shared::policy::PolicyView;

use crate::board::{Board, Folder};
use crate::case::Case;
use crate::emulator::psram;
use crate::need::Needs;
use crate::random::Random;

/// First address of the board's PSRAM, and the bytes that the two slots have of it.
const BASE: u64 = 0x2100_0000;
/// Bytes of both slots.
pub const SLOTS: usize = 40 * 1024;
/// Source of the plugin.
const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator/stores.c");
/// Of so many boots one goes on to the end of the upload.
const FINISH_ONE_IN: usize = 50;
/// Violations after which the rest is not tried.
const ENOUGH: usize = 20;

/// What happens at a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Power is lost behind it.
    Cut,
    /// Power is lost within it: of the bits it changes some are changed.
    Torn,
    /// One bit of it is wrong, and power is lost behind it.
    Flip,
    /// The upload ends; later one bit of both slots flips. The store's number counts bits.
    Later,
}

impl Loss {
    /// Those that happen at a store.
    pub const AT_A_STORE: [Self; 3] = [Self::Cut, Self::Torn, Self::Flip];
}

/// A loss at a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// How many stores were begun, or the number of a bit.
    pub at: usize,
    /// What happens.
    pub loss: Loss,
}

/// What boots found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Points whose memory was not the same as that of one before.
    pub boots: usize,
    /// Booted on the policy before.
    pub old: usize,
    /// Booted on the uploaded policy.
    pub new: usize,
    /// Of these boots, how many went on to the end of the upload.
    pub finished: usize,
    /// What must not be.
    pub violations: Vec<String>,
}

/// An upload that was logged.
#[derive(Debug)]
pub struct Upload {
    needs: Needs,
    folder: Folder,
    /// Both slots before the first store.
    before: Vec<u8>,
    /// Offset and value of each store.
    stores: Vec<(usize, u32)>,
    /// CRC of the policy before.
    old: u32,
    image: Vec<u8>,
    /// CRC of the uploaded policy.
    new: u32,
    /// Emulators started.
    starts: Cell<u32>,
}

impl Upload {
    /// Lets the image of `needs` take an upload, and logs it.
    ///
    /// # Errors
    /// What does not go as it must without any fault.
    pub fn log(needs: &Needs, small: bool) -> Result<Self> {
        let folder = Folder::new("power-cuts")?;
        let image = fs::read(&needs.policy)
            .with_context(|| format!("policy image {}", needs.policy.display()))?;
        let built_in = PolicyView::open(&image).context("policy")?.sequence();
        let case = Case::of(image)?;
        let images: Vec<Vec<u8>> = (1..4)
            .map(|more| case.numbered(built_in.wrapping_add(more), small))
            .collect::<Result<_>>()?;
        let log = folder.path().join("stores");
        let mut board = Board::start(needs, folder.path(), 0, &plugin(folder.path(), &log)?)?;
        board.booted()?;
        let (mut before, mut from) = (Vec::new(), 0);
        for image in &images {
            before = board.memory(SLOTS)?;
            from = fs::metadata(&log)?.len();
            let crc = PolicyView::open(image).context("policy")?.crc();
            board.open()?;
            board.upload(image)?;
            let welcome = board.booted()?;
            ensure!(welcome.policy_crc == crc, "it does not run what it was sent: {welcome:?}");
        }
        let after = board.memory(SLOTS)?;
        board.end()?;
        let log = fs::read(&log)?;
        let (records, _) = log.get(from as usize..).unwrap_or(&[]).as_chunks::<8>();
        let stores: Vec<(usize, u32)> = records
            .iter()
            .map(|[a, b, c, d, e, f, g, h]| {
                (
                    u32::from_le_bytes([*a, *b, *c, *d]) as usize,
                    u32::from_le_bytes([*e, *f, *g, *h]),
                )
            })
            .collect();
        let [.., old, image] = images.as_slice() else { unreachable!("three images") };
        let crc = |image| PolicyView::open(image).map(|policy| policy.crc());
        let upload = Self {
            needs: needs.clone(),
            before,
            stores,
            old: crc(old)?,
            new: crc(image)?,
            image: image.clone(),
            starts: Cell::new(1),
            folder,
        };
        // The log is whole: what it says leads to what is there.
        ensure!(upload.memory(upload.stores.len()) == after, "the log of stores is not whole");
        Ok(upload)
    }

    /// Stores of the upload.
    #[must_use]
    pub fn stores(&self) -> usize {
        self.stores.len()
    }

    /// Bytes of the uploaded image.
    #[must_use]
    pub fn length(&self) -> usize {
        self.image.len()
    }

    /// Every loss at every store.
    #[must_use]
    pub fn all(&self) -> Vec<Point> {
        let points =
            (0..=self.stores.len()).flat_map(|at| Loss::AT_A_STORE.map(|loss| Point { at, loss }));
        points.filter(|point| point.at > 0 || point.loss == Loss::Cut).collect()
    }

    /// Every bit of both slots that is there for a policy of this size, its records included.
    #[must_use]
    pub fn all_later(&self) -> Vec<Point> {
        let half = SLOTS / 2;
        let bits = (0..SLOTS).filter(|byte| {
            let offset = byte % half;
            offset < self.image.len() || offset >= half - coshift_shared::policy::slot::TRAILER
        });
        bits.flat_map(|byte| (0..8).map(move |bit| Point { at: byte * 8 + bit, loss: Loss::Later }))
            .collect()
    }

    /// These in a random order, the same for the same seed.
    #[must_use]
    pub fn shuffled(mut points: Vec<Point>, seed: u64) -> Vec<Point> {
        let mut random = Random::new(seed);
        for last in (1..points.len()).rev() {
            let most = u32::try_from(last + 1).unwrap_or(u32::MAX);
            points.swap(last, random.below(most) as usize);
        }
        points
    }

    /// One line of what was tried and found.
    #[must_use]
    pub fn line(&self, tally: &Tally) -> String {
        format!(
            "image of {} bytes, {} stores: {} boots on different memories, {} on the old policy, \
             {} on the new one, {} on none of the two; {} uploads were taken to their end",
            self.length(),
            self.stores(),
            tally.boots,
            tally.old,
            tally.new,
            tally.violations.len(),
            tally.finished
        )
    }

    /// Both slots after so many stores.
    fn memory(&self, stores: usize) -> Vec<u8> {
        let mut memory = self.before.clone();
        for (offset, value) in self.stores.iter().take(stores) {
            put(&mut memory, *offset, *value);
        }
        memory
    }

    /// Both slots after this loss.
    fn after(&self, point: Point, random: &mut Random) -> Vec<u8> {
        if point.loss == Loss::Later {
            let mut memory = self.memory(self.stores.len());
            memory[point.at / 8] ^= 1 << (point.at % 8);
            return memory;
        }
        let mut memory = self.memory(point.at);
        let Some((offset, value)) = point.at.checked_sub(1).map(|last| self.stores[last]) else {
            return memory;
        };
        match point.loss {
            Loss::Cut | Loss::Later => {}
            Loss::Torn => {
                let before = word(&self.memory(point.at - 1), offset);
                let done = random.below(u32::MAX);
                put(&mut memory, offset, (before & !done) | (value & done));
            }
            Loss::Flip => put(&mut memory, offset, value ^ (1 << random.below(32))),
        }
        memory
    }

    /// Boots on what each loss leaves, at most so often.
    ///
    /// # Errors
    /// The emulator fails; what the image does wrong is in the tally.
    pub fn boots(&self, points: &[Point], most: usize, seed: u64) -> Result<Tally> {
        let mut random = Random::new(seed);
        let number = self.starts.replace(self.starts.get() + 1);
        let mut board = Board::start(&self.needs, self.folder.path(), number, &[])?;
        board.booted()?;
        let mut tally = Tally::default();
        let mut seen = HashSet::new();
        for point in points {
            let memory = self.after(*point, &mut random);
            let mut hasher = DefaultHasher::new();
            memory.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            if tally.violations.len() >= ENOUGH || tally.boots >= most {
                break;
            }
            tally.boots += 1;
            let welcome = board.reset_on(&memory)?;
            match welcome.policy_crc {
                crc if crc == self.new => tally.new += 1,
                crc if crc == self.old => tally.old += 1,
                crc => {
                    let is = format!("{point:?}: booted on policy {crc:08x}");
                    tally.violations.push(is);
                    continue;
                }
            }
            if welcome.policy_crc == self.old
                && point.loss != Loss::Later
                && tally.boots.is_multiple_of(FINISH_ONE_IN)
            {
                board.open()?;
                board.upload(&self.image).with_context(|| format!("upload after {point:?}"))?;
                let welcome = board.booted()?;
                ensure!(welcome.policy_crc == self.new, "after {point:?}: {welcome:?}");
                tally.finished += 1;
            }
        }
        board.end()?;
        Ok(tally)
    }
}

fn word(memory: &[u8], offset: usize) -> u32 {
    let bytes = memory.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

fn put(memory: &mut [u8], offset: usize, value: u32) {
    memory[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Builds the plugin that logs stores to `log`; gives the emulator's arguments for it.
fn plugin(folder: &Path, log: &Path) -> Result<Vec<String>> {
    let library = folder.join("stores.so");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o"]).arg(&library).arg(PLUGIN);
    let output = compile.output().context("cannot start cc")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the plugin cannot be compiled: {text}");
    let argument = format!(
        "{},lo={BASE:#x},hi={:#x},base={BASE:#x},memory={},out={}",
        library.display(),
        BASE + SLOTS as u64,
        psram(folder).display(),
        log.display()
    );
    Ok(vec!["-plugin".into(), argument])
}
