//! The second channel of an image, decoded: defmt frames with the strings of the image's ELF file.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use defmt_decoder::{DecodeError, Table};

/// What turns the bytes of the second channel into lines.
pub(crate) struct Log {
    table: Table,
}

impl Log {
    /// Takes the strings from the image.
    pub(crate) fn of_image(image: &Path) -> Result<Self> {
        let elf = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        let table = Table::parse(&elf)
            .with_context(|| format!("{}: log strings", image.display()))?
            .with_context(|| format!("{} has no log strings", image.display()))?;
        Ok(Self { table })
    }

    /// Gives each line to `show` until the channel ends. A frame that is damaged is told as such
    /// and skipped.
    pub(crate) fn read(
        &self,
        mut channel: impl Read,
        mut show: impl FnMut(&str),
    ) -> io::Result<()> {
        let mut decoder = self.table.new_stream_decoder();
        let mut buffer = [0; 4096];
        loop {
            let count = channel.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            decoder.received(bytes);
            loop {
                match decoder.decode() {
                    Ok(frame) => show(&frame.display(false).to_string()),
                    Err(DecodeError::UnexpectedEof) => break,
                    Err(DecodeError::Malformed) if self.table.encoding().can_recover() => {
                        show("(a damaged log frame)");
                    }
                    Err(DecodeError::Malformed) => {
                        return Err(io::Error::other("a damaged log frame in raw encoding"));
                    }
                }
            }
        }
    }
}
