//! Driver of the INA3221: three shunt voltages and bus voltages, with alerts, over I2C.
//!
//! Register addresses, bit positions and steps are those of the data sheet of Texas Instruments,
//! SBOS576. Registers are 16 bits, high byte first; measurements are 13 bits with their sign, in
//! the upper bits.

use core::num::NonZeroU32;

use embedded_hal::i2c::{Error as _, ErrorKind, I2c, NoAcknowledgeSource};

const CONFIGURATION: u8 = 0x00;
const MASK_ENABLE: u8 = 0x0f;
const MANUFACTURER: u8 = 0xfe;
const DIE: u8 = 0xff;

/// `TI`.
const MANUFACTURER_ID: u16 = 0x5449;
const DIE_ID: u16 = 0x3220;

/// All channels, shunt and bus voltage measured over and over, each for 1.1 ms.
const ALL_CONTINUOUS: u16 = 0b111 << 12 | 0b100 << 6 | 0b100 << 3 | 0b111;
/// The critical alert stays until its register is read.
const LATCH_CRITICAL: u16 = 1 << 10;

/// Step of a shunt voltage, µV.
const SHUNT_STEP_UV: u32 = 40;
/// Step of a bus voltage, mV.
const BUS_STEP_MV: i32 = 8;
/// Largest limit, in steps.
const LARGEST: u32 = 0xfff;

/// One of the three inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Input 1.
    One,
    /// Input 2.
    Two,
    /// Input 3.
    Three,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    const fn shunt(self) -> u8 {
        match self {
            Self::One => 0x01,
            Self::Two => 0x03,
            Self::Three => 0x05,
        }
    }

    const fn bus(self) -> u8 {
        match self {
            Self::One => 0x02,
            Self::Two => 0x04,
            Self::Three => 0x06,
        }
    }

    const fn critical_limit(self) -> u8 {
        match self {
            Self::One => 0x07,
            Self::Two => 0x09,
            Self::Three => 0x0b,
        }
    }
}

/// How many measurements make one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u16)]
pub enum Averaging {
    /// One: a fresh reading of all channels every 6.6 ms.
    One = 0,
    /// Four: every 26 ms.
    #[default]
    Four = 1,
    /// Sixteen: every 106 ms.
    Sixteen = 2,
    /// 64: every 422 ms.
    SixtyFour = 3,
}

/// What one channel reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Voltage over the shunt, µV, -163,840 to 163,800.
    pub shunt_uv: i32,
    /// Voltage of the load's side against ground, mV; the sensor measures up to 26,000.
    pub bus_mv: i32,
}

impl Reading {
    /// Current through a shunt of so many mΩ, mA, rounded towards 0.
    #[must_use]
    pub fn current_ma(&self, shunt_mohm: NonZeroU32) -> i32 {
        // At most 163,840 / 1.
        let magnitude = (self.shunt_uv.unsigned_abs() / shunt_mohm).cast_signed();
        if self.shunt_uv < 0 { magnitude.wrapping_neg() } else { magnitude }
    }

    /// Power of the load behind such a shunt, mW, rounded down; 0 where it flows backwards.
    #[must_use]
    pub fn power_mw(&self, shunt_mohm: NonZeroU32) -> u32 {
        let current = u64::from(self.current_ma(shunt_mohm).max(0).unsigned_abs());
        let voltage = u64::from(self.bus_mv.max(0).unsigned_abs());
        u32::try_from(current.wrapping_mul(voltage) / 1000).unwrap_or(u32::MAX)
    }
}

/// Which channels were over their critical limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alerts {
    /// Channels 1 to 3.
    pub critical: [bool; 3],
    /// A whole round of measurements was done since this was last read.
    pub fresh: bool,
}

impl Alerts {
    /// Some channel was over its limit.
    #[must_use]
    pub fn any(&self) -> bool {
        self.critical.contains(&true)
    }
}

/// Why the sensor gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers at the address: no sensor, another address, no power.
    Missing,
    /// Who answers is no INA3221: its manufacturer and die numbers.
    Foreign {
        /// Register 0xFE; an INA3221 has 0x5449.
        manufacturer: u16,
        /// Register 0xFF; an INA3221 has 0x3220.
        die: u16,
    },
    /// The bus failed in the middle of a transfer.
    Bus(ErrorKind),
}

/// The sensor.
#[derive(Debug)]
pub struct Ina3221<I> {
    i2c: I,
    address: u8,
}

/// Address with the pin A0 at ground; 0x41 at the supply, 0x42 at SDA, 0x43 at SCL.
pub const ADDRESS: u8 = 0x40;

impl<I: I2c> Ina3221<I> {
    /// A sensor at this address; nothing is sent yet.
    pub const fn new(i2c: I, address: u8) -> Self {
        Self { i2c, address }
    }

