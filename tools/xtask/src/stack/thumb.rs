//! What of Thumb-2 machine code moves the stack pointer or leaves a function.
//!
//! Arm v7-M Architecture Reference Manual (DDI 0403E), chapter A7; only the encodings that matter
//! here are told apart, every other instruction is [`Effect::None`].

/// Register numbers.
const SP: u16 = 13;
const LR: u16 = 14;
const PC: u16 = 15;

/// What one instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing of interest.
    None,
    /// The stack pointer falls by so many bytes.
    Lower(u32),
    /// The stack pointer falls by what a register holds.
    LowerUnknown,
    /// Goes to this address and comes back.
    Call(u32),
    /// Goes to this address, perhaps.
    Branch(u32),
    /// Goes to where a register or memory points: a call, or a branch that may leave the function.
    Indirect,
    /// The lower half of a register is set, the upper one cleared.
    Low { register: u16, value: u16 },
    /// The upper half of a register is set.
    High { register: u16, value: u16 },
}

/// Whether an instruction that begins with this half-word has another one.
pub(super) fn is_wide(first: u16) -> bool {
    first >> 11 >= 0b11101
}

/// The effect of the instruction of one half-word at `address`.
pub(super) fn narrow(address: u32, code: u16) -> Effect {
    let register = (code >> 3) & 15;
    let ahead = |offset: i32| address.wrapping_add(4).wrapping_add_signed(offset);
    match code {
        _ if code & 0xfe00 == 0xb400 => Effect::Lower(4 * (code & 0x1ff).count_ones()),
        _ if code & 0xff80 == 0xb080 => Effect::Lower(4 * u32::from(code & 0x7f)),
        // Conditions 14 and 15 are other instructions.
        _ if code & 0xf000 == 0xd000 && (code >> 8) & 15 < 14 => {
            Effect::Branch(ahead(sign_extended(u32::from(code & 0xff) << 1, 9)))
        }
        _ if code & 0xf800 == 0xe000 => {
            Effect::Branch(ahead(sign_extended(u32::from(code & 0x7ff) << 1, 12)))
        }
        _ if code & 0xff87 == 0x4780 => Effect::Indirect,
        _ if code & 0xff87 == 0x4700 && register != LR => Effect::Indirect,
        // `mov pc` and `add pc` are how compilers go through a table within the function.
        _ if code & 0xff87 == 0x4685 => Effect::LowerUnknown,
        _ => Effect::None,
    }
}

/// The effect of the instruction of two half-words at `address`.
pub(super) fn wide(address: u32, first: u16, second: u16) -> Effect {
    let destination = (second >> 8) & 15;
    match (first, second) {
        _ if first & 0xf800 == 0xf000 && second & 0x8000 != 0 => branch(address, first, second),
        // push.w
        (0xe92d, _) => Effect::Lower(4 * second.count_ones()),
        // str rt, [sp, #-imm]!
        (0xf84d, _) if second & 0x0f00 == 0x0d00 => Effect::Lower(u32::from(second & 0xff)),
        // strd rt, rt2, [sp, #-imm]!
        (0xe96d, _) => Effect::Lower(4 * u32::from(second & 0xff)),
        // vpush
        _ if first & 0xffbf == 0xed2d && second & 0x0e00 == 0x0a00 => {
            Effect::Lower(4 * u32::from(second & 0xff))
        }
        // sub{s}.w sp, sp, #const
        _ if first & 0xfbef == 0xf1ad && second & 0x8000 == 0 && destination == SP => {
            Effect::Lower(expanded(immediate12(first, second)))
        }
        // subw sp, sp, #imm12
        _ if first & 0xfbff == 0xf2ad && second & 0x8000 == 0 && destination == SP => {
            Effect::Lower(immediate12(first, second))
        }
        // sub.w sp, sp, rm
        _ if first & 0xffef == 0xebad && destination == SP => Effect::LowerUnknown,
        // movw, movt
        _ if first & 0xfbf0 == 0xf240 && second & 0x8000 == 0 => {
            Effect::Low { register: destination, value: immediate16(first, second) }
        }
        _ if first & 0xfbf0 == 0xf2c0 && second & 0x8000 == 0 => {
            Effect::High { register: destination, value: immediate16(first, second) }
        }
        // ldr.w pc: from the stack it is a return.
        _ if first & 0xff70 == 0xf850 && second >> 12 == PC && first & 15 != SP => Effect::Indirect,
        _ => Effect::None,
    }
}

