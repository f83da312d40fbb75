//! Pickles and archives made by hand, for tests.

/// A pickle under construction.
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn op(self, opcode: u8) -> Self {
        self.raw(&[opcode])
    }

    pub(crate) fn repeat(self, opcode: u8, count: usize) -> Self {
        self.raw(&vec![opcode; count])
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.op(b'X').raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub(crate) fn int(self, value: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.op(b'c').raw(format!("{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b'('), |pickle, value| pickle.int(*value)).op(b't')
    }

    /// A tensor of a storage: its class, key and count.
    pub(crate) fn tensor(
        self,
        (class, key, count): (&str, &str, i64),
        offset: i64,
        sizes: &[i64],
        strides: &[i64],
    ) -> Self {
        let storage = self.global("torch._utils", "_rebuild_tensor_v2").op(b'(').op(b'(');
        let storage = storage.text("storage").global("torch", class).text(key).text("cpu");
        let tensor = storage.int(count).op(b't').op(b'Q').int(offset).ints(sizes).ints(strides);
        tensor.op(0x89).op(b'N').op(b't').op(b'R')
    }

    pub(crate) fn end(self) -> Self {
        self.op(b'.')
    }
}

/// An archive of a pickle and one storage `0`, of the values 0, 1, 2, 3.
pub(crate) fn archive(pickle: &[u8]) -> Vec<u8> {
    let storage: Vec<u8> = (0..4_u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    archive_of(&[("x/data.pkl", pickle), ("x/data/0", &storage)])
}

/// An archive of entries as they are.
pub(crate) fn archive_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    archive_with(entries, 0)
}

/// An archive of entries as they are, with `more` records in its directory that name the last one
/// again, each by a name of its own.
pub(crate) fn archive_with(entries: &[(&str, &[u8])], more: usize) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (number, (name, data)) in entries.iter().enumerate() {
        let mut sum = flate2::Crc::new();
        sum.update(data);
        let length = (data.len() as u32).to_le_bytes();
        // Version, flags, method, time, date; check sum, both lengths; lengths of name and extra.
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &sum.sum().to_le_bytes(),
            &length,
            &length,
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        let offset = (file.len() as u32).to_le_bytes();
        let record = [b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset].concat();
        directory.extend([&record[..], name.as_bytes()].concat());
        for copy in 0..if number + 1 == entries.len() { more } else { 0 } {
            let name = format!("{copy:0length$}", length = name.len());
            directory.extend([&record[..], name.as_bytes()].concat());
        }
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
    }
    let count = ((entries.len() + more) as u16).to_le_bytes();
    let (length, offset) = (directory.len() as u32, file.len() as u32);
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    file.extend([length.to_le_bytes(), offset.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}
