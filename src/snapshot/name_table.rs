//! Detection names by number, validated once and then read without validation.

use zerocopy::little_endian::U32;

use super::error::OpenError;

/// The detection names of a snapshot. All names have been validated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameTable<'a> {
    ends: &'a [U32],
    text: &'a [u8],
}

impl<'a> NameTable<'a> {
    /// Fails with [`OpenError::Invalid`] when a name is not UTF-8 or exceeds the text.
    pub(super) fn check(ends: &'a [U32], text: &'a [u8]) -> Result<Self, OpenError> {
        let mut start = 0;
        for (n, end) in ends.iter().enumerate() {
            let name = text.get(start..end.get() as usize);
            if name.is_none_or(|name| std::str::from_utf8(name).is_err()) {
                return Err(OpenError::invalid(format!("name {n} is malformed")));
            }
            start = end.get() as usize;
        }
        if start != text.len() {
            return Err(OpenError::invalid("text follows the last name"));
        }
        Ok(Self { ends, text })
    }

    /// Creates the table from sections that were checked before.
    ///
    /// # Safety
    ///
    /// [`check`](Self::check) must have accepted the same bytes.
    #[allow(unsafe_code)]
    pub(super) unsafe fn of_checked(ends: &'a [U32], text: &'a [u8]) -> Self {
        Self { ends, text }
    }

    /// Returns a name.
    ///
    /// # Panics
    ///
    /// Panics if `number` is out of range.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) fn get(&self, number: u32) -> &'a str {
        let name = &self.text[self.start(number)..self.ends[number as usize].get() as usize];
        // SAFETY: `check` validated this slice as UTF-8, and the bytes do not change. Validating it again took an
        // eighth of the time of a batch in which every key was listed.
        unsafe { std::str::from_utf8_unchecked(name) }
    }

    /// Returns the start offset of a name, or the end of the text for the number after the last.
    #[inline]
    pub(crate) fn start(&self, number: u32) -> usize {
        if number == 0 { 0 } else { self.ends[number as usize - 1].get() as usize }
    }

    /// Returns the end offset of each name.
    pub(crate) fn ends(&self) -> &'a [U32] {
        self.ends
    }

    /// Returns the concatenated text of all names.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }
}
