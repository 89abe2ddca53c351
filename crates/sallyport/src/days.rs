//! Days and spans of time as people type and read them, in UTC.

use anyhow::{Context, Result, bail, ensure};
use time::{Date, Month, OffsetDateTime};

/// `2026-11-24` as the Unix second at which that day begins.
pub(crate) fn beginning(text: &str) -> Result<i64> {
    let wrong = || format!("`{text}` is not a day: write it like 2026-11-24");
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { bail!(wrong()) };
    let date = || {
        let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
        Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
    };
    Ok(date().with_context(wrong)?.midnight().assume_utc().unix_timestamp())
}

/// A moment in the past: how long ago (`3h`), a day, a time (`2026-11-24T10:22Z`, seconds if wanted), or Unix seconds.
pub(crate) fn moment(text: &str, now: i64) -> Result<i64> {
    let at = match text.split_once('T') {
        Some((day, time)) => beginning(day)? + time_of_day(time.strip_suffix('Z').unwrap_or(time))?,
        None if text.contains('-') => beginning(text)?,
        None => match text.parse() {
            Ok(at) => at,
            Err(_) => now.checked_sub(seconds(text)?).context("that is too long ago")?,
        },
    };
    ensure!((0..=now).contains(&at), "`{text}` is not in the past: times are in UTC");
    Ok(at)
}

/// `10:22` or `10:22:05` in seconds.
fn time_of_day(text: &str) -> Result<i64> {
    let wrong = || format!("`{text}` is not a time of day: write it like 10:22 or 10:22:05");
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: &str, below: i64| {
        let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|number| is_plain && *number < below)
    };
    let (hours, minutes, seconds) = match parts[..] {
        [hours, minutes] => (hours, minutes, "00"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => bail!(wrong()),
    };
    let all = || Some(number(hours, 24)? * 3_600 + number(minutes, 60)? * 60 + number(seconds, 60)?);
    all().with_context(wrong)
}

/// The minute of a Unix second, `2026-11-24 10:22Z`.
pub(crate) fn minute(at: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(at) {
        Ok(time) => format!("{} {:02}:{:02}Z", day(at), time.hour(), time.minute()),
        Err(_) => at.to_string(),
    }
}

/// The day of a Unix second.
pub(crate) fn day(at: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(at) {
        Ok(time) => format!("{:04}-{:02}-{:02}", time.year(), u8::from(time.month()), time.day()),
        Err(_) => at.to_string(),
    }
}

/// `30m`, `2h`, `7d` in seconds.
pub(crate) fn seconds(text: &str) -> Result<i64> {
    let wrong = || format!("`{text}` is not a time span: write it like 30m, 2h or 7d");
    let unit = text.chars().last().with_context(wrong)?;
    let each = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!(wrong()),
    };
    let count: i64 = text[..text.len() - 1].parse().ok().with_context(wrong)?;
    ensure!(count > 0, wrong());
    count.checked_mul(each).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_spans() {
        // By `date -u -d 2026-11-24 +%s`.
        assert_eq!(beginning("2026-11-24").expect("a day"), 1_795_478_400);
        assert_eq!(day(1_795_478_400 + 86_399), "2026-11-24");
        for wrong in ["", "2026", "2026-13-01", "2026-02-30", "24.11.2026", "2026-11-24-1"] {
            assert!(beginning(wrong).is_err(), "{wrong}");
        }
        assert_eq!(minute(1_795_692_796), "2026-11-26 11:33Z");
        assert_eq!((seconds("30m").expect("minutes"), seconds("7d").expect("days")), (1_800, 604_800));
        let now = 1_795_478_400 + 86_400;
        for (text, at) in [
            ("2026-11-24", 1_795_478_400),
            ("2026-11-24T10:22Z", 1_795_478_400 + 37_320),
            ("2026-11-24T10:22:05", 1_795_478_400 + 37_325),
            ("2h", now - 7_200),
            ("1795478401", 1_795_478_401),
        ] {
            assert_eq!(moment(text, now).expect(text), at);
        }
        for wrong in ["", "soon", "2026-11-26", "2026-11-24T24:00", "2026-11-24T10", "2026-11-24T1:02", "-5", "2h ago"]
        {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
        for wrong in ["", "m", "-1h", "0d", "1y", "h1", "1é", "99999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
