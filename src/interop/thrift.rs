//! A walk over Thrift compact bytes that allocates nothing of a declared size: it finds lists
//! that claim more elements than bytes are left, which a decoder would reserve memory for.
//!
//! Knows no meaning of the fields; integers are reported with the path of their field ids.
//! Source: Apache Thrift, "Thrift Compact protocol encoding".

/// Deepest nesting that is followed; Parquet's own structures stay below ten.
const MAX_DEPTH: usize = 32;

/// Where the walk is.
#[derive(Clone, Copy)]
enum Frame {
    Struct {
        field: i16,
    },
    /// Elements of a list, or keys and values of a map, alternating between two types.
    Elements {
        left: u64,
        kinds: [u8; 2],
        turn: usize,
    },
}

/// Walks one struct at the start of `bytes` and returns its length; none if it is malformed or
/// longer than `bytes`. `visit` is given every integer and the field ids that lead to it.
pub(super) fn walk(bytes: &[u8], mut visit: impl FnMut(&[i16], i64)) -> Option<usize> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut stack = vec![Frame::Struct { field: 0 }];
    let mut path: Vec<i16> = Vec::with_capacity(MAX_DEPTH);
    while let Some(frame) = stack.last_mut() {
        let in_list = matches!(frame, Frame::Elements { .. });
        let kind = match frame {
            Frame::Struct { field } => {
                let header = cursor.byte()?;
                if header == 0 {
                    stack.pop();
                    continue;
                }
                *field = match header >> 4 {
                    0 => i16::try_from(cursor.zigzag()?).ok()?,
                    delta => field.checked_add(i16::from(delta))?,
                };
                header & 0x0f
            }
            Frame::Elements { left: 0, .. } => {
                stack.pop();
                continue;
            }
            Frame::Elements { left, kinds, turn } => {
                *left -= 1;
                *turn = 1 - *turn;
                kinds[1 - *turn]
            }
        };
        match kind {
            // A boolean field is its own header; in a list it takes a byte.
            1 | 2 => cursor.skip(u64::from(in_list))?,
            3 => cursor.skip(1)?,
            4..=6 => {
                let value = cursor.zigzag()?;
                path.clear();
                path.extend(stack.iter().filter_map(|frame| match frame {
                    Frame::Struct { field } => Some(*field),
                    Frame::Elements { .. } => None,
                }));
                visit(&path, value);
            }
            7 => cursor.skip(8)?,
            8 => {
                let length = cursor.varint()?;
                cursor.skip(length)?;
            }
            9..=11 => stack.push(cursor.elements(kind)?),
            12 => stack.push(Frame::Struct { field: 0 }),
            13 => cursor.skip(16)?,
            _ => return None,
        }
        if stack.len() > MAX_DEPTH {
            return None;
        }
    }
    Some(cursor.at)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        if length > self.left() {
            return None;
        }
        self.at += usize::try_from(length).ok()?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The head of a list, set (9, 10) or map (11). Every element takes a byte at least.
    fn elements(&mut self, kind: u8) -> Option<Frame> {
        let (left, kinds) = if kind == 11 {
            let pairs = self.varint()?;
            let kinds = if pairs == 0 { 0 } else { self.byte()? };
            (pairs.checked_mul(2)?, [kinds >> 4, kinds & 0x0f])
        } else {
            let head = self.byte()?;
            let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
            (count, [head & 0x0f; 2])
        };
        (left <= self.left()).then_some(Frame::Elements { left, kinds, turn: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::walk;

    #[test]
    fn integers_are_reported_with_the_fields_that_lead_to_them() {
        // {1: i32 5, 3: [{2: i64 -1}, {}], 4: binary "ab", 5: true}
        let bytes = [0x15, 10, 0x29, 0x2c, 0x26, 1, 0, 0, 0x18, 2, b'a', b'b', 0x11, 0, 0xee];
        let mut seen = Vec::new();
        let length = walk(&bytes, |path, value| seen.push((path.to_vec(), value)));
        assert_eq!(length, Some(bytes.len() - 1));
        assert_eq!(seen, [(vec![1], 5), (vec![3, 2], -1)]);
    }

    #[test]
    fn a_list_that_claims_more_elements_than_bytes_are_left_is_refused() {
        assert_eq!(walk(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0x0f, 0, 0], |_, _| ()), None);
        assert_eq!(walk(&[0x1b, 0xff, 0xff, 0xff, 0x0f, 0x88, 0], |_, _| ()), None);
        assert_eq!(walk(&[0x1c; 100], |_, _| ()), None);
    }
}
