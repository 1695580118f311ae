//! Wire protocol: the frames that client and server exchange, to the byte.
//!
//! This module parses bytes into borrowed views and serializes them. It opens no sockets. This page specifies the bytes;
//! [`guide`] has what else is needed to write a client in another language: canonical addresses, precedence, TLS, timers,
//! errors, and when to reconnect. MUST, SHOULD and MAY are used as in RFC 2119.
//!
//! The layout of all frames is fixed in version 1: it will only be extended in the ways that this page allows, by longer
//! heads, by new kinds, flags and codes, and by fields that are reserved now.
//!
//! # Connection
//!
//! The transport is QUIC with TLS 1.3 and ALPN `ksn/1`. The first bidirectional stream of the client is the **control
//! stream**: the client MUST send a hello on it, MUST NOT send anything after it and SHOULD keep its side open; the
//! server sends the welcome, then notices as they occur. **Each batch uses one more bidirectional stream**: the client
//! sends one request frame and finishes; the server sends one answer frame or one error frame and finishes. All frames
//! start with the same header. All integers are little endian, nothing is aligned, and texts are UTF-8. A receiver MUST
//! treat bytes after the last field of a frame as an error.
//!
//! Every failure has a numeric code, see [`ErrorCode`] and the table of the [guide](guide#errors). It is sent in an error
//! frame while the stream can still carry one, else as the application error code that resets or stops the stream or
//! closes the connection. There, 0 means no error. A stream never ends with FIN and without a frame.
//!
//! # Header, 16 bytes
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | magic | 3 | `KSN` |
//! | 3 | version | 1 | 1 |
//! | 4 | frame kind | 1 | 1 hello, 2 welcome, 3 request, 4 answer, 5 notice, 6 error |
//! | 5 | flags | 1 | MUST be sent as 0 and ignored on receipt |
//! | 6 | head bytes | 2 | length of the head that follows |
//! | 8 | body bytes | 4 | length of everything after this header, including the head |
//! | 12 | reserved | 4 | |
//!
//! A body starts with the **head** of its frame kind. Later versions MAY append fields to a head: a receiver MUST skip
//! the bytes of the head that it does not know, and MUST treat a head shorter than the one it knows as an error.
//! Reserved bytes MUST be sent as zero and ignored on receipt. A body MUST NOT exceed [`REQUEST_BYTES_MAX`],
//! [`ANSWER_BYTES_MAX`] or, for the other kinds, [`CONTROL_BYTES_MAX`] bytes.
//!
//! **Texts** have the same encoding everywhere: for each text its end (4 bytes, relative to the start of the bytes,
//! ascending), then the bytes of all texts. The last end MUST equal the number of bytes.
//!
//! # Request: head of 40 bytes, columns, keys
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | detail | 1 | 0 the winning record, 1 all records |
//! | 1 | reserved | 1 | |
//! | 2 | columns | 2 | |
//! | 4 | deadline | 4 | milliseconds from the first byte of the stream; 0, or a value above the server's, means the server's |
//! | 8 | minimum generation | 8 | 0 for any; a server whose dataset is older MUST answer with an error |
//! | 16 | minimum sequence | 8 | within that generation |
//! | 24 | reserved | 16 | for a token and a consent |
//!
//! Then for each column 16 bytes:
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | kind | 1 | 1 to 9 digests, 10 web addresses, 11 IPv4 (see [`KeyKind`](crate::key::KeyKind)) |
//! | 1 | width | 1 | bytes per key, see below |
//! | 2 | flags | 2 | 0; a column with a flag that the server does not know is answered `unsupported` |
//! | 4 | count | 4 | number of keys |
//! | 8 | offset | 4 | start of the keys, relative to the start of the body |
//! | 12 | length | 4 | bytes of the keys: count × width, except for texts |
//!
//! The keys of all columns follow in the same order and without gaps. Digests are raw bytes, IPv4 addresses are in
//! network byte order, web addresses are canonical texts. The width is that of the whole digest; 4 for IPv4; 0 for
//! texts; or, for digests and web addresses, 8 or 4 for a **prefix**: the leading bytes of the digest, or of the
//! SHA-256 of a text. A digest column of another width below that of its kind is answered with error 9. A kind that the
//! server does not know needs no new version: the whole column is answered `unsupported`.
//!
//! A batch MUST NOT cost more than the welcome allows. A whole web address costs 32 + length / 64, the length in bytes
//! and the quotient rounded down; any other key costs 1, also a prefix and a key of an unknown kind.
//!
//! A column of web addresses of width 8 or 4 holds no addresses: a key is the leading bytes of the SHA-256 of one
//! **expression**, of its text alone (`evil.example`, `evil.example/a/`), whatever the scope of the record. An address
//! has several expressions: up to 127 domains, the first of which is its host, and up to 30 pairs of host and path (see
//! [`AddressParts::for_each_text`](crate::key::AddressParts::for_each_text)). Each of these keys counts as one key and
//! costs 1. They do not match IPv4 blocks: if the host is an IPv4 address, the client SHOULD also send it as a key of
//! kind 11.
//!
//! # Answer: head of 80 bytes, columns, hits, unanswered rows, suffixes, texts
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | dataset | 32 | ASCII, padded with zeros |
//! | 32 | generation | 8 | |
//! | 40 | sequence | 8 | |
//! | 48 | positive TTL | 4 | seconds for which a client MAY cache an answer with a record |
//! | 52 | negative TTL | 4 | seconds for which a client MAY cache an answer without a record |
//! | 56 | hits | 4 | |
//! | 60 | unanswered rows | 4 | |
//! | 64 | texts | 4 | |
//! | 68 | text bytes | 4 | |
//! | 72 | columns | 2 | as in the request |
//! | 74 | flags | 2 | 1: truncated |
//! | 76 | suffix bytes | 4 | |
//!
//! Then for each column, in 4 bytes, the number of its rows that are answered, from row 0: all of them, unless the
//! answer is truncated because it would have exceeded its size limit or would have taken too much work. At least one row
//! of a truncated answer is answered. The client SHOULD request the remaining rows again. A row that is answered and has neither a hit nor an unanswered row is **unknown**.
//!
//! Hits have 40 bytes and MUST ascend by column, then row. If all records were requested, those of one key are
//! adjacent, the winner first. A prefix is answered with all digests that start with it, the **candidates**, one after
//! the other, each with its winner or with all of its records. The candidates of a prefix of an expression are the
//! listed expressions, once for each scope; the server knows the text of some of them and only the hash of others. The
//! winning record of an address is decided over all of its expressions, and a trusted record that does not win its own
//! expression can still suppress the winner of another: clients that look up addresses by prefix SHOULD request all
//! records.
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | row | 4 | |
//! | 4 | column | 2 | |
//! | 6 | record type | 1 | 1 to 11, see [`RecordType`](crate::record::RecordType) |
//! | 7 | scope | 1 | 1 to 4, see [`Scope`](crate::key::Scope); 0 for none |
//! | 8 | name | 4 | index of a text; text 0 MUST be empty |
//! | 12 | source | 4 | index of a text |
//! | 16 | matched | 4 | index of a text: the expression or block that matched; 0 for digests and prefixes |
//! | 20 | port | 2 | 0 for none |
//! | 22 | flags | 2 | bit set, see below |
//! | 24 | record ID | 8 | unique within its source |
//! | 32 | timestamp | 4 | seconds since 1970; 0 for none |
//! | 36 | expiry | 4 | seconds since 1970; 0 for none |
//!
//! Flag 1, on the last hit of a key (for a prefix, of a candidate): it has more records than an answer carries. Flag 2, on
//! the last hit of a prefix: it has more candidates.
//!
//! Unanswered rows have 8 bytes and MUST ascend in the same way: row (4 bytes, `0xFFFFFFFF` for the whole column),
//! column (2), code (2): 1 unsupported, 2 malformed. A web address is malformed if it is not canonical: if and only if
//! canonicalising it would change it or fail. Suffixes are raw bytes: for each hit of a column of prefixes, in the order
//! of the hits, the rest of the candidate's digest, or of the SHA-256 of the expression's text. The client MUST compare
//! it with the digest that it looked up and discard the hit if they differ; it MUST also discard the hit of an
//! expression if the address does not match that text in the scope of the hit. Then the texts.
//!
//! # Hello: head of 64 bytes, texts
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0, 1 | lowest and highest version | 1, 1 | of this protocol |
//! | 2 | texts | 2 | at least 3: name of the software, its full version, its platform |
//! | 4 | text bytes | 4 | |
//! | 8 | reserved | 56 | for a token (32) and a consent: statement (4), version (4), mode (1) |
//!
//! # Welcome: head of 128 bytes, kinds, texts
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | version | 1 | the version that the server selected |
//! | 1 | reserved | 1 | |
//! | 2 | texts | 2 | at least 1: the server's software and version |
//! | 4 | text bytes | 4 | |
//! | 8 | kinds | 2 | |
//! | 10 | columns | 2 | maximum per batch |
//! | 12 | keys | 4 | maximum per batch |
//! | 16 | cost | 8 | maximum per batch, see the request |
//! | 24 | request bytes | 4 | maximum length of a request body |
//! | 28 | answer bytes | 4 | maximum length of an answer body |
//! | 32 | streams | 4 | maximum number of concurrent batches |
//! | 36 | deadline | 4 | milliseconds per batch |
//! | 40 | dataset | 32 | ASCII, padded with zeros |
//! | 72 | generation | 8 | |
//! | 80 | sequence | 8 | |
//! | 88 | created | 4 | seconds since 1970; 0 for unknown |
//! | 92 | address bytes | 4 | maximum length of a web address |
//! | 96 | reserved | 32 | for the identity that the server assigns to the client |
//!
//! Then for each kind 16 bytes: its number (1), reserved (7), number of records (8).
//!
//! # Notice: head of 16 bytes
//!
//! Kind (2 bytes), reserved (6), value (8). Kinds: 1 new generation (the value), 2 the server is going away (in `value`
//! milliseconds), 3 the client SHOULD send no batches for `value` milliseconds. A client MUST ignore other kinds.
//!
//! # Error: head of 24 bytes, text
//!
//! Code (2 bytes, see [`ErrorCode`]), reserved (2), retry after (4: the shortest pause before a retry, in milliseconds; 0
//! for none: whether a retry makes sense depends on the code), detail (8: the limit, or what else the
//! [guide](guide#errors) states for the code), text bytes (4), reserved (4); then the message, for humans.

mod answer;
mod error;
pub mod guide;
mod header;
mod hello;
mod intern;
mod raw;
mod request;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    answer::{AnswerMeta, AnswerView, HitRow, UnansweredRow},
    error::{ErrorCode, ErrorFrame, WireError},
    header::{FrameKind, HEADER_BYTES, Header},
    hello::{Hello, Notice, ServerLimits, Welcome},
    request::{RequestColumn, RequestLimits, RequestOptions, RequestView, request_bytes, write_request},
    writer::{AnswerCaps, AnswerWriter},
};
#[cfg(doc)]
use crate::limits::{ANSWER_BYTES_MAX, CONTROL_BYTES_MAX, REQUEST_BYTES_MAX};

/// The version of this protocol.
pub const VERSION: u8 = 1;

/// The ALPN protocol name in the TLS handshake.
pub const ALPN: &[u8] = b"ksn/1";
