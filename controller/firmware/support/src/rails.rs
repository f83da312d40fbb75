//! Three power rails read through an INA3221, and what to do when it fails.
//!
//! One transfer at a time: a channel every [`READ_EVERY`], so that no pass of the loop waits longer
//! than two registers take. A sensor that is missing or fails is looked for again every
//! [`LOOK_EVERY`].

use core::num::NonZeroU32;

use coshift_shared::time::{Duration, Instant};
use embedded_hal::digital::InputPin;
use embedded_hal::i2c::I2c;

use crate::ina3221::{Alerts, Averaging, Channel, Fault, Ina3221, Reading};

/// Time between two readings; a channel is read again after three of them.
pub const READ_EVERY: Duration = Duration::from_ms(50);
/// Time between two attempts to find the sensor.
pub const LOOK_EVERY: Duration = Duration::from_ms(1000);

/// One rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rail {
    /// Its shunt, mΩ.
    pub shunt_mohm: NonZeroU32,
    /// Current above which the alert is raised, mA.
    pub limit_ma: u32,
}

/// What happened since the last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The sensor answers and is set up.
    Found,
    /// It does not, or no longer. Told once until it is found.
    Lost(Fault),
    /// A round of readings is complete.
    Measured([Reading; 3]),
    /// The alert pin is low: the channels that were over their limit.
    Alert(Alerts),
}

/// The rails.
#[derive(Debug)]
pub struct Rails<I, A> {
    sensor: Ina3221<I>,
    alert: A,
    rails: [Rail; 3],
    state: State,
    /// When the next transfer is due; `None`: at once.
    next: Option<Instant>,
    raised: bool,
    /// The sensor was asked which channels raised the alert.
    named: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The sensor was not found; told or not.
    Missing { told: bool },
    /// The sensor runs: this channel is next, these were read.
    Running { channel: Channel, readings: [Reading; 3] },
}

impl<I: I2c, A: InputPin> Rails<I, A> {
    /// Rails behind this sensor, with its critical alert (low = raised) on a pin.
    pub const fn new(sensor: Ina3221<I>, alert: A, rails: [Rail; 3]) -> Self {
        let state = State::Missing { told: false };
        Self { sensor, alert, rails, state, next: None, raised: false, named: false }
    }

    /// The alert pin is low, by the last call of [`Rails::poll`].
    #[must_use]
    pub const fn alert(&self) -> bool {
        self.raised
    }

