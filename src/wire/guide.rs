//! Writing a client: everything beyond the bytes of the frames.
//!
//! The frames are specified in [`wire`](super). This page has the rest: how addresses are canonicalised and matched,
//! which record wins, how a server is authenticated, what times out, and what a client does about each failure. MUST,
//! SHOULD and MAY are used as in RFC 2119. The files in `tests/vectors/` of the source have examples of every rule, as
//! JSON; the tests of this crate check them.
//!
//! # A minimal client
//!
//! 1. Connect with QUIC version 1 and TLS 1.3, ALPN `ksn/1`, and authenticate the server.
//! 2. Open a bidirectional stream, send a hello, leave the stream open, and read the welcome.
//! 3. For each batch open a bidirectional stream, send a request, finish the stream, and read one frame up to its end.
//! 4. Keep the connection for the next batches, and reconnect as described below.
//!
//! # TLS
//!
//! A server has one certificate; clients have none. A client MUST authenticate the server in one of two ways:
//!
//! - By a **pin**: the SHA-256 of the server's own certificate (the first of the chain) in DER, written as `sha256:` and
//!   64 hexadecimal digits. Names, dates and issuer are not looked at. The client MUST still verify the signature of the
//!   handshake, as TLS requires: the certificate itself is public.
//! - By a **certification authority**: the chain, the dates and the name, as on the web. The name is the host of the
//!   configured address, or another name that was configured; for an IP address, the certificate MUST contain it.
//!
//! The client SHOULD send the name as server name (SNI). A generated certificate has the names `localhost` and `ksn`. Early
//! data (0-RTT) is not accepted. Sessions MAY be resumed; after a restart of the server, handshakes are full again.
//!
//! # Connection, timers and limits
//!
//! | what | value | |
//! | --- | --- | --- |
//! | handshake and hello | 5 s each | a connection without an accepted hello is closed with code 10 |
//! | idle timeout | 30 s | a client that keeps a connection SHOULD send a PING every 10 s |
//! | bidirectional streams of the client | 16, then the `streams` of the welcome and 1 | the control stream counts |
//! | unidirectional streams, datagrams | none | |
//! | batches before the welcome | 4 | they wait for the hello; further ones get error 10 |
//! | windows before the welcome | 256 KiB for the connection | then up to 8 MiB, within the memory of the server |
//! | window of a stream | 4 MiB and 1 KiB | a whole request |
//! | texts of a hello and a welcome | 256 bytes each | |
//! | name of a dataset, source, detection name | 32, 64, 1,024 bytes | |
//! | message of an error frame | 1,024 bytes | |
//! | connection ID of the server | 16 bytes | a client MUST NOT interpret it |
//!
//! The other limits are in the welcome, and a client MUST NOT assume larger ones. They are what **a batch may cost**: columns,
//! keys, cost, bytes. What it takes to answer is known only afterwards, because a key may have a thousand records: an
//! answer is truncated when it becomes too long or takes too much work, never refused for it. A truncated answer has
//! always at least one answered row, so that a client that requests the rest makes progress.
//!
//! The **deadline** of a batch, that of the server and a shorter one of the request, counts from the arrival of the first
//! byte of its stream. It covers the rest of the upload, the lookup, and the acknowledgement of the answer by the
//! client: an answer that is not read is reset with code 11.
//!
//! A connection holds at most two of the longest requests and two of the longest answers in the memory of the server;
//! further batches wait, the uploads in flow control. A client SHOULD therefore read answers as they come, and SHOULD stop
//! (STOP_SENDING) an answer that it does not want any more, which ends the work for it. When the memory for all
//! connections is spent, batches get error 12.
//!
//! # How a stream ends
//!
//! The stream of a batch ends with an answer frame and FIN, with an error frame and FIN, or with a reset (RESET_STREAM).
//! It never ends with FIN and no frame. Whatever a server cannot tell in a frame, it tells by the code of the reset:
//!
//! - the code of the client, if it has reset its request or stopped the answer;
//! - 11, if the answer was not acknowledged by its deadline;
//! - the code of the error, if the error frame was not acknowledged within 2 s;
//! - 14, after an internal error.
//!
//! If an error becomes known before the whole request has arrived, the server also stops the request (STOP_SENDING) with
//! the code of the error. The client SHOULD then read the error frame.
//!
//! # Errors
//!
//! The numbers are those of [`ErrorCode`](super::ErrorCode), in error frames, and as *application* error codes of resets
//! and closes. *Transport* error codes are of another number space, that of QUIC; see the next section.
//!
//! | code | | detail | retry |
//! | --- | --- | --- | --- |
//! | 1 | malformed | | no: it is a bug of the client |
//! | 2 | unsupported version | the version of the server | no |
//! | 3 | unexpected frame | | no |
//! | 4 | too long | the limit, in bytes | in smaller batches |
//! | 5 | too many columns | the limit | in smaller batches |
//! | 6 | too many keys | the limit | in smaller batches |
//! | 7 | too much cost | the limit | in smaller batches |
//! | 8 | address too long | the limit, in bytes | not that address |
//! | 9 | unsupported width | the width of a whole digest, in bytes | with another width |
//! | 10 | hello missing | the number of batches that may wait | after the hello |
//! | 11 | deadline | | MAY, with a longer deadline or a smaller batch |
//! | 12 | overloaded | | SHOULD, after `retry after` |
//! | 13 | going away | | over a new connection, or on another server |
//! | 14 | internal | | MAY, once |
//! | 15 | denied | | no |
//! | 16 | behind | the generation of the server's dataset | later, or on another server |
//!
//! `retry after` is the shortest pause in milliseconds. 0 means that no pause is requested, not that a retry is forbidden:
//! whether a retry makes sense depends on the code. A client MUST treat a code that it does not know like 14.
//!
//! A hello that is refused gets no error frame: the connection is closed at once, with the code, and with the message as
//! its reason. A second hello gets error 3 on its own stream. A frame of an unknown kind, a frame that is not expected, a
//! wrong magic or version get an error frame on their stream. Other batches of the connection are not affected.
//!
//! # Closes, and when to reconnect
//!
//! | close | meaning | what to do |
//! | --- | --- | --- |
//! | transport `CONNECTION_REFUSED` (0x2), before the handshake | overloaded, or shutting down | another server, or again later |
//! | transport `CRYPTO_ERROR` 0x178 (TLS alert 120) | no common ALPN protocol | not a server of this protocol |
//! | application 1, 2, 3 | the hello was refused | nothing: a bug, or another version |
//! | application 10 | no hello within 5 s | |
//! | application 12 | too many connections | later, with a growing pause |
//! | application 13 | the server has shut down | reconnect at once |
//! | stateless reset | the server has crashed and is back | reconnect at once |
//! | idle timeout | the path or the server is gone | reconnect when there is something to ask |
//!
//! After notice 2 (going away) the client SHOULD send new batches over a new connection; those in flight are answered
//! within the grace period. A batch that was lost with its connection MAY be sent again: lookups have no side effects.
//!
//! **The rule of silence.** A server that has crashed sends nothing. When it is back, it answers packets of connections
//! that it does not know with a stateless reset (RFC 9000, section 10.3), also those from before the crash, if it keeps
//! its state directory: a client whose library handles resets learns it with the next packet that it sends. A client MUST
//! NOT rely on that alone, because resets may be lost and libraries may ignore them. When a batch is in flight and no
//! datagram has arrived for four round trips or 250 ms, whichever is longer, a client SHOULD open a new connection beside the
//! old one, and send over it what was not answered once it is established. While lookups wait, a failed
//! attempt SHOULD be followed by the next within 500 ms in the first 5 s of an outage, and one without a response for a
//! second by another beside it; then the pauses SHOULD grow, with jitter, so that the clients of a restarted server do not
//! come all at once.
//!
//! A client whose address changes (a rebound NAT) MAY stay on its connection: the server validates the new path. Until
//! then it begins no datagram there after three times what it received.
//!
//! # Web addresses: canonical form
//!
//! A key is `host/path[?query]` in ASCII, without scheme, user info, port and fragment, canonicalised as Safe Browsing
//! does (not as browsers do). A server answers an address that is not canonical `malformed`. The rules, in this order:
//!
//! 1. Outer spaces are trimmed; raw TAB, CR and LF are deleted (their escapes are not).
//! 2. The text is cut at the first literal `#`.
//! 3. Escapes are decoded until none is left. So `%2F` is a separator, and `%3F` starts a query.
//! 4. The scheme is removed; a missing one means http.
//! 5. User info and port are removed, and leading, trailing and repeated dots of the host. The host is converted to lower
//!    case and Punycode; numbers become a dotted quad; IPv6 is compressed (RFC 5952), in brackets; IPv4-mapped and NAT64
//!    (`64:ff9b::/96`) IPv6 becomes IPv4.
//! 6. In the path `/./` and `/../` are resolved, then runs of slashes are collapsed; before the query a backslash is a
//!    slash; an empty path is `/`. The query is not changed, but an empty one is dropped with its question mark.
//! 7. Bytes up to 0x20 and from 0x7F, `#` and `%` are escaped with upper-case hexadecimal, and no others.
//!
//! Canonical text is a fixed point: canonicalising it again changes nothing. Hosts of more than 253 bytes, texts of more
//! than 8,192 bytes before or after, `[` and `]` outside an IPv6 address, and hosts with defanged dots (`[.]`, `(dot)`) are
//! errors. `tests/vectors/canonicalisation.json` has the cases that the rules leave open.
//!
//! # Web addresses: expressions and scopes
//!
//! A record lists an **expression** in a **scope**. An address matches a record if one of its expressions for that scope
//! is equal to it:
//!
//! | scope | | expressions of an address |
//! | --- | --- | --- |
//! | 1 | exact | `host/path?query` if it has a query, and `host/path` |
//! | 2 | host | `host` |
//! | 3 | domain | `host`, and what follows each of its dots: `a.b.example`, `b.example`, `example` |
//! | 4 | expression | each host below with each path below |
//!
//! Hosts of scope 4: the host; then, made of its last five labels by removing the leading one each time, up to four more,
//! never the last label alone. Paths of scope 4: with query; without; `/`; then up to three deeper directories from the
//! root, each with its slash at the end. Equal ones count once. An IP address in place of a name has no other hosts and
//! no domains. A host that is an IPv4 address also matches the records of IPv4 blocks. `tests/vectors/expressions.json`
//! has examples, with the prefixes of their SHA-256.
//!
//! For a lookup by prefix, an address has one key for each distinct *text* of its domains and of its expressions of scope
//! 4 (those of the scopes 1 and 2 are among them). A hit counts only if the rest of the SHA-256 is equal and the scope of
//! the hit is one in which the address has that text.
//!
//! # Precedence
//!
//! If several records match a key, the **winner** is the first in this order; all of them are sent in the same order:
//!
//! 1. Suppressed records are last: a **bad** record (type 1 to 5) is suppressed by a trusted one (type 11) that is at least
//!    as specific.
//! 2. The lower number of the record type, which is the order of severity.
//! 3. The more specific match.
//! 4. The newer timestamp; none is the oldest.
//! 5. The name of the source, in the order of its bytes.
//! 6. The lower record ID, as an unsigned number.
//!
//! Specificity: all digests are equal. Of two web expressions the one with the longer host (in bytes, up to the first
//! slash) is more specific; then scope 1 or 2 before 3 or 4; then the longer path (from the first slash up to the question
//! mark); then scope 1 before the others; then the longer query. Of two IPv4 blocks the smaller is more specific. Any web
//! expression is more specific than any block. `tests/vectors/precedence.json` has examples down to the last rule.
//!
//! A client that looks up web addresses by prefix has to decide the winner itself, over the hits of all keys of an
//! address and of its IPv4 host, and therefore SHOULD request all records.
//!
//! # Small print
//!
//! - The text of a matched block is `192.0.2.1`, `192.0.2.0/24`, or, if it is no CIDR block, `192.0.2.1-192.0.2.9`.
//! - A column of a kind or with a flag that the server does not know is answered `unsupported`. It still MUST be well
//!   formed: if its width is not 0, its length is count × width; if it is 0, any.
//! - A column MAY be empty, and a batch MAY have no columns.
//! - Flag 1 of a hit stands on the last hit that the answer carries for a key (for a prefix: for a candidate), flag 2 on the
//!   last hit for a prefix. A client that needs the missing records cannot get them by a retry.
//! - The lifetimes in an answer are upper bounds: a client MUST NOT cache an answer for longer, and MUST NOT use one at all
//!   after the expiry of its record.
