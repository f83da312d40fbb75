//! `cargo xtask cuda`: the offline tools with the engine's CUDA kernels, also where no CUDA toolkit is
//! installed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::device_side;
use crate::embedded::JETSON;
use crate::jetson;
use crate::workspace::{self, Workspace};

/// The release of the toolkit that is fetched.
const RELEASE: &str = "13.0";
/// The parts of it that compiling the kernels takes. The program itself needs the driver alone, which
/// it looks for when it is first used.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
    "nvidia-nvvm==13.0.*",
];
/// What candle is linked with beside. cuRAND counts in its own way: 10.4.0 is that of CUDA 13.0.
const CANDLE_PACKAGES: [&str; 3] =
    ["nvidia-cublas==13.0.*", "nvidia-cuda-nvrtc==13.0.*", "nvidia-curand==10.4.0.*"];

/// Build coshift-tools with inference on NVIDIA GPUs.
///
/// Takes the CUDA toolkit of CUDA_HOME, else that of the nvcc in PATH. Where there is neither, the
/// parts of CUDA 13.0 that the build needs (300 MB) are fetched with Python's pip into
/// target/cuda-13.0; nothing else of the machine changes. No GPU is needed to build, and none to start
/// the program.
///
/// With --candle it is the engine with its operators in candle graphs on a GPU that is built, and its
/// test, to be carried to a machine with a GPU.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Compute capabilities: 87 for Orin, 90 for H100 and H200, several with commas; with --candle one.
    /// CUDA 13 knows those from 75 on; 72 (Xavier) takes a CUDA_HOME with CUDA 12 or 11.4
    #[arg(
        long,
        value_name = "LIST",
        default_value = "87,90",
        default_value_ifs([("candle", "true", "90"), ("aarch64", "true", "87")])
    )]
    compute_cap: String,
    /// Test what runs networks on a device, over a driver that is emulated on the host, in place of
    /// building; needs a C++ compiler, no GPU, and a toolkit with --candle only
    #[arg(long)]
    test: bool,
    /// The engine with the feature candle-cuda in place of coshift-tools. candle compiles its kernels
    /// once, many minutes, and is linked with cuBLAS, cuRAND and NVRTC (0.8 GB more to fetch)
    #[arg(long)]
    candle: bool,
    /// coshift-tools for the processor of a Jetson in place of this machine's; takes what `cargo xtask
    /// test --aarch64` takes. On a Jetson itself the command does without
    #[arg(long, conflicts_with_all = ["test", "candle"])]
    aarch64: bool,
    /// Install what is missing for --aarch64 without asking (CI=true does the same)
    #[arg(long, requires = "aarch64")]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let capabilities = capabilities(&args.compute_cap, args.candle)?;
    let workspace = Workspace::locate()?;
    if args.test && !args.candle {
        workspace::run(&mut device_side::tests(&workspace))?;
        return Ok(ExitCode::SUCCESS);
    }
    // Asked for before anything is fetched.
    let jetson = args.aarch64.then(|| jetson::toolchain(args.yes)).transpose()?;
    let toolkit = match installed(std::env::var_os("CUDA_HOME").map(PathBuf::from))? {
        Some(toolkit) => toolkit,
        None => fetched(&workspace.target_dir.join(format!("cuda-{RELEASE}")), args.candle)?,
    };
    println!("CUDA toolkit: {}", toolkit.display());
    let mut libraries = vec![toolkit.join("lib64")];
    if args.candle {
        let stub = workspace.target_dir.join("cuda-driver-stub");
        driver_stub(&toolkit, &stub)?;
        libraries.insert(0, stub);
    }
    let mut build = workspace.cargo();
    build.args(arguments(args.candle, args.test));
    if let Some(toolchain) = &jetson {
        jetson::compile_for(&workspace, toolchain, &mut build);
    }
    // Last: nvcc is to be in the PATH, whatever a toolchain makes of it.
    for (name, value) in environment(&toolkit, &libraries, &capabilities)? {
        build.env(name, value);
    }
    if args.candle && args.test {
        // candle's kernels never run here, and are sooner there. What cargo keeps of them is apart from
        // the release that runs on a GPU.
        build.env("NVCC_APPEND_FLAGS", "-Xcicc -O0 -Xptxas -O0");
    }
    workspace::run(&mut build)?;
    match (args.candle, args.test) {
        (_, true) => {}
        (true, false) => {
            println!(
                "The test above (compute capability {capabilities}), on a machine with a GPU and"
            );
            println!("the libraries of CUDA {RELEASE} in LD_LIBRARY_PATH:");
            println!("  candle_cuda-… --ignored --exact on_a_gpu");
        }
        (false, false) => {
            let folder = match jetson {
                Some(_) => jetson::target_dir(&workspace).join(JETSON),
                None => workspace.target_dir.clone(),
            };
            let program = folder.join("release/coshift-tools");
            let program = program.display();
            println!("{program} (compute capability {capabilities}); on a machine with a GPU:");
            println!("  coshift-tools bench engine --device cuda --check --json");
            println!("  coshift-tools bench engine --device cuda --peers --json");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What cargo is asked for. Tests without candle take no toolkit ([`device_side`]).
fn arguments(candle: bool, test: bool) -> Vec<&'static str> {
    if !candle {
        return vec!["build", "--release", "--package", "coshift-tools", "--features", "cuda"];
    }
    let mut all = vec!["test", "--package", "coshift-engine", "--no-default-features"];
    all.extend(["--features", "candle-cuda", "--test", "candle_cuda"]);
    if !test {
        all.extend(["--no-run", "--release"]);
    }
    all
}

/// The capabilities as the engine's build reads them: `87,90`.
fn capabilities(list: &str, one: bool) -> Result<String> {
    let mut all = Vec::new();
    for part in list.split(',').map(str::trim) {
        let digits = part.trim_start_matches("sm_").replace('.', "");
        if !(2..=3).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("--compute-cap: `{part}`, expected numbers like 87 or 8.7, with commas");
        }
        all.push(digits);
    }
    if one && all.len() > 1 {
        bail!("--compute-cap: `{list}`, but with --candle one: candle's kernels are for one");
    }
    Ok(all.join(","))
}

