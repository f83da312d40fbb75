//! Frames on a stream that splits, merges, flips, loses, doubles and invents bytes.

use coshift_shared::frame::{Frame, MAX_FRAME};
use coshift_shared::packet::{BodyFault, HEADER, Header, MAX_BODY, MAX_PACKET, Packet};
use coshift_shared::reader::{FrameFault, FrameReader};
use coshift_shared::{crc32c, packet};
use proptest::prelude::*;

use crate::oracle::{self, Event, expected, read};
use crate::property::config;

fn header() -> impl Strategy<Value = Header> {
    // Zeros are what COBS is about.
    let byte = prop_oneof![Just(0), Just(0xff), any::<u8>()];
    prop::array::uniform6(byte).prop_map(Header::from_bytes)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0), Just(0xff), Just(1), any::<u8>(), any::<u8>()];
    prop::collection::vec(byte, 0..=MAX_BODY)
}

fn packet_of(header: Header, body: &[u8]) -> Packet {
    Packet::build(header, |out| {
        out.get_mut(..body.len()).ok_or(BodyFault::TooLong)?.copy_from_slice(body);
        Ok(body.len())
    })
    .expect("the body fits")
}

fn frame_of(header: Header, body: &[u8]) -> Vec<u8> {
    Frame::of_packet(&packet_of(header, body)).bytes().to_vec()
}

/// One thing that happens to a stream; places are taken modulo its length.
#[derive(Debug, Clone)]
enum Damage {
    Flip { place: u16, mask: u8 },
    Drop { place: u16, count: u8 },
    Double { place: u16, count: u8 },
    Insert { place: u16, bytes: Vec<u8> },
}

fn damage() -> impl Strategy<Value = Damage> {
    let garbage = prop::collection::vec(prop_oneof![1 => Just(0), 9 => any::<u8>()], 1..90);
    prop_oneof![
        (any::<u16>(), 1..=u8::MAX).prop_map(|(place, mask)| Damage::Flip { place, mask }),
        (any::<u16>(), 1..100_u8).prop_map(|(place, count)| Damage::Drop { place, count }),
        (any::<u16>(), 1..100_u8).prop_map(|(place, count)| Damage::Double { place, count }),
        (any::<u16>(), garbage).prop_map(|(place, bytes)| Damage::Insert { place, bytes }),
    ]
}

/// A byte of the stream and which byte of which frame it was; `None` = of none any more.
type Traced = (u8, Option<(usize, usize)>);

fn apply(stream: &mut Vec<Traced>, damage: &Damage) {
    let at = |place: u16| usize::from(place) % (stream.len() + 1);
    match damage {
        Damage::Flip { place, mask } => {
            let place = at(*place);
            if let Some(byte) = stream.get_mut(place) {
                *byte = (byte.0 ^ mask, None);
            }
        }
        Damage::Drop { place, count } => {
            let start = at(*place);
            let end = stream.len().min(start + usize::from(*count));
            stream.drain(start..end);
        }
        Damage::Double { place, count } => {
            let start = at(*place);
            let end = stream.len().min(start + usize::from(*count));
            let copy: Vec<Traced> =
                stream[start..end].iter().map(|(byte, _)| (*byte, None)).collect();
            stream.splice(end..end, copy);
        }
        Damage::Insert { place, bytes } => {
            let start = at(*place);
            stream.splice(start..start, bytes.iter().map(|byte| (*byte, None)));
        }
    }
}

/// The frames that lie in the stream unharmed: whole, in one piece and behind a zero.
fn unharmed(stream: &[Traced], frames: &[Vec<u8>]) -> Vec<usize> {
    let starts = stream.iter().enumerate().filter_map(|(place, (_, origin))| match origin {
        Some((frame, 0)) => Some((place, *frame)),
        _ => None,
    });
    starts
        .filter(|(place, frame)| {
            let behind_zero = *place == 0 || stream[place - 1].0 == 0;
            let whole = (0..frames[*frame].len()).all(|offset| {
                stream
                    .get(place + offset)
                    .is_some_and(|(_, origin)| *origin == Some((*frame, offset)))
            });
            behind_zero && whole
        })
        .map(|(_, frame)| frame)
        .collect()
}

