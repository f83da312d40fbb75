//! What an instruction of the Thumb set is to the counter.
//!
//! Encodings: Armv7-M Architecture Reference Manual (DDI 0403), A5 and A7.

/// Kinds of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Any other.
    Other,
    /// `bl`, `blx`: the instruction behind it is where the callee returns to.
    Call,
    /// `bx lr`, and loads of the program counter from the stack: the end of a function or a handler.
    Return,
    /// `wfi`: the core sleeps until an interrupt.
    Sleep,
}

impl Kind {
    /// The kind of the instruction with these bytes, two or four of them.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match *bytes {
            [a, b] => Self::of_narrow(u16::from_le_bytes([a, b])),
            [a, b, c, d] => Self::of_wide(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
            _ => Self::Other,
        }
    }

    fn of_narrow(half: u16) -> Self {
        match half {
            // BLX (register).
            _ if half & 0xff87 == 0x4780 => Self::Call,
            // BX LR; POP with the program counter among its registers.
            _ if half == 0x4770 || half & 0xff00 == 0xbd00 => Self::Return,
            0xbf30 => Self::Sleep,
            _ => Self::Other,
        }
    }

    fn of_wide(first: u16, second: u16) -> Self {
        match (first, second) {
            // BL (immediate).
            _ if first & 0xf800 == 0xf000 && second & 0xd000 == 0xd000 => Self::Call,
            // LDMIA SP! with the program counter among its registers; LDR PC, [SP], #4.
            (0xe8bd, _) if second & 0x8000 != 0 => Self::Return,
            (0xf85d, 0xfb04) => Self::Return,
            (0xf3af, 0x8003) => Self::Sleep,
            _ => Self::Other,
        }
    }

    /// The kind with this number.
    pub(crate) fn from_number(number: u8) -> Self {
        [Self::Other, Self::Call, Self::Return, Self::Sleep]
            .into_iter()
            .find(|kind| *kind as u8 == number)
            .unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_encodings() {
        for (bytes, kind) in [
            // As an assembler writes them: mov r0, r1; bx lr; bx r3; blx r3; pop {r4, pc}; pop {r4}.
            (&[0x08, 0x46][..], Kind::Other),
            (&[0x70, 0x47], Kind::Return),
            (&[0x18, 0x47], Kind::Other),
            (&[0x98, 0x47], Kind::Call),
            (&[0x10, 0xbd], Kind::Return),
            (&[0x10, 0xbc], Kind::Other),
            (&[0x30, 0xbf], Kind::Sleep),
            // bl; b.w; bne.w; pop.w {r8, pc}; pop.w {r8}; ldr pc, [sp], #4; wfi.w.
            (&[0x01, 0xf0, 0x48, 0xfe], Kind::Call),
            (&[0x00, 0xf0, 0x31, 0xb8], Kind::Other),
            (&[0x40, 0xf0, 0x00, 0x80], Kind::Other),
            (&[0xbd, 0xe8, 0x00, 0x81], Kind::Return),
            (&[0xbd, 0xe8, 0x00, 0x01], Kind::Other),
            (&[0x5d, 0xf8, 0x04, 0xfb], Kind::Return),
            (&[0xaf, 0xf3, 0x03, 0x80], Kind::Sleep),
        ] {
            assert_eq!(Kind::of(bytes), kind, "{bytes:02x?}");
            assert_eq!(Kind::from_number(kind as u8), kind);
        }
    }
}
