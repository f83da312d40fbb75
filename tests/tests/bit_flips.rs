//! Single bits of the release image flip while it decides in the emulator.
//!
//! `cargo xtask soak bit-flips` flips a thousand.

use coshift_tests::bit_flips::{Campaign, Class, Place, table};
use coshift_tests::need::Needs;
use coshift_tests::random::Random;

const FLIPS: usize = 24;

#[test]
fn flipped_bits_are_not_silent() {
    let Some(needs) = Needs::find() else { return };
    let mut campaign = Campaign::new(&needs, 1).unwrap();
    let mut random = Random::new(1);
    // Without a flip nothing is found.
    for _ in 0..3 {
        let flip = campaign.flip(Place::Nowhere, &mut random).unwrap();
        assert_eq!((flip.class, flip.wrong), (Class::Ok, false), "{flip:?}");
    }
    let places = Place::ALL.iter().cycle().take(FLIPS);
    let flips: Vec<_> = places.map(|place| campaign.flip(*place, &mut random).unwrap()).collect();
    println!("{}", table(&flips));
    let silent: Vec<_> = flips.iter().filter(|flip| flip.class == Class::Silent).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}