/// The toolkit of `CUDA_HOME` or of the `PATH`.
fn installed(home: Option<PathBuf>) -> Result<Option<PathBuf>> {
    if let Some(home) = home.filter(|home| !home.as_os_str().is_empty()) {
        if !home.join("bin/nvcc").is_file() {
            bail!(
                "CUDA_HOME is {}, which has no bin/nvcc; unset it or name a CUDA toolkit",
                home.display()
            );
        }
        return Ok(Some(home));
    }
    let nvcc = workspace::find_program("nvcc").and_then(|nvcc| nvcc.canonicalize().ok());
    Ok(nvcc.and_then(|nvcc| Some(nvcc.parent()?.parent()?.to_owned())))
}

/// The toolkit in a folder of the project's, fetched where it is not there.
fn fetched(folder: &Path, candle: bool) -> Result<PathBuf> {
    // Written last.
    let complete = folder.join("complete");
    if !complete.is_file() {
        if workspace::find_program("python3").is_none() {
            bail!(
                "no CUDA toolkit (CUDA_HOME, nvcc in PATH), and no python3 to fetch one with: \
                 install one of them (apt-get install python3 python3-venv)"
            );
        }
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let parent = folder.parent().context("the root folder")?;
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        workspace::run(Command::new("python3").args(["-m", "venv"]).arg(folder))
            .context("python3 makes no environment (Debian: apt-get install python3-venv)")?;
        fetch(folder, &PACKAGES, &complete)?;
    }
    // In the same folder, where it is asked for.
    let complete = folder.join("complete-candle");
    if candle && !complete.is_file() {
        fetch(folder, &CANDLE_PACKAGES, &complete)?;
    }
    toolkit_in(folder)
}

/// Fetches packages, makes their links and then the file that says that they are there.
fn fetch(folder: &Path, packages: &[&str], complete: &Path) -> Result<()> {
    workspace::run(&mut pip(folder, packages)).with_context(|| {
        format!(
            "CUDA {RELEASE} cannot be fetched with pip (no network?); \
             CUDA_HOME names a toolkit that is installed"
        )
    })?;
    link_libraries(&toolkit_in(folder)?)?;
    std::fs::write(complete, RELEASE).with_context(|| complete.display().to_string())
}

fn pip(folder: &Path, packages: &[&str]) -> Command {
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(packages);
    pip
}

