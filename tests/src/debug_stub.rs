//! A client of the emulator's debug stub: just enough of GDB's remote protocol to look and poke.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Place of the program counter among the registers of a Cortex-M.
const PROGRAM_COUNTER: usize = 15;

/// A connection; the processor is stopped while it lasts.
#[derive(Debug)]
pub struct DebugStub {
    stream: UnixStream,
}

impl DebugStub {
    /// Connects, which stops the processor.
    ///
    /// # Errors
    /// What the system or the stub says.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("no debug stub at {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stub = Self { stream };
        let stopped = stub.ask("?")?;
        ensure!(stopped.starts_with(['S', 'T']), "the processor does not stop: {stopped}");
        Ok(stub)
    }

    /// The program counter.
    ///
    /// # Errors
    /// The stub's answer is none.
    pub fn program_counter(&mut self) -> Result<u32> {
        self.register(PROGRAM_COUNTER)
    }

    /// A register: r0 to r12, then stack pointer, link register, program counter.
    ///
    /// # Errors
    /// The stub's answer is none.
    pub fn register(&mut self, number: usize) -> Result<u32> {
        let registers = self.ask("g")?;
        let hex = registers.get(8 * number..8 * number + 8);
        let hex = hex.with_context(|| format!("registers: {registers}"))?;
        Ok(u32::from_str_radix(hex, 16).with_context(|| hex.to_owned())?.swap_bytes())
    }

    /// Sets a register.
    ///
    /// # Errors
    /// The stub refuses.
    pub fn set_register(&mut self, number: usize, value: u32) -> Result<()> {
        let mut registers = self.ask("g")?;
        ensure!(registers.len() >= 8 * number + 8, "registers: {registers}");
        registers.replace_range(8 * number..8 * number + 8, &format!("{:08x}", value.swap_bytes()));
        let answer = self.ask(&format!("G{registers}"))?;
        ensure!(answer == "OK", "register {number} cannot be written: {answer}");
        ensure!(self.register(number)? == value, "register {number} was not written");
        Ok(())
    }

    /// Reads one byte of memory.
    ///
    /// # Errors
    /// The stub refuses.
    pub fn read_byte(&mut self, address: u32) -> Result<u8> {
        let hex = self.ask(&format!("m{address:x},1"))?;
        u8::from_str_radix(&hex, 16).with_context(|| format!("memory at {address:#x}: {hex}"))
    }

    /// Writes memory.
    ///
    /// # Errors
    /// The stub refuses.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<()> {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.ask(&format!("M{address:x},{:x}:{hex}", bytes.len()))?;
        ensure!(answer == "OK", "memory at {address:#x} cannot be written: {answer}");
        Ok(())
    }

    /// Lets the processor go on and hangs up.
    ///
    /// # Errors
    /// The stub refuses.
    pub fn go_on(mut self) -> Result<()> {
        let answer = self.ask("D")?;
        ensure!(answer == "OK", "the processor does not go on: {answer}");
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).context("the debug stub is gone")?;
        Ok(byte[0])
    }

    /// Sends a packet and gives the content of the answer.
    fn ask(&mut self, packet: &str) -> Result<String> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.stream, "${packet}#{sum:02x}")?;
        let mut taken = false;
        loop {
            match self.byte()? {
                b'+' => taken = true,
                b'$' => {
                    let content = self.content()?;
                    self.stream.write_all(b"+")?;
                    // What it says unasked, as that it has stopped, comes before it takes ours.
                    if taken {
                        return Ok(content);
                    }
                }
                other => bail!("the debug stub says {other:#04x} to {packet}"),
            }
        }
    }

    /// The rest of a packet whose begin was read.
    fn content(&mut self) -> Result<String> {
        let mut content = String::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => content.push(char::from(byte)),
            }
        }
        // Its check sum: a socket between processes loses nothing.
        for _ in 0..2 {
            self.byte()?;
        }
        Ok(content)
    }
}
