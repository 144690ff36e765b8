//! The blob of scalars: named sections of little-endian numbers.
//! Invariant: reading consumes exactly what writing produced; nothing is allocated by a length that was read.
//!
//! Layout of a section: name length (u8), name (UTF-8), payload length (u32), payload.

use super::StateError;

/// Writes sections.
#[derive(Debug, Default)]
pub struct StateWriter {
    bytes: Vec<u8>,
}

impl StateWriter {
    /// A section with what `fill` writes.
    pub fn section(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.bytes.push(u8::try_from(name.len()).expect("section names are short"));
        self.bytes.extend_from_slice(name.as_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        fill(self);
        let len = u32::try_from(self.bytes.len() - at - 4).expect("scalars are few");
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Any bytes; the reader must know how many.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A whole number.
    pub fn put_u64(&mut self, value: u64) {
        self.put_bytes(&value.to_le_bytes());
    }

    /// A real number, bit for bit.
    pub fn put_f64(&mut self, value: f64) {
        self.put_u64(value.to_bits());
    }

    /// A real number or none.
    pub fn put_f64_or_none(&mut self, value: Option<f64>) {
        self.put_bytes(&[u8::from(value.is_some())]);
        self.put_f64(value.unwrap_or(0.0));
    }

    /// The blob.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads sections in the order they were written.
#[derive(Debug)]
pub struct StateReader<'a> {
    rest: &'a [u8],
    place: String,
}

impl<'a> StateReader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, place: "the start".into() }
    }

    fn broken(&self, found: String, expected: impl ToString) -> StateError {
        StateError::Blob { place: self.place.clone(), found, expected: expected.to_string() }
    }

    /// The next section, which must be called `name` and be used up by `read`.
    ///
    /// # Errors
    /// [`StateError::Blob`] for another name or length.
    pub fn section<R>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut StateReader<'a>) -> Result<R, StateError>,
    ) -> Result<R, StateError> {
        let len = usize::from(self.take_bytes(1)?[0]);
        let found = self.take_bytes(len)?;
        if found != name.as_bytes() {
            let found = format!("section {:?}", String::from_utf8_lossy(found));
            return Err(self.broken(found, format!("section {name:?}")));
        }
        self.place = format!("section {name:?}");
        let len = u32::from_le_bytes(self.take_array()?) as usize;
        let mut inner = StateReader { rest: self.take_bytes(len)?, place: self.place.clone() };
        let value = read(&mut inner)?;
        inner.end()?;
        Ok(value)
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`StateError::Blob`] when there are fewer.
    pub fn take_bytes(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.broken(format!("{} bytes", self.rest.len()), format!("{len} bytes")));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`StateError::Blob`] when there are fewer.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take_bytes(N)?);
        Ok(array)
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`StateError::Blob`] at the end.
    pub fn take_u64(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.take_array()?))
    }

    /// A real number.
    ///
    /// # Errors
    /// [`StateError::Blob`] at the end.
    pub fn take_f64(&mut self) -> Result<f64, StateError> {
        Ok(f64::from_bits(self.take_u64()?))
    }

    /// A real number or none.
    ///
    /// # Errors
    /// [`StateError::Blob`] at the end.
    pub fn take_f64_or_none(&mut self) -> Result<Option<f64>, StateError> {
        let [is_some] = self.take_array()?;
        let value = self.take_f64()?;
        Ok((is_some != 0).then_some(value))
    }

    /// A real number that must be the world's own, bit for bit.
    ///
    /// # Errors
    /// [`StateError::Mismatch`] naming `what`.
    pub fn require_f64(&mut self, what: &'static str, expected: f64) -> Result<(), StateError> {
        let found = self.take_f64()?;
        if found.to_bits() == expected.to_bits() {
            return Ok(());
        }
        let (found, expected) = (format!("of {found:e}"), format!("{expected:e}"));
        Err(StateError::Mismatch { what, found, expected })
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`StateError::Blob`] naming how much is.
    pub fn end(&self) -> Result<(), StateError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.broken(format!("{} more bytes", self.rest.len()), "the end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Vec<u8> {
        let mut out = StateWriter::default();
        out.section("a", |out| {
            out.put_u64(7);
            out.put_f64_or_none(None);
        });
        out.section("bc", |out| out.put_f64(-0.0));
        out.into_bytes()
    }

    fn read(bytes: &[u8]) -> Result<(u64, Option<f64>, f64), StateError> {
        let mut from = StateReader::new(bytes);
        let (a, b) = from.section("a", |from| Ok((from.take_u64()?, from.take_f64_or_none()?)))?;
        let c = from.section("bc", StateReader::take_f64)?;
        from.end()?;
        Ok((a, b, c))
    }

    #[test]
    fn sections_come_back_bit_for_bit() {
        let (a, b, c) = read(&blob()).expect("as written");
        assert_eq!((a, b, c.to_bits()), (7, None, (-0.0f64).to_bits()));
    }

    #[test]
    fn anything_shorter_longer_or_renamed_is_refused() {
        let whole = blob();
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len} bytes");
        }
        assert!(read(&[whole.clone(), vec![0]].concat()).is_err());
        let mut renamed = whole;
        renamed[1] = b'x';
        let message = read(&renamed).expect_err("another name").to_string();
        assert!(message.contains("\"x\"") && message.contains("\"a\""), "{message}");
    }
}