    /// Makes sure that the sensor is one, then starts it: all channels, over and over, the critical
    /// alert latched.
    ///
    /// # Errors
    /// Nobody, or something else, answers; the bus fails.
    pub fn start(&mut self, averaging: Averaging) -> Result<(), Fault> {
        let manufacturer = self.read(MANUFACTURER)?;
        let die = self.read(DIE)?;
        if (manufacturer, die) != (MANUFACTURER_ID, DIE_ID) {
            return Err(Fault::Foreign { manufacturer, die });
        }
        self.write(CONFIGURATION, ALL_CONTINUOUS | (averaging as u16) << 9)?;
        self.write(MASK_ENABLE, LATCH_CRITICAL)
    }

    /// Raises the critical alert where the voltage over a channel's shunt is above this, µV;
    /// rounded down to steps of 40, at most 163,800.
    ///
    /// # Errors
    /// Nobody answers; the bus fails.
    pub fn limit(&mut self, channel: Channel, shunt_uv: u32) -> Result<(), Fault> {
        let steps = (shunt_uv / SHUNT_STEP_UV).min(LARGEST);
        let [low, high, ..] = (steps << 3).to_le_bytes();
        self.write(channel.critical_limit(), u16::from_le_bytes([low, high]))
    }

    /// What a channel reads.
    ///
    /// # Errors
    /// Nobody answers; the bus fails.
    pub fn reading(&mut self, channel: Channel) -> Result<Reading, Fault> {
        let shunt = steps(self.read(channel.shunt())?);
        let bus = steps(self.read(channel.bus())?);
        // Thirteen bits each: no product leaves its type.
        Ok(Reading {
            shunt_uv: shunt.wrapping_mul(SHUNT_STEP_UV.cast_signed()),
            bus_mv: bus.wrapping_mul(BUS_STEP_MV),
        })
    }

    /// Which channels raised the critical alert; reading this ends the alert, unless a channel is
    /// still over its limit.
    ///
    /// # Errors
    /// Nobody answers; the bus fails.
    pub fn alerts(&mut self) -> Result<Alerts, Fault> {
        let flags = self.read(MASK_ENABLE)?;
        let critical = [1 << 9, 1 << 8, 1 << 7].map(|flag: u16| flags & flag != 0);
        Ok(Alerts { critical, fresh: flags & 1 != 0 })
    }

    /// Gives the bus back.
    pub fn release(self) -> I {
        self.i2c
    }

    fn read(&mut self, register: u8) -> Result<u16, Fault> {
        let mut bytes = [0; 2];
        self.i2c.write_read(self.address, &[register], &mut bytes).map_err(|e| fault(e.kind()))?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn write(&mut self, register: u8, value: u16) -> Result<(), Fault> {
        let [high, low] = value.to_be_bytes();
        self.i2c.write(self.address, &[register, high, low]).map_err(|e| fault(e.kind()))
    }
}

fn fault(kind: ErrorKind) -> Fault {
    match kind {
        // Some HALs cannot tell which byte was not acknowledged; the sensor acknowledges all.
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address | NoAcknowledgeSource::Unknown) => {
            Fault::Missing
        }
        kind => Fault::Bus(kind),
    }
}

/// The measurement of a register, in steps: the upper thirteen bits with their sign.
const fn steps(register: u16) -> i32 {
    register.cast_signed() as i32 >> 3
}

#[cfg(test)]
mod tests {
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
    use proptest::prelude::*;

    use super::*;

    const SHUNT: NonZeroU32 = NonZeroU32::new(5).unwrap();

    fn gives(register: u8, value: u16) -> Transaction {
        Transaction::write_read(ADDRESS, vec![register], value.to_be_bytes().to_vec())
    }

    fn takes(register: u8, value: u16) -> Transaction {
        let [high, low] = value.to_be_bytes();
        Transaction::write(ADDRESS, vec![register, high, low])
    }

    fn with<T>(expected: &[Transaction], test: impl FnOnce(&mut Ina3221<Mock>) -> T) -> T {
        let mut sensor = Ina3221::new(Mock::new(expected), ADDRESS);
        let result = test(&mut sensor);
        sensor.release().done();
        result
    }

    #[test]
    fn it_starts_with_all_channels_and_a_latched_alert() {
        // The reset value of the configuration, 0x7127, has the same channels, times and mode.
        let expected =
            [gives(0xfe, 0x5449), gives(0xff, 0x3220), takes(0x00, 0x7127), takes(0x0f, 0x0400)];
        assert_eq!(with(&expected, |sensor| sensor.start(Averaging::One)), Ok(()));
        let expected =
            [gives(0xfe, 0x5449), gives(0xff, 0x3220), takes(0x00, 0x7727), takes(0x0f, 0x0400)];
        assert_eq!(with(&expected, |sensor| sensor.start(Averaging::SixtyFour)), Ok(()));
    }

    #[test]
    fn a_stranger_at_the_address_is_left_alone() {
        // A neighbour of the same maker: an INA226.
        let expected = [gives(0xfe, 0x5449), gives(0xff, 0x2260)];
        let found = with(&expected, |sensor| sensor.start(Averaging::One));
        assert_eq!(found, Err(Fault::Foreign { manufacturer: 0x5449, die: 0x2260 }));
    }

