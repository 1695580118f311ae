//! All limits of the program, with their reasons.
//!
//! Untrusted bytes are checked against these limits before anything is allocated for them. The server announces its own
//! limits in the welcome; clients need not assume any.

/// Keys in one batch. A batch of this many SHA-256 digests is 2 MiB: large enough that the cost of a stream is
/// negligible, small enough to be answered within a few milliseconds.
pub const BATCH_KEYS_MAX: usize = 65_536;

/// Cost of one batch, in probes: that of its keys, each [`PROBE_COST`] or [`web_address_cost`]. Work is limited by cost,
/// not by keys, because an address has up to thirty expressions, which are as long as it is.
pub const BATCH_COST_MAX: u64 = 262_144;

/// Cost of a digest, an IPv4 address, or a prefix of a digest or of an expression.
pub const PROBE_COST: u64 = 1;

/// Cost of a web address besides that of its length: its expressions (at most 30) and its domains, rounded to a power of
/// two.
pub const WEB_ADDRESS_COST: u64 = 32;

/// Bytes of a web address that cost one more. Each expression is hashed: the 30 of an address of 8,192 bytes take as long
/// as a hundred probes.
pub const WEB_ADDRESS_COST_BYTES: usize = 64;

/// Returns the cost of a web address of some bytes: 32, and one more for every 64 whole bytes.
pub const fn web_address_cost(bytes: usize) -> u64 {
    WEB_ADDRESS_COST + (bytes / WEB_ADDRESS_COST_BYTES) as u64
}

/// Columns in one batch: every kind twice, with room for future kinds.
pub const BATCH_COLUMNS_MAX: usize = 32;

/// Length of the body of a request frame in bytes.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Length of the body of an answer frame in bytes. When the answers would exceed it, the frame contains those that fit
/// and the number of rows that they answer.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Length of all texts of one answer frame (names, sources, matched expressions) in bytes.
pub const ANSWER_TEXT_BYTES_MAX: usize = 4 << 20;

/// Length of the body of a hello, welcome, notice or error frame in bytes.
pub const CONTROL_BYTES_MAX: usize = 16 << 10;

/// Length of one text of a hello or welcome (name and version of a program, a platform) in bytes.
pub const HELLO_TEXT_BYTES_MAX: usize = 256;

/// Length of the message of an error frame in bytes. Longer ones are truncated at a character boundary.
pub const ERROR_TEXT_BYTES_MAX: usize = 1_024;

/// Length of a web address in bytes, both as given and canonical. The limits of browsers and servers are near 8,000
/// (RFC 9110, section 4.1, recommends to support at least 8,000).
pub const WEB_ADDRESS_BYTES_MAX: usize = 8_192;

/// Length of a detection name in bytes. Longer ones are truncated at a character boundary and counted as truncated.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Length of the name of a source in bytes.
pub const SOURCE_BYTES_MAX: usize = 64;

/// Distinct sources in one snapshot: the number of a source has 16 bits.
pub const SOURCES_MAX: usize = 65_535;

/// Length of the name of a dataset in bytes, the size of its field in every answer.
pub const DATASET_BYTES_MAX: usize = 32;

/// Records that a snapshot keeps of one indicator, the best by precedence; a build reports the others. Also the records
/// answered for one key, which several indicators may match, when all records are requested: further records are flagged,
/// never dropped silently.
pub const RECORDS_PER_KEY_MAX: usize = 1_024;

/// Batches of one connection that the server processes concurrently.
pub const STREAMS_MAX: u32 = 64;

/// Batches that may arrive before the hello and wait for it.
pub const EARLY_BATCHES_MAX: usize = 4;

/// Connections from one IP address.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;

/// Connections in total.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Bytes of UDP payload in one packet. The QUIC implementation passes ten packets at a time to the kernel, which must
/// fit a datagram of 65,507 bytes in total; larger ones are dropped silently. Packets longer than this were also
/// slower.
pub const PACKET_BYTES_MAX: u16 = 6_000;

/// Milliseconds from the first byte of a batch to its answer, unless the request has a shorter deadline.
pub const BATCH_DEADLINE_MS: u64 = 10_000;

/// Milliseconds from the start of a connection to its hello.
pub const HELLO_DEADLINE_MS: u64 = 5_000;

/// Milliseconds without a packet after which a connection is closed.
pub const IDLE_TIMEOUT_MS: u64 = 30_000;

/// Length of one line of a feed in bytes. Longer lines are counted as rejected and skipped without being buffered.
pub const FEED_LINE_BYTES_MAX: usize = 1 << 20;

/// Length of one decompressed feed in bytes.
pub const FEED_BYTES_MAX: u64 = 64 << 30;

/// Ratio of decompressed to compressed bytes above which a feed of more than [`FEED_RATIO_FREE_BYTES`] is rejected as a
/// decompression bomb. The highest ratio seen of a real list of that size is 28; a gzip of equal lines has 1,000.
pub const FEED_RATIO_MAX: u64 = 100;

/// Decompressed bytes up to which [`FEED_RATIO_MAX`] does not apply: so much is read in a moment, and small files of few
/// distinct lines may compress further.
pub const FEED_RATIO_FREE_BYTES: u64 = 64 << 20;

/// Length of one JSON document that is read at once (a STIX bundle, a MISP event) in bytes.
pub const FEED_DOCUMENT_BYTES_MAX: u64 = 512 << 20;

const _: () = {
    assert!(BATCH_KEYS_MAX * 32 < REQUEST_BYTES_MAX);
    assert!(BATCH_KEYS_MAX as u64 * PROBE_COST <= BATCH_COST_MAX);
    assert!(web_address_cost(WEB_ADDRESS_BYTES_MAX) <= BATCH_COST_MAX);
    assert!(ANSWER_TEXT_BYTES_MAX < ANSWER_BYTES_MAX);
    assert!(WEB_ADDRESS_BYTES_MAX < u16::MAX as usize);
    assert!(NAME_BYTES_MAX < FEED_LINE_BYTES_MAX);
    assert!(CONTROL_BYTES_MAX < REQUEST_BYTES_MAX);
    assert!(PACKET_BYTES_MAX as usize * 10 <= 65_507);
};
