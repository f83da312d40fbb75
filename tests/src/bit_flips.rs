//! Single bits flipped in registers and memory of the release image while it decides.
//!
//! The board runs on an uploaded policy and is told the same story each time: an application and
//! its outcomes. Somewhere in it the debug stub stops the core and flips one bit. What the board
//! says afterwards is compared with what the controller of the host, the twin of the real agent,
//! decides on the same story.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant as Moment};

use anyhow::{Context, Result, ensure};
use coshift_controller::{Identity, Node};
use coshift_host::core::judge::UNEQUAL_TO_SEED;
use coshift_host::spec::ApplicationSpec;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    Application, Change, Hello, Limits, Outcomes, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, FaultCode, ResetCause, ToHost, Welcome};
use coshift_shared::units::{Age, NO_POWER_CAP};
use object::{Object, ObjectSection};

use crate::board::{Board, Folder};
use crate::case::Case;
use crate::debug_stub::DebugStub;
use crate::need::Needs;
use crate::power_cuts::SLOTS;
use crate::random::Random;

/// Control period of the story, µs: the longest there is, so that a busy machine is no silence.
const PERIOD_US: u32 = 500_000;
/// When the first period begins, µs.
const OPENED_US: u32 = 3;
/// Periods before the flip, of the burst that it falls into, and after it: more than the unequal
/// digests after which an agent seeds.
const BEFORE: usize = 10;
const BURST: usize = 8;
const AFTER: usize = 30;
/// Periods without a decision after which the board is silent.
const SILENT: u32 = 3;
/// How long a decision may take, and the watchdog with its two terms of 3 s.
const DECISION_TIME: Duration = Duration::from_millis(700);
const WATCHDOG_TIME: Duration = Duration::from_secs(12);
/// Tries to stop the core awake.
const TRIES: u32 = 20;
/// `wfi`: the core that stands behind it sleeps.
const WFI: [u8; 2] = [0x30, 0xbf];
const STACK_TOP: u32 = 0x2000_2000;
const PSRAM: u32 = 0x2100_0000;
const STACK_POINTER: usize = 13;
const LINK: usize = 14;
/// Looks at a board that went mute.
const SAMPLES: usize = 12;

/// Where a bit flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// r0 to r12, stack pointer, link register, program counter.
    Register,
    /// The part of the stack that is in use.
    Stack,
    /// Variables: the controller, its link, the queues of the port.
    Statics,
    /// The policy it runs on.
    Policy,
    /// Nowhere: what the harness finds without a flip.
    Nowhere,
}

impl Place {
    /// All but nowhere.
    pub const ALL: [Self; 4] = [Self::Register, Self::Stack, Self::Statics, Self::Policy];
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Every decision is the twin's.
    Ok,
    /// The core faulted, and the board was reset and said so.
    Fault,
    /// Decisions or digests differ from the twin's for so long that the agent notices: it takes
    /// the twin's decisions and seeds.
    Twin,
    /// A frame was lost or damaged, which is counted and mended by the next ones.
    Frame,
    /// Nothing more is heard though the core goes on: the twin decides, until somebody resets.
    Mute,
    /// It hung, and the watchdog reset it.
    Watchdog,
    /// A decision that is not the twin's, and nobody notices.
    Silent,
}

impl Class {
    /// All.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::Fault, Self::Twin, Self::Frame, Self::Mute, Self::Watchdog, Self::Silent];
}

/// One flip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// Where.
    pub place: Place,
    /// Which bit, for whoever wants to know.
    pub bit: String,
    /// Whether the core slept when it was stopped: a flip that finds it asleep meets less of the
    /// controller's work.
    pub asleep: bool,
    /// What came of it.
    pub class: Class,
    /// Whether a decision told the board to do something else than the twin's.
    pub wrong: bool,
}

/// What every board is told, and what it must answer.
struct Story {
    /// Frames before the first period.
    opening: Vec<u8>,
    /// Frames of each period.
    periods: Vec<Vec<u8>>,
    /// The twin's decisions, by the number of their last frame: one for the telemetry of each
    /// period, and one for outcomes that change what stands.
    decisions: HashMap<u16, Decision>,
}

