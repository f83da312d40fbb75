//! The bytes of version 1: bodies, and whole frames of four messages.
//!
//! Made from the wire format as `docs/protocol.md` gives it, not by this crate. In a frame each
//! zero of the packet is written as the number of bytes to the next one (COBS).

#[rustfmt::skip]
pub(super) const HELLO: &[&[u8]] = &[
    &[0xc0, 0xe9, 0xce, 0xfd, 0x0f], // at_us = 4_289_967_296
    &[0x01], // protocol_min = 1
    &[0x01], // protocol_current = 1
    &[0xf8, 0xac, 0xd1, 0x91, 0x01], // schema = 305_419_896
    &[0xef, 0xfd, 0xb6, 0xf5, 0x0d], // policy_crc = 3_735_928_559
    &[0x00, 0x01, 0x00], // version = 0.1.0
    &[0x07], // boot_nonce = 7
    &[0xd0, 0x86, 0x03], // period_us = 50_000
];

#[rustfmt::skip]
pub(super) const HELLO_FRAME: &[&[u8]] = &[
    &[0x04], // COBS: the first zero stands 4 bytes on
    &[0x01], // protocol 1
    &[0x01], // kind 0x01
    &[0x01, 0x01], // session 0x0001, low byte first; 0 = the step to the next
    &[0x01, 0x12], // seq 0x0000, low byte first; 0 = the step to the next
    &[0xc0, 0xe9, 0xce, 0xfd, 0x0f], // at_us = 4_289_967_296
    &[0x01], // protocol_min = 1
    &[0x01], // protocol_current = 1
    &[0xf8, 0xac, 0xd1, 0x91, 0x01], // schema = 305_419_896
    &[0xef, 0xfd, 0xb6, 0xf5, 0x0d], // policy_crc = 3_735_928_559
    &[0x02, 0x01, 0x09], // version = 0.1.0; 0 = the step to the next
    &[0x07], // boot_nonce = 7
    &[0xd0, 0x86, 0x03], // period_us = 50_000
    &[0x52, 0x3d, 0xb5, 0xd7], // CRC-32C 0xd7b53d52, low byte first
    &[0x00], // end of the frame
];

#[rustfmt::skip]
pub(super) const APPLICATION_SET: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x02], // slot = 2
    &[0x01], // change = Set
    &[0x01], // table = 1
    &[0x01], // objective = LeastEnergy
    &[0xe8, 0x81, 0x02], // deadline_us = 33_000
    &[0xeb, 0x88, 0x04], // period_us = 66_667
    &[0xa2, 0x48], // accuracy_floor_bp = 9_250
    &[0x64], // miss_target_bp = 100
    &[0x03], // priority = 3
    &[0x02], // degrade = Deadline
    &[0x00], // energy_budget_uj = 0
];

#[rustfmt::skip]
pub(super) const APPLICATION_REMOVE: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x03], // slot = 3
    &[0x02], // change = Remove
];

#[rustfmt::skip]
pub(super) const SEED_APPLICATION: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x00], // part = 0
    &[0x03], // parts = 3
    &[0x01], // state = Application
    &[0x01], // slot = 1
    &[0x80, 0x80, 0x80, 0x09], // mean_q24 = 18_874_368
    &[0xdc, 0x9e, 0x0a], // deviation_q24 = 167_772
    &[0x01], // beyond = 1
    &[0x04], // fast = 4
    &[0xe8, 0x07], // next_index = 1_000
    &[0xe8, 0x07], // outcomes = 1_000
    &[0x0c], // misses = 12
    &[0x05], // sub_network = 5
];

#[rustfmt::skip]
pub(super) const SEED_DEVICE: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x02], // part = 2
    &[0x03], // parts = 3
    &[0x02], // state = Device
    &[0x05], // mode = Safe
    &[0x00], // hold_since_us = 0
    &[0x01], // too_hot = true
    &[0x00], // nominal = false
    &[0x80, 0x01], // nominal_since_us = 128
    &[0x07], // run_level = 7
    &[0xa0, 0xf2, 0xfb, 0xff, 0x0f], // level_since_us = 4_294_900_000
    &[0x7f], // extra_decision_us = 127
    &[0x0c], // reason = TooHot
    &[0x04], // shortfall.what = Power
    &[0xff], // shortfall.slot = 255 (the board)
    &[0xdc, 0x0b], // shortfall.amount = 1_500
    &[0xc8, 0x4c], // power_mw = 9_800
];

