//! Any bytes as a checkpoint: what is read has the shape that it says, within its bound.

use coshift_engine::import::Checkpoint;
use coshift_engine::import::checkpoint::MOST_GROWTH;

/// Magic number, version and machine of a file in the older format.
const LEGACY: [&[u8]; 4] = [
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
    b"\x80\x02M\xe9\x03.",
    b"\x80\x02}X\x0d\0\0\0little_endian\x88s.",
    b"\x80\x02",
];

/// A list of the storage `0`, and that of four values.
const LEGACY_STORAGE: &[u8] =
    b"\x80\x02]X\x01\0\0\x000a.\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\x80?\0\0\0@\0\0@@";

/// Reads the bytes as a file, as the pickle of an archive with a check sum that is right, and as the
/// pickle of a file in the older format.
pub fn import(bytes: &[u8]) {
    judge(bytes);
    judge(&archive(bytes));
    judge(&[&LEGACY.concat(), bytes, LEGACY_STORAGE].concat());
}

fn judge(bytes: &[u8]) {
    let Ok(checkpoint) = Checkpoint::read(bytes) else { return };
    let mut held = 0;
    for (name, tensor) in &checkpoint.tensors {
        let values: usize = tensor.shape.iter().product();
        assert_eq!(values * tensor.dtype.bitsize() / 8, tensor.data.len(), "{name}");
        held += tensor.data.len();
    }
    assert!(held as u64 <= MOST_GROWTH * bytes.len() as u64);
}

/// An archive of a pickle and the storage `0`.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in [("x/data.pkl", pickle), ("x/data/0", &LEGACY_STORAGE[19..])] {
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(data).to_le_bytes();
        let length = (data.len() as u32).to_le_bytes();
        let names = [name.len() as u8, 0, 0, 0];
        let common = [&[0; 10][..], &sum, &length, &length, &names].concat();
        let offset = (file.len() as u32).to_le_bytes();
        directory.extend([b"PK\x01\x02\0\0", &common[..], &[0; 10], &offset].concat());
        directory.extend(name.as_bytes());
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
    }
    let offset = (file.len() as u32).to_le_bytes();
    let length = (directory.len() as u32).to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0\x02\0\x02\0", &length[..], &offset, &[0, 0]].concat();
    [file, directory, end].concat()
}

#[cfg(test)]
mod tests {
    use super::{LEGACY, LEGACY_STORAGE, archive};
    use coshift_engine::import::Checkpoint;

    /// What stands around the bytes is right: a pickle of one tensor is read in both.
    #[test]
    fn a_pickle_is_reached() {
        let tensor = b"}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage\
            ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0K\x04\x85K\x01\x85\x89NtRs.";
        let zip = archive(&[&b"\x80\x02"[..], tensor].concat());
        let legacy = [&LEGACY.concat(), &tensor[..], LEGACY_STORAGE].concat();
        for bytes in [zip, legacy] {
            let read = Checkpoint::read(&bytes).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(read.tensors["x"].shape, [4]);
            assert_eq!(read.tensors["x"].data[12..], 3.0_f32.to_le_bytes());
        }
    }
}
