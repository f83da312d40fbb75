//! What outlives a reset: why it happened, the last fault, and what the loop was at; in RAM that
//! start-up leaves alone.
//!
//! After power-on that RAM holds anything, so the record carries a checksum; after any other reset
//! it is read, told to the agent in Welcome, and written anew.

use coshift_shared::to_host::{FaultCode, ResetCause};

/// Words of the stored form.
pub const WORDS: usize = 7;

const MAGIC: u32 = 0x436f_7348;

/// What the loop was at, noted before anything that could hang in the hardware. After a hang it is
/// the fault's detail, where nothing knows the place better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Activity {
    /// The loop itself.
    #[default]
    Loop = 1,
    /// Bringing the board up.
    BringUp = 2,
    /// Talking to the power sensor.
    Sensor = 3,
    /// Erasing or writing the policy store.
    Storage = 4,
}

/// The record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    boots: u32,
    cause: ResetCause,
    fault: FaultCode,
    detail: u32,
    activity: Activity,
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
    /// What the fault left: see [`FaultCode`]; of a hang that the watchdog gave no warning of, the
    /// [`Activity`].
    pub detail: u32,
}

impl BootReport {
    /// The last reset ended a hang in this activity.
    #[must_use]
    pub fn hung_in(&self, activity: Activity) -> bool {
        self.cause == ResetCause::Watchdog
            && self.fault == FaultCode::Hang
            && self.detail == activity as u32
    }
}

impl Record {
    const POWER_ON: Self = Self {
        boots: 0,
        cause: ResetCause::PowerOn,
        fault: FaultCode::None,
        detail: 0,
        activity: Activity::Loop,
    };

    /// Reads the words that start-up left alone; anything but a whole record is a power-on.
    #[must_use]
    pub fn load(words: [u32; WORDS]) -> Self {
        let [magic, boots, cause, fault, detail, activity, _] = words;
        let decoded = (cause_of(cause), fault_of(fault), activity_of(activity));
        let (Some(cause), Some(fault), Some(activity)) = decoded else { return Self::POWER_ON };
        if magic != MAGIC || words != sealed(words) {
            return Self::POWER_ON;
        }
        Self { boots, cause, fault, detail, activity }
    }

    /// The words to store.
    #[must_use]
    pub fn store(&self) -> [u32; WORDS] {
        let (cause, fault) = (code_of_cause(self.cause), code_of_fault(self.fault));
        sealed([MAGIC, self.boots, cause, fault, self.detail, self.activity as u32, 0])
    }

    /// Begins a boot: what to tell about the last reset, and the record to keep from now on.
    ///
    /// `hardware` is the cause as the microcontroller's own register has it, where it has one: a
    /// power-on is one whatever memory says, and a reset by the watchdog before any fault was
    /// noted is a hang in whatever the loop was at.
    #[must_use]
    pub fn boot(self, hardware: Option<ResetCause>) -> (BootReport, Self) {
        let Self { mut cause, mut fault, mut detail, activity, .. } = self;
        match hardware {
            Some(ResetCause::PowerOn) => return Self::POWER_ON.boot(None),
            Some(ResetCause::Watchdog) if cause == ResetCause::External => {
                (cause, fault, detail) = (ResetCause::Watchdog, FaultCode::Hang, activity as u32);
            }
            _ => {}
        }
        let boots = self.boots.saturating_add(1);
        // A reset that nobody announces comes from outside, or from the watchdog.
        let next =
            Self { boots, cause: ResetCause::External, fault, detail, activity: Activity::BringUp };
        (BootReport { boots, cause, fault, detail }, next)
    }

    /// Notes a fault that ends in a reset: by the watchdog where its warning found a hang, else by the
    /// firmware.
    #[must_use]
    pub fn fault(self, fault: FaultCode, detail: u32) -> Self {
        let cause = match fault {
            FaultCode::Hang => ResetCause::Watchdog,
            _ => ResetCause::Software,
        };
        Self { cause, fault, detail, ..self }
    }

    /// Notes a reset on purpose; the last fault stays as it is.
    #[must_use]
    pub fn restart(self) -> Self {
        Self { cause: ResetCause::Software, ..self }
    }

    /// Notes what the loop is at.
    #[must_use]
    pub fn at(self, activity: Activity) -> Self {
        Self { activity, ..self }
    }
}

/// The words with their checksum in place.
fn sealed(words: [u32; WORDS]) -> [u32; WORDS] {
    let [magic, boots, cause, fault, detail, activity, _] = words;
    // Rotations tell words apart that changed places.
    let sum = [magic, boots, cause, fault, detail, activity]
        .iter()
        .fold(!MAGIC, |sum: u32, word| sum.rotate_left(5).wrapping_add(*word));
    [magic, boots, cause, fault, detail, activity, sum]
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
    let causes =
        [ResetCause::PowerOn, ResetCause::Watchdog, ResetCause::Software, ResetCause::External];
    causes.into_iter().find(|cause| code_of_cause(*cause) == code)
}