#[rustfmt::skip]
pub(super) const SEED_SENSORS: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x01], // part = 1
    &[0x03], // parts = 3
    &[0x03], // state = Sensors
    &[0xb0, 0xf9, 0xfc, 0xff, 0x0f], // telemetry_us = 4_294_917_296
    &[0xff], // achieved_level = 255 (none)
    &[0x83, 0x52], // temp_mdeg_c = -5_250
    &[0xac, 0x02], // believed_us = 300
    &[0x01], // dirty = true
];

#[rustfmt::skip]
pub(super) const SEED_TAIL: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x01], // part = 1
    &[0x03], // parts = 3
    &[0x04], // state = Tail
    &[0x01], // slot = 1
    &[0xb2, 0xb1, 0x12], // threshold_q24 = 301_234
    &[0x7f], // excess_q24 = 127
    &[0x80, 0x80, 0x80, 0x20], // correction_q24 = 67_108_864
    &[0xff, 0xff, 0xff, 0xff, 0x0f], // boost_q24 = 4_294_967_295
    &[0x7f], // quiet = 127
];

#[rustfmt::skip]
pub(super) const SEED_POWER: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x01], // part = 1
    &[0x03], // parts = 3
    &[0x05], // state = Power
    &[0x9a, 0xf3, 0x01], // common_q15 = 31_130
    &[0x80, 0x84, 0x64], // settled_q8 = 1_638_912
    &[0xac, 0x02], // sure_q8 = 300
];

#[rustfmt::skip]
pub(super) const SEED_BIAS: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x01], // part = 1
    &[0x03], // parts = 3
    &[0x06], // state = Bias
    &[0x10], // first = 16
    &[0x00, 0x00], // factors[0] = 0, low byte first
    &[0x00, 0x80], // factors[1] = 32_768, low byte first
    &[0x00, 0x60], // factors[2] = 24_576, low byte first
    &[0x00, 0xc0], // factors[3] = 49_152, low byte first
    &[0x00, 0x00], // factors[4] = 0, low byte first
    &[0x00, 0x00], // factors[5] = 0, low byte first
    &[0x00, 0x00], // factors[6] = 0, low byte first
    &[0x00, 0x00], // factors[7] = 0, low byte first
    &[0x00, 0x00], // factors[8] = 0, low byte first
    &[0x00, 0x00], // factors[9] = 0, low byte first
    &[0x00, 0x00], // factors[10] = 0, low byte first
    &[0x00, 0x00], // factors[11] = 0, low byte first
    &[0x00, 0x00], // factors[12] = 0, low byte first
    &[0x00, 0x00], // factors[13] = 0, low byte first
    &[0x00, 0x00], // factors[14] = 0, low byte first
    &[0xe9, 0x80], // factors[15] = 33_001, low byte first
];

#[rustfmt::skip]
pub(super) const SEED_CLOCKS: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x01], // part = 1
    &[0x03], // parts = 3
    &[0x07], // state = Clocks
    &[0x0b], // asked_level = 11
    &[0x80, 0xe5, 0xf5, 0xff, 0x0f], // asked_since_us = 4_294_800_000
    &[0x80, 0xd4, 0x48], // low_khz[0] = 1_190_400
    &[0x00], // low_khz[1] = 0
    &[0x7f], // low_khz[2] = 127
    &[0xff, 0xff, 0xff, 0xff, 0x0f], // high_khz[0] = 4_294_967_295
    &[0xb2, 0x83, 0x31], // high_khz[1] = 803_250
    &[0x80, 0xd0, 0x28], // high_khz[2] = 665_600
    &[0x80, 0x01], // seen_us = 128
];

#[rustfmt::skip]
pub(super) const TELEMETRY: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x09], // level = 9
    &[0xa6, 0x09, 0xa3, 0x06, 0xc0, 0x0c], // clocks_mhz = [1190, 803, 1600]
    &[0x87, 0x3a], // power_mw = 7_431
    &[0x01], // power_age = 1 (10 ms)
    &[0x80, 0x05], // gpu_load_permille = 640
    &[0x00], // gpu_load_age = 0 (fresh)
    &[0xd8, 0xa4, 0x06], // temperatures[0].mdeg_c = 51_500
    &[0x03], // temperatures[0].age = 3
    &[0x01], // temperatures[1].mdeg_c = -1
    &[0xff], // temperatures[1].age = 255 (missing)
];

