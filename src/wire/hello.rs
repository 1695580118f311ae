//! The frames of the control stream: hello, welcome, notice.

use rend::unaligned::{u16_ule, u32_ule, u64_ule};

use super::{FrameKind, Header, VERSION, WireError, raw};
use crate::{
    key::KeyKind,
    limits::{self, DATASET_BYTES_MAX, HELLO_TEXT_BYTES_MAX},
    timestamp::Timestamp,
};

raw::layout! {
    struct HelloHead: 64 {
        version_min: u8,
        version_max: u8,
        texts: u16_ule,
        text_bytes: u32_ule,
        token: [u8; 32],
        consent_statement: u32_ule,
        consent_version: u32_ule,
        consent_mode: u8,
        reserved: [u8; 15],
    }
}

raw::layout! {
    struct WelcomeHead: 128 {
        version: u8,
        reserved: u8,
        texts: u16_ule,
        text_bytes: u32_ule,
        kinds: u16_ule,
        columns_max: u16_ule,
        keys_max: u32_ule,
        cost_max: u64_ule,
        request_bytes_max: u32_ule,
        answer_bytes_max: u32_ule,
        streams_max: u32_ule,
        deadline_ms: u32_ule,
        dataset: [u8; DATASET_BYTES_MAX],
        generation: u64_ule,
        sequence: u64_ule,
        created: u32_ule,
        address_bytes_max: u32_ule,
        identity: [u8; 32],
    }
}

raw::layout! {
    struct KindRow: 16 {
        kind: u8,
        reserved: [u8; 7],
        records: u64_ule,
    }
}

raw::layout! {
    struct NoticeHead: 16 {
        kind: u16_ule,
        reserved: [u8; 6],
        value: u64_ule,
    }
}

/// The first frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The lowest protocol version that the client supports.
    pub version_min: u8,
    /// The highest protocol version that the client supports.
    pub version_max: u8,
    /// The name of the client software.
    pub software: &'a str,
    /// The full version of the client software.
    pub software_version: &'a str,
    /// The platform family: `linux`, `windows`, …
    pub platform: &'a str,
}

impl<'a> Hello<'a> {
    /// Creates the hello of a client that supports this version only.
    pub fn new(software: &'a str, software_version: &'a str, platform: &'a str) -> Self {
        Self { version_min: VERSION, version_max: VERSION, software, software_version, platform }
    }

    /// Parses the body of a frame.
    pub fn parse(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let head: &HelloHead = header.head(FrameKind::Hello, body, "hello head")?;
        let mut rest = header.after_head(body)?;
        let count = usize::from(head.texts.to_native());
        if count < 3 {
            return Err(WireError::TooShort { field: "hello texts", expected: 3, found: count as u64 });
        }
        let texts = raw::texts(&mut rest, count, head.text_bytes.to_native() as usize, "hello texts")?;
        raw::end(rest)?;
        if head.version_min > head.version_max {
            let (max, found) = (u64::from(head.version_max), u64::from(head.version_min));
            return Err(WireError::TooMuch { field: "lowest version", max, found });
        }
        Ok(Self {
            version_min: head.version_min,
            version_max: head.version_max,
            software: bounded(raw::text(&texts, 0))?,
            software_version: bounded(raw::text(&texts, 1))?,
            platform: bounded(raw::text(&texts, 2))?,
        })
    }

    /// Serializes the whole frame. Texts that are too long are truncated.
    pub fn to_frame(&self) -> Vec<u8> {
        let texts =
            [self.software, self.software_version, self.platform].map(|t| raw::truncate(t, HELLO_TEXT_BYTES_MAX));
        Header::frame(FrameKind::Hello, size_of::<HelloHead>(), |out| {
            raw::push(
                out,
                &HelloHead {
                    version_min: self.version_min,
                    version_max: self.version_max,
                    texts: (texts.len() as u16).into(),
                    text_bytes: (texts.iter().map(|t| t.len()).sum::<usize>() as u32).into(),
                    token: [0; 32],
                    consent_statement: 0.into(),
                    consent_version: 0.into(),
                    consent_mode: 0,
                    reserved: [0; 15],
                },
            );
            raw::push_texts(out, &texts);
        })
    }
}

/// The limits of a server, per batch and per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Maximum number of columns in a batch.
    pub columns: u16,
    /// Maximum number of keys in a batch.
    pub keys: u32,
    /// Maximum cost of a batch.
    pub cost: u64,
    /// Maximum length of the body of a request, in bytes.
    pub request_bytes: u32,
    /// Maximum length of the body of an answer, in bytes.
    pub answer_bytes: u32,
    /// Maximum length of a web address, in bytes.
    pub address_bytes: u32,
    /// Maximum number of concurrent batches of a connection.
    pub streams: u32,
    /// Deadline of a batch, in milliseconds.
    pub deadline_ms: u32,
}

/// Returns the values of [`limits`].
impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            columns: limits::BATCH_COLUMNS_MAX as u16,
            keys: limits::BATCH_KEYS_MAX as u32,
            cost: limits::BATCH_COST_MAX,
            request_bytes: limits::REQUEST_BYTES_MAX as u32,
            answer_bytes: limits::ANSWER_BYTES_MAX as u32,
            address_bytes: limits::WEB_ADDRESS_BYTES_MAX as u32,
            streams: limits::STREAMS_MAX,
            deadline_ms: limits::BATCH_DEADLINE_MS as u32,
        }
    }
}

