//! Timestamps of records: whole seconds, UTC.

use std::{fmt, num::NonZeroU32, str::FromStr};

use jiff::civil::{Date, DateTime};

/// Seconds since 1970-01-01T00:00:00Z, from second 1 up to the year 2106.
///
/// It has four bytes, because every record contains one; in files and frames, zero means that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU32);

/// The text is not in a form that [`Timestamp`] parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a time such as `2026-11-22 10:00:00` (UTC), `2026-11-22T10:00:00Z`, `2026-11-22` or seconds since 1970, \
     between 1970 and 2106"
)]
pub struct TimestampError;

impl Timestamp {
    /// Creates a timestamp from seconds since 1970. Returns `None` for zero, which means that there is none.
    pub const fn from_seconds(seconds: u32) -> Option<Self> {
        match NonZeroU32::new(seconds) {
            Some(seconds) => Some(Self(seconds)),
            None => None,
        }
    }

    /// Creates a timestamp from seconds since 1970. Returns `None` outside 1970 to 2106.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        u32::try_from(seconds).ok().and_then(Self::from_seconds)
    }

    /// Returns the seconds since 1970.
    pub fn seconds(self) -> u32 {
        self.0.get()
    }

    /// Returns the value of an optional timestamp in files and frames: its seconds, or zero.
    pub fn to_field(time: Option<Self>) -> u32 {
        time.map_or(0, Self::seconds)
    }
}

/// Parses `YYYY-MM-DD HH:MM:SS` (UTC, with or without the suffix `UTC`), RFC 3339 with an offset, `YYYY-MM-DD`
/// (midnight), and seconds since 1970.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let text = text.trim();
        let text = text.strip_suffix("UTC").map_or(text, str::trim_end);
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().and_then(Self::from_unix).ok_or(TimestampError);
        }
        let instant = if let Some(time) = plain_time(text.as_bytes()) {
            seconds_utc(time)
        } else if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            instant.as_second()
        } else if let Ok(time) = text.parse::<DateTime>() {
            seconds_utc(time)
        } else if let Ok(date) = text.parse::<Date>() {
            seconds_utc(date.at(0, 0, 0, 0))
        } else {
            return Err(TimestampError);
        };
        Self::from_unix(instant).ok_or(TimestampError)
    }
}

/// Writes RFC 3339 in UTC: `2026-11-22T10:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_second(i64::from(self.seconds())).map_err(|_| fmt::Error)?;
        write!(f, "{instant}")
    }
}

/// Parses `YYYY-MM-DD HH:MM:SS` and `YYYY-MM-DDTHH:MM:SSZ`, the forms of nearly all feeds. Fast path before the general
/// parsers.
fn plain_time(text: &[u8]) -> Option<DateTime> {
    let (text, end) = text.split_at_checked(19)?;
    if !matches!((text[10], end), (b' ' | b'T', b"") | (b'T', b"Z")) {
        return None;
    }
    let is_plain = text.iter().zip(b"0000-00-00 00:00:00").all(|(found, expected)| match expected {
        b'0' => found.is_ascii_digit(),
        b' ' => true,
        expected => found == expected,
    });
    let two = |at: usize| (text[at] - b'0') as i8 * 10 + (text[at + 1] - b'0') as i8;
    is_plain.then(|| {
        let year = i16::from(two(0)) * 100 + i16::from(two(2));
        DateTime::new(year, two(5), two(8), two(11), two(14), two(17), 0).ok()
    })?
}

fn seconds_utc(time: DateTime) -> i64 {
    jiff::tz::Offset::UTC.to_timestamp(time).map_or(-1, |t| t.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_forms_of_feeds() {
        let expected = Timestamp::from_unix(1_795_341_600);
        for text in [
            "2026-11-22 10:00:00",
            "2026-11-22 10:00:00 UTC",
            "2026-11-22T10:00:00Z",
            "2026-11-22T12:00:00+02:00",
            "2026-11-22T10:00:00.250Z",
            " 1795341600 ",
        ] {
            assert_eq!(text.parse::<Timestamp>().ok(), expected, "{text}");
        }
        assert_eq!("2026-11-22".parse::<Timestamp>().unwrap().to_string(), "2026-11-22T00:00:00Z");
    }

    #[test]
    fn rejects_other_forms() {
        for text in ["", "n/a", "22/11/2026", "0", "1970-01-01 00:00:00", "2106-12-31", "2026-13-01", "99999999999"] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }
}