/// `bl`, `b.w` and `b<c>.w`.
fn branch(address: u32, first: u16, second: u16) -> Effect {
    let (s, j1, j2) = (bit(first, 10), bit(second, 13), bit(second, 11));
    let low = u32::from(second & 0x7ff) << 1;
    let ahead = |offset: i32| address.wrapping_add(4).wrapping_add_signed(offset);
    let far = || {
        let (i1, i2) = (1 ^ j1 ^ s, 1 ^ j2 ^ s);
        let offset = s << 24 | i1 << 23 | i2 << 22 | u32::from(first & 0x3ff) << 12 | low;
        ahead(sign_extended(offset, 25))
    };
    match second & 0x5000 {
        0x5000 => Effect::Call(far()),
        0x1000 => Effect::Branch(far()),
        0x0000 if (first >> 6) & 15 < 14 => {
            let offset = s << 20 | j2 << 19 | j1 << 18 | u32::from(first & 0x3f) << 12 | low;
            Effect::Branch(ahead(sign_extended(offset, 21)))
        }
        _ => Effect::None,
    }
}

fn bit(of: u16, place: u32) -> u32 {
    u32::from(of >> place & 1)
}

/// The number in the lowest `bits` bits, of which the highest is the sign.
fn sign_extended(value: u32, bits: u32) -> i32 {
    (value << (32 - bits)).cast_signed() >> (32 - bits)
}

/// i:imm3:imm8.
fn immediate12(first: u16, second: u16) -> u32 {
    bit(first, 10) << 11 | u32::from(second >> 12 & 7) << 8 | u32::from(second & 0xff)
}

/// imm4:i:imm3:imm8.
fn immediate16(first: u16, second: u16) -> u16 {
    (first & 15) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xff
}

/// ThumbExpandImm of the manual (A5.3.2).
fn expanded(coded: u32) -> u32 {
    let byte = coded & 0xff;
    if coded >> 10 != 0 {
        return (0x80 | coded & 0x7f).rotate_right(coded >> 7);
    }
    match coded >> 8 {
        0 => byte,
        1 => byte << 16 | byte,
        2 => byte << 24 | byte << 8,
        _ => byte << 24 | byte << 16 | byte << 8 | byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each encoding as llvm-mc assembles it.
    #[test]
    fn what_lowers_the_stack_is_read() {
        // push {r4, r5, r7, lr}; sub sp, #16
        assert_eq!(narrow(0, 0xb5b0), Effect::Lower(16));
        assert_eq!(narrow(0, 0xb084), Effect::Lower(16));
        // push.w {r4-r11, lr}; str r8, [sp, #-4]!; vpush {d8}
        assert_eq!(wide(0, 0xe92d, 0x4ff0), Effect::Lower(36));
        assert_eq!(wide(0, 0xf84d, 0x8d04), Effect::Lower(4));
        assert_eq!(wide(0, 0xed2d, 0x8b02), Effect::Lower(8));
        // sub.w sp, sp, #1024; subw sp, sp, #1100; sub.w sp, sp, r3
        assert_eq!(wide(0, 0xf5ad, 0x6d80), Effect::Lower(1024));
        assert_eq!(wide(0, 0xf2ad, 0x4d4c), Effect::Lower(1100));
        assert_eq!(wide(0, 0xebad, 0x0d03), Effect::LowerUnknown);
        // add sp, #16; pop {r4, r5, r7, pc}
        assert_eq!(narrow(0, 0xb004), Effect::None);
        assert_eq!(narrow(0, 0xbdb0), Effect::None);
    }

    #[test]
    fn where_code_goes_is_read() {
        // bl to itself - 4 + 4; b.n over one; beq back; bx lr; bx r3; blx r3
        assert_eq!(wide(0x100, 0xf7ff, 0xfffe), Effect::Call(0x100));
        assert_eq!(wide(0x100, 0xf000, 0xf801), Effect::Call(0x106));
        assert_eq!(wide(0x100, 0xf000, 0xb801), Effect::Branch(0x106));
        assert_eq!(narrow(0x100, 0xe000), Effect::Branch(0x104));
        assert_eq!(narrow(0x100, 0xd0fe), Effect::Branch(0x100));
        assert_eq!(narrow(0, 0x4770), Effect::None);
        assert_eq!(narrow(0, 0x4718), Effect::Indirect);
        assert_eq!(narrow(0, 0x4798), Effect::Indirect);
        // udf, svc
        assert_eq!(narrow(0, 0xde00), Effect::None);
        assert_eq!(narrow(0, 0xdf00), Effect::None);
    }

    #[test]
    fn halves_of_a_register_are_read() {
        // movw r0, #8196; movt r0, #8192
        assert_eq!(wide(0, 0xf242, 0x0004), Effect::Low { register: 0, value: 8196 });
        assert_eq!(wide(0, 0xf2c2, 0x0000), Effect::High { register: 0, value: 8192 });
    }
}
