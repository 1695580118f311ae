//! Decompresses a feed and splits it into lines, in bounded memory.

use std::{
    borrow::Cow,
    cell::Cell,
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    rc::Rc,
};

use zip::ZipArchive;

use super::{
    error::FeedError,
    sample::{SAMPLE_BYTES, Sample},
};
use crate::limits::{
    FEED_BYTES_MAX, FEED_DOCUMENT_BYTES_MAX, FEED_LINE_BYTES_MAX, FEED_RATIO_FREE_BYTES, FEED_RATIO_MAX,
};

/// One line without its terminator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// The line number, from 1.
    pub(crate) number: u64,
    /// The text, decoded as UTF-8, or as Latin-1 if it is not valid UTF-8.
    pub(crate) text: &'a str,
}

/// A decompressed feed.
pub(crate) struct Input<'a> {
    reader: Box<dyn Read + 'a>,
    /// Compressed bytes read so far.
    packed: Rc<Cell<u64>>,
    /// Decompressed bytes so far, summed over all members of an archive; `None` if the feed is not compressed.
    unpacked: Option<Rc<Cell<u64>>>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    finished: bool,
    line: u64,
    decoded: String,
    overlong: Overlong,
    stop: Rc<Cell<bool>>,
}

/// Lines that exceeded the maximum length.
#[derive(Debug, Default)]
pub(super) struct Overlong {
    /// The number of lines.
    pub(super) count: u64,
    /// Their line numbers.
    pub(super) lines: Vec<u64>,
}

/// The content of a file, by its compression.
pub(super) enum Unpacked<'a> {
    /// One feed.
    Feed(Input<'a>),
    /// An archive of several feeds, and its size in bytes.
    Archive(ZipArchive<File>, u64),
}

/// Detects the compression of a feed by its first bytes.
pub(super) fn unpack<'a>(mut reader: impl Read + 'a) -> Result<Unpacked<'a>, FeedError> {
    let mut magic = [0; 4];
    let length = read_full(&mut reader, &mut magic)?;
    let whole = Cursor::new(magic).take(length as u64).chain(reader);
    if &magic != b"PK\x03\x04" && &magic != b"PK\x05\x06" {
        return Ok(Unpacked::Feed(Input::decompressing(whole, magic)?));
    }
    // The central directory is at the end, so that the archive must be seekable.
    let mut file = tempfile::tempfile()?;
    let size = io::copy(&mut whole.take(ARCHIVE_BYTES_MAX + 1), &mut file)?;
    if size > ARCHIVE_BYTES_MAX {
        return Err(FeedError::TooLarge { what: "the size of the zip archive in bytes", limit: ARCHIVE_BYTES_MAX });
    }
    file.rewind()?;
    let archive = ZipArchive::new(file).map_err(io::Error::from)?;
    Ok(Unpacked::Archive(archive, size))
}

impl<'a> Input<'a> {
    /// Opens an archive member. `archive_bytes` is the archive's size and `unpacked` counts the bytes that all members
    /// decompress to: members may share their compressed bytes.
    pub(super) fn member(
        reader: impl Read + 'a,
        archive_bytes: u64,
        unpacked: &Rc<Cell<u64>>,
    ) -> Result<Self, FeedError> {
        let mut input = Self::new(Box::new(reader));
        input.packed.set(archive_bytes);
        input.unpacked = Some(Rc::clone(unpacked));
        input.begin()?;
        Ok(input)
    }

    /// Opens text, such as that of a sample.
    pub(super) fn text(text: &'a str) -> Result<Self, FeedError> {
        let mut input = Self::new(Box::new(text.as_bytes()));
        input.begin()?;
        Ok(input)
    }