/// The release image, ready for flips.
pub struct Campaign {
    needs: Needs,
    folder: Folder,
    story: Story,
    /// Both slots with the policy, and where it is.
    memory: Vec<u8>,
    policy: (u32, u32),
    /// First addresses and lengths of the variables.
    statics: Vec<(u32, u32)>,
    board: Option<Board>,
    starts: u32,
}

impl std::fmt::Debug for Campaign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Campaign").field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Story {
    fn new(case: &Case, policy: &PolicyView<'_>, seed: u64) -> Result<Self> {
        let mut random = Random::new(seed);
        let identity = Identity {
            version: [0, 1, 0],
            boot_nonce: 1,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        let mut node = Node::new(Some(*policy), identity);
        let (mut sender, mut reader) = (Sender::default(), FrameReader::new());
        sender.open(1);
        let mut decisions = HashMap::new();
        let mut tell = |message: &ToController| -> Result<Vec<u8>> {
            let (_, frame) = sender.to_controller(message)?;
            let mut out = Vec::new();
            for byte in frame.bytes() {
                node.feed(*byte, Instant::START, &mut |frame| out.extend(frame.bytes()));
            }
            // The last one would be left undecided, with no frame behind it.
            while node.is_deciding() {
                node.poll(Instant::START, &mut |frame| out.extend(frame.bytes()));
            }
            for byte in out {
                let Received::Packet(header, body) = reader.feed(byte) else { continue };
                let kind = Kind::from_byte(header.kind).context("kind")?;
                if let ToHost::Decision(decision) = ToHost::decode(kind, body)? {
                    decisions.insert(decision.last_seq, decision);
                }
            }
            Ok(frame.bytes().to_vec())
        };
        let VersionRange { min, current } = VersionRange::OURS;
        let spec = ApplicationSpec::parse("--app", &case.spec(case.first))?;
        let mut targets = spec.targets("--app", policy)?;
        targets.period_us = 2 * targets.deadline_us;
        let opening = [
            ToController::Hello(Hello {
                at_us: 0,
                protocol_min: min,
                protocol_current: current,
                schema: FINGERPRINT,
                policy_crc: policy.crc(),
                version: [0, 1, 0],
                boot_nonce: 4711,
                period_us: PERIOD_US,
            }),
            ToController::Application(Application {
                at_us: 1,
                slot: 0,
                change: Change::Set(targets),
            }),
            ToController::Limits(Limits {
                at_us: 2,
                power_cap_mw: NO_POWER_CAP,
                temp_cap_mdeg_c: 85_000,
                parking: true,
            }),
        ];
        let opening = opening.iter().map(&mut tell).collect::<Result<Vec<_>>>()?.concat();
        let mut periods = Vec::new();
        let mut level = policy.levels() - 1;
        for number in 0..BEFORE + BURST + AFTER {
            let at_us = OPENED_US + u32::try_from(number)? * PERIOD_US;
            let base = 3_500 + random.below(4_000);
            let samples: Vec<[u8; 2]> =
                (0..10).map(|_| ((base + random.below(300)) as u16).to_le_bytes()).collect();
            let first_index = u32::try_from(number * samples.len())?;
            let outcomes = tell(&ToController::Outcomes(Outcomes {
                at_us,
                slot: 0,
                sub_network: case.first,
                level,
                first_index,
                samples: samples.iter().copied().collect(),
                outcomes_total: first_index + 10,
                misses_total: 0,
            }))?;
            level = (level + 1) % policy.levels();
            let telemetry = tell(&ToController::Telemetry(Telemetry {
                at_us: at_us + 1,
                level,
                clocks_mhz: [1; 3],
                power_mw: 4_000 + random.below(4_000),
                power_age: Age::FRESH,
                gpu_load_permille: 500,
                gpu_load_age: Age::FRESH,
                temperatures: [
                    Temperature { mdeg_c: 50_000, age: Age::FRESH },
                    Temperature::MISSING,
                ],
            }))?;
            periods.push([outcomes, telemetry].concat());
        }
        Ok(Self { opening, periods, decisions })
    }

    /// The frames that the flip falls into.
    fn burst(&self) -> Vec<u8> {
        self.periods[BEFORE..BEFORE + BURST].concat()
    }

    /// How many decisions the twin takes in these periods.
    fn due(&self, periods: Range<usize>) -> usize {
        let period = |decision: &Decision| (decision.at_us - OPENED_US) / PERIOD_US;
        let all = self.decisions.values();
        all.filter(|decision| periods.contains(&(period(decision) as usize))).count()
    }

    /// Goes on with the story behind the burst, and tells what came of the flip.
    fn listen(&self, board: &mut impl Told, heard: &mut Heard) -> Result<Class> {
        let mut missing = 0;
        // Decisions of the burst may have come before the flip: all of them are compared.
        let mut next = BEFORE + BURST;
        let mut due = self.due(BEFORE..next);
        let mut silent = 0;
        loop {
            let asked = Moment::now();
            while heard.decisions < due && heard.welcome.is_none() {
                let Some(message) = board.poll()? else { break };
                heard.take(self, &message);
                // Messages without end and no decision among them.
                if asked.elapsed() > WATCHDOG_TIME {
                    break;
                }
            }
            if heard.welcome.is_some() {
                break;
            }
            if heard.decisions < due {
                missing += due - heard.decisions;
                due = heard.decisions;
                silent += 1;
                if silent >= SILENT {
                    break;
                }
            } else {
                silent = 0;
            }
            let Some(period) = self.periods.get(next) else { break };
            board.send_bytes(period)?;
            due += self.due(next..next + 1);
            next += 1;
        }
        if heard.welcome.is_none() && silent >= SILENT {
            board.patience(WATCHDOG_TIME)?;
            let since = Moment::now();
            while heard.welcome.is_none() {
                let message = board.poll()?.filter(|_| since.elapsed() <= WATCHDOG_TIME * 2);
                let Some(message) = message else { return Ok(Class::Mute) };
                heard.take(self, &message);
            }
        }
        Ok(match heard.welcome {
            Some(welcome) if welcome.reset_cause == ResetCause::Watchdog => Class::Watchdog,
            Some(_) => Class::Fault,
            None if heard.differing || heard.longest_run >= UNEQUAL_TO_SEED => Class::Twin,
            None if heard.wrong => Class::Silent,
            None if missing > 0 || heard.longest_run > 0 => Class::Frame,
            None => Class::Ok,
        })
    }
}

