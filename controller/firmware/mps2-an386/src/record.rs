//! What outlives a reset: why it happened and the last fault, in RAM that start-up leaves alone.
//!
//! After power-on that RAM holds anything, so the record carries a checksum; after any other
//! reset it is read, told to the agent in Welcome, and written anew.

use coshift_shared::to_host::{FaultCode, ResetCause};

/// Words of the stored form.
pub const WORDS: usize = 6;

const MAGIC: u32 = 0x436f_7368;

/// The record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Boots since power-on, this one included.
    pub boots: u32,
    /// Why the reset that comes next happens; [`ResetCause::External`] until somebody knows
    /// better.
    pub cause: ResetCause,
    /// The last fault since power-on.
    pub fault: FaultCode,
    /// What the fault left: see [`FaultCode`].
    pub detail: u32,
}

/// What this boot tells about the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootReport {
    /// Boots since power-on, this one included.
    pub boots: u32,
    /// Why the last reset happened.
    pub cause: ResetCause,
    /// The last fault since power-on.
    pub fault: FaultCode,
    /// What the fault left: see [`FaultCode`].
    pub detail: u32,
}

impl Record {
    const POWER_ON: Self =
        Self { boots: 0, cause: ResetCause::PowerOn, fault: FaultCode::None, detail: 0 };

    /// Reads the words that start-up left alone; anything but a whole record is a power-on.
    #[must_use]
    pub fn load(words: [u32; WORDS]) -> Self {
        let [magic, boots, cause, fault, detail, _] = words;
        let decoded = cause_of(cause).zip(fault_of(fault));
        let Some((cause, fault)) = decoded.filter(|_| magic == MAGIC && words == sealed(words))
        else {
            return Self::POWER_ON;
        };
        Self { boots, cause, fault, detail }
    }

    /// The words to store.
    #[must_use]
    pub fn store(&self) -> [u32; WORDS] {
        sealed([MAGIC, self.boots, code_of_cause(self.cause), code_of(self.fault), self.detail, 0])
    }

    /// Begins a boot: what to tell about the last reset, and the record to keep from now on.
    #[must_use]
    pub fn boot(self) -> (BootReport, Self) {
        let Self { cause, fault, detail, .. } = self;
        let boots = self.boots.saturating_add(1);
        // A reset that nobody announces comes from outside.
        let next = Self { boots, cause: ResetCause::External, fault, detail };
        (BootReport { boots, cause, fault, detail }, next)
    }

    /// Notes a reset on purpose; the last fault stays as it is.
    #[must_use]
    pub fn restart(self) -> Self {
        Self { cause: ResetCause::Software, ..self }
    }

    /// Notes a fault that ends in a reset of this cause.
    #[must_use]
    pub fn fault(self, cause: ResetCause, fault: FaultCode, detail: u32) -> Self {
        Self { cause, fault, detail, ..self }
    }
}

/// The words with their checksum in place: all of them add up to the magic number's complement.
fn sealed(words: [u32; WORDS]) -> [u32; WORDS] {
    let [magic, boots, cause, fault, detail, _] = words;
    // Rotations tell words apart that changed places.
    let sum = [magic, boots, cause, fault, detail]
        .iter()
        .fold(!MAGIC, |sum: u32, word| sum.rotate_left(5).wrapping_add(*word));
    [magic, boots, cause, fault, detail, sum]
}

fn code_of_cause(cause: ResetCause) -> u32 {
    match cause {
        ResetCause::Unused => 0,
        ResetCause::PowerOn => 1,
        ResetCause::Watchdog => 2,
        ResetCause::Software => 3,
        ResetCause::External => 4,
    }
}

fn cause_of(code: u32) -> Option<ResetCause> {
    match code {
        1 => Some(ResetCause::PowerOn),
        2 => Some(ResetCause::Watchdog),
        3 => Some(ResetCause::Software),
        4 => Some(ResetCause::External),
        _ => None,
    }
}

fn code_of(fault: FaultCode) -> u32 {
    match fault {
        FaultCode::Unused => 0,
        FaultCode::None => 1,
        FaultCode::Panic => 2,
        FaultCode::HardFault => 3,
        FaultCode::StackOverflow => 4,
        FaultCode::Hang => 5,
    }
}

fn fault_of(code: u32) -> Option<FaultCode> {
    match code {
        1 => Some(FaultCode::None),
        2 => Some(FaultCode::Panic),
        3 => Some(FaultCode::HardFault),
        4 => Some(FaultCode::StackOverflow),
        5 => Some(FaultCode::Hang),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_in_ram_after_power_on_is_a_power_on() {
        for words in [[0; WORDS], [u32::MAX; WORDS], [0xcccc_cccc; WORDS], [MAGIC; WORDS]] {
            assert_eq!(Record::load(words), Record::POWER_ON);
        }
    }

    #[test]
    fn a_fault_is_told_after_the_reset_and_kept_after_the_next() {
        let (report, record) = Record::load([0; WORDS]).boot();
        assert_eq!((report.boots, report.cause), (1, ResetCause::PowerOn));
        let kept = record.fault(ResetCause::Software, FaultCode::HardFault, 0x1234).store();
        let (report, record) = Record::load(kept).boot();
        let told = (report.boots, report.cause, report.fault, report.detail);
        assert_eq!(told, (2, ResetCause::Software, FaultCode::HardFault, 0x1234));
        let (report, _) = Record::load(record.store()).boot();
        let told = (report.boots, report.cause, report.fault, report.detail);
        assert_eq!(told, (3, ResetCause::External, FaultCode::HardFault, 0x1234));
    }

    #[test]
    fn a_reset_on_purpose_is_told_and_keeps_the_last_fault() {
        let (_, record) = Record::POWER_ON.fault(ResetCause::Watchdog, FaultCode::Hang, 7).boot();
        let (report, record) = Record::load(record.restart().store()).boot();
        let told = (report.cause, report.fault, report.detail);
        assert_eq!(told, (ResetCause::Software, FaultCode::Hang, 7));
        let (report, _) = Record::load(record.store()).boot();
        assert_eq!(report.cause, ResetCause::External, "told once");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = Record::POWER_ON.fault(ResetCause::Watchdog, FaultCode::Hang, 0x2a54);
        let words = record.store();
        assert_eq!(Record::load(words), record);
        for word in 0..WORDS {
            for bit in 0..32 {
                let mut flipped = words;
                flipped[word] ^= 1 << bit;
                assert_eq!(Record::load(flipped), Record::POWER_ON, "word {word} bit {bit}");
            }
        }
    }

    #[test]
    fn every_cause_and_fault_survives() {
        for cause in
            [ResetCause::PowerOn, ResetCause::Watchdog, ResetCause::Software, ResetCause::External]
        {
            for fault in [
                FaultCode::None,
                FaultCode::Panic,
                FaultCode::HardFault,
                FaultCode::StackOverflow,
                FaultCode::Hang,
            ] {
                let record = Record { boots: 9, cause, fault, detail: 5 };
                assert_eq!(Record::load(record.store()), record);
            }
        }
    }
}
