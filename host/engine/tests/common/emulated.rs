//! The CUDA kernels on the host: compiled by the machine's C++ compiler, the threads of a block as
//! fibres (`kernels/cuda/emulation.h`).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use coshift_engine::cuda::launch::{Bases, Launch, Place, Space, TENSORS};
use coshift_engine::kernels::blocked::{LANES, Lanes};

#[path = "host_compiler.rs"]
pub(crate) mod host_compiler;

pub(crate) use host_compiler::{compile, scratch};

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const NOW: c_int = 2;

type Run = unsafe extern "C" fn(*const c_char, *const u32, u32, *const c_void, u64) -> c_int;

/// The kernels, ready to run.
pub(crate) struct Emulated(Run);

/// Where the kernels' sources are.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels/cuda");

impl Emulated {
    /// The kernels as they are, compiled once.
    pub(crate) fn kernels() -> &'static Self {
        static KERNELS: OnceLock<Emulated> = OnceLock::new();
        KERNELS.get_or_init(|| Self::compiled(Path::new(FOLDER)))
    }

    /// The kernels of [`faulty`] sources.
    pub(crate) fn mutant(file: &str, from: &str, to: &str) -> Self {
        let folder = faulty(file, from, to);
        let mutant = Self::compiled(&folder);
        std::fs::remove_dir_all(folder).unwrap();
        mutant
    }

    fn compiled(folder: &Path) -> Self {
        let library = scratch("kernels.so");
        compile(&folder.join("kernels.cu"), folder, &library);
        let name = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: the library was just compiled from the project's sources; its initialisers only
        // build a list. It is never unloaded.
        let run = unsafe {
            let handle = dlopen(name.as_ptr(), NOW);
            assert!(!handle.is_null(), "{:?}", CStr::from_ptr(dlerror()));
            let run = dlsym(handle, c"coshift_emulate".as_ptr());
            assert!(!run.is_null(), "{:?}", CStr::from_ptr(dlerror()));
            // SAFETY: the function's type is that of emulation.h.
            std::mem::transmute::<*mut c_void, Run>(run)
        };
        std::fs::remove_file(library).unwrap();
        Self(run)
    }

    /// Runs a launch on memories of the host, in an order of this seed.
    pub(crate) fn run(
        &self,
        launch: &Launch,
        memory: &mut Memory,
        seed: u64,
    ) -> Result<(), String> {
        let address = |lanes: &mut Vec<Lanes>| lanes.as_mut_ptr() as u64;
        let bases = Bases {
            weights: address(&mut memory.weights),
            own: address(&mut memory.own),
            arena: address(&mut memory.arena),
            tensors: memory.tensors,
        };
        let (name, argument) = (CString::new(launch.kernel).unwrap(), launch.argument(&bases));
        // SAFETY: the argument is the kernel's structure with places in memories that are borrowed
        // exclusively; that kernels stay within them is what is tested, over gaps that nothing uses.
        let fault = unsafe {
            self.0(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.threads,
                argument.as_ptr().cast(),
                seed,
            )
        };
        match fault {
            0 => Ok(()),
            fault => Err(format!("{}: fault {fault} of emulation.h", launch.kernel)),
        }
    }
}

/// A folder of its own with the kernels' sources and a fault ([`host_compiler::faulty`]).
pub(crate) fn faulty(file: &str, from: &str, to: &str) -> PathBuf {
    host_compiler::faulty(Path::new(FOLDER), file, from, to)
}

/// A value that every sum it enters shows.
pub(crate) const POISON: Lanes = Lanes([f32::NAN; LANES]);

/// What kernels read and write.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) weights: Vec<Lanes>,
    pub(crate) own: Vec<Lanes>,
    pub(crate) arena: Vec<Lanes>,
    /// Addresses of tensors, which must outlive the launches.
    pub(crate) tensors: [u64; TENSORS],
}

impl Memory {
    /// Puts values into the arena, gaps of poison around them.
    pub(crate) fn put(&mut self, lanes: &[Lanes]) -> Place {
        self.arena.extend([POISON; 8]);
        let at = self.arena.len() * LANES;
        self.arena.extend_from_slice(lanes);
        self.arena.extend([POISON; 8]);
        Place { space: Space::Arena, at }
    }

    /// Room for what a kernel writes.
    pub(crate) fn room(&mut self, lanes: usize) -> Place {
        self.put(&vec![POISON; lanes])
    }

    /// What lies at a place of the arena.
    pub(crate) fn at(&self, place: Place, lanes: usize) -> &[Lanes] {
        assert_eq!(place.space, Space::Arena);
        &self.arena[place.at / LANES..][..lanes]
    }
}