/// A board that is told the story: the emulated one, or one that a test makes up.
trait Told {
    /// Takes these bytes in.
    fn send_bytes(&mut self, bytes: &[u8]) -> Result<()>;
    /// What it says next; `None` where it says nothing for too long.
    fn poll(&mut self) -> Result<Option<ToHost>>;
    /// How long is too long from now on.
    fn patience(&mut self, timeout: Duration) -> Result<()>;
}

impl Told for Board {
    fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Board::send_bytes(self, bytes)
    }

    fn poll(&mut self) -> Result<Option<ToHost>> {
        Ok(Board::poll(self)?.map(|(_, message)| message))
    }

    fn patience(&mut self, timeout: Duration) -> Result<()> {
        Board::patience(self, timeout)
    }
}

/// What was heard since the flip.
#[derive(Debug, Default)]
struct Heard {
    decisions: usize,
    wrong: bool,
    differing: bool,
    unequal_run: u32,
    longest_run: u32,
    welcome: Option<Welcome>,
    /// Where the core was met afterwards, of a board that went mute.
    places: String,
}

impl Heard {
    fn take(&mut self, story: &Story, message: &ToHost) {
        match message {
            ToHost::Welcome(welcome) => self.welcome = Some(*welcome),
            ToHost::Decision(decision) => {
                self.decisions += 1;
                let twins = story.decisions.get(&decision.last_seq);
                // Where the number is what flipped, the time tells which one it is.
                let meant =
                    twins.or_else(|| story.decisions.values().find(|d| d.at_us == decision.at_us));
                self.wrong |= !meant.is_some_and(|meant| meant.same_action(decision));
                if twins.is_some_and(|twins| twins.digest == decision.digest) {
                    self.differing |= twins != Some(decision);
                    self.unequal_run = 0;
                } else {
                    self.unequal_run += 1;
                    self.longest_run = self.longest_run.max(self.unequal_run);
                }
            }
            _ => {}
        }
    }
}

