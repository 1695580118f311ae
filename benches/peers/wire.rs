//! Pipelined exchanges with servers of line-based protocols, with as few copies and system calls as possible.

use std::io::{self, Read, Write};

pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A stream with a read buffer.
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

    /// Reads a line and returns it without its line ending.
    pub(crate) fn line(&mut self) -> io::Result<&[u8]> {
        let (start, length) = self.find_line()?;
        Ok(&self.buffer[start..start + length])
    }

    /// Reads a line of a letter and a number.
    #[inline]
    pub(crate) fn head(&mut self) -> io::Result<(u8, i64)> {
        // The shortest line has a letter, a digit and the line ending.
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

    /// Reads `length` bytes and the line ending after them.
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
            if let Some(offset) = self.buffer[self.at + seen..self.end].iter().position(|&byte| byte == b'\n') {
                let start = self.at;
                self.at += seen + offset + 1;
                return Ok((start, (seen + offset).saturating_sub(1)));
            }
            seen = self.end - self.at;
            self.fill(seen + 1)?;
        }
    }

    /// Reads until `bytes` bytes are buffered.
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

/// Prebuilt requests.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) bytes: Vec<u8>,
    /// The end offset and the number of keys of each request.
    ends: Vec<(usize, usize)>,
}

impl Requests {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Marks the end of a request for `keys` keys.
    pub(crate) fn end(&mut self, keys: usize) {
        self.ends.push((self.bytes.len(), keys));
    }

    /// Pipelines the requests, up to `ahead` before the answers that `read` reads. `read` is called with the number of
    /// keys of the answer and the index of the first of them. The requests and answers in flight must fit the buffers
    /// of the sockets or of the server, or both sides deadlock.
    pub(crate) fn pipeline(
        &self,
        wire: &mut Wire,
        ahead: usize,
        mut read: impl FnMut(&mut Wire, usize, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut sent, mut written, mut first_key) = (0, 0, 0);
        for (answer, &(_, keys)) in self.ends.iter().enumerate() {
            // Written in steps of half of `ahead`, as a system call costs as much as many keys.
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
