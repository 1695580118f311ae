//! Keys from the command line and from streams of lines.

use std::{
    io::{self, Read},
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use ksn::{Key, key::KeyError, limits::WEB_ADDRESS_BYTES_MAX};

/// Keys per lookup: large enough to amortize the round trip to a server, small enough to buffer.
pub(super) const CHUNK_LINES: usize = 16_384;

/// Maximum length of a line in bytes. The longest key is a web address; defanging and spaces may double it.
const LINE_BYTES_MAX: usize = 2 * WEB_ADDRESS_BYTES_MAX;

/// Bytes per read: the capacity of a pipe.
const BLOCK_BYTES: usize = 64 << 10;

/// How long a partial chunk waits for more lines: too short to notice when typing, long enough to batch the lines of a
/// slow program.
const FILL_TIMEOUT: Duration = Duration::from_millis(5);

/// One key as given, and the result of parsing it.
#[derive(Debug)]
pub(super) struct ParsedKey {
    pub(super) text: String,
    pub(super) key: Result<Key, InvalidKey>,
}

/// Why a text is not a key that can be looked up.
#[derive(Debug)]
pub(super) struct InvalidKey {
    pub(super) is_unsupported: bool,
    pub(super) reason: String,
}

impl ParsedKey {
    /// Parses an argument. The name of an existing file is an error: it is probably meant for `ksn scan`.
    pub(super) fn from_argument(text: &str) -> Self {
        let mut parsed = Self::from_text(text);
        if !has_scheme_or_prefix(text) && Path::new(text).is_file() {
            let instead = parsed.key.as_ref().map(|key| format!("; to look up the text itself write `{key}`"));
            let reason = format!(
                "{text} is the name of a file: to look up its content run `ksn scan {text}`{}",
                instead.unwrap_or_default()
            );
            parsed.key = Err(InvalidKey { is_unsupported: false, reason });
        }
        parsed
    }

    /// Parses a line or argument.
    pub(super) fn from_text(text: &str) -> Self {
        Self { text: text.into(), key: text.parse().map_err(InvalidKey::from) }
    }

    fn from_line(line: &[u8]) -> Self {
        if line.len() > LINE_BYTES_MAX {
            let start = String::from_utf8_lossy(&line[..EXCERPT_BYTES]).into_owned() + "…";
            return Self::invalid(
                start,
                format!("expected a line of at most {LINE_BYTES_MAX} bytes, found {} or more", line.len()),
            );
        }
        match std::str::from_utf8(line) {
            Ok(text) => Self::from_text(text.trim()),
            Err(e) => {
                let reason = format!("expected UTF-8, found an invalid byte at position {}", e.valid_up_to() + 1);
                Self::invalid(String::from_utf8_lossy(line).trim().into(), reason)
            }
        }
    }

    fn invalid(text: String, reason: String) -> Self {
        Self { text, key: Err(InvalidKey { is_unsupported: false, reason }) }
    }
}

impl From<KeyError> for InvalidKey {
    fn from(error: KeyError) -> Self {
        Self { is_unsupported: error.is_unsupported(), reason: error.to_string() }
    }
}

/// Bytes of an overlong line that are printed.
const EXCERPT_BYTES: usize = 80;

fn has_scheme_or_prefix(text: &str) -> bool {
    let prefix = text.split_once(':').map(|(prefix, _)| prefix.to_ascii_lowercase());
    text.contains("://")
        || prefix.is_some_and(|prefix| ksn::key::KeyKind::ALL.iter().any(|kind| kind.prefix() == prefix))
}

/// Reads keys from a stream of lines, a chunk at a time.
///
/// A thread reads ahead a bounded number of blocks, so memory does not grow with the stream. A chunk has the lines that
/// are available, up to [`CHUNK_LINES`]: keys that are typed are answered at once. Blank lines, lines that start with `#`
/// and a byte order mark are skipped; a `#` further on may be part of a key.
pub(super) struct KeyLines {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// Whole lines that were read.
    block: Vec<u8>,
    /// Bytes of `block` that were consumed.
    consumed: usize,
    at_start: bool,
    at_end: bool,
}

impl KeyLines {
    pub(super) fn new(input: impl Read + Send + 'static) -> Self {
        // Four blocks of read-ahead hide the latency of looking up a chunk.
        let (sender, blocks) = mpsc::sync_channel(4);
        thread::spawn(move || {
            for block in Blocks::new(input) {
                if sender.send(block).is_err() {
                    break;
                }
            }
        });
        Self { blocks, block: Vec::new(), consumed: 0, at_start: true, at_end: false }
    }

    /// Returns the next keys; `None` at the end of the stream.
    pub(super) fn next_chunk(&mut self) -> io::Result<Option<Vec<ParsedKey>>> {
        let mut chunk = Vec::new();
        loop {
            self.take_lines(&mut chunk);
            if chunk.len() == CHUNK_LINES || self.at_end {
                return Ok((!chunk.is_empty()).then_some(chunk));
            }
            let block = match chunk.is_empty() {
                true => self.blocks.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.blocks.recv_timeout(FILL_TIMEOUT),
            };
            match block {
                Ok(block) => (self.block, self.consumed) = (block?, 0),
                Err(RecvTimeoutError::Timeout) => return Ok(Some(chunk)),
                Err(RecvTimeoutError::Disconnected) => self.at_end = true,
            }
        }
    }

    fn take_lines(&mut self, chunk: &mut Vec<ParsedKey>) {
        while chunk.len() < CHUNK_LINES && self.consumed < self.block.len() {
            let rest = &self.block[self.consumed..];
            let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            let mut line = rest[..end].trim_ascii();
            if std::mem::take(&mut self.at_start) {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii_start();
            }
            if !line.is_empty() && line[0] != b'#' {
                chunk.push(ParsedKey::from_line(line));
            }
            self.consumed += end + 1;
        }
    }
}

/// Iterator over blocks of whole lines. An overlong line is truncated to one byte more than the maximum.
struct Blocks<R> {
    input: R,
    /// The start of a line whose end was not read yet.
    partial: Vec<u8>,
    at_end: bool,
}

impl<R: Read> Blocks<R> {
    fn new(input: R) -> Self {
        Self { input, partial: Vec::new(), at_end: false }
    }

    fn read_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; BLOCK_BYTES];
        while !self.at_end {
            let read = match self.input.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                self.at_end = true;
                break;
            }
            let (lines, rest) = match buffer[..read].iter().rposition(|&b| b == b'\n') {
                Some(last) => buffer[..read].split_at(last + 1),
                None => (&[][..], &buffer[..read]),
            };
            let mut block = Vec::new();
            if !lines.is_empty() {
                block = std::mem::take(&mut self.partial);
                // Blocks end at a line end, so an overlong line is truncated at the start of the next block.
                block.extend_from_slice(lines);
            }
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&rest[..rest.len().min(room)]);
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
        let last = std::mem::take(&mut self.partial);
        Ok((!last.is_empty()).then_some(last))
    }
}