impl Campaign {
    /// Boots the image on an uploaded policy.
    ///
    /// # Errors
    /// What does not go as it must without any flip.
    pub fn new(needs: &Needs, seed: u64) -> Result<Self> {
        let folder = Folder::new("bit-flips")?;
        let image = fs::read(&needs.policy)
            .with_context(|| format!("policy image {}", needs.policy.display()))?;
        let case = Case::of(image)?;
        let image = case.other_image()?;
        let policy = PolicyView::open(&image).context("policy")?;
        let mut board = Board::start(needs, folder.path(), 0, &[])?;
        board.booted()?;
        board.open()?;
        board.upload(&image)?;
        let welcome = board.booted()?;
        ensure!(welcome.policy_crc == policy.crc(), "it does not run its policy: {welcome:?}");
        let memory = board.memory(SLOTS)?;
        // The first upload goes into the first slot.
        ensure!(memory.starts_with(&image), "the policy is not in the first slot");
        Ok(Self {
            story: Story::new(&case, &policy, seed)?,
            policy: (PSRAM, u32::try_from(image.len())?),
            statics: statics(&needs.firmware)?,
            needs: needs.clone(),
            folder,
            memory,
            board: Some(board),
            starts: 1,
        })
    }

    /// Flips a bit there, in a run of its own.
    ///
    /// # Errors
    /// The emulator fails in a way that no flip explains.
    pub fn flip(&mut self, place: Place, random: &mut Random) -> Result<Flip> {
        let mut board = match self.board.take() {
            Some(board) => board,
            None => {
                self.starts += 1;
                let number = self.starts;
                Board::start(&self.needs, self.folder.path(), number, &[])?
            }
        };
        board.patience(crate::board::PATIENCE)?;
        board.reset_on(&self.memory).context("reset")?;
        board.send_bytes(&self.story.opening)?;
        let mut heard = Heard::default();
        for (number, period) in self.story.periods.iter().enumerate().take(BEFORE) {
            board.send_bytes(period)?;
            let due = self.story.due(0..number + 1);
            while heard.decisions < due {
                let message = board.poll()?.context("no decision before the flip")?;
                heard.take(&self.story, &message.1);
            }
        }
        ensure!(
            !heard.wrong && !heard.differing && heard.longest_run == 0,
            "it differs from the twin before the flip"
        );
        board.send_bytes(&self.story.burst())?;
        std::thread::sleep(Duration::from_micros(u64::from(random.below(4_000))));
        let (bit, asleep) = self.poke(&board, place, random)?;
        // Where nothing is flipped, an answer that a busy machine delays is no silence.
        let patience = if place == Place::Nowhere { WATCHDOG_TIME } else { DECISION_TIME };
        board.patience(patience)?;
        let mut heard = Heard::default();
        // A lock-up of the core ends the emulator: on a board its watchdog ends that.
        let class = match self.story.listen(&mut board, &mut heard) {
            Ok(class) => {
                if class == Class::Mute {
                    heard.places = whereabouts(&board)?;
                }
                self.board = Some(board);
                class
            }
            Err(_) if board.emulator_ended() => Class::Watchdog,
            Err(error) => return Err(error),
        };
        let bit = if heard.places.is_empty() { bit } else { format!("{bit}; {}", heard.places) };
        Ok(Flip { place, bit, asleep, class, wrong: heard.wrong })
    }

    /// Stops the core, awake if it can be, flips a bit and lets it go on. Tells which bit, and
    /// whether the core slept.
    fn poke(&self, board: &Board, place: Place, random: &mut Random) -> Result<(String, bool)> {
        for last in (0..TRIES).rev() {
            let mut stub = DebugStub::connect(board.emulator().debug_socket())?;
            let pc = stub.program_counter()?;
            let behind = pc.wrapping_sub(2);
            let asleep = [stub.read_byte(behind)?, stub.read_byte(behind.wrapping_add(1))?] == WFI;
            if asleep && last > 0 && place != Place::Nowhere {
                stub.go_on()?;
                std::thread::sleep(Duration::from_micros(u64::from(random.below(500))));
                continue;
            }
            let bit = self.poke_stopped(&mut stub, place, random)?;
            stub.go_on()?;
            return Ok((format!("{bit}, pc {pc:#x}"), asleep));
        }
        anyhow::bail!("the core was never stopped")
    }

