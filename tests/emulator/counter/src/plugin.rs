//! The plugin interface of the emulator, version 1, declared by hand: its header is not packaged.
//!
//! Names, signatures and layouts are those of `include/qemu/qemu-plugin.h` of QEMU 7.2.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::count::{Begins, Counter, Instruction};
use crate::thumb::Kind;

/// The version of the interface that this plugin speaks.
const VERSION: c_int = 1;
/// `QEMU_PLUGIN_CB_NO_REGS`: the callback looks at no register.
const NO_REGISTERS: c_int = 0;
/// Most functions and most handlers: their numbers fit a byte.
const MAX_NAMES: usize = 255;
/// Exit code of a run that cannot go on.
const EXIT: i32 = 78;

type PluginId = u64;

/// A translated block of instructions; opaque.
#[repr(C)]
pub(crate) struct Block([u8; 0]);

/// One of its instructions; opaque.
#[repr(C)]
pub(crate) struct BlockInstruction([u8; 0]);

/// `qemu_info_t`.
#[repr(C)]
pub(crate) struct Info {
    target_name: *const c_char,
    version_min: c_int,
    version_current: c_int,
    system_emulation: bool,
    cpus: c_int,
    max_cpus: c_int,
}

type OnTranslation = extern "C" fn(PluginId, *mut Block);
type OnExecution = extern "C" fn(c_uint, *mut c_void);
type OnExit = extern "C" fn(PluginId, *mut c_void);

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, callback: OnTranslation);
    fn qemu_plugin_register_atexit_cb(id: PluginId, callback: OnExit, data: *mut c_void);
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut BlockInstruction;
    fn qemu_plugin_insn_data(instruction: *const BlockInstruction) -> *const c_void;
    fn qemu_plugin_insn_size(instruction: *const BlockInstruction) -> usize;
    fn qemu_plugin_insn_vaddr(instruction: *const BlockInstruction) -> u64;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut BlockInstruction,
        callback: OnExecution,
        flags: c_int,
        data: *mut c_void,
    );
}

/// The emulator reads this before it calls anything, and refuses a version it does not have.
// SAFETY: no other symbol of this name is linked; the emulator looks it up in this library alone.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = VERSION;

/// What the callbacks share. There is one processor, so the lock is never waited for.
static STATE: Mutex<Option<State>> = Mutex::new(None);

struct State {
    counter: Counter,
    out: File,
    /// First instructions, and what begins there.
    begins: Vec<(u32, Begins)>,
}

/// Reports an error on one line and ends the emulator: a callback has no other way to fail.
fn fail(what: &str) -> ! {
    eprintln!("counter plugin: {what}");
    std::process::exit(EXIT)
}

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called once, before anything is executed. Zero: the plugin is in place.
///
/// # Safety
/// To be called by the emulator: `info` and `count` strings at `arguments` are valid for the call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: the emulator passes a valid structure, of this layout in the version checked below (the
    // version is its second field in every one).
    let info = unsafe { &*info };
    // SAFETY: a terminated string of the emulator's own.
    let target = unsafe { CStr::from_ptr(info.target_name) }.to_string_lossy();
    let (min, current) = (info.version_min, info.version_current);
    let arguments = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
        // SAFETY: `index` is below the number of strings that the emulator passes, each terminated.
        unsafe { CStr::from_ptr(*arguments.add(index)) }.to_string_lossy().into_owned()
    });
    let fits = if !(min..=current).contains(&VERSION) {
        Err(format!("it speaks plugin version {VERSION}, the emulator {min} to {current}"))
    } else if target != "arm" || !info.system_emulation || info.cpus != 1 {
        Err(format!("it counts one processor of a whole arm system, not {} of {target}", info.cpus))
    } else {
        State::new(arguments)
    };
    let fits = match fits {
        Ok(fits) => fits,
        Err(why) => {
            eprintln!("counter plugin: {why}");
            return 1;
        }
    };
    *state() = Some(fits);
    // SAFETY: the identity is the one given, and both callbacks have the types that are declared.
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
        qemu_plugin_register_atexit_cb(id, on_exit, std::ptr::null_mut());
    }
    0
}

impl State {
    fn new(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut out, mut begins) = (None, Vec::new());
        let (mut handlers, mut functions) = (Vec::new(), Vec::new());
        for argument in arguments {
            let (name, value) =
                argument.split_once('=').ok_or_else(|| format!("{argument}: name=value"))?;
            match name {
                "out" => out = Some(PathBuf::from(value)),
                "reset" => begins.push((address(value)?, Begins::Boot)),
                "handler" => {
                    let (number, address) = named(value, &mut handlers)?;
                    begins.push((address, Begins::Handler(number)));
                }
                "function" => {
                    let (number, address) = named(value, &mut functions)?;
                    begins.push((address, Begins::Function(number)));
                }
                _ => return Err(format!("{argument}: out=, reset=, handler= or function=")),
            }
        }
        let out = out.ok_or("out= is missing")?;
        let out = File::create(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        begins.sort_by_key(|(address, _)| *address);
        if let Some([(twice, _), _]) = begins.array_windows().find(|[(a, _), (b, _)]| a == b) {
            return Err(format!("{twice:#x} is given twice"));
        }
        Ok(Self { counter: Counter::new(handlers, functions), out, begins })
    }

