//! Times as people and machines read them: UTC, RFC 3339.

use time::OffsetDateTime;

/// Seconds of an hour.
pub(crate) const HOUR: i64 = 3_600;
/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// A time in Unix seconds as `2026-09-14T10:22:05Z`; times that no calendar has are shown as the seconds that they are.
pub fn utc(unix_seconds: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(unix_seconds) else { return format!("@{unix_seconds}") };
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// The beginning of the hour that a moment is in.
pub(crate) fn hour_of(at: i64) -> i64 {
    at.div_euclid(HOUR) * HOUR
}

/// The beginning of the day (UTC) that a moment is in.
pub(crate) fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY) * DAY
}

/// The hour of the day (UTC) that a moment is in, 0 to 23.
pub(crate) fn hour_of_day(at: i64) -> usize {
    usize::try_from(at.rem_euclid(DAY) / HOUR).unwrap_or_default()
}

/// How long something took, in the two largest units: `3 min 20 s`, `2 d 4 h`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / DAY, seconds % DAY / HOUR, seconds % HOUR / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_whatever_they_are() {
        assert_eq!(utc(1_789_381_325), "2026-09-14T10:22:05Z");
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(i64::MAX), "@9223372036854775807");
        assert_eq!((hour_of(-1), day_of(-1), hour_of_day(-1)), (-HOUR, -DAY, 23));
    }

    #[test]
    fn spans_show_two_units() {
        let shown = [5, 200, 7_260, 187_200, -4].map(span);
        assert_eq!(shown, ["5 s", "3 min 20 s", "2 h 1 min", "2 d 4 h", "0 s"]);
    }
}