/// Makes a library that a linker takes for the driver's, as toolkits have one in `lib64/stubs` and
/// packages for pip have not: every function of `cuda.h`, each of which refuses.
fn driver_stub(toolkit: &Path, folder: &Path) -> Result<()> {
    let header = toolkit.join("include/cuda.h");
    let text = std::fs::read_to_string(&header).with_context(|| header.display().to_string())?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let source = folder.join("libcuda.c");
    std::fs::write(&source, stub_source(&text)).with_context(|| source.display().to_string())?;
    let library = folder.join("libcuda.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]);
    workspace::run(compiler.arg(&library).arg(&source))
        .context("a C compiler (Debian: apt-get install gcc) makes the driver's stub")?;
    link(Path::new("libcuda.so"), folder.join("libcuda.so.1"))
}

/// A function for each name of the driver's in its header, `cu` and a capital letter. 34 is
/// `CUDA_ERROR_STUB_LIBRARY`.
fn stub_source(header: &str) -> String {
    let words = header.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let function = |word: &&str| {
        word.strip_prefix("cu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let names: std::collections::BTreeSet<&str> = words.filter(function).collect();
    names.into_iter().map(|name| format!("int {name}(void) {{ return 34; }}\n")).collect()
}

/// A link where none is.
fn link(to: &Path, from: PathBuf) -> Result<()> {
    if from.symlink_metadata().is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink(to, &from).with_context(|| from.display().to_string())
}

/// Where pip has put the toolkit: `lib/python3.X/site-packages/nvidia/cu13`.
fn toolkit_in(folder: &Path) -> Result<PathBuf> {
    let lib = folder.join("lib");
    let read = std::fs::read_dir(&lib).with_context(|| lib.display().to_string())?;
    read.filter_map(|entry| Some(entry.ok()?.path().join("site-packages/nvidia/cu13")))
        .find(|toolkit| toolkit.join("bin/nvcc").is_file())
        .with_context(|| {
            let lib = lib.display();
            format!("{lib}: no python3.*/site-packages/nvidia/cu13/bin/nvcc; remove the folder")
        })
}

/// What packages for pip leave out: `lib64`, and each `libX.so` beside its `libX.so.N`.
fn link_libraries(toolkit: &Path) -> Result<()> {
    link(Path::new("lib"), toolkit.join("lib64"))?;
    let lib = toolkit.join("lib");
    let read = std::fs::read_dir(&lib).with_context(|| lib.display().to_string())?;
    for entry in read {
        let name = entry.with_context(|| lib.display().to_string())?.file_name();
        let name = name.to_string_lossy();
        if let Some((stem, _)) = name.split_once(".so.") {
            link(Path::new(&*name), lib.join(format!("{stem}.so")))?;
        }
    }
    Ok(())
}

/// What the build is told.
fn environment(
    toolkit: &Path,
    libraries: &[PathBuf],
    capabilities: &str,
) -> Result<Vec<(&'static str, std::ffi::OsString)>> {
    let before = |name: &str, folders: &[PathBuf]| {
        let old = std::env::var_os(name).unwrap_or_default();
        let old: Vec<_> =
            std::env::split_paths(&old).filter(|path| !path.as_os_str().is_empty()).collect();
        std::env::join_paths(folders.iter().chain(&old))
            .with_context(|| format!("{name} and {}", toolkit.display()))
    };
    let mut all = vec![
        ("CUDA_HOME", toolkit.into()),
        ("CUDA_COMPUTE_CAP", capabilities.into()),
        ("PATH", before("PATH", &[toolkit.join("bin")])?),
        ("LIBRARY_PATH", before("LIBRARY_PATH", libraries)?),
        ("LD_LIBRARY_PATH", before("LD_LIBRARY_PATH", libraries)?),
    ];
    // Of candle's kernels so many compile at a time, which is half the cores otherwise.
    let threads = "CUDAFORGE_THREADS";
    if std::env::var_os(threads).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        all.push((threads, cores.to_string().into()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty folder, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("coshift-cuda-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn capabilities_are_numbers() {
        assert_eq!(capabilities("8.7, sm_90", false).unwrap(), "87,90");
        for wrong in ["", "orin", "9", "87,", "8-7"] {
            let message = capabilities(wrong, false).unwrap_err().to_string();
            assert!(message.contains("--compute-cap") && message.contains("87"), "{message}");
        }
        assert_eq!(capabilities("8.7", true).unwrap(), "87");
        let message = capabilities("87,90", true).unwrap_err().to_string();
        assert!(message.contains("--compute-cap") && message.contains("--candle"), "{message}");
    }

    #[test]
    fn a_home_without_a_compiler_is_named() {
        let folder = Folder::new("home");
        let message = installed(Some(folder.0.clone())).unwrap_err().to_string();
        assert!(message.contains("bin/nvcc") && message.contains("CUDA_HOME"), "{message}");
        folder.file("bin/nvcc");
        assert_eq!(installed(Some(folder.0.clone())).unwrap(), Some(folder.0.clone()));
    }

    #[test]
    fn a_toolkit_from_pip_is_found_and_its_links_are_made_once() {
        let folder = Folder::new("pip");
        std::fs::create_dir(folder.0.join("lib")).unwrap();
        let message = format!("{:#}", toolkit_in(&folder.0).unwrap_err());
        assert!(message.contains("nvidia/cu13"), "{message}");
        let toolkit = "lib/python3.11/site-packages/nvidia/cu13";
        folder.file(&format!("{toolkit}/bin/nvcc"));
        folder.file(&format!("{toolkit}/lib/libcudart.so.13"));
        folder.file(&format!("{toolkit}/lib/libcudart_static.a"));
        let found = toolkit_in(&folder.0).unwrap();
        assert_eq!(found, folder.0.join(toolkit));
        for _ in 0..2 {
            link_libraries(&found).unwrap();
        }
        assert!(found.join("lib64/libcudart.so").is_file());
        assert_eq!(std::fs::read_dir(found.join("lib")).unwrap().count(), 3);
    }

    #[test]
    fn the_build_is_told_where_the_toolkit_is() {
        let libraries = ["/stub", "/cuda/lib64"].map(PathBuf::from);
        let told = environment(Path::new("/cuda"), &libraries, "87,90").unwrap();
        let value = |name| told.iter().find(|(n, _)| *n == name).unwrap().1.to_str().unwrap();
        assert_eq!(value("CUDA_HOME"), "/cuda");
        assert_eq!(value("CUDA_COMPUTE_CAP"), "87,90");
        assert!(value("PATH").starts_with("/cuda/bin:"));
        assert!(value("LIBRARY_PATH").starts_with("/stub:/cuda/lib64"));
        assert!(value("LD_LIBRARY_PATH").split(':').all(|folder| !folder.is_empty()));
    }

    #[test]
    fn every_part_is_fetched_in_one_release() {
        let line = workspace::describe(&pip(Path::new("/folder"), &PACKAGES));
        for package in PACKAGES {
            assert!(line.contains(package) && package.contains(RELEASE), "{line}");
        }
    }

    #[test]
    fn the_stub_of_the_driver_has_what_the_header_names() {
        let header = "#define cuMemAlloc cuMemAlloc_v2\ntypedef enum CUresult_enum { cudaFoo } CUresult;\n\
                      CUresult CUDAAPI cuInit(unsigned int Flags);\nint accuMulate, cuuint32_t;\n";
        let source = stub_source(header);
        let names = ["cuInit", "cuMemAlloc", "cuMemAlloc_v2"];
        let expected: String =
            names.iter().map(|name| format!("int {name}(void) {{ return 34; }}\n")).collect();
        assert_eq!(source, expected);
        let folder = Folder::new("stub");
        folder.file("include/cuda.h");
        std::fs::write(folder.0.join("include/cuda.h"), header).unwrap();
        let stub = folder.0.join("stub");
        for _ in 0..2 {
            driver_stub(&folder.0, &stub).unwrap();
        }
        assert!(stub.join("libcuda.so.1").is_file());
        let message = format!("{:#}", driver_stub(&stub, &stub).unwrap_err());
        assert!(message.contains("include/cuda.h"), "{message}");
    }

    #[test]
    fn every_way_has_its_capabilities() {
        #[derive(clap::Parser, Debug)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let parsed = |flags: &[&str]| {
            <Line as clap::Parser>::try_parse_from(["cuda"].iter().chain(flags))
                .map(|line| line.args.compute_cap)
        };
        for (flags, capabilities) in [
            (&[][..], "87,90"),
            (&["--candle"], "90"),
            (&["--aarch64"], "87"),
            (&["--aarch64", "--compute-cap", "72"], "72"),
        ] {
            assert_eq!(parsed(flags).unwrap(), capabilities, "{flags:?}");
        }
        // What would be built for another machine cannot be tested on this one.
        for flags in [&["--aarch64", "--test"][..], &["--aarch64", "--candle"], &["--yes"]] {
            assert!(parsed(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn every_way_has_its_own_build() {
        let line = |candle, test| arguments(candle, test).join(" ");
        assert!(line(false, false).contains("coshift-tools --features cuda"));
        assert!(line(true, true).ends_with("--features candle-cuda --test candle_cuda"));
        assert!(line(true, false).ends_with("--test candle_cuda --no-run --release"));
    }
}
