//! `cargo xtask cuda`: the offline tools with the engine's CUDA kernels, also where no CUDA toolkit is
//! installed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Workspace};

/// The release of the toolkit that is fetched.
const RELEASE: &str = "13.0";
/// The parts of it that compiling the kernels takes. The program itself needs the driver alone, which
/// it looks for when it is first used.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc",
    "nvidia-cuda-runtime",
    "nvidia-cuda-crt",
    "nvidia-cuda-cccl",
    "nvidia-nvvm",
];

/// Build coshift-tools with inference on NVIDIA GPUs.
///
/// Takes the CUDA toolkit of CUDA_HOME, else that of the nvcc in PATH. Where there is neither, the
/// parts of CUDA 13.0 that the build needs (300 MB) are fetched with Python's pip into
/// target/cuda-13.0; nothing else of the machine changes. No GPU is needed to build, and none to start
/// the program.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Compute capabilities: 87 for Orin, 90 for H100 and H200, several with commas. CUDA 13 knows
    /// those from 75 on; 72 (Xavier) takes a CUDA_HOME with CUDA 12 or 11.4
    #[arg(long, value_name = "LIST", default_value = "87,90")]
    compute_cap: String,
    /// Test what runs networks on a device, over a driver that is emulated on the host, in place of
    /// building; needs a C++ compiler and no GPU
    #[arg(long)]
    test: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let capabilities = capabilities(&args.compute_cap)?;
    let workspace = Workspace::locate()?;
    let toolkit = match installed(std::env::var_os("CUDA_HOME").map(PathBuf::from))? {
        Some(toolkit) => toolkit,
        None => fetched(&workspace.target_dir.join(format!("cuda-{RELEASE}")))?,
    };
    println!("CUDA toolkit: {}", toolkit.display());
    let mut build = workspace.cargo();
    if args.test {
        build.args(["test", "--package", "coshift-engine", "--no-default-features"]);
        build.args(["--features", "cuda", "--test", "cuda_device"]);
    } else {
        build.args(["build", "--release", "--package", "coshift-tools", "--features", "cuda"]);
    }
    for (name, value) in environment(&toolkit, &capabilities)? {
        build.env(name, value);
    }
    workspace::run(&mut build)?;
    if args.test {
        return Ok(ExitCode::SUCCESS);
    }
    let program = workspace.target_dir.join("release/coshift-tools");
    println!("{} (compute capability {capabilities}); on a machine with a GPU:", program.display());
    println!("  coshift-tools bench engine --device cuda --check --json");
    println!("  coshift-tools bench engine --device cuda --peers --json");
    Ok(ExitCode::SUCCESS)
}

/// The capabilities as the engine's build reads them: `87,90`.
fn capabilities(list: &str) -> Result<String> {
    let mut all = Vec::new();
    for part in list.split(',').map(str::trim) {
        let digits = part.trim_start_matches("sm_").replace('.', "");
        if !(2..=3).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("--compute-cap: `{part}`, expected numbers like 87 or 8.7, with commas");
        }
        all.push(digits);
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
fn fetched(folder: &Path) -> Result<PathBuf> {
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
        workspace::run(&mut fetch(folder)).with_context(|| {
            format!(
                "CUDA {RELEASE} cannot be fetched with pip (no network?); \
                 CUDA_HOME names a toolkit that is installed"
            )
        })?;
    }
    let toolkit = toolkit_in(folder)?;
    link_libraries(&toolkit)?;
    std::fs::write(&complete, RELEASE).with_context(|| complete.display().to_string())?;
    Ok(toolkit)
}

fn fetch(folder: &Path) -> Command {
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(PACKAGES.map(|package| format!("{package}=={RELEASE}.*")));
    pip
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
    let link = |to: &Path, from: PathBuf| {
        if from.symlink_metadata().is_ok() {
            return Ok(());
        }
        std::os::unix::fs::symlink(to, &from).with_context(|| from.display().to_string())
    };
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
    capabilities: &str,
) -> Result<Vec<(&'static str, std::ffi::OsString)>> {
    let before = |name: &str, folder: PathBuf| {
        let old = std::env::var_os(name).unwrap_or_default();
        let old: Vec<_> =
            std::env::split_paths(&old).filter(|path| !path.as_os_str().is_empty()).collect();
        std::env::join_paths(std::iter::once(folder).chain(old))
            .with_context(|| format!("{name} and {}", toolkit.display()))
    };
    Ok(vec![
        ("CUDA_HOME", toolkit.into()),
        ("CUDA_COMPUTE_CAP", capabilities.into()),
        ("PATH", before("PATH", toolkit.join("bin"))?),
        ("LIBRARY_PATH", before("LIBRARY_PATH", toolkit.join("lib64"))?),
        ("LD_LIBRARY_PATH", before("LD_LIBRARY_PATH", toolkit.join("lib64"))?),
    ])
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
        assert_eq!(capabilities("8.7, sm_90").unwrap(), "87,90");
        for wrong in ["", "orin", "9", "87,", "8-7"] {
            let message = capabilities(wrong).unwrap_err().to_string();
            assert!(message.contains("--compute-cap") && message.contains("87"), "{message}");
        }
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
        let told = environment(Path::new("/cuda"), "87,90").unwrap();
        let value = |name| told.iter().find(|(n, _)| *n == name).unwrap().1.to_str().unwrap();
        assert_eq!(value("CUDA_HOME"), "/cuda");
        assert_eq!(value("CUDA_COMPUTE_CAP"), "87,90");
        assert!(value("PATH").starts_with("/cuda/bin:"));
        assert!(value("LD_LIBRARY_PATH").split(':').all(|folder| !folder.is_empty()));
    }

    #[test]
    fn every_part_is_fetched_in_one_release() {
        let line = workspace::describe(&fetch(Path::new("/folder")));
        for package in PACKAGES {
            assert!(line.contains(&format!("{package}==13.0.*")), "{line}");
        }
    }
}