proptest! {
    #![proptest_config(config(6_000))]

    /// Whatever happens to the bytes: frames that were not hit and stand behind a zero are
    /// received, in order; every other run of bytes between zeros is a counted fault; nothing is
    /// received that was not sent.
    #[test]
    fn damage_costs_only_the_frames_it_hits(
        sent in prop::collection::vec((header(), content()), 1..12),
        hits in prop::collection::vec(damage(), 0..6),
    ) {
        let frames: Vec<Vec<u8>> =
            sent.iter().map(|(header, body)| frame_of(*header, body)).collect();
        let mut traced: Vec<Traced> = frames
            .iter()
            .enumerate()
            .flat_map(|(frame, bytes)| {
                bytes.iter().enumerate().map(move |(offset, byte)| (*byte, Some((frame, offset))))
            })
            .collect();
        hits.iter().for_each(|hit| apply(&mut traced, hit));
        let stream: Vec<u8> = traced.iter().map(|(byte, _)| *byte).collect();
        let events = read(&stream);

        // Nothing that was not sent.
        let sent: Vec<Event> =
            sent.into_iter().map(|(header, body)| Event::Packet(header, body)).collect();
        let received: Vec<&Event> =
            events.iter().filter(|event| matches!(event, Event::Packet(..))).collect();
        for event in &received {
            prop_assert!(sent.contains(event), "{:?} was never sent", event);
        }
        // All that was not hit, in order.
        let mut later = received.iter();
        let alive = unharmed(&traced, &frames);
        for frame in &alive {
            prop_assert!(later.any(|event| **event == sent[*frame]), "frame {} is lost", frame);
        }
        if hits.is_empty() {
            prop_assert_eq!(alive.len(), frames.len());
            prop_assert_eq!(events.len(), frames.len());
        }
        // Each run of bytes between zeros is received or counted, once.
        let mut runs = stream.split(|byte| *byte == 0).collect::<Vec<_>>();
        let open = runs.pop().is_some_and(|run| run.len() > MAX_PACKET + 1);
        let runs = runs.iter().filter(|run| !run.is_empty()).count();
        prop_assert!(events.len() >= runs && events.len() <= runs + 1);
        prop_assert!(!open || events.len() == runs + 1, "the open end is too long");
        // And exactly as another reader sees it.
        prop_assert_eq!(events, expected(&stream));
    }

    /// Any bytes at all are read as the other reader reads them.
    #[test]
    fn any_stream_is_read_as_specified(
        stream in prop::collection::vec(
            prop_oneof![1 => Just(0), 4 => 1..6_u8, 1 => Just(0xff), 4 => any::<u8>()], 0..400,
        ),
    ) {
        prop_assert_eq!(read(&stream), expected(&stream));
    }

    /// Where a stream is cut into pieces changes nothing.
    #[test]
    fn pieces_of_a_stream_are_read_like_the_whole(
        sent in prop::collection::vec((header(), content()), 1..6),
        cuts in prop::collection::vec(any::<u16>(), 0..6),
    ) {
        let stream: Vec<u8> =
            sent.iter().flat_map(|(header, body)| frame_of(*header, body)).collect();
        let mut cuts: Vec<usize> =
            cuts.into_iter().map(|cut| usize::from(cut) % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut reader = FrameReader::new();
        let mut events = Vec::new();
        for piece in cuts.windows(2) {
            // A copy goes on where the original stood: all of the state is in the reader.
            reader = reader.clone();
            events.extend(oracle::read_on(&mut reader, &stream[piece[0]..piece[1]]));
        }
        prop_assert_eq!(events, read(&stream));
    }

    /// A frame's place is used again for any other one: nothing of the one before is left.
    #[test]
    fn a_frame_is_replaced_whole(
        first in content(), header in header(), body in content(), longest in any::<bool>(),
    ) {
        let put = |body: Vec<u8>| move |place: &mut [u8]| {
            place[..body.len()].copy_from_slice(&body);
            Ok(body.len())
        };
        let mut frame = Frame::build(header, put(first)).expect("it fits");
        let fault = frame.fill(header, |place| {
            place.fill(0xff);
            Err(BodyFault::TooLong)
        });
        prop_assert_eq!(fault, Err(BodyFault::TooLong));
        prop_assert_eq!(frame, Frame::EMPTY);
        if longest {
            frame.fill(header, put(vec![0xff; MAX_BODY])).expect("it fits");
        }
        frame.fill(header, put(body.clone())).expect("it fits");
        prop_assert_eq!(frame, Frame::of_packet(&packet_of(header, &body)));
        prop_assert_eq!(frame.bytes().last(), Some(&0));
    }

    /// Our encoder and reader agree with the crate `cobs` on any packet.
    #[test]
    fn frames_are_those_of_another_implementation(header in header(), body in content()) {
        let packet = packet_of(header, &body);
        let frame = Frame::of_packet(&packet);
        let mut theirs = [0; MAX_FRAME + 1];
        let length = ::cobs::encode(packet.bytes(), &mut theirs);
        prop_assert_eq!(frame.bytes(), &theirs[..=length]);

        let mut decoded = [0; MAX_PACKET];
        let report = ::cobs::decode(frame.bytes(), &mut decoded).expect("a frame of ours");
        prop_assert_eq!(&decoded[..report.frame_size()], packet.bytes());
        prop_assert_eq!(read(&theirs[..=length]), [Event::Packet(header, body)]);
    }

    /// On damaged coding, too, the reader sees the bytes that `cobs` sees.
    #[test]
    fn damaged_coding_is_seen_as_another_implementation_sees_it(
        mut chunk in prop::collection::vec(prop_oneof![1..8_u8, 1..=u8::MAX], 1..=61),
    ) {
        chunk.push(0);
        let mut decoded = [0; 64];
        let theirs = ::cobs::decode(&chunk, &mut decoded);
        let ours = read(&chunk);
        prop_assert_eq!(ours.len(), 1);
        match theirs {
            Ok(report) => {
                let packet = &decoded[..report.frame_size()];
                let event = match packet::open(packet) {
                    Ok((header, body)) => Event::Packet(header, body.to_vec()),
                    Err(packet::PacketFault::Short) => Event::Fault(FrameFault::Short),
                    Err(packet::PacketFault::Crc) => Event::Fault(FrameFault::Crc),
                };
                prop_assert_eq!(&ours[0], &event);
            }
            Err(_) => prop_assert_eq!(&ours[0], &Event::Fault(FrameFault::Cobs)),
        }
    }

    /// One or two changed bits of a packet are always seen, wherever they are.
    #[test]
    fn flipped_bits_of_a_packet_are_always_seen(
        header in header(), body in content(), first in any::<u16>(), second in any::<u16>(),
    ) {
        let mut bytes = packet_of(header, &body).bytes().to_vec();
        let bits = bytes.len() * 8;
        let (first, second) = (usize::from(first) % bits, usize::from(second) % bits);
        bytes[first / 8] ^= 1 << (first % 8);
        prop_assert_eq!(packet::open(&bytes), Err(packet::PacketFault::Crc));
        if first != second {
            bytes[second / 8] ^= 1 << (second % 8);
            prop_assert_eq!(packet::open(&bytes), Err(packet::PacketFault::Crc));
        }
    }

    #[test]
    fn crc_is_that_of_its_definition(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(crc32c::of(&bytes), oracle::crc32c(&bytes));
    }
}

const HEADER_OF_TEST: Header = Header { protocol: 1, kind: 4, session: 7, seq: 9 };

/// Bodies of every length, of zeros, of ones and mixed: the frame is as long as it must be.
#[test]
fn every_length_of_a_body_is_framed() {
    for length in 0..=MAX_BODY {
        for body in [vec![0; length], vec![0xff; length], (1..=length as u8).collect()] {
            let frame = frame_of(HEADER_OF_TEST, &body);
            assert_eq!(frame.len(), 1 + HEADER + length + 4 + 1);
            assert_eq!(frame.iter().position(|byte| *byte == 0), Some(frame.len() - 1));
            assert_eq!(read(&frame), [Event::Packet(HEADER_OF_TEST, body)]);
        }
    }
    let too_long = Packet::build(HEADER_OF_TEST, |out| {
        assert_eq!(out.len(), MAX_BODY);
        Err(BodyFault::TooLong)
    });
    assert_eq!(too_long, Err(BodyFault::TooLong));
    // A writer that says it wrote more than there is place for is not believed.
    for lie in [MAX_BODY + 1, MAX_PACKET, usize::MAX] {
        assert_eq!(Packet::build(HEADER_OF_TEST, |_| Ok(lie)), Err(BodyFault::TooLong), "{lie}");
    }
}

/// One more byte than a packet holds: one Overflow, at that byte, then silence up to the zero.
#[test]
fn overlong_input_overflows_once() {
    let zeros = vec![1; 10_000];
    let ones = vec![0xff; 10_000];
    let groups: Vec<u8> = (0..10_000).map(|place| 1 + (place % 7) as u8).collect();
    for long in [zeros, ones, groups] {
        let mut reader = FrameReader::new();
        let mut faults = Vec::new();
        for (place, byte) in long.iter().enumerate() {
            match reader.feed(*byte) {
                coshift_shared::reader::Received::Nothing => {}
                other => faults.push((place, format!("{other:?}"))),
            }
        }
        // 61 bytes are the longest frame; the byte behind them is the first that cannot be one.
        assert_eq!(faults, [(MAX_PACKET + 1, "Fault(Overflow)".to_owned())]);
        let mut rest = vec![0];
        rest.extend(frame_of(HEADER_OF_TEST, b"next"));
        let next = [Event::Packet(HEADER_OF_TEST, b"next".to_vec())];
        assert_eq!(oracle::read_on(&mut reader, &rest), next);
    }
}

/// A frame of the greatest length directly behind an overlong one, and one a byte too long.
#[test]
fn the_limit_is_exact() {
    let longest = frame_of(HEADER_OF_TEST, &[7; MAX_BODY]);
    assert_eq!(longest.len(), MAX_FRAME);
    assert_eq!(read(&longest), [Event::Packet(HEADER_OF_TEST, vec![7; MAX_BODY])]);
    let mut longer = longest.clone();
    longer.insert(MAX_FRAME - 1, 1);
    assert_eq!(read(&longer), [Event::Fault(FrameFault::Overflow)]);
}

#[test]
fn zeros_between_frames_are_nothing() {
    let mut stream = vec![0; 5];
    stream.extend(frame_of(HEADER_OF_TEST, b"a"));
    stream.extend([0; 1000]);
    stream.extend(frame_of(HEADER_OF_TEST, b"b"));
    let expected = [b"a", b"b"].map(|body| Event::Packet(HEADER_OF_TEST, body.to_vec()));
    assert_eq!(read(&stream), expected);
}

/// 1 MiB of noise: nothing is accepted, everything is counted, and the frames behind it arrive:
/// the first behind a zero, without one the second.
#[test]
fn a_frame_behind_a_mebibyte_of_noise_is_received() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise: Vec<u8> = (0..1 << 20)
        .map(|_| {
            // xorshift64 (Marsaglia, 2003)
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    let runs = noise.split(|byte| *byte == 0).filter(|run| !run.is_empty()).count();
    assert!(runs > 3000, "{runs} runs between zeros");
    // The noise ends in the middle of a run, which the frame behind it is lost with.
    *noise.last_mut().expect("noise") = 0x55;
    let frame = frame_of(HEADER_OF_TEST, b"good");
    let good = Event::Packet(HEADER_OF_TEST, b"good".to_vec());
    for (glue, lost) in [(&[0][..], 0), (&[][..], 1)] {
        let stream = [&noise, glue, &frame, &frame].concat();
        let events = read(&stream);
        let accepted: Vec<usize> =
            (0..events.len()).filter(|place| matches!(events[*place], Event::Packet(..))).collect();
        assert_eq!(accepted.len(), 2 - lost);
        assert!(accepted.iter().all(|place| events[*place] == good));
        assert_eq!(accepted.last(), Some(&(events.len() - 1)));
        assert_eq!(events, expected(&stream));
    }
}