    fn decompressing(reader: impl Read + 'a, magic: [u8; 4]) -> Result<Self, FeedError> {
        let packed = Rc::new(Cell::new(0));
        let counted = Counted { reader, count: Rc::clone(&packed) };
        let mut input = if magic.starts_with(&[0x1f, 0x8b]) {
            Self::new(Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, counted))))
        } else if magic == [0x28, 0xb5, 0x2f, 0xfd] {
            let packed = BufReader::with_capacity(CHUNK_BYTES, counted);
            Self::new(Box::new(zstd::stream::read::Decoder::with_buffer(packed)?))
        } else {
            let mut input = Self::new(Box::new(counted));
            input.begin()?;
            return Ok(input);
        };
        input.packed = packed;
        input.unpacked = Some(Rc::default());
        input.begin()?;
        Ok(input)
    }

    fn new(reader: Box<dyn Read + 'a>) -> Self {
        Self {
            reader,
            packed: Rc::default(),
            unpacked: None,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            finished: false,
            line: 0,
            decoded: String::new(),
            overlong: Overlong::default(),
            stop: Rc::default(),
        }
    }

    /// Reads the sample and skips the byte order mark.
    fn begin(&mut self) -> Result<(), FeedError> {
        while self.end < SAMPLE_BYTES && !self.finished {
            self.fill()?;
        }
        if self.buffer[..self.end].starts_with(b"\xef\xbb\xbf") {
            self.start = 3;
        }
        Ok(())
    }

    /// Returns the first bytes and whether they are the whole feed. MUST be called before any line is read.
    pub(super) fn head(&self) -> (&[u8], bool) {
        let available = &self.buffer[self.start..self.end];
        let whole = self.finished && available.len() <= SAMPLE_BYTES;
        (&available[..available.len().min(SAMPLE_BYTES)], whole)
    }

    /// Derives something from the sample of the first bytes; its name is empty.
    pub(super) fn sample<T>(&self, derive: impl FnOnce(&Sample<'_>) -> T) -> T {
        let (head, whole) = self.head();
        derive(&Sample::new(head, &decode(head), whole, ""))
    }

    /// Returns the shared flag that stops reading early.
    pub(super) fn stop_flag(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.stop)
    }

    /// Takes the overlong lines so far.
    pub(super) fn overlong(&mut self) -> Overlong {
        std::mem::take(&mut self.overlong)
    }

    /// Returns the next line, without LF or CRLF and without byte order mark. Lines longer than
    /// [`FEED_LINE_BYTES_MAX`] are skipped and counted as rejected.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'_>>, FeedError> {
        let Some((start, end)) = self.advance()? else { return Ok(None) };
        let bytes = &self.buffer[start..end];
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                self.decoded.clear();
                self.decoded.extend(bytes.iter().map(|&b| char::from(b)));
                &self.decoded
            }
        };
        Ok(Some(Line { number: self.line, text }))
    }

    /// Returns the remaining bytes, for formats that must be read as a whole. Fails if there are more than
    /// [`FEED_DOCUMENT_BYTES_MAX`].
    pub(crate) fn document(&mut self) -> Result<Vec<u8>, FeedError> {
        loop {
            if (self.end - self.start) as u64 > FEED_DOCUMENT_BYTES_MAX {
                let what = "the size in bytes of a document that must be read as a whole";
                return Err(FeedError::TooLarge { what, limit: FEED_DOCUMENT_BYTES_MAX });
            }
            if self.finished {
                break;
            }
            self.fill()?;
        }
        let mut document = std::mem::take(&mut self.buffer);
        document.truncate(self.end);
        document.drain(..self.start);
        (self.start, self.end) = (0, 0);
        Ok(document)
    }

    /// Returns the start and end offsets of the next line in the buffer.
    fn advance(&mut self) -> Result<Option<(usize, usize)>, FeedError> {
        let mut scanned = 0;
        let mut skipping = false;
        loop {
            if self.stop.get() {
                return Ok(None);
            }
            let found = memchr::memchr(b'\n', &self.buffer[self.start + scanned..self.end]);
            let held = self.end - self.start;
            let length = match found {
                Some(at) => scanned + at,
                None if self.finished && held == 0 && !skipping => return Ok(None),
                None if self.finished => held,
                None if held > FEED_LINE_BYTES_MAX => {
                    skipping = true;
                    scanned = 0;
                    self.start = self.end;
                    self.fill()?;
                    continue;
                }
                None => {
                    scanned = held;
                    self.fill()?;
                    continue;
                }
            };
            let line_start = self.start;
            self.start = (line_start + length + 1).min(self.end);
            self.line += 1;
            if skipping || length > FEED_LINE_BYTES_MAX {
                self.overlong.count += 1;
                // Not limited, because every entry takes more than a mebibyte of input.
                self.overlong.lines.push(self.line);
                (scanned, skipping) = (0, false);
                continue;
            }
            let line = &self.buffer[line_start..line_start + length];
            return Ok(Some((line_start, line_start + length - usize::from(line.ends_with(b"\r")))));
        }
    }

    /// Appends one chunk to the buffer.
    fn fill(&mut self) -> Result<(), FeedError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + CHUNK_BYTES {
            let length = (self.buffer.len() * 2).max(self.end + CHUNK_BYTES);
            self.buffer.resize(length, 0);
        }
        let count = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += count;
        self.finished = count == 0;
        if let Some(unpacked) = &self.unpacked {
            let bytes = unpacked.get() + count as u64;
            unpacked.set(bytes);
            if bytes > FEED_BYTES_MAX {
                return Err(FeedError::TooLarge {
                    what: "the size of the decompressed feed in bytes",
                    limit: FEED_BYTES_MAX,
                });
            }
            let packed = self.packed.get();
            if bytes > FEED_RATIO_FREE_BYTES && bytes / FEED_RATIO_MAX > packed {
                return Err(FeedError::Bomb { packed, unpacked: bytes });
            }
        }
        Ok(())
    }
}

