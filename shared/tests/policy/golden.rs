//! Golden bytes of policy image format 1.
//!
//! If a test here fails, change the code, not the test: images of this format are in flash and in
//! files. A new format gets a new number, `FORMAT`, and a file of its own beside this one.

use coshift_shared::policy::{FORMAT, PolicyView};

use crate::sample::small;

/// An image of two levels and one table of two sub-networks; every byte of the format once.
/// Made from the table in `docs/protocol.md`, not by this crate.
#[rustfmt::skip]
const IMAGE: &[&[u8]] = &[
    b"CSPL", // magic "CSPL"
    &[0x01, 0x00], // format 1
    &[0x48, 0x00], // header of 72 bytes
    &[0xc8, 0x00, 0x00, 0x00], // length of the image, 200 bytes
    &[0x5c, 0xb3, 0x90, 0xd3], // CRC-32C 0xd390b35c of all that follows
    &[0x03, 0x00, 0x00, 0x00], // sequence 3
    b"orin\0\0\0\0\0\0\0\0\0\0\0\0", // board "orin"
    b"candle\0\0", // runtime "candle"
    &[0x20], // precision, 32 bits
    &[0x01], // batch 1
    &[0x02], // 2 levels
    &[0x01], // 1 table
    &[0xe8, 0x03, 0x00, 0x00], // settle time of the CPU clock, 1000 µs
    &[0x88, 0x13, 0x00, 0x00], // settle time of the GPU clock, 5000 µs
    &[0x40, 0x1f, 0x00, 0x00], // settle time of the memory clock, 8000 µs
    &[0xff, 0xff, 0xff, 0xff], // power cap: none
    &[0x08, 0x4c, 0x01, 0x00], // temperature cap, 85000 m°C
    &[0x84, 0x03], // utilisation limit, 900 ‰
    &[0x00], // park level 0
    &[0x44], // thermal resistance, 3.4 K/W
    &[0x00, 0x2a, 0x12, 0x00], // level 0: CPU, 1190400 kHz
    &[0x3e, 0xc0, 0x01, 0x00], // level 0: GPU, 114750 kHz
    &[0x00, 0x50, 0x14, 0x00], // level 0: memory, 1331200 kHz
    &[0x60, 0x09, 0x00, 0x00], // level 0: idle, 2400 mW
    &[0x00, 0x2a, 0x12, 0x00], // level 1: CPU, 1190400 kHz
    &[0x02, 0xed, 0x10, 0x00], // level 1: GPU, 1109250 kHz
    &[0x00, 0x6a, 0x18, 0x00], // level 1: memory, 1600000 kHz
    &[0xd2, 0x0f, 0x00, 0x00], // level 1: idle, 4050 mW
    b"net\0\0\0\0\0\0\0\0\0\0\0\0\0", // table 0: name "net"
    &[0x88, 0x00, 0x00, 0x00], // table 0: rows at offset 136
    &[0x02], // table 0: 2 sub-networks
    &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // table 0: reserved
    &[0x07, 0x00, 0x00, 0x00], // sub-network 0: id 7
    &[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01], // sub-network 0: hash 0x0123456789abcdef
    &[0x64, 0x1b], // sub-network 0: accuracy, 70.12 %
    &[0xff, 0xff], // sub-network 0: exit threshold 65535 (none)
    &[0x09, 0x00, 0x00, 0x00], // sub-network 1: id 9
    &[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01], // sub-network 1: hash 0x0123456789abcdef
    &[0x22, 0x24], // sub-network 1: accuracy, 92.5 %
    &[0xff, 0xbf], // sub-network 1: exit threshold 49151
    &[0x40, 0x9c, 0x00, 0x00], // level 0, sub-network 0: latency, 40000 µs
    &[0x90, 0x5f, 0x01, 0x00], // level 0, sub-network 0: energy, 90000 µJ
    &[0x80, 0x38, 0x01, 0x00], // level 0, sub-network 1: latency, 80000 µs
    &[0x40, 0x0d, 0x03, 0x00], // level 0, sub-network 1: energy, 200000 µJ
    &[0x10, 0x27, 0x00, 0x00], // level 1, sub-network 0: latency, 10000 µs
    &[0x60, 0xea, 0x00, 0x00], // level 1, sub-network 0: energy, 60000 µJ
    &[0x20, 0x4e, 0x00, 0x00], // level 1, sub-network 1: latency, 20000 µs
    &[0xd0, 0xfb, 0x01, 0x00], // level 1, sub-network 1: energy, 130000 µJ
];

#[test]
fn the_image_is_written_as_ever() {
    assert_eq!(FORMAT, 1);
    let bytes = small().to_bytes().expect("a sound image");
    let golden = IMAGE.concat();
    let differs = bytes.iter().zip(&golden).position(|(ours, theirs)| ours != theirs);
    assert_eq!(differs, None, "first byte that differs");
    assert_eq!(bytes, golden);
}

#[test]
fn the_image_is_read_as_ever() {
    let golden = IMAGE.concat();
    let view = PolicyView::open(&golden).expect("a sound image");
    assert_eq!(view.crc(), 0xd390_b35c);
    crate::round_trip::assert_holds(&view, &small());
}
