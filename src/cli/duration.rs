//! Durations as arguments.

use std::time::Duration;

/// Parses a duration, such as `10s`, `500ms` or `1m30s`: at most a day, because measurements are kept in memory.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    read.filter(|duration| *duration <= DURATION_MAX).ok_or_else(|| {
        format!("expected a duration of at most a day, such as `10s`, `500ms` or `1m30s`, found {text:?}")
    })
}

/// Parses a [duration](parse) longer than zero.
pub(super) fn nonzero(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err(format!("expected a duration longer than 0, such as `10s`, found {text:?}")),
        duration => Ok(duration),
    }
}

const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for text in ["", "10", "s", "-1s", "25h", "10 parsecs", "99999999999999999999s"] {
            assert!(parse(text).unwrap_err().contains("such as `10s`"), "{text}");
        }
        assert!(nonzero("0s").is_err());
        assert!(nonzero("1ms").is_ok());
    }
}
