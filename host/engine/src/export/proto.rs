//! Protobuf messages, written field by field (protobuf.dev/programming-guides/encoding).

/// A message under construction.
#[derive(Debug, Default, Clone)]
pub struct Message(Vec<u8>);

/// What follows a field's number on the wire.
const VARINT: u32 = 0;
const LENGTH: u32 = 2;
const FIXED_32: u32 = 5;

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// Adds an integer that is not negative.
    pub fn int(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// Adds a `float`.
    pub fn float(&mut self, field: u32, value: f32) {
        self.tag(field, FIXED_32);
        self.0.extend(value.to_le_bytes());
    }

    /// Adds bytes.
    pub fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// Adds a text.
    pub fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// Adds a message inside this one.
    pub fn message(&mut self, field: u32, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// The message as bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn messages_are_those_of_the_encoding_guide() {
        let mut inner = Message::default();
        inner.int(1, 150);
        let mut outer = Message::default();
        outer.message(3, &inner);
        outer.text(2, "testing");
        outer.float(20, 1.0);
        let want = [
            &[0x1a, 0x03, 0x08, 0x96, 0x01, 0x12, 0x07][..],
            b"testing",
            &[0xa5, 0x01, 0x00, 0x00, 0x80, 0x3f],
        ];
        assert_eq!(outer.into_bytes(), want.concat());
    }
}
