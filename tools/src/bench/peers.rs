//! Other runtimes on the ONNX export of the same sub-networks, in a Python beside this process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

const SCRIPT: &str = include_str!("peers.py");

/// A Python that runs models in every runtime it has.
#[derive(Debug)]
pub(super) struct Peers {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// Name and version of each runtime.
    pub(super) names: Vec<String>,
}

/// What the other runtimes run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU: PyTorch alone, eager and as a captured graph.
    Cuda,
}

/// What the Python says first.
#[derive(Debug, Deserialize)]
struct Hello {
    names: Vec<String>,
    missing: Vec<String>,
}

/// What one runtime answered.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// Outputs of the first call.
    pub(super) outputs: Vec<f32>,
    times_ns: Vec<u64>,
}

impl Answer {
    /// Times of the calls after the first.
    pub(super) fn times(&self) -> impl Iterator<Item = Duration> {
        self.times_ns.iter().map(|time| Duration::from_nanos(*time))
    }
}

impl Peers {
    /// Starts the Python of `COSHIFT_PYTHON`, else `python3`, with this many threads a runtime, over
    /// a folder of its own.
    ///
    /// # Errors
    /// Names the packages that are missing where no runtime is there.
    pub(super) fn start(threads: usize, on: On) -> Result<Self> {
        let python: OsString =
            std::env::var_os("COSHIFT_PYTHON").unwrap_or_else(|| "python3".into());
        let name = python.display().to_string();
        let folder = std::env::temp_dir().join(format!("coshift-peers-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut command = Command::new(&python);
        command.arg("-c").arg(SCRIPT).arg(&folder).arg(threads.to_string());
        command.arg(if on == On::Cuda { "cuda" } else { "cpu" });
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| {
            // Empty still.
            let _ = std::fs::remove_dir(&folder);
            anyhow!("--peers: {name} does not start ({error}); COSHIFT_PYTHON names another Python")
        })?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("--peers: no pipes to {name}");
        };
        let mut peers = Self {
            child,
            questions: Some(questions),
            answers: BufReader::new(answers),
            folder,
            names: Vec::new(),
        };
        let Hello { names, missing } =
            serde_json::from_str(&peers.line()?).context("--peers: not an answer")?;
        let packages = if on == On::Cuda { "onnx torch" } else { "onnx onnxruntime torch" };
        let lacks = || {
            format!(
                "{name} has no {}: `pip install numpy {packages}`, or COSHIFT_PYTHON names another \
                 Python",
                missing.join(" and no ")
            )
        };
        ensure!(!names.is_empty(), "--peers: {}", lacks());
        if !missing.is_empty() {
            eprintln!("{}", lacks());
        }
        peers.names = names;
        Ok(peers)
    }

    /// Writes the model and the images `[batch, channels, height, width]` of a sub-network.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub(super) fn give(&self, index: usize, onnx: &[u8], images: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = images.iter().flat_map(|value| value.to_ne_bytes()).collect();
        write(&self.folder.join(format!("{index}.onnx")), onnx)?;
        write(&self.folder.join(format!("{index}.f32")), &bytes)
    }

    /// Runs a sub-network on its images of these channels and sides once, and then `runs` times more,
    /// in every runtime, in the order of their names.
    ///
    /// # Errors
    /// Where a runtime fails; it says why on standard error.
    pub(super) fn run(
        &mut self,
        index: usize,
        runs: usize,
        (channels, side): (usize, usize),
    ) -> Result<Vec<Answer>> {
        if let Some(questions) = &mut self.questions {
            writeln!(questions, "{index} {runs} {channels} {side}").context("--peers")?;
        }
        (0..self.names.len())
            .map(|_| serde_json::from_str(&self.line()?).context("--peers: not an answer"))
            .collect()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("--peers")?;
        ensure!(!line.is_empty(), "--peers: the Python has ended; it says why above");
        Ok(line)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It ends with its input.
        self.questions = None;
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// `[batch, pixels, channels]` as `[batch, channels, pixels]`.
pub(super) fn planes(images: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    images
        .chunks_exact(channels * pixels)
        .flat_map(|image| {
            (0..channels).flat_map(move |channel| image.iter().skip(channel).step_by(channels))
        })
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::planes;

    #[test]
    fn images_become_planes() {
        let images = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(planes(&images, 2, 2), [1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]);
    }
}