#[rustfmt::skip]
pub(super) const TELEMETRY_FRAME: &[&[u8]] = &[
    &[0x03], // COBS: the first zero stands 3 bytes on
    &[0x01], // protocol 1
    &[0x04], // kind 0x04
    &[0x15, 0x01], // session 0x0100, low byte first; 0 = the step to the next
    &[0x03, 0x02], // seq 0x0203, low byte first
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x09], // level = 9
    &[0xa6, 0x09, 0xa3, 0x06, 0xc0, 0x0c], // clocks_mhz = [1190, 803, 1600]
    &[0x87, 0x3a], // power_mw = 7_431
    &[0x01], // power_age = 1 (10 ms)
    &[0x80, 0x05], // gpu_load_permille = 640
    &[0x0b], // gpu_load_age = 0 (fresh); 0 = the step to the next
    &[0xd8, 0xa4, 0x06], // temperatures[0].mdeg_c = 51_500
    &[0x03], // temperatures[0].age = 3
    &[0x01], // temperatures[1].mdeg_c = -1
    &[0xff], // temperatures[1].age = 255 (missing)
    &[0xac, 0x7e, 0x17, 0x2e], // CRC-32C 0x2e177eac, low byte first
    &[0x00], // end of the frame
];

#[rustfmt::skip]
pub(super) const OUTCOMES: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x00], // slot = 0
    &[0x05], // sub_network = 5
    &[0x09], // level = 9
    &[0xff, 0xff, 0xff, 0xff, 0x0f], // first_index = 4_294_967_295
    &[0x03], // samples: 3 byte pairs
    &[0x00, 0x18], // samples[0] = 1.5 in Q4.12
    &[0x00, 0x00], // samples[1] = not to be learned from
    &[0xff, 0xff], // samples[2] = 15.9998, the most
    &[0x02], // outcomes_total = 2
    &[0x01], // misses_total = 1
];

#[rustfmt::skip]
pub(super) const OUTCOMES_FRAME: &[&[u8]] = &[
    &[0x0c], // COBS: the first zero stands 12 bytes on
    &[0x01], // protocol 1
    &[0x05], // kind 0x05
    &[0xef, 0xbe], // session 0xbeef, low byte first
    &[0xff, 0xff], // seq 0xffff, low byte first
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x09], // slot = 0; 0 = the step to the next
    &[0x05], // sub_network = 5
    &[0x09], // level = 9
    &[0xff, 0xff, 0xff, 0xff, 0x0f], // first_index = 4_294_967_295
    &[0x03], // samples: 3 byte pairs
    &[0x02, 0x18], // samples[0] = 1.5 in Q4.12; 0 = the step to the next
    &[0x01, 0x09], // samples[1] = not to be learned from; 0 = the step to the next
    &[0xff, 0xff], // samples[2] = 15.9998, the most
    &[0x02], // outcomes_total = 2
    &[0x01], // misses_total = 1
    &[0x3a, 0x25, 0x8b, 0xcb], // CRC-32C 0xcb8b253a, low byte first
    &[0x00], // end of the frame
];

#[rustfmt::skip]
pub(super) const LIMITS: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0xff, 0xff, 0xff, 0xff, 0x0f], // power_cap_mw = 4_294_967_295
    &[0x90, 0xb0, 0x0a], // temp_cap_mdeg_c = 85_000
    &[0x01], // parking = true
];

#[rustfmt::skip]
pub(super) const POLICY_BEGIN: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x80, 0x20], // length = 4_096
    &[0x8d, 0xe0, 0xb7, 0xdd, 0x08], // crc = 2_343_432_205
    &[0x02], // sequence = 2
];

#[rustfmt::skip]
pub(super) const POLICY_CHUNK: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x26], // offset = 38
    &[0x04], // bytes: 4
    &[0x43, 0x53, 0x50, 0x4c], // "CSPL"
];

#[rustfmt::skip]
pub(super) const POLICY_COMMIT: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x8d, 0xe0, 0xb7, 0xdd, 0x08], // crc = 2_343_432_205
    &[0x02], // sequence = 2
];

#[rustfmt::skip]
pub(super) const QUERY: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x02], // what = Work
];