    fn poke_stopped(
        &self,
        stub: &mut DebugStub,
        place: Place,
        random: &mut Random,
    ) -> Result<String> {
        let ranges = match place {
            Place::Nowhere => return Ok("none".into()),
            Place::Register => {
                let number = random.below(16) as usize;
                let bit = random.below(32);
                let value = stub.register(number)?;
                // What does not stick (the lowest bits of some registers) has no effect.
                let written = stub.set_register(number, value ^ (1 << bit)).is_ok();
                let stuck = if written { "" } else { " (reads as before)" };
                return Ok(format!("r{number} bit {bit}{stuck}"));
            }
            Place::Stack => {
                let sp = stub.register(STACK_POINTER)?.clamp(STACK_TOP - 8 * 1024, STACK_TOP - 4);
                vec![(sp, STACK_TOP - sp)]
            }
            Place::Statics => self.statics.clone(),
            Place::Policy => vec![self.policy],
        };
        let total = ranges.iter().map(|(_, length)| length).sum();
        let mut offset = random.below(total);
        let mut address = 0;
        for (first, length) in ranges {
            if offset < length {
                address = first + offset;
                break;
            }
            offset -= length;
        }
        let bit = random.below(8);
        let byte = stub.read_byte(address)?;
        stub.write(address, &[byte ^ (1 << bit)])?;
        Ok(format!("{address:#x} bit {bit}"))
    }
}

/// Program counter and link register of some moments.
fn whereabouts(board: &Board) -> Result<String> {
    let mut places = String::from("then at pc/lr");
    for _ in 0..SAMPLES {
        let mut stub = DebugStub::connect(board.emulator().debug_socket())?;
        places.push_str(&format!(" {:#x}/{:#x}", stub.program_counter()?, stub.register(LINK)?));
        stub.go_on()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(places)
}

/// Where the image has its variables.
fn statics(firmware: &Path) -> Result<Vec<(u32, u32)>> {
    let bytes = fs::read(firmware).with_context(|| firmware.display().to_string())?;
    let file = object::File::parse(&*bytes).context("no ELF file")?;
    [".data", ".bss", ".uninit"]
        .into_iter()
        .filter_map(|name| file.section_by_name(name))
        .filter(|section| section.size() > 0)
        .map(|section| Ok((u32::try_from(section.address())?, u32::try_from(section.size())?)))
        .collect()
}

/// How many of the flips met the core asleep, whatever came of them.
#[must_use]
pub fn asleep(flips: &[Flip]) -> usize {
    flips.iter().filter(|flip| flip.asleep).count()
}

/// The classes by place, as a table of Markdown.
#[must_use]
pub fn table(flips: &[Flip]) -> String {
    let mut text = String::from(
        "| place | flips | ok | core fault, reset | seen by the twin | frame lost, mended | mute, \
         twin decides | hang, watchdog | silent | a wrong decision before it was seen |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut row = |name: &str, of: &dyn Fn(&Flip) -> bool| {
        let those: Vec<_> = flips.iter().filter(|flip| of(flip)).collect();
        let mut cells = vec![name.to_owned(), those.len().to_string()];
        for class in Class::ALL {
            let count = those.iter().filter(|flip| flip.class == class).count();
            cells.push(count.to_string());
        }
        let wrong = those.iter().filter(|flip| flip.wrong && flip.class != Class::Silent).count();
        cells.push(wrong.to_string());
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    };
    for place in Place::ALL {
        let name = match place {
            Place::Register => "registers",
            Place::Stack => "stack in use",
            Place::Statics => "variables",
            Place::Policy => "policy",
            Place::Nowhere => continue,
        };
        row(name, &|flip| flip.place == place);
    }
    row("all", &|_| true);
    text
}

#[cfg(test)]
mod tests;
