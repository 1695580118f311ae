//! Detection names by number: checked once, read without checking again.

use zerocopy::little_endian::U32;

use super::error::OpenError;

/// The names of a snapshot. There is none that was not checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameTable<'a> {
    ends: &'a [U32],
    text: &'a [u8],
}

impl<'a> NameTable<'a> {
    /// Checks that every name is UTF-8 and lies in the text.
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

    /// The names of sections that were checked before.
    ///
    /// # Safety
    ///
    /// [`check`](Self::check) has accepted the very same bytes.
    #[allow(unsafe_code)]
    pub(super) unsafe fn of_checked(ends: &'a [U32], text: &'a [u8]) -> Self {
        Self { ends, text }
    }

    /// A name.
    ///
    /// # Panics
    ///
    /// When there is none of that number.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) fn get(&self, number: u32) -> &'a str {
        let name = &self.text[self.start(number)..self.ends[number as usize].get() as usize];
        // SAFETY: this very slice was found to be UTF-8 by `check`, and the bytes do not change. Checking it again took
        // an eighth of the time of a batch in which every key was listed.
        unsafe { std::str::from_utf8_unchecked(name) }
    }

    /// Where the text of a name starts; for the number behind the last, where it ends.
    #[inline]
    pub(crate) fn start(&self, number: u32) -> usize {
        if number == 0 { 0 } else { self.ends[number as usize - 1].get() as usize }
    }

    /// Where each name ends.
    pub(crate) fn ends(&self) -> &'a [U32] {
        self.ends
    }

    /// The text of all names.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }
}
