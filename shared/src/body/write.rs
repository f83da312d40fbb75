//! Message to bytes.

use serde::ser::{Impossible, SerializeStruct, SerializeTuple};
use serde::{Serialize, Serializer};

use super::{MORE, Unfit};

type Written = Result<(), Unfit>;

/// Writes `message` to the start of `out`; gives the bytes used.
pub fn write<T: Serialize>(message: &T, out: &mut [u8]) -> Result<usize, Unfit> {
    let room = out.len();
    let mut writer = Writer { rest: out };
    message.serialize(&mut writer)?;
    Ok(room.saturating_sub(writer.rest.len()))
}

/// Where the next byte goes.
struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    #[inline]
    fn byte(&mut self, byte: u8) -> Written {
        let (place, rest) = core::mem::take(&mut self.rest).split_first_mut().ok_or(Unfit)?;
        *place = byte;
        self.rest = rest;
        Ok(())
    }

    /// A varint.
    #[inline(never)]
    fn number(&mut self, mut value: u32) -> Written {
        let rest = core::mem::take(&mut self.rest);
        if value >> 28 != 0 {
            let [a, b, c, d] = (spread(value) | MORE).to_le_bytes();
            let (place, rest) = rest.split_first_chunk_mut().ok_or(Unfit)?;
            *place = [a, b, c, d, value.to_be_bytes()[0] >> 4];
            self.rest = rest;
            return Ok(());
        }
        let mut places = rest.iter_mut();
        while value >= 0x80 {
            *places.next().ok_or(Unfit)? = value.to_le_bytes()[0] | 0x80;
            value >>= 7;
        }
        *places.next().ok_or(Unfit)? = value.to_le_bytes()[0];
        self.rest = places.into_slice();
        Ok(())
    }
}

/// The lower 28 bits in four bytes of seven bits: halves apart, then quarters.
#[inline]
fn spread(value: u32) -> u32 {
    let halves = (value & 0x3fff) | ((value & 0x0fff_c000) << 2);
    (halves & 0x007f_007f) | ((halves & 0x3f80_3f80) << 1)
}

/// Methods for types that no message has.
macro_rules! refused {
    ($($method:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Unfit> { Err(Unfit) })*
    };
}

type No = Impossible<(), Unfit>;

impl Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = No;
    type SerializeTuple = Self;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = Self;
    type SerializeStructVariant = No;

    #[inline]
    fn serialize_bool(self, value: bool) -> Written {
        self.byte(u8::from(value))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Written {
        self.byte(value)
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Written {
        self.number(u32::from(value))
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Written {
        self.number(value)
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Written {
        self.number(((value << 1) ^ (value >> 31)).cast_unsigned())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        self.number(u32::try_from(bytes.len()).map_err(|_| Unfit)?)?;
        let rest = core::mem::take(&mut self.rest);
        let (place, rest) = rest.split_at_mut_checked(bytes.len()).ok_or(Unfit)?;
        for (place, byte) in place.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.rest = rest;
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Written {
        self.number(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Written {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Written {
        self.number(index)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, Unfit> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unfit> {
        Ok(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Written {
        Err(Unfit)
    }

    fn collect_str<T: core::fmt::Display + ?Sized>(self, _: &T) -> Written {
        Err(Unfit)
    }

    refused! {
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i64(i64) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> No;
        serialize_map(Option<usize>) -> No;
        serialize_tuple_struct(&'static str, usize) -> No;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> No;
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl SerializeTuple for &mut Writer<'_> {
    type Ok = ();
    type Error = Unfit;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Written {
        Ok(())
    }
}

impl SerializeStruct for &mut Writer<'_> {
    type Ok = ();
    type Error = Unfit;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Written {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Written {
        Ok(())
    }
}