/// The reply of a server to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version that the server selected.
    pub version: u8,
    /// The limits of the server.
    pub limits: ServerLimits,
    /// The name of the dataset.
    pub dataset: String,
    /// The generation of the dataset.
    pub generation: u64,
    /// The sequence within that generation.
    pub sequence: u64,
    /// The time at which the dataset was created.
    pub created: Option<Timestamp>,
    /// The number of each kind of key, and how many records of it the server has.
    pub kinds: Vec<(u8, u64)>,
    /// The name and version of the server software.
    pub software: String,
}

impl Welcome {
    /// Returns how many records the server has of a kind of key.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.kinds.iter().filter(|(number, _)| *number == kind.number()).map(|(_, records)| records).sum()
    }

    /// Parses the body of a frame.
    pub fn parse(header: &Header, body: &[u8]) -> Result<Self, WireError> {
        let head: &WelcomeHead = header.head(FrameKind::Welcome, body, "welcome head")?;
        let mut rest = header.after_head(body)?;
        let kinds: &[KindRow] = raw::rows(&mut rest, usize::from(head.kinds.to_native()), "kinds of key")?;
        let count = usize::from(head.texts.to_native());
        if count < 1 {
            return Err(WireError::TooShort { field: "welcome texts", expected: 1, found: 0 });
        }
        let texts = raw::texts(&mut rest, count, head.text_bytes.to_native() as usize, "welcome texts")?;
        raw::end(rest)?;
        Ok(Self {
            version: head.version,
            limits: ServerLimits {
                columns: head.columns_max.to_native(),
                keys: head.keys_max.to_native(),
                cost: head.cost_max.to_native(),
                request_bytes: head.request_bytes_max.to_native(),
                answer_bytes: head.answer_bytes_max.to_native(),
                address_bytes: head.address_bytes_max.to_native(),
                streams: head.streams_max.to_native(),
                deadline_ms: head.deadline_ms.to_native(),
            },
            dataset: raw::dataset_name(&head.dataset)?.into(),
            generation: head.generation.to_native(),
            sequence: head.sequence.to_native(),
            created: Timestamp::from_seconds(head.created.to_native()),
            kinds: kinds.iter().map(|row| (row.kind, row.records.to_native())).collect(),
            software: bounded(raw::text(&texts, 0))?.into(),
        })
    }

    /// Serializes the whole frame. Texts that are too long are truncated.
    pub fn to_frame(&self) -> Vec<u8> {
        let software = raw::truncate(&self.software, HELLO_TEXT_BYTES_MAX);
        Header::frame(FrameKind::Welcome, size_of::<WelcomeHead>(), |out| {
            raw::push(
                out,
                &WelcomeHead {
                    version: self.version,
                    reserved: 0,
                    texts: 1.into(),
                    text_bytes: (software.len() as u32).into(),
                    kinds: (self.kinds.len() as u16).into(),
                    columns_max: self.limits.columns.into(),
                    keys_max: self.limits.keys.into(),
                    cost_max: self.limits.cost.into(),
                    request_bytes_max: self.limits.request_bytes.into(),
                    answer_bytes_max: self.limits.answer_bytes.into(),
                    streams_max: self.limits.streams.into(),
                    deadline_ms: self.limits.deadline_ms.into(),
                    dataset: raw::dataset_field(&self.dataset),
                    generation: self.generation.into(),
                    sequence: self.sequence.into(),
                    created: Timestamp::to_field(self.created).into(),
                    address_bytes_max: self.limits.address_bytes.into(),
                    identity: [0; 32],
                },
            );
            for &(kind, records) in &self.kinds {
                raw::push(out, &KindRow { kind, reserved: [0; 7], records: records.into() });
            }
            raw::push_texts(out, &[software]);
        })
    }
}

/// A notification from the server, on the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The dataset has a new generation.
    NewGeneration(u64),
    /// The server is shutting down.
    GoingAway {
        /// Milliseconds during which running batches are still answered.
        grace_ms: u64,
    },
    /// The client should pause sending batches.
    RetryAfter {
        /// The length of the pause in milliseconds, from receipt.
        pause_ms: u64,
    },
    /// An unknown kind, from a later version; it MUST be ignored.
    Unknown(u16),
}

impl Notice {
    /// Parses the body of a frame.
    pub fn parse(header: &Header, body: &[u8]) -> Result<Self, WireError> {
        let head: &NoticeHead = header.head(FrameKind::Notice, body, "notice head")?;
        let kind = head.kind.to_native();
        if (1..=3).contains(&kind) {
            raw::end(header.after_head(body)?)?;
        }
        let value = head.value.to_native();
        Ok(match kind {
            1 => Self::NewGeneration(value),
            2 => Self::GoingAway { grace_ms: value },
            3 => Self::RetryAfter { pause_ms: value },
            _ => Self::Unknown(kind),
        })
    }

    /// Serializes the whole frame.
    pub fn to_frame(self) -> Vec<u8> {
        let (kind, value) = match self {
            Self::NewGeneration(generation) => (1, generation),
            Self::GoingAway { grace_ms } => (2, grace_ms),
            Self::RetryAfter { pause_ms } => (3, pause_ms),
            Self::Unknown(kind) => (kind, 0),
        };
        Header::frame(FrameKind::Notice, size_of::<NoticeHead>(), |out| {
            raw::push(out, &NoticeHead { kind: kind.into(), reserved: [0; 6], value: value.into() });
        })
    }
}

fn bounded(text: &str) -> Result<&str, WireError> {
    let (max, found) = (HELLO_TEXT_BYTES_MAX as u64, text.len() as u64);
    if found > max { Err(WireError::TooMuch { field: "text of a hello or welcome", max, found }) } else { Ok(text) }
}
