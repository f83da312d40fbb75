//! The board: clocks, ports and pins through its HAL, and what the loop needs of them.

mod clocks;
mod policy_slots;
mod reset;
mod uart;
mod watchdog;

use core::num::NonZeroU32;

use cortex_m::peripheral::DWT;
use coshift_firmware::armv7m::{self, SysTickClock, guard, retained, stack};
use coshift_firmware::ina3221::{self, Ina3221};
use coshift_firmware::light::Light;
use coshift_firmware::port::{Measured, Port};
use coshift_firmware::rails::{Event, Rail, Rails};
use coshift_firmware::record::{Activity, BootReport};
use coshift_shared::time::Instant;
use coshift_shared::to_host::Mode;
use stm32f4xx_hal::gpio::{Input, Output, Pin};
use stm32f4xx_hal::i2c::{I2c1, Mode as I2cMode};
use stm32f4xx_hal::pac;
use stm32f4xx_hal::prelude::*;

pub(crate) use policy_slots::Slot;
use uart::Uart;

/// Shunts and limits of the rails that the sensor watches: those of the Jetson's own sensor, 5 mΩ,
/// with the limit where its regulators switch off.
const RAIL: Rail = Rail { shunt_mohm: NonZeroU32::new(5).unwrap(), limit_ma: 5_000 };

/// The board, brought up.
pub(crate) struct Board {
    uart: Uart,
    light: Light<Pin<'A', 5, Output>>,
    /// `None`: the bus hung before the last reset, and stays unused until power-on.
    rails: Option<Rails<I2c1, Pin<'A', 8, Input>>>,
    timer: pac::TIM2,
    mode: Mode,
}

/// What [`Board::take`] brings up.
pub(crate) struct BroughtUp {
    /// What the loop uses.
    pub(crate) board: Board,
    /// The slots of the policy store.
    pub(crate) slots: [Slot; 2],
    /// The account of the last reset.
    pub(crate) boot: BootReport,
    /// A number that differs at each boot.
    pub(crate) nonce: u32,
}

impl Board {
    /// Brings the board up: stack guard, what was kept over the reset, watchdog, clocks, ports.
    /// `None` at every call but the first.
    pub(crate) fn take() -> Option<BroughtUp> {
        let mut core = cortex_m::Peripherals::take()?;
        let parts = pac::Peripherals::take()?;
        guard::enable(&mut core.MPU, &mut core.SCB);
        let seed = retained::raw();
        let boot = retained::boot(reset::cause(&parts.RCC));
        // Started before the clocks: an oscillator that never gets ready must not hang the board.
        watchdog::start(parts.IWDG);
        let mut rcc = clocks::start(parts.RCC);
        let timer = clocks::microseconds(parts.TIM2, &mut rcc);
        core.DCB.enable_trace();
        core.DWT.enable_cycle_counter();

        let port_a = parts.GPIOA.split(&mut rcc);
        let port_b = parts.GPIOB.split(&mut rcc);
        let uart = Uart::start(parts.USART2, port_a.pa2, port_a.pa3, &mut rcc)?;
        let light = Light::new(port_a.pa5.into_push_pull_output());
        let rails = if boot.hung_in(Activity::Sensor) {
            defmt::error!("the bus of the power sensor hung; it is left alone until power-on");
            None
        } else {
            let pins =
                (port_b.pb8.into_alternate_open_drain(), port_b.pb9.into_alternate_open_drain());
            let bus = parts.I2C1.i2c(pins, I2cMode::from(400.kHz()), &mut rcc);
            let alert = port_a.pa8.into_pull_up_input();
            Some(Rails::new(Ina3221::new(bus, ina3221::ADDRESS), alert, [RAIL; 3]))
        };
        // Time comes from the timer; this only wakes the core.
        let _ = SysTickClock::<{ clocks::CORE_HZ / 1_000_000 }>::start(&mut core.SYST);
        // What RAM held at power-on, the boots since, and when the counters were read.
        let times = [boot.boots, DWT::cycle_count(), timer.cnt().read().bits()];
        let nonce = seed.iter().chain(&times).fold(0, |hash, word| armv7m::mix(hash, *word));
        retained::at(Activity::Loop);
        let board = Self { uart, light, rails, timer, mode: Mode::Boot };
        Some(BroughtUp { board, slots: policy_slots::take(parts.FLASH), boot, nonce })
    }

    /// Reads the rails, one transfer at most.
    fn attend_rails(&mut self, now: Instant) {
        let Some(rails) = &mut self.rails else { return };
        let due = rails.is_due(now);
        if due {
            // The HAL waits for the bus without end: if it hangs here, the next boot knows.
            retained::at(Activity::Sensor);
        }
        let event = rails.poll(now);
        if due {
            retained::at(Activity::Loop);
        }
        match event {
            None => {}
            Some(Event::Found) => defmt::info!("power sensor found"),
            Some(Event::Lost(_)) => defmt::warn!("no power sensor; looking every second"),
            Some(Event::Measured([one, two, three])) => defmt::debug!(
                "rails {=u32} {=u32} {=u32} mW",
                one.power_mw(RAIL.shunt_mohm),
                two.power_mw(RAIL.shunt_mohm),
                three.power_mw(RAIL.shunt_mohm)
            ),
            Some(Event::Alert(alerts)) => {
                let [one, two, three] = alerts.critical;
                defmt::warn!("over-current on rails {=bool} {=bool} {=bool}", one, two, three);
            }
        }
    }
}

impl Port for Board {
    fn now_us(&mut self) -> u32 {
        self.timer.cnt().read().bits()
    }

    fn ticks(&mut self) -> u32 {
        DWT::cycle_count()
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let count = self.uart.read(buffer);
        buffer.get(..count).unwrap_or_default()
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.uart.send(frame)
    }

    fn is_sent(&mut self) -> bool {
        self.uart.is_sent()
    }

    fn attend(&mut self, mode: Mode, session: u16) {
        let now = self.now_us();
        self.attend_rails(Instant::from_us(now));
        let alert = self.rails.as_ref().is_some_and(Rails::alert);
        // The pin is a register of the chip: it cannot fail.
        let Ok(()) = self.light.show(mode, alert, now);
        if mode != self.mode {
            self.mode = mode;
            defmt::info!("mode {=u8}, session {=u16}", mode as u8, session);
        }
    }

    fn measure(&mut self) -> Measured {
        let (queue_high_water, queue_overruns) = self.uart.received();
        Measured { stack_high_water: stack::high_water(), queue_high_water, queue_overruns }
    }

    fn feed_watchdog(&mut self) {
        watchdog::feed();
    }

    fn sleep(&mut self) {
        armv7m::sleep_unless(|| self.uart.is_idle());
    }
}
