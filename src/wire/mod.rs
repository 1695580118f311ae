//! Frames: what client and server say to each other, to the byte.
//!
//! This module turns bytes into borrowed views and back. It opens no sockets, and it holds everything that is needed
//! to write a client in another language.
//!
//! # Conversation
//!
//! QUIC with TLS 1.3 and ALPN `ksn/1`. The first bidirectional stream of the client is the **control stream**: the
//! client sends a hello and keeps its side open; the server sends the welcome, then notices as they come. **Each batch
//! is one bidirectional stream more**: the client sends one request frame and finishes; the server sends one answer
//! frame, or one error frame, and finishes. Every kind of frame starts with the same header. All integers are little
//! endian, nothing is aligned, texts are UTF-8, and bytes behind the last field of a frame are an error.
//!
//! What goes wrong has a number, see [`ErrorCode`]: in an error frame while the stream can still carry one, else as the
//! code with which the stream is reset or stopped, or the connection closed. 0 there means that nothing went wrong.
//!
//! # Header, 16 bytes
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | magic | 3 | `KSN` |
//! | 3 | version | 1 | 1 |
//! | 4 | frame kind | 1 | 1 hello, 2 welcome, 3 request, 4 answer, 5 notice, 6 error |
//! | 5 | flags | 1 | 0; ignored |
//! | 6 | head bytes | 2 | length of the head that follows |
//! | 8 | body bytes | 4 | length of everything behind this header, head included |
//! | 12 | reserved | 4 | 0; ignored |
//!
//! A body starts with the **head** of its kind. Heads grow at their end: a reader takes the part that it knows and
//! skips what `head bytes` says lies behind; a head shorter than it knows is an error. Reserved bytes are sent as zero
//! and ignored. A body is at most [`REQUEST_BYTES_MAX`], [`ANSWER_BYTES_MAX`] or, of the other kinds,
//! [`CONTROL_BYTES_MAX`] bytes long.
//!
//! **Texts** are, wherever they stand: for each text its end (4 bytes, from the start of the bytes, ascending), then
//! the bytes of all of them. The last end is the number of bytes.
//!
//! # Request: head of 40 bytes, columns, keys
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | detail | 1 | 0 the record that wins, 1 all of them |
//! | 1 | reserved | 1 | |
//! | 2 | columns | 2 | |
//! | 4 | deadline | 4 | milliseconds; 0, or more than the server's, is the server's |
//! | 8 | least generation | 8 | 0, or: answer with an error when the dataset is older than this |
//! | 16 | least sequence | 8 | of that generation |
//! | 24 | reserved | 16 | a token, a consent |
//!
//! Then for each column 16 bytes:
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | kind | 1 | 1 to 9 digests, 10 web addresses, 11 IPv4 (see [`KeyKind`](crate::key::KeyKind)) |
//! | 1 | width | 1 | bytes a key: the digest's, or 8 or 4 for its first ones; 4 for IPv4; 0 for texts, or 8 or 4 for the first ones of their SHA-256 |
//! | 2 | flags | 2 | 0; a column with a flag that the server does not know is answered `unsupported` |
//! | 4 | count | 4 | keys |
//! | 8 | offset | 4 | where the keys start, from the start of the body |
//! | 12 | length | 4 | their bytes: count × width, except for texts |
//!
//! The keys of all columns follow in that order without gaps. Digests are raw bytes, IPv4 addresses are in network byte
//! order, web addresses are canonical texts. A column of a kind that the server does not know needs no new version: it
//! is answered `unsupported` as a whole. Of a digest its first 8 or 4 bytes may be asked alone; another width that is
//! narrower than its kind's is answered with error 9.
//!
//! A column of web addresses of width 8 or 4 has no addresses: a key is the first bytes of the SHA-256 of one
//! **expression**, of its text alone (`evil.example`, `evil.example/a/`), whatever the scope of the record. An address
//! has several: up to 127 domains, the first of which is its host, and up to 30 pairs of host and path (see
//! [`AddressParts::for_each_text`](crate::key::AddressParts::for_each_text)). Such a key counts as one key and costs 1.
//! Blocks of IPv4 addresses have no part in it: if the host is one, it is asked as a key of kind 11.
//!
//! # Answer: head of 80 bytes, columns, hits, exceptions, suffixes, texts
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | dataset | 32 | ASCII, zeros behind |
//! | 32 | generation | 8 | |
//! | 40 | sequence | 8 | |
//! | 48 | positive lifetime | 4 | seconds for which an answer with a record may be kept |
//! | 52 | negative lifetime | 4 | the same without a record |
//! | 56 | hits | 4 | |
//! | 60 | exceptions | 4 | |
//! | 64 | texts | 4 | |
//! | 68 | text bytes | 4 | |
//! | 72 | columns | 2 | as in the request |
//! | 74 | flags | 2 | 1: truncated |
//! | 76 | suffix bytes | 4 | |
//!
//! Then for each column, in 4 bytes, how many of its rows are answered, from row 0: all of them, unless the answer is
//! truncated, which is when it would have grown too long. Ask the rest again. A row that is answered and has neither
//! hit nor exception is **unknown**.
//!
//! Hits have 40 bytes and ascend by column, then row. If all records were asked for, those of one key stand together,
//! the winner first. A prefix is answered with all digests that begin so, the **candidates**, one after the other, each
//! with its winner or with all of its records. The candidates of a prefix of an expression are the expressions that are
//! listed, once for each scope, the text of some of them known to the server and of others not. Which record of an address
//! wins is decided over all of its expressions, and a trusted record that does not win its own may yet suppress what wins
//! another: who asks so should ask for all records.
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | row | 4 | |
//! | 4 | column | 2 | |
//! | 6 | record type | 1 | 1 to 11, see [`RecordType`](crate::record::RecordType) |
//! | 7 | scope | 1 | 1 to 4, see [`Scope`](crate::key::Scope); 0 for none |
//! | 8 | name | 4 | number of a text; text 0 is empty |
//! | 12 | source | 4 | number of a text |
//! | 16 | matched | 4 | number of a text: the expression or the block that matched; 0 for a digest and for a prefix |
//! | 20 | port | 2 | 0 for none |
//! | 22 | flags | 2 | 1: this key (of a prefix, the candidates with this suffix) has more records than an answer carries; 2: this prefix has more candidates |
//! | 24 | record ID | 8 | unique within its source |
//! | 32 | timestamp | 4 | seconds since 1970; 0 for none |
//! | 36 | expiry | 4 | the same |
//!
//! Exceptions have 8 bytes and ascend in the same way: row (4 bytes, `0xFFFFFFFF` for the whole column), column (2),
//! code (2): 1 unsupported, 2 malformed. Suffixes are raw bytes: for each hit of a column of prefixes, in their order, the
//! rest of the candidate's digest, of an expression that of the SHA-256 of its text. The asker compares it with the digest
//! that it meant: only then is the hit its answer, and for an expression only if the address is matched by that text in the
//! scope of the hit. Then the texts.
//!
//! # Hello: head of 64 bytes, texts
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0, 1 | lowest and highest version | 1, 1 | of this protocol |
//! | 2 | texts | 2 | at least 3: name of the software, its full version, its platform |
//! | 4 | text bytes | 4 | |
//! | 8 | reserved | 56 | a token (32), a consent: statement (4), version (4), mode (1) |
//!
//! # Welcome: head of 128 bytes, kinds, texts
//!
//! | at | field | bytes | |
//! | --- | --- | --- | --- |
//! | 0 | version | 1 | the one chosen |
//! | 1 | reserved | 1 | |
//! | 2 | texts | 2 | at least 1: the server's software and version |
//! | 4 | text bytes | 4 | |
//! | 8 | kinds | 2 | |
//! | 10 | columns | 2 | most in a batch |
//! | 12 | keys | 4 | most in a batch |
//! | 16 | cost | 8 | most in a batch, see [`Column::key_cost`](crate::batch::Column::key_cost) |
//! | 24 | request bytes | 4 | longest body |
//! | 28 | answer bytes | 4 | longest body |
//! | 32 | streams | 4 | most batches at a time |
//! | 36 | deadline | 4 | milliseconds for a batch |
//! | 40 | dataset | 32 | ASCII, zeros behind |
//! | 72 | generation | 8 | |
//! | 80 | sequence | 8 | |
//! | 88 | created | 4 | seconds since 1970; 0 for unknown |
//! | 92 | address bytes | 4 | longest web address |
//! | 96 | reserved | 32 | the identity given to the client |
//!
//! Then for each kind 16 bytes: its number (1), reserved (7), how many records there are (8).
//!
//! # Notice: head of 16 bytes
//!
//! Kind (2 bytes; others are ignored), reserved (6), value (8): 1 new generation (the value), 2 the server is going away
//! (in so many milliseconds), 3 no more batches for so many milliseconds.
//!
//! # Error: head of 24 bytes, text
//!
//! Code (2 bytes, see [`ErrorCode`]), reserved (2), retry after (4, milliseconds; 0 for never), detail (8: the limit, if
//! the code is about one), text bytes (4), reserved (4); then the message, which is for people.

mod answer;
mod error;
mod header;
mod hello;
mod intern;
mod raw;
mod request;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    answer::{AnswerMeta, AnswerView, ExceptionRow, HitRow},
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

/// Its name in the TLS handshake (ALPN).
pub const ALPN: &[u8] = b"ksn/1";
