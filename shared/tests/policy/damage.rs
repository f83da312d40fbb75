//! Damaged images are refused: no single bit flip, no cut, no addition goes unseen.

use coshift_shared::policy::{PolicyFault, PolicyView};
use proptest::prelude::*;

use crate::property::config;
use crate::sample::{image, largest, small};

#[test]
fn every_single_flipped_bit_is_refused() {
    let image = small().to_bytes().expect("a sound image");
    assert!(PolicyView::open(&image).is_ok());
    for bit in 0..image.len() * 8 {
        let mut damaged = image.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let fault = PolicyView::open(&damaged).expect_err("a damaged image");
        let named = match bit / 8 {
            0..4 => fault == PolicyFault::Magic,
            4..8 => matches!(fault, PolicyFault::Format { .. }),
            8..12 => matches!(fault, PolicyFault::Length { found: 200, .. }),
            _ => matches!(fault, PolicyFault::Crc { .. }),
        };
        assert!(named, "bit {bit}: {fault:?}");
    }
}

#[test]
fn every_cut_and_addition_is_refused() {
    let image = small().to_bytes().expect("a sound image");
    for length in 0..image.len() {
        let expected = if length < 72 { 72 } else { 200 };
        assert_eq!(
            PolicyView::open(&image[..length]).err(),
            Some(PolicyFault::Length { found: length as u32, expected }),
            "cut to {length}"
        );
    }
    for more in 1..300 {
        let mut longer = image.clone();
        longer.resize(image.len() + more, 0);
        let found = longer.len() as u32;
        let expected = PolicyFault::Length { found, expected: 200 };
        assert_eq!(PolicyView::open(&longer).err(), Some(expected), "{more} more");
    }
}

#[test]
fn nothing_is_no_image() {
    let expected = PolicyFault::Length { found: 0, expected: 72 };
    assert_eq!(PolicyView::open(&[]).err(), Some(expected));
    for fill in [0, 0xff] {
        assert_eq!(PolicyView::open(&[fill; 4096]).err(), Some(PolicyFault::Magic));
    }
}

/// Bits of the largest image, a few of each part.
#[test]
fn flipped_bits_of_the_largest_image_are_refused() {
    let mut image = largest().to_bytes().expect("a sound image");
    for bit in (0..image.len() * 8).step_by(1009) {
        image[bit / 8] ^= 1 << (bit % 8);
        assert!(PolicyView::open(&image).is_err(), "bit {bit}");
        image[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(PolicyView::open(&image).is_ok());
}

proptest! {
    #![proptest_config(config(300))]

    /// A write that stopped on the way leaves a mixture of two images: neither is taken for it.
    #[test]
    fn a_mixture_of_two_images_is_refused(
        old in image(), new in image(), place in any::<prop::sample::Index>(),
    ) {
        let old = old.to_bytes().expect("a sound image");
        let new = new.to_bytes().expect("a sound image");
        let place = place.index(new.len());
        let torn: Vec<u8> =
            new[..place].iter().chain(old.iter().skip(place)).copied().collect();
        if torn != new && torn != old {
            prop_assert!(PolicyView::open(&torn).is_err());
        }
    }
}
