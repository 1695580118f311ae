//! Every bound of the program, in one place, with its reason.
//!
//! Untrusted bytes are measured against these before anything is allocated for them. The server tells its own
//! limits in the welcome; a client never needs to guess them.

/// Keys in one batch. A batch of this many SHA-256 digests is 2 MiB: long enough to make the cost of a stream
/// vanish, short enough to be answered within a few milliseconds.
pub const BATCH_KEYS_MAX: usize = 65_536;

/// Cost of one batch, in probes: a digest, an IPv4 address or a prefix of an expression costs 1, a web address
/// [`WEB_ADDRESS_COST`]. Work is bounded by cost, not by keys, because an address is up to thirty expressions.
pub const BATCH_COST_MAX: u64 = 262_144;

/// What one web address counts for: its expressions (at most 30) and its suffixes, rounded to a power of two.
pub const WEB_ADDRESS_COST: u64 = 32;

/// Columns in one batch: every kind twice, with room for kinds to come.
pub const BATCH_COLUMNS_MAX: usize = 32;

/// Body of a request frame in bytes.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Body of an answer frame in bytes. When the answers would pass it, the frame carries the part that fits and says
/// how far it came.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Text of one answer frame (names, sources, matched expressions) in bytes.
pub const ANSWER_TEXT_BYTES_MAX: usize = 4 << 20;

/// Body of a frame on the control stream (hello, welcome, notice, error) in bytes.
pub const CONTROL_BYTES_MAX: usize = 16 << 10;

/// Length of one text of a hello or welcome (name and version of a program, a platform) in bytes.
pub const HELLO_TEXT_BYTES_MAX: usize = 256;

/// Length of the message of an error frame in bytes. Longer ones are cut at a character boundary.
pub const ERROR_TEXT_BYTES_MAX: usize = 1_024;

/// Length of a web address in bytes, both as given and canonical. Browsers and servers stop near 8,000
/// (RFC 9110, section 4.1, asks for at least 8,000 to be supported).
pub const WEB_ADDRESS_BYTES_MAX: usize = 8_192;

/// Length of a detection name in bytes. Longer ones are cut at a character boundary and counted as such.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Length of the name of a source in bytes.
pub const SOURCE_BYTES_MAX: usize = 64;

/// Distinct sources in one snapshot: a source is numbered with 16 bits.
pub const SOURCES_MAX: usize = 65_535;

/// Length of the name of a dataset in bytes. It travels in a fixed field of every answer.
pub const DATASET_BYTES_MAX: usize = 32;

/// Records answered for one key when all of them are asked for. What lies beyond is flagged, never silently lost.
pub const RECORDS_PER_KEY_MAX: usize = 1_024;

/// Batches of one connection that the server works on at the same time.
pub const STREAMS_MAX: u32 = 64;

/// Batches that may arrive before the hello and wait for it.
pub const EARLY_BATCHES_MAX: usize = 4;

/// Connections from one address.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;

/// Connections in all.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Bytes of UDP payload in one packet. QUIC hands the kernel ten packets at a time, which together must fit a datagram
/// of 65,507 bytes; what is longer is lost in silence. Packets longer than this were also slower.
pub const PACKET_BYTES_MAX: u16 = 6_000;

/// Milliseconds a batch may take from its first byte to its answer, unless the request asks for less.
pub const BATCH_DEADLINE_MS: u64 = 10_000;

/// Milliseconds from the start of a connection to its hello.
pub const HELLO_DEADLINE_MS: u64 = 5_000;

/// Milliseconds without a packet after which a connection is given up.
pub const IDLE_TIMEOUT_MS: u64 = 30_000;

/// Length of one line of a feed in bytes. Longer lines are counted as rejected and skipped without being held.
pub const FEED_LINE_BYTES_MAX: usize = 1 << 20;

/// Bytes that one feed may unpack to.
pub const FEED_BYTES_MAX: u64 = 64 << 30;

/// Ratio of unpacked to packed bytes beyond which a compressed feed is taken for a bomb. Real lists reach 1:200
/// (a million blank rows, 4 MB, packs to 20 KB).
pub const FEED_RATIO_MAX: u64 = 2_000;

/// Bytes of one JSON document that is read whole (a STIX bundle, a MISP event).
pub const FEED_DOCUMENT_BYTES_MAX: u64 = 512 << 20;

const _: () = {
    assert!(BATCH_KEYS_MAX * 32 < REQUEST_BYTES_MAX);
    assert!(BATCH_KEYS_MAX as u64 <= BATCH_COST_MAX);
    assert!(ANSWER_TEXT_BYTES_MAX < ANSWER_BYTES_MAX);
    assert!(WEB_ADDRESS_BYTES_MAX < u16::MAX as usize);
    assert!(NAME_BYTES_MAX < FEED_LINE_BYTES_MAX);
    assert!(CONTROL_BYTES_MAX < REQUEST_BYTES_MAX);
    assert!(PACKET_BYTES_MAX as usize * 10 <= 65_507);
};