fn code_of_fault(fault: FaultCode) -> u32 {
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
    let faults = [
        FaultCode::None,
        FaultCode::Panic,
        FaultCode::HardFault,
        FaultCode::StackOverflow,
        FaultCode::Hang,
    ];
    faults.into_iter().find(|fault| code_of_fault(*fault) == code)
}

fn activity_of(code: u32) -> Option<Activity> {
    let activities = [Activity::Loop, Activity::BringUp, Activity::Sensor, Activity::Storage];
    activities.into_iter().find(|activity| *activity as u32 == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(report: BootReport) -> (u32, ResetCause, FaultCode, u32) {
        (report.boots, report.cause, report.fault, report.detail)
    }

    #[test]
    fn anything_in_ram_after_power_on_is_a_power_on() {
        for words in [[0; WORDS], [u32::MAX; WORDS], [0xcccc_cccc; WORDS], [MAGIC; WORDS]] {
            assert_eq!(Record::load(words), Record::POWER_ON);
        }
    }

    #[test]
    fn a_fault_is_told_after_the_reset_and_kept_after_the_next() {
        let (report, record) = Record::load([0; WORDS]).boot(None);
        assert_eq!(told(report), (1, ResetCause::PowerOn, FaultCode::None, 0));
        let kept = record.fault(FaultCode::HardFault, 0x1234).store();
        let (report, record) = Record::load(kept).boot(Some(ResetCause::Software));
        assert_eq!(told(report), (2, ResetCause::Software, FaultCode::HardFault, 0x1234));
        let (report, _) = Record::load(record.store()).boot(Some(ResetCause::External));
        assert_eq!(told(report), (3, ResetCause::External, FaultCode::HardFault, 0x1234));
    }

    #[test]
    fn a_reset_by_the_watchdog_is_a_hang_in_what_the_loop_was_at() {
        let (_, record) = Record::POWER_ON.boot(None);
        let kept = record.at(Activity::Sensor).store();
        let (report, _) = Record::load(kept).boot(Some(ResetCause::Watchdog));
        let expected = (2, ResetCause::Watchdog, FaultCode::Hang, Activity::Sensor as u32);
        assert_eq!(told(report), expected);
        assert!(report.hung_in(Activity::Sensor) && !report.hung_in(Activity::Loop));
        // A fault that was noted before the watchdog came is the better account.
        let kept = record.fault(FaultCode::StackOverflow, 7).store();
        let (report, _) = Record::load(kept).boot(Some(ResetCause::Watchdog));
        assert_eq!(told(report), (2, ResetCause::Software, FaultCode::StackOverflow, 7));
    }

    #[test]
    fn a_hang_that_the_watchdog_warned_of_is_told_with_its_place() {
        let (_, record) = Record::POWER_ON.boot(None);
        let kept = record.at(Activity::Storage).fault(FaultCode::Hang, 0x2a54).store();
        for hardware in [None, Some(ResetCause::Watchdog)] {
            let (report, _) = Record::load(kept).boot(hardware);
            assert_eq!(told(report), (2, ResetCause::Watchdog, FaultCode::Hang, 0x2a54));
        }
    }

    #[test]
    fn the_hardware_knows_a_power_on_better_than_memory() {
        let kept = Record::POWER_ON.boot(None).1.fault(FaultCode::HardFault, 9).store();
        let (report, _) = Record::load(kept).boot(Some(ResetCause::PowerOn));
        assert_eq!(told(report), (1, ResetCause::PowerOn, FaultCode::None, 0));
    }

    #[test]
    fn a_reset_on_purpose_is_told_once_and_keeps_the_last_fault() {
        let (_, record) = Record::POWER_ON.fault(FaultCode::HardFault, 7).boot(None);
        let (report, record) =
            Record::load(record.restart().store()).boot(Some(ResetCause::Software));
        assert_eq!(told(report), (2, ResetCause::Software, FaultCode::HardFault, 7));
        let (report, _) = record.boot(None);
        assert_eq!(report.cause, ResetCause::External);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = Record::POWER_ON.fault(FaultCode::Hang, 0x2a54).at(Activity::Sensor);
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
    fn every_cause_fault_and_activity_survives() {
        for cause in 1..=4 {
            for fault in 1..=5 {
                for activity in 1..=4 {
                    let words = sealed([MAGIC, 9, cause, fault, 5, activity, 0]);
                    assert_eq!(Record::load(words).store(), words);
                }
            }
        }
        assert_eq!(Record::load(sealed([MAGIC, 9, 5, 1, 5, 1, 0])), Record::POWER_ON);
    }
}
