//! What a command prints when it is done.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::Value;

use crate::failure::Failure;

/// A result, for people and for scripts.
#[derive(Debug)]
pub(crate) struct Answer {
    /// One object.
    pub(crate) json: Value,
    /// What a person sees; bytes, because a reply can be anything.
    pub(crate) text: Vec<u8>,
}

impl Answer {
    /// A text for people, with an end of line.
    pub(crate) fn new(json: Value, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { json, text: text.into_bytes() }
    }

    /// Prints it. Somebody who stops reading is no failure.
    pub(crate) fn print(&self, json: bool) -> ExitCode {
        let mut out = io::stdout().lock();
        let _ = match json {
            true => writeln!(out, "{}", self.json),
            false => out.write_all(&self.text).and_then(|()| out.flush()),
        };
        ExitCode::SUCCESS
    }

    /// Prints a failure as an object.
    pub(crate) fn print_failure(failure: &Failure) -> ExitCode {
        let _ = writeln!(io::stdout().lock(), "{}", failure.json());
        ExitCode::from(failure.exit_code)
    }
}

/// Names and values, one below the other.
pub(crate) fn table<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut table = String::new();
    for (name, value) in rows {
        let _ = writeln!(table, "{name:width$}  {}", harmless(&value));
    }
    table
}

/// Text from elsewhere, without what would steer a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let escaped = |c: char| match c.is_control() && c != '\n' {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// A payload for a person: its text, or what it is instead.
pub(crate) fn shown(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => harmless(text),
        Err(_) => format!("({} bytes that are no text)", payload.len()),
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A time as people write it, UTC: seconds since 1970 in the proleptic Gregorian calendar.
pub(crate) fn utc(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days since 0000-03-01, so that the leap day is a year's last; 400 years are 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (400 * era + year_of_era, month + 3),
        _ => (400 * era + year_of_era + 1, month - 9),
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(unix_s), text);
        }
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(shown(b"a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\nc");
        assert_eq!(shown(&[0xff, 0]), "(2 bytes that are no text)");
        assert_eq!(table([("a", "1".into()), ("bcd", "\r2".into())]), "a    1\nbcd  \\r2\n");
    }
}