impl<R: Read> Iterator for Blocks<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_block().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &[u8]) -> Vec<String> {
        let mut lines = KeyLines::new(io::Cursor::new(input.to_vec()));
        let mut texts = Vec::new();
        while let Some(chunk) = lines.next_chunk().unwrap() {
            texts.extend(chunk.into_iter().map(|parsed| parsed.text));
        }
        texts
    }

    #[test]
    fn lines_are_whole_wherever_blocks_end() {
        let input: String = (0..50_000).map(|n| format!("host{n}.example/{}\r\n\n", "x".repeat(n % 90))).collect();
        let expected: Vec<_> = input.split_whitespace().collect();
        assert_eq!(texts(input.as_bytes()), expected);
        assert_eq!(texts(b"a.example"), ["a.example"]);
        assert!(texts(b"\n \n\r\n").is_empty());
    }

    #[test]
    fn comment_lines_and_a_byte_order_mark_are_skipped() {
        assert_eq!(texts(b"\xef\xbb\xbf# keys\na.example\n  # more\n#\nb.example/#c\n"), ["a.example", "b.example/#c"]);
        assert_eq!(texts(b"\xef\xbb\xbfa.example"), ["a.example"]);
        assert!(texts(&[b"#".as_slice(), &[b'a'; 1 << 20]].concat()).is_empty());
    }

    #[test]
    fn an_overlong_line_is_one_error_and_is_not_buffered() {
        let mut input = vec![b'a'; 1 << 20];
        input.extend_from_slice(b"\nb.example\n\xff\xfe.example\n");
        let mut lines = KeyLines::new(io::Cursor::new(input));
        let mut all = Vec::new();
        while let Some(chunk) = lines.next_chunk().unwrap() {
            all.extend(chunk);
        }
        assert_eq!(all.len(), 3);
        assert!(all[0].key.as_ref().unwrap_err().reason.contains("a line of at most"));
        assert!(all[0].text.len() < 100);
        assert!(all[1].key.is_ok());
        assert!(all[2].key.as_ref().unwrap_err().reason.contains("UTF-8"));
    }
}
