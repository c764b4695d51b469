//! Whether a file is UTF-8, found piece by piece.

/// What was seen of a file.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// The start of a character that the next piece goes on with.
    open: Vec<u8>,
    bad: bool,
}

impl Utf8 {
    /// Takes in the next piece.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !self.open.is_empty()
            && !self.bad
            && let Some((first, rest)) = bytes.split_first()
        {
            self.open.push(*first);
            bytes = rest;
            match std::str::from_utf8(&self.open) {
                Ok(_) => self.open.clear(),
                Err(error) => self.bad = error.error_len().is_some(),
            }
        }
        if !self.bad
            && let Err(error) = std::str::from_utf8(bytes)
        {
            self.bad = error.error_len().is_some();
            self.open = bytes.get(error.valid_up_to()..).unwrap_or_default().to_vec();
        }
    }

    /// Whether all that was seen is UTF-8.
    pub fn is_valid(&self) -> bool {
        !self.bad && self.open.is_empty()
    }
}

/// Whether a file that starts so is text: it has none of the bytes that file(1) finds in no text.
pub fn is_text(head: &[u8]) -> bool {
    !head.iter().any(|byte| matches!(byte, 0..=6 | 11 | 14..=26 | 28..=31 | 127))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_seen_as_the_whole(
            words in proptest::collection::vec("[a-z\u{e9}\u{20ac}\u{1f600}]{1,3}", 0..6),
            junk in proptest::option::of(0_u8..=255),
            at in 0_usize..30,
            size in 1_usize..5,
        ) {
            let mut bytes = words.concat().into_bytes();
            if let Some(junk) = junk {
                bytes.insert(at.min(bytes.len()), junk);
            }
            let mut utf8 = Utf8::default();
            bytes.chunks(size).for_each(|piece| utf8.update(piece));
            prop_assert_eq!(utf8.is_valid(), String::from_utf8(bytes).is_ok());
        }
    }
}
