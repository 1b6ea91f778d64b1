//! `strftime_now`: the date that some templates tell the model.
//!
//! The time is UTC, where transformers takes the machine's own; days differ for some hours.

use super::refused;
use chrono::DateTime;
use minijinja::Error;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Codes of numbers, which `-` writes without zeros in front.
const NUMBERS: &str = "YymdeHIMSjus";
/// Codes of words, and of several numbers together.
const WORDS: &str = "BbhAapFTXRDxc%";

/// Seconds since 1970 by this machine's clock.
pub(crate) fn now() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.ok().and_then(|passed| i64::try_from(passed.as_secs()).ok()).unwrap_or(0)
}

/// `datetime.strftime` in the C locale.
pub(super) fn strftime(seconds: i64, format: &str) -> Result<String, Error> {
    let time = DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| refused("the time lies beyond the calendar"))?
        .naive_utc();
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut code = characters.next();
        // `%-d` is `%d` without the zero in front
        let bare = code == Some('-');
        if bare {
            code = characters.next();
        }
        let _ = match code {
            Some('f') => write!(text, "000000"),
            // a datetime without a zone has neither a name nor an offset of it
            Some('Z' | 'z') => Ok(()),
            Some(code) if NUMBERS.contains(code) => {
                let sign = if bare { "-" } else { "" };
                write!(text, "{}", time.format(&format!("%{sign}{code}")))
            }
            Some(code) if WORDS.contains(code) => {
                write!(text, "{}", time.format(&format!("%{code}")))
            }
            other => {
                let code = other.map_or(String::new(), String::from);
                return Err(refused(format!("strftime_now does not know `%{code}`")));
            }
        };
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_python_writes_them() {
        let check = |seconds, expected| {
            let text = strftime(seconds, "%A %d %B %Y, %-d %b %y %j, %H:%M:%S %I %p").unwrap();
            assert_eq!(text, expected);
        };
        check(0, "Thursday 01 January 1970, 1 Jan 70 001, 00:00:00 12 AM");
        // the leap day of 2024: 19782 days of 86400 s and 13:05:09
        check(19_782 * 86_400 + 47_109, "Thursday 29 February 2024, 29 Feb 24 060, 13:05:09 01 PM");
        check(-1, "Wednesday 31 December 1969, 31 Dec 69 365, 23:59:59 11 PM");
        assert!(strftime(0, "%Q").is_err());
        // Python: `datetime(1970, 1, 1).strftime(..)`
        let codes = "%c|%x|%X|%D|%F|%T|%R|%e|%-e|%-B|%h|%a|%u|%f%Z%z%%";
        let expected = "Thu Jan  1 00:00:00 1970|01/01/70|00:00:00|01/01/70|1970-01-01|00:00:00|\
                        00:00| 1|1|January|Jan|Thu|4|000000%";
        assert_eq!(strftime(0, codes).unwrap(), expected);
    }
}