/// Decodes bytes as UTF-8, up to the last complete character, or else line by line as UTF-8 or Latin-1.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(e) if e.error_len().is_none() => {
            Cow::Borrowed(std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default())
        }
        Err(_) => Cow::Owned(
            bytes
                .split_inclusive(|&b| b == b'\n')
                .map(|line| match std::str::from_utf8(line) {
                    Ok(text) => Cow::Borrowed(text),
                    Err(_) => Cow::Owned(line.iter().map(|&b| char::from(b)).collect()),
                })
                .collect(),
        ),
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

/// A reader that counts the bytes read.
struct Counted<R> {
    reader: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// Size of one read in bytes: large enough to make its cost negligible.
const CHUNK_BYTES: usize = 64 << 10;

/// Maximum size in bytes of a zip archive, which is copied to a temporary file. The largest known archive of a list
/// (NSRL, all platforms) takes 9 GB.
const ARCHIVE_BYTES_MAX: u64 = 16 << 30;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn input(bytes: &[u8]) -> Input<'_> {
        match unpack(bytes) {
            Ok(Unpacked::Feed(input)) => input,
            _ => panic!("a feed"),
        }
    }

    fn lines(mut input: Input<'_>) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            lines.push((line.number, line.text.to_owned()));
        }
        lines
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        lines(input(bytes)).into_iter().map(|(_, text)| text).collect()
    }

    /// A reader that returns one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn lines_of_every_kind() {
        assert_eq!(texts(b"\xef\xbb\xbfa\r\n\r\nb\nc"), ["a", "", "b", "c"]);
        assert_eq!(texts(b"\xe4\n\xc3\xa4\n"), ["\u{e4}", "\u{e4}"]);
        assert_eq!(texts(b""), [""; 0]);
        assert_eq!(texts(b"\n"), [""]);
        let Ok(Unpacked::Feed(slow)) = unpack(Slow(b"ab\ncd\n")) else { panic!() };
        assert_eq!(lines(slow), [(1, "ab".into()), (2, "cd".into())]);
    }

    #[test]
    fn overlong_lines_are_skipped() {
        let long = "x".repeat(FEED_LINE_BYTES_MAX);
        let longer = "x".repeat(3 * FEED_LINE_BYTES_MAX);
        let text = format!("a\n{long}\n{long}y\nb\n{longer}\nc\n{longer}");
        let mut input = input(text.as_bytes());
        let mut found = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            found.push((line.number, line.text.len()));
        }
        assert_eq!(found, [(1, 1), (2, FEED_LINE_BYTES_MAX), (4, 1), (6, 1)]);
        assert!(input.buffer.len() <= 4 * FEED_LINE_BYTES_MAX);
        let overlong = input.overlong();
        assert_eq!((overlong.count, overlong.lines), (3, vec![3, 5, 7]));
    }

    #[test]
    fn compressed_feeds() {
        let text = "a.example\n".repeat(50_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
        for packed in [&gzip, &zstd, &[&gzip[..], &gzip].concat()] {
            assert!([50_000, 100_000].contains(&texts(packed).len()));
            assert_eq!(texts(packed)[0], "a.example");
        }
        let mut truncated = input(&gzip[..gzip.len() / 2]);
        let failed = loop {
            match truncated.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(failed, "a truncated feed is an error");
    }

    fn gzip(bytes: impl Read) -> Vec<u8> {
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(bytes, flate2::Compression::default()).read_to_end(&mut gzip).unwrap();
        gzip
    }

    /// Returns the decompressed bytes read before the feed was rejected as a bomb.
    fn bomb_bytes(mut input: Input<'_>) -> u64 {
        loop {
            match input.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it was read to its end"),
                Err(FeedError::Bomb { unpacked, .. }) => return unpacked,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Equal lines, which every method compresses more than a hundred times.
    fn equal_lines(bytes: u64) -> Vec<u8> {
        [&[b'x'; 4095][..], b"\n"].concat().repeat(bytes as usize / 4096)
    }

    fn incompressible(bytes: usize) -> Vec<u8> {
        let mut random = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut random);
        random
    }

    #[test]
    fn decompression_bombs_end_soon_after_the_free_bytes() {
        let soon = FEED_RATIO_FREE_BYTES..FEED_RATIO_FREE_BYTES + (1 << 20);
        let lines = equal_lines(FEED_RATIO_FREE_BYTES * 3 / 2);
        for packed in [gzip(&lines[..]), zstd::stream::encode_all(&lines[..], 1).unwrap()] {
            let found = bomb_bytes(input(&packed));
            assert!(soon.contains(&found), "{found} bytes of {}", packed.len());
        }
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&lines).unwrap();
        let packed = zip.finish().unwrap().into_inner();
        let Ok(Unpacked::Archive(mut archive, size)) = unpack(&packed[..]) else { panic!("an archive") };
        let found = bomb_bytes(Input::member(archive.by_index(0).unwrap(), size, &Rc::default()).unwrap());
        assert!(soon.contains(&found), "{found} bytes of {}", packed.len());
    }

    #[test]
    fn a_bomb_after_an_incompressible_beginning_is_detected() {
        let packed = gzip((&incompressible(768 << 10)[..]).chain(&equal_lines(FEED_RATIO_FREE_BYTES * 3 / 2)[..]));
        // The beginning allows for a hundred times its size.
        let found = bomb_bytes(input(&packed));
        assert!((75 << 20..96 << 20).contains(&found), "{found} bytes of {}", packed.len());
    }

    #[test]
    fn repetitive_feeds_below_the_free_bytes_or_below_the_ratio_are_read() {
        for beginning in [incompressible(0), incompressible(1 << 20)] {
            let free = if beginning.is_empty() { 0 } else { 16 << 20 };
            let packed = gzip((&beginning[..]).chain(&equal_lines(FEED_RATIO_FREE_BYTES + free)[..]));
            let mut input = input(&packed);
            while input.next_line().unwrap().is_some() {}
            assert!(input.unpacked.unwrap().get() >= FEED_RATIO_FREE_BYTES + free);
        }
    }

    #[test]
    fn documents_are_complete() {
        let text = "\u{feff}{}".to_owned() + &" ".repeat(200_000);
        assert_eq!(input(text.as_bytes()).document().unwrap().len(), 200_002);
    }

    #[test]
    fn decoding_stops_before_a_truncated_character() {
        assert_eq!(decode(b"a\xc3"), "a");
        assert_eq!(decode(b"\xe4\n\xc3\xa4\n"), "\u{e4}\n\u{e4}\n");
    }
}