    /// Whether [`Rails::poll`] would use the bus at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now.reached(next))
    }

    /// Does what is due at `now`: at most one channel, or one search for the sensor.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        // A pin that cannot be read counts as raised: the board does not know better.
        self.raised = self.alert.is_low().unwrap_or(true);
        self.named &= self.raised;
        if !self.is_due(now) {
            return None;
        }
        let outcome = match self.state {
            State::Missing { .. } => self.start().map(|()| {
                let (channel, readings) = (Channel::One, [Reading::default(); 3]);
                self.state = State::Running { channel, readings };
                Some(Event::Found)
            }),
            // Reading the flags ends the latched alert; a rail still over its limit raises it anew.
            State::Running { .. } if self.raised && !self.named => {
                self.named = true;
                self.sensor.alerts().map(|alerts| Some(Event::Alert(alerts)))
            }
            State::Running { channel, readings } => self.read(channel, readings),
        };
        match outcome {
            Ok(event) => {
                self.next = Some(now.after(READ_EVERY));
                event
            }
            Err(fault) => {
                let told = matches!(self.state, State::Missing { told: true });
                self.state = State::Missing { told: true };
                self.next = Some(now.after(LOOK_EVERY));
                (!told).then_some(Event::Lost(fault))
            }
        }
    }

    fn start(&mut self) -> Result<(), Fault> {
        self.sensor.start(Averaging::Four)?;
        for (channel, rail) in Channel::ALL.into_iter().zip(self.rails) {
            self.sensor.limit(channel, rail.limit_ma.saturating_mul(rail.shunt_mohm.get()))?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        channel: Channel,
        mut readings: [Reading; 3],
    ) -> Result<Option<Event>, Fault> {
        let reading = self.sensor.reading(channel)?;
        let [one, two, three] = &mut readings;
        let (place, next) = match channel {
            Channel::One => (one, Channel::Two),
            Channel::Two => (two, Channel::Three),
            Channel::Three => (three, Channel::One),
        };
        *place = reading;
        self.state = State::Running { channel: next, readings };
        Ok((channel == Channel::Three).then_some(Event::Measured(readings)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::rc::Rc;

    use embedded_hal::i2c::{ErrorKind, ErrorType, NoAcknowledgeSource, Operation};

    use super::*;
    use crate::ina3221::ADDRESS;

    /// A sensor with registers, that can be unplugged.
    #[derive(Debug, Clone)]
    struct Device(Rc<RefCell<Registers>>);

    #[derive(Debug)]
    struct Registers {
        plugged: bool,
        values: [u16; 256],
        transfers: u32,
    }

    impl Device {
        fn new() -> Self {
            let mut values = [0; 256];
            (values[0xfe], values[0xff]) = (0x5449, 0x3220);
            Self(Rc::new(RefCell::new(Registers { plugged: true, values, transfers: 0 })))
        }
    }

    impl ErrorType for Device {
        type Error = ErrorKind;
    }

    impl I2c for Device {
        fn transaction(
            &mut self,
            address: u8,
            operations: &mut [Operation<'_>],
        ) -> Result<(), ErrorKind> {
            let mut registers = self.0.borrow_mut();
            registers.transfers += 1;
            if !registers.plugged || address != ADDRESS {
                return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
            }
            match operations {
                [Operation::Write([register, high, low])] => {
                    registers.values[usize::from(*register)] = u16::from_be_bytes([*high, *low]);
                }
                [Operation::Write([register]), Operation::Read(bytes)] => {
                    let value = registers.values[usize::from(*register)];
                    bytes.copy_from_slice(&value.to_be_bytes());
                    if *register == 0x0f {
                        registers.values[0x0f] = 0x0400;
                    }
                }
                other => panic!("no transfer of the driver: {other:?}"),
            }
            Ok(())
        }
    }

    /// The critical pin: low while a flag is set.
    struct Pin(Device);

    impl embedded_hal::digital::ErrorType for Pin {
        type Error = Infallible;
    }

    impl InputPin for Pin {
        fn is_high(&mut self) -> Result<bool, Infallible> {
            self.is_low().map(|low| !low)
        }

        fn is_low(&mut self) -> Result<bool, Infallible> {
            Ok(self.0.0.borrow().values[0x0f] & 0x0380 != 0)
        }
    }

    fn rails(device: &Device) -> Rails<Device, Pin> {
        let rail = Rail { shunt_mohm: NonZeroU32::new(5).unwrap(), limit_ma: 4_000 };
        Rails::new(Ina3221::new(device.clone(), ADDRESS), Pin(device.clone()), [rail; 3])
    }

    /// Polls every millisecond for so long and gives what happened, with the time since the start.
    fn run(rails: &mut Rails<Device, Pin>, start: Instant, ms: u32) -> Vec<(u32, Event)> {
        (0..ms)
            .filter_map(|at| {
                rails.poll(start.after(Duration::from_ms(at))).map(|event| (at, event))
            })
            .collect()
    }

    #[test]
    fn rounds_of_readings_come_every_150_ms_over_the_wrap_of_the_clock() {
        let device = Device::new();
        for (register, value) in [(1, 8 << 3), (2, 625 << 3), (3, 16 << 3), (5, 24 << 3)] {
            device.0.borrow_mut().values[register] = value;
        }
        let mut rails = rails(&device);
        let start = Instant::from_us(u32::MAX - 200_000);
        let events = run(&mut rails, start, 451);
        let reading = |shunt_uv, bus_mv| Reading { shunt_uv, bus_mv };
        let round = Event::Measured([reading(320, 5_000), reading(640, 0), reading(960, 0)]);
        assert_eq!(events, [(0, Event::Found), (150, round), (300, round), (450, round)]);
        // 4 A over 5 mOhm are 20 mV: 500 steps.
        assert_eq!(device.0.borrow().values[0x07], 500 << 3);
    }

    #[test]
    fn a_missing_sensor_is_told_once_and_found_when_it_comes() {
        let device = Device::new();
        device.0.borrow_mut().plugged = false;
        let mut rails = rails(&device);
        let events = run(&mut rails, Instant::START, 3_500);
        assert_eq!(events, [(0, Event::Lost(Fault::Missing))]);
        assert_eq!(device.0.borrow().transfers, 4, "one attempt a second");
        device.0.borrow_mut().plugged = true;
        let later = Instant::START.after(Duration::from_ms(3_500));
        let events = run(&mut rails, later, 520);
        assert_eq!(events, [(500, Event::Found)]);
        device.0.borrow_mut().plugged = false;
        let later = later.after(Duration::from_ms(600));
        let events = run(&mut rails, later, 2_500);
        assert_eq!(events, [(0, Event::Lost(Fault::Missing))]);
    }

    #[test]
    fn an_alert_is_seen_at_once_and_named() {
        let device = Device::new();
        let mut rails = rails(&device);
        let mut now = Instant::START;
        assert_eq!(rails.poll(now), Some(Event::Found));
        assert!(!rails.alert());
        device.0.borrow_mut().values[0x0f] = 0x0500;
        now = now.after(Duration::from_ms(1));
        assert_eq!(rails.poll(now), None);
        assert!(rails.alert(), "seen without the bus");
        let alerts = Alerts { critical: [false, true, false], fresh: false };
        assert_eq!(run(&mut rails, now, 100), [(49, Event::Alert(alerts))]);
        assert!(!rails.alert(), "the flags were read, nothing is over its limit");
    }
}