    fn write(&mut self, text: &str) {
        if let Err(error) = self.out.write_all(text.as_bytes()) {
            fail(&format!("cannot write the records: {error}"));
        }
    }
}

/// `NAME:ADDRESS`: the name's number, and the address.
fn named(value: &str, names: &mut Vec<String>) -> Result<(u8, u32), String> {
    let (name, at) = value.rsplit_once(':').ok_or_else(|| format!("{value}: NAME:ADDRESS"))?;
    if names.len() >= MAX_NAMES {
        return Err(format!("{value}: more than {MAX_NAMES}"));
    }
    let number = u8::try_from(names.len()).map_err(|error| error.to_string())?;
    names.push(name.to_owned());
    Ok((number, address(at)?))
}

fn address(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u32::from_str_radix(digits, 16).map_err(|error| format!("{text}: {error}"))
}

extern "C" fn on_translation(_: PluginId, block: *mut Block) {
    let state = state();
    let Some(State { begins, .. }) = &*state else { return };
    // SAFETY: the block is valid during this call; so are its instructions, counted by the emulator.
    for index in 0..unsafe { qemu_plugin_tb_n_insns(block) } {
        // SAFETY: as above; the index is below the number of instructions. The bytes of an
        // instruction are its own as long as it is, and are as many as its size says.
        let (instruction, address, bytes) = unsafe {
            let instruction = qemu_plugin_tb_get_insn(block, index);
            let (data, size) =
                (qemu_plugin_insn_data(instruction), qemu_plugin_insn_size(instruction));
            let bytes = std::slice::from_raw_parts(data.cast::<u8>(), size);
            (instruction, qemu_plugin_insn_vaddr(instruction), bytes)
        };
        let Ok(address) = u32::try_from(address) else { fail("an address of more than 32 bits") };
        let begins = begins.binary_search_by_key(&address, |(at, _)| *at);
        let begins = begins.ok().and_then(|place| state_at(&state, place));
        let size = u32::try_from(bytes.len()).unwrap_or(0);
        let behind = address.wrapping_add(size);
        let packed = pack(Instruction { address, behind, kind: Kind::of(bytes), begins });
        let data = std::ptr::without_provenance_mut(packed);
        // SAFETY: the instruction is valid, see above; the data is a number, no pointer.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_execution, NO_REGISTERS, data);
        }
    }
}

fn state_at(state: &Option<State>, place: usize) -> Option<Begins> {
    Some(state.as_ref()?.begins.get(place)?.1)
}

extern "C" fn on_execution(_: c_uint, data: *mut c_void) {
    let mut state = state();
    let Some(state) = state.as_mut() else { return };
    match state.counter.execute(unpack(data.addr())) {
        Ok(false) => {}
        Ok(true) => {
            let records = state.counter.take_records();
            state.write(&records);
        }
        Err(why) => fail(&why),
    }
}

extern "C" fn on_exit(_: PluginId, _: *mut c_void) {
    let mut state = state();
    let Some(state) = state.as_mut() else { return };
    let records = state.counter.take_records() + &state.counter.summary();
    state.write(&records);
}

const _: () = assert!(usize::BITS == 64, "an instruction is packed into a pointer");

/// An instruction as the number that the emulator hands to the callback: from the lowest bit on, its
/// address (32), its size (8), its kind (8), what begins there (8), and the number of that (8).
fn pack(instruction: Instruction) -> usize {
    let Instruction { address, behind, kind, begins } = instruction;
    let (what, number) = match begins {
        None => (0, 0),
        Some(Begins::Boot) => (1, 0),
        Some(Begins::Handler(number)) => (2, number),
        Some(Begins::Function(number)) => (3, number),
    };
    let [a, b, c, d] = address.to_le_bytes();
    let [size, ..] = behind.wrapping_sub(address).to_le_bytes();
    usize::from_le_bytes([a, b, c, d, size, kind as u8, what, number])
}

fn unpack(packed: usize) -> Instruction {
    let [a, b, c, d, size, kind, what, number] = packed.to_le_bytes();
    let address = u32::from_le_bytes([a, b, c, d]);
    let begins = match what {
        1 => Some(Begins::Boot),
        2 => Some(Begins::Handler(number)),
        3 => Some(Begins::Function(number)),
        _ => None,
    };
    let behind = address.wrapping_add(u32::from(size));
    Instruction { address, behind, kind: Kind::from_number(kind), begins }
}