    #[test]
    fn a_missing_sensor_and_a_broken_bus_are_told_apart() {
        let cases = [
            (ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address), Fault::Missing),
            (ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown), Fault::Missing),
            (
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data),
                Fault::Bus(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data)),
            ),
            (ErrorKind::ArbitrationLoss, Fault::Bus(ErrorKind::ArbitrationLoss)),
            (ErrorKind::Bus, Fault::Bus(ErrorKind::Bus)),
        ];
        for (kind, expected) in cases {
            let read = [gives(0xfe, 0).with_error(kind)];
            assert_eq!(with(&read, |sensor| sensor.start(Averaging::One)), Err(expected));
            let write = [takes(0x07, 0).with_error(kind)];
            assert_eq!(with(&write, |sensor| sensor.limit(Channel::One, 0)), Err(expected));
            // The second of the two registers of a reading.
            let second = [gives(0x01, 0), gives(0x02, 0).with_error(kind)];
            assert_eq!(with(&second, |sensor| sensor.reading(Channel::One)), Err(expected));
        }
    }

    #[test]
    fn readings_are_those_of_the_data_sheet() {
        // Table of the data sheet: 80 mV over the shunt is 2000 steps, 0x3E80; -80 mV is 0xC180;
        // full scale is 0x7FF8.
        for (channel, shunt, bus) in
            [(Channel::One, 1, 2), (Channel::Two, 3, 4), (Channel::Three, 5, 6)]
        {
            for (register, shunt_uv) in
                [(0x3e80, 80_000), (0xc180, -80_000), (0x7ff8, 163_800), (0x8000, -163_840), (7, 0)]
            {
                let expected = [gives(shunt, register), gives(bus, 0x2710)];
                let reading = with(&expected, |sensor| sensor.reading(channel)).unwrap();
                // 0x2710 = 1250 steps of 8 mV.
                assert_eq!(reading, Reading { shunt_uv, bus_mv: 10_000 });
            }
        }
    }

    #[test]
    fn current_and_power_follow_from_the_shunt() {
        let reading = Reading { shunt_uv: 12_340, bus_mv: 5_000 };
        assert_eq!((reading.current_ma(SHUNT), reading.power_mw(SHUNT)), (2_468, 12_340));
        let backwards = Reading { shunt_uv: -12_340, bus_mv: 5_000 };
        assert_eq!((backwards.current_ma(SHUNT), backwards.power_mw(SHUNT)), (-2_468, 0));
        // The most there is, over the least shunt: 163.8 A at 32.76 V.
        let most = Reading { shunt_uv: 163_800, bus_mv: 32_760 };
        assert_eq!(most.power_mw(NonZeroU32::MIN), 5_366_088);
    }

    #[test]
    fn limits_are_rounded_down_and_stay_in_the_register() {
        for (channel, register) in
            [(Channel::One, 0x07), (Channel::Two, 0x09), (Channel::Three, 0x0b)]
        {
            for (shunt_uv, value) in
                [(0, 0), (39, 0), (80_000, 0x3e80), (163_800, 0x7ff8), (u32::MAX, 0x7ff8)]
            {
                let expected = [takes(register, value)];
                assert_eq!(with(&expected, |sensor| sensor.limit(channel, shunt_uv)), Ok(()));
            }
        }
    }

    #[test]
    fn alerts_name_their_channels() {
        for (flags, critical, fresh) in [
            (0x0400, [false, false, false], false),
            (0x0601, [true, false, false], true),
            (0x0500, [false, true, false], false),
            (0x0480, [false, false, true], false),
            // Warnings and the sum are no critical alerts.
            (0x0078, [false, false, false], false),
        ] {
            let alerts = with(&[gives(0x0f, flags)], Ina3221::alerts).unwrap();
            assert_eq!(alerts, Alerts { critical, fresh });
            assert_eq!(alerts.any(), critical != [false; 3]);
        }
    }

    proptest! {
        #[test]
        fn every_register_value_is_a_reading(shunt: u16, bus: u16, mohm in 1_u32..10_000) {
            let expected = [gives(0x01, shunt), gives(0x02, bus)];
            let reading = with(&expected, |sensor| sensor.reading(Channel::One)).unwrap();
            prop_assert!((-163_840..=163_800).contains(&reading.shunt_uv));
            prop_assert!((-32_768..=32_760).contains(&reading.bus_mv));
            let mohm = NonZeroU32::new(mohm).unwrap();
            let exact = f64::from(reading.shunt_uv) / f64::from(mohm.get());
            prop_assert!((f64::from(reading.current_ma(mohm)) - exact).abs() < 1.0);
            let power = exact.trunc().max(0.0) * f64::from(reading.bus_mv.max(0)) / 1000.0;
            let told = f64::from(reading.power_mw(mohm));
            prop_assert!(told <= power + 1e-6 && power - told < 1.0);
        }
    }
}
