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

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The lowest version of the protocol that it speaks.
    pub version_min: u8,
    /// The highest.
    pub version_max: u8,
    /// The name of its software.
    pub software: &'a str,
    /// Its full version.
    pub software_version: &'a str,
    /// The family of its platform: `linux`, `windows`, …
    pub platform: &'a str,
}

impl<'a> Hello<'a> {
    /// Of a program that speaks this version.
    pub fn new(software: &'a str, software_version: &'a str, platform: &'a str) -> Self {
        Self { version_min: VERSION, version_max: VERSION, software, software_version, platform }
    }

    /// Reads the body of a frame.
    pub fn parse(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let head: &HelloHead = header.head(FrameKind::Hello, body, "hello head")?;
        let mut rest = header.behind_head(body)?;
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

    /// The whole frame. Texts that are too long are cut.
    pub fn to_frame(&self) -> Vec<u8> {
        let texts = [self.software, self.software_version, self.platform].map(|t| raw::cut(t, HELLO_TEXT_BYTES_MAX));
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

/// What a server accepts in one batch and at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Columns in a batch.
    pub columns: u16,
    /// Keys in a batch.
    pub keys: u32,
    /// Cost of a batch.
    pub cost: u64,
    /// Bytes of the body of a request.
    pub request_bytes: u32,
    /// Bytes of the body of an answer.
    pub answer_bytes: u32,
    /// Bytes of a web address.
    pub address_bytes: u32,
    /// Batches at a time.
    pub streams: u32,
    /// Milliseconds for a batch.
    pub deadline_ms: u32,
}

/// Those of [`limits`].
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

/// What the server replies to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version of the protocol that it chose.
    pub version: u8,
    /// What it accepts.
    pub limits: ServerLimits,
    /// Its dataset.
    pub dataset: String,
    /// The generation of it.
    pub generation: u64,
    /// The sequence within that generation.
    pub sequence: u64,
    /// When the dataset was made.
    pub created: Option<Timestamp>,
    /// Numbers of kinds of key, and how many records it has of each.
    pub kinds: Vec<(u8, u64)>,
    /// Its software and version.
    pub software: String,
}

impl Welcome {
    /// How many records the server has of a kind of key.
    pub fn records(&self, kind: KeyKind) -> u64 {
        self.kinds.iter().filter(|(number, _)| *number == kind.number()).map(|(_, records)| records).sum()
    }

    /// Reads the body of a frame.
    pub fn parse(header: &Header, body: &[u8]) -> Result<Self, WireError> {
        let head: &WelcomeHead = header.head(FrameKind::Welcome, body, "welcome head")?;
        let mut rest = header.behind_head(body)?;
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

    /// The whole frame. Texts that are too long are cut.
    pub fn to_frame(&self) -> Vec<u8> {
        let software = raw::cut(&self.software, HELLO_TEXT_BYTES_MAX);
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

/// What a server says unasked, on the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The dataset has a new generation.
    NewGeneration(u64),
    /// The server shuts down in so many milliseconds.
    GoingAway {
        /// Until then batches that run are answered.
        grace_ms: u64,
    },
    /// No more batches for so many milliseconds, please.
    RetryAfter {
        /// From now.
        pause_ms: u64,
    },
    /// One that a later version added: to be ignored.
    Unknown(u16),
}

impl Notice {
    /// Reads the body of a frame.
    pub fn parse(header: &Header, body: &[u8]) -> Result<Self, WireError> {
        let head: &NoticeHead = header.head(FrameKind::Notice, body, "notice head")?;
        let kind = head.kind.to_native();
        if (1..=3).contains(&kind) {
            raw::end(header.behind_head(body)?)?;
        }
        let value = head.value.to_native();
        Ok(match kind {
            1 => Self::NewGeneration(value),
            2 => Self::GoingAway { grace_ms: value },
            3 => Self::RetryAfter { pause_ms: value },
            _ => Self::Unknown(kind),
        })
    }

    /// The whole frame.
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
    if found > max { Err(WireError::TooMuch { field: "a text of a greeting", max, found }) } else { Ok(text) }
}
