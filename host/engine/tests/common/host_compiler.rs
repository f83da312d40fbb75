//! Compiles the CUDA sources to libraries of the host; of the engine's tests and of the tools'.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of its own with the kernels' sources and a fault: `from`, which stands once in a file,
/// replaced by `to`.
pub(crate) fn faulty(sources: &Path, file: &str, from: &str, to: &str) -> PathBuf {
    let folder = scratch("mutant");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(sources).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let mut text = std::fs::read_to_string(path).unwrap();
        if name == file {
            assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
            text = text.replace(from, to);
        }
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder
}

/// Compiles a source to a library of the host, the emulation read first.
pub(crate) fn compile(source: &Path, folder: &Path, library: &Path) {
    let object = library.with_extension("o");
    let mut command = compiler();
    command
        .args(["-x", "c++", "-std=c++17", "-O2", "-fPIC", "-c", "-fvisibility=hidden"])
        // The fibres jump between stacks, which its longjmp takes for an error.
        .arg("-U_FORTIFY_SOURCE")
        // Accesses of vectors that are not aligned, which trap on a device: emulation.h is asked.
        .args(["-fsanitize=alignment", "-fsanitize-recover=alignment"])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"])
        .arg("-I")
        .arg(folder)
        .arg("-include")
        .arg(folder.join("emulation.h"))
        .arg(source);
    built(command, &object);
    // Apart from it: with that option the compiler would link the sanitizer's own library.
    let mut command = compiler();
    command.arg("-shared").arg(&object);
    built(command, library);
    std::fs::remove_file(object).unwrap();
}

/// A folder of its own with the emulated driver, `libcuda.so`, its kernels compiled from the sources of
/// a folder; `engine` is the engine's package.
pub(crate) fn driver(engine: &Path, sources: &Path) -> PathBuf {
    let folder = scratch("driver");
    std::fs::create_dir_all(&folder).unwrap();
    compile(&engine.join("tests/driver/libcuda.cpp"), sources, &folder.join("libcuda.so"));
    folder
}

fn compiler() -> Command {
    Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()))
}

/// Runs a command that writes a file.
fn built(mut command: Command, target: &Path) {
    let output = command.arg("-o").arg(target).output().unwrap_or_else(|error| {
        let compiler = command.get_program().display();
        panic!("{compiler}: {error}; install a C++ compiler (g++), or name one by CXX")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A path of its own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{count}-{name}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