#[rustfmt::skip]
pub(super) const WELCOME: &[&[u8]] = &[
    &[0x01], // protocol_min = 1
    &[0x01], // protocol_current = 1
    &[0xf8, 0xac, 0xd1, 0x91, 0x01], // schema = 305_419_896
    &[0x00], // policy_crc = 0
    &[0x00, 0x01, 0x00], // version = 0.1.0
    &[0xbe, 0xf5, 0xfa, 0xd7, 0x0c], // boot_nonce = 3_405_691_582
    &[0x02], // reset_cause = Watchdog
    &[0x03], // last_fault = HardFault
    &[0xb4, 0xa4, 0x80, 0x40], // fault_detail = 134_222_388
];

#[rustfmt::skip]
pub(super) const DECISION: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0xff, 0xff, 0x03], // last_seq = 65_535
    &[0xef, 0x9b, 0xaf, 0xcd, 0x08], // digest = 2_309_737_967
    &[0x03], // mode = Run
    &[0x09], // run_level = 9
    &[0x00], // park_level = 0
    &[0x05, 0xff, 0x00, 0xff], // sub_networks = [5, none, 0, none]
    &[0x09], // reason = Infeasible
    &[0x02], // shortfall.what = Time
    &[0x00], // shortfall.slot = 0
    &[0xe2, 0x09], // shortfall.amount = 1_250
    &[0xf4, 0x35], // power_mw = 6_900
];

#[rustfmt::skip]
pub(super) const DECISION_FRAME: &[&[u8]] = &[
    &[0x04], // COBS: the first zero stands 4 bytes on
    &[0x01], // protocol 1
    &[0x42], // kind 0x42
    &[0x01, 0x02], // session 0x0001, low byte first; 0 = the step to the next
    &[0x02, 0x10], // seq 0x0002, low byte first; 0 = the step to the next
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0xff, 0xff, 0x03], // last_seq = 65_535
    &[0xef, 0x9b, 0xaf, 0xcd, 0x08], // digest = 2_309_737_967
    &[0x03], // mode = Run
    &[0x09], // run_level = 9
    &[0x03], // park_level = 0; 0 = the step to the next
    &[0x05, 0xff, 0x04, 0xff], // sub_networks = [5, none, 0, none]; 0 = the step to the next
    &[0x09], // reason = Infeasible
    &[0x02], // shortfall.what = Time
    &[0x09], // shortfall.slot = 0; 0 = the step to the next
    &[0xe2, 0x09], // shortfall.amount = 1_250
    &[0xf4, 0x35], // power_mw = 6_900
    &[0x76, 0x7c, 0x03, 0x1a], // CRC-32C 0x1a037c76, low byte first
    &[0x00], // end of the frame
];

#[rustfmt::skip]
pub(super) const STATUS_LINK: &[&[u8]] = &[
    &[0x01], // Status = Link
    &[0xf0, 0xa2, 0x04], // accepted = 70_000
    &[0x01], // overflow = 1
    &[0x02], // cobs = 2
    &[0x03], // crc = 3
    &[0xac, 0x02], // old_session = 300
    &[0x05], // repeated = 5
    &[0xff, 0xff, 0x03], // lost = 65_535
    &[0x07], // unknown_kind = 7
    &[0x08], // malformed = 8
    &[0x09], // version = 9
];

#[rustfmt::skip]
pub(super) const STATUS_WORK: &[&[u8]] = &[
    &[0x02], // Status = Work
    &[0xa0, 0x8d, 0x06], // steps = 100_000
    &[0x88, 0x27], // decisions = 5_000
    &[0xc0, 0xbb, 0x01], // samples = 24_000
    &[0x0c], // samples_lost = 12
    &[0xbf, 0xb8, 0x02], // worst_step_ticks = 39_999
    &[0x80, 0x0c], // stack_high_water = 1_536
    &[0x3e], // queue_high_water = 62
    &[0x00], // queue_overruns = 0
];

#[rustfmt::skip]
pub(super) const POLICY_ACK: &[&[u8]] = &[
    &[0x4c], // next_offset = 76
    &[0x02], // sequence = 2
    &[0x01], // state = Receiving
];

#[rustfmt::skip]
pub(super) const REFUSED: &[&[u8]] = &[
    &[0x02], // kind = 2
    &[0x81, 0x04], // seq = 513
    &[0x03], // why = NoSuchTable
];

#[rustfmt::skip]
pub(super) const TRACE: &[&[u8]] = &[
    &[0xfa, 0xff, 0xff, 0xff, 0x0f], // at_us = 4_294_967_290
    &[0x04], // event = SamplesLost
    &[0x03], // count = 3
    &[0x18], // argument = 24
];
