//! Bytes to message.

use serde::de::value::U32Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::{MORE, Unfit};

/// Reads a message from the start of `bytes`; gives what is left too.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Unfit> {
    let mut reader = Reader { rest: bytes };
    let message = T::deserialize(&mut reader)?;
    Ok((message, reader.rest))
}

/// The bytes not yet read.
struct Reader<'de> {
    rest: &'de [u8],
}

impl<'de> Reader<'de> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Unfit> {
        let (byte, rest) = self.rest.split_first().ok_or(Unfit)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// A varint of at most 32 bits.
    #[inline(never)]
    fn number(&mut self) -> Result<u32, Unfit> {
        let (word, behind) = match self.rest.split_first_chunk() {
            Some((word, behind)) => (u32::from_le_bytes(*word), behind),
            // Zeros stand for what is missing: a varint that ends there is longer than the rest.
            None => (last_word(self.rest), &[][..]),
        };
        let ends = !word & MORE;
        if ends == 0 {
            let (top, rest) = behind.split_first().ok_or(Unfit)?;
            self.rest = rest;
            let bits = if *top < 0x10 { u32::from(*top) << 28 } else { return Err(Unfit) };
            return Ok(joined(word) | bits);
        }
        // Bytes before the one that ends it, and its bits.
        let more = usize::try_from(ends.trailing_zeros() >> 3).map_err(|_| Unfit)?;
        let (_, rest) = self.rest.get(more..).and_then(<[u8]>::split_first).ok_or(Unfit)?;
        self.rest = rest;
        Ok(joined(word & (ends ^ ends.wrapping_sub(1))))
    }

    /// A varint of at most 16 bits, thus of at most three bytes.
    #[inline]
    fn short(&mut self) -> Result<u16, Unfit> {
        let most = self.rest.len().saturating_sub(3);
        let value = self.number()?;
        if self.rest.len() < most { Err(Unfit) } else { u16::try_from(value).map_err(|_| Unfit) }
    }
}

/// Less than four bytes as a word.
#[cold]
fn last_word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The lower seven bits of each byte of a word, without gaps: pairs, then both.
#[inline]
fn joined(word: u32) -> u32 {
    let pairs = (word & 0x007f_007f) | ((word & 0x7f00_7f00) >> 1);
    (pairs & 0x3fff) | ((pairs & 0x3fff_0000) >> 2)
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Unfit;

    /// Nothing in the bytes says what they are; so goes every type that no message has.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit)
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Unfit),
        }
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_u8(self.byte()?)
    }

    #[inline]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_u16(self.short()?)
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_u32(self.number()?)
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let number = self.number()?;
        let sign = 0_u32.wrapping_sub(number & 1);
        visitor.visit_i32(((number >> 1) ^ sign).cast_signed())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let length = usize::try_from(self.number()?).map_err(|_| Unfit)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Unfit)?;
        self.rest = rest;
        visitor.visit_borrowed_bytes(bytes)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_seq(Parts { reader: self, left: count })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i64 i128 u64 u128 f32 f64 char str string byte_buf option unit unit_struct seq
        tuple_struct map identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a struct or an array.
struct Parts<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Unfit;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unfit> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = Unfit;
    type Variant = Self;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Unfit> {
        let index: U32Deserializer<Unfit> = self.number()?.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Unfit;

    #[inline]
    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Unfit> {
        Err(Unfit)
    }
}
