//! `strftime_now`: the date that some templates tell the model.
//!
//! The time is UTC, where transformers takes the machine's own; days differ for some hours.

use minijinja::{Error, ErrorKind};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Seconds since 1970 by this machine's clock.
pub(super) fn now() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.ok().and_then(|passed| i64::try_from(passed.as_secs()).ok()).unwrap_or(0)
}

/// The year, the month and the day of the month, both from 1, of a day since 1970. Years are
/// counted from March, so that the day that leap years add is their last: Hinnant's
/// `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_year_zero = days + 719_468;
    let era = from_year_zero.div_euclid(146_097);
    let day_of_era = from_year_zero.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// `datetime.strftime` in the C locale.
pub(super) fn strftime(seconds: i64, format: &str) -> Result<String, Error> {
    let days = seconds.div_euclid(86_400);
    let in_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
    let hour_of_twelve = (hour + 11) % 12 + 1;
    let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    // the first of January 1970 was a Thursday
    let weekday = usize::try_from((days + 3).rem_euclid(7)).unwrap_or(0);
    let leap = i64::from(is_leap(year) && month > 2);
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let day_of_year = before[usize::try_from(month - 1).unwrap_or(0)] + day + leap;
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
        let mut padded = |value: i64, width: usize, fill: char| {
            let _ = match (bare, fill) {
                (true, _) => write!(text, "{value}"),
                (false, ' ') => write!(text, "{value:width$}"),
                (false, _) => write!(text, "{value:0width$}"),
            };
        };
        match code {
            Some('Y') => padded(year, 1, '0'),
            Some('y') => padded(year.rem_euclid(100), 2, '0'),
            Some('m') => padded(month, 2, '0'),
            Some('d') => padded(day, 2, '0'),
            Some('e') => padded(day, 2, ' '),
            Some('H') => padded(hour, 2, '0'),
            Some('I') => padded(hour_of_twelve, 2, '0'),
            Some('M') => padded(minute, 2, '0'),
            Some('S') => padded(second, 2, '0'),
            Some('f') => text.push_str("000000"),
            Some('j') => padded(day_of_year, 3, '0'),
            Some('u') => padded(i64::try_from(weekday).unwrap_or(0) + 1, 1, '0'),
            Some('s') => padded(seconds, 1, '0'),
            Some('B') => text.push_str(month_name),
            Some('b' | 'h') => text.push_str(&month_name[..3]),
            Some('A') => text.push_str(WEEKDAYS[weekday]),
            Some('a') => text.push_str(&WEEKDAYS[weekday][..3]),
            Some('p') => text.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('F') => text.push_str(&strftime(seconds, "%Y-%m-%d")?),
            Some('T' | 'X') => text.push_str(&strftime(seconds, "%H:%M:%S")?),
            Some('R') => text.push_str(&strftime(seconds, "%H:%M")?),
            Some('D' | 'x') => text.push_str(&strftime(seconds, "%m/%d/%y")?),
            Some('c') => text.push_str(&strftime(seconds, "%a %b %e %H:%M:%S %Y")?),
            // a datetime without a zone has neither a name nor an offset of it
            Some('Z' | 'z') => {}
            Some('%') => text.push('%'),
            other => {
                let code = other.map_or(String::new(), String::from);
                let reason = format!("strftime_now does not know `%{code}`");
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
        }
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
    }
}
