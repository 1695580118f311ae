//! Reading what line-based servers answer, with as few copies and calls as can be.

use std::io::{self, Read, Write};

pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A stream with the bytes that were read of it and not used yet.
pub(crate) struct Wire {
    pub(crate) stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, buffer: vec![0; 1 << 18].into(), at: 0, end: 0 }
    }

    /// A line without its end.
    pub(crate) fn line(&mut self) -> io::Result<&[u8]> {
        let (start, length) = self.find_line()?;
        Ok(&self.buffer[start..start + length])
    }

    /// A line that is a letter and a number: the letter, and the number.
    #[inline]
    pub(crate) fn head(&mut self) -> io::Result<(u8, i64)> {
        // The shortest line has a letter, a digit and its end.
        self.fill(4)?;
        let letter = self.buffer[self.at];
        let (mut at, mut number, mut sign) = (self.at + 1, 0, 1);
        loop {
            if at >= self.end {
                let seen = at - self.at;
                self.fill(seen + 1)?;
                at = self.at + seen;
            }
            match self.buffer[at] {
                b'-' => sign = -1,
                digit @ b'0'..=b'9' => number = number * 10 + i64::from(digit - b'0'),
                b'\n' => break,
                _ => {}
            }
            at += 1;
        }
        self.at = at + 1;
        Ok((letter, sign * number))
    }

    /// So many bytes, and the end of the line behind them.
    #[inline]
    pub(crate) fn block(&mut self, length: usize) -> io::Result<&[u8]> {
        self.fill(length + 2)?;
        let start = self.at;
        self.at += length + 2;
        Ok(&self.buffer[start..start + length])
    }

    fn find_line(&mut self) -> io::Result<(usize, usize)> {
        let mut seen = 0;
        loop {
            if let Some(place) = self.buffer[self.at + seen..self.end].iter().position(|&byte| byte == b'\n') {
                let start = self.at;
                self.at += seen + place + 1;
                return Ok((start, (seen + place).saturating_sub(1)));
            }
            seen = self.end - self.at;
            self.fill(seen + 1)?;
        }
    }

    /// Reads until so many bytes lie ready.
    #[inline]
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.end - self.at < bytes {
            if self.at + bytes > self.buffer.len() || self.at == self.end {
                self.buffer.copy_within(self.at..self.end, 0);
                (self.at, self.end) = (0, self.end - self.at);
            }
            match self.stream.read(&mut self.buffer[self.end..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.end += read,
            }
        }
        Ok(())
    }
}

/// Requests that lie ready, one after the other.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) bytes: Vec<u8>,
    /// Where each ends, and how many keys it has.
    ends: Vec<(usize, usize)>,
}

impl Requests {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Says that what was written since the last end is a request for so many keys.
    pub(crate) fn end(&mut self, keys: usize) {
        self.ends.push((self.bytes.len(), keys));
    }

    /// Writes requests ahead of the answers that `read` takes: it is told how many keys the answer has, and the place
    /// of the first among all. What is on its way fits the buffers of the sockets or of the server, so that neither
    /// side waits for the other for ever.
    pub(crate) fn pipeline(
        &self,
        wire: &mut Wire,
        ahead: usize,
        mut read: impl FnMut(&mut Wire, usize, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut sent, mut written, mut first_key) = (0, 0, 0);
        for (answer, &(_, keys)) in self.ends.iter().enumerate() {
            // In steps of half of it, for a call of the kernel costs as much as many keys.
            if sent < self.ends.len() && sent - answer <= ahead / 2 {
                sent = (answer + ahead).min(self.ends.len());
                let end = self.ends[sent - 1].0;
                wire.stream.write_all(&self.bytes[written..end])?;
                wire.stream.flush()?;
                written = end;
            }
            read(wire, keys, first_key)?;
            first_key += keys;
        }
        Ok(())
    }
}
