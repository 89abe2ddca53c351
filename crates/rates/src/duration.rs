//! Durations as Go writes them, which is how the API's headers have them.

use std::fmt;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Writes a duration in nanoseconds as Go's `time.Duration` does: `1s`, `6m0s`, `12ms`, `1h0m0s`, `8.64s`.
pub fn go_duration(ns: u64) -> GoDuration {
    GoDuration(ns)
}

/// A duration to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration(u64);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            ns if ns < MICROSECOND => write!(f, "{ns}ns"),
            ns if ns < MILLISECOND => decimal(f, ns, 3, "µs"),
            ns if ns < SECOND => decimal(f, ns, 6, "ms"),
            ns => {
                let minutes = ns / (60 * SECOND);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => {}
                    (0, minutes) => write!(f, "{minutes}m")?,
                    (hours, minutes) => write!(f, "{hours}h{minutes}m")?,
                }
                decimal(f, ns % (60 * SECOND), 9, "s")
            }
        }
    }
}

/// A count of nanoseconds in units of ten to the power of `places`, without zeros at the end.
fn decimal(f: &mut fmt::Formatter<'_>, ns: u64, places: u32, unit: &str) -> fmt::Result {
    let one = 10_u64.pow(places);
    write!(f, "{}", ns / one)?;
    let (mut rest, mut width) = (ns % one, places as usize);
    if rest > 0 {
        while rest.is_multiple_of(10) {
            rest /= 10;
            width -= 1;
        }
        write!(f, ".{rest:0width$}")?;
    }
    f.write_str(unit)
}

/// Rounded up: who waits that long has waited long enough. Headers know nothing finer, and Go's `µ` is not ASCII.
pub(crate) fn whole_milliseconds(ns: u64) -> u64 {
    ns.checked_next_multiple_of(MILLISECOND).unwrap_or(u64::MAX / MILLISECOND * MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        // The cases of Go's own test (src/time/time_test.go, durationTests), without negative ones.
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX as u64, "2562047h47m16.854775807s"),
        ] {
            assert_eq!(go_duration(ns).to_string(), text);
        }
        for (ns, text) in [
            (999, "999ns"),
            (1_000, "1µs"),
            (999_999, "999.999µs"),
            (12_000_000, "12ms"),
            (999_999_999, "999.999999ms"),
            (SECOND, "1s"),
            (8_640_000_000, "8.64s"),
            (60 * SECOND, "1m0s"),
            (360 * SECOND, "6m0s"),
            (3_600 * SECOND, "1h0m0s"),
            (86_400 * SECOND, "24h0m0s"),
        ] {
            assert_eq!(go_duration(ns).to_string(), text);
        }
    }

    #[test]
    fn headers_know_whole_milliseconds() {
        for (ns, rounded) in [(0, 0), (1, MILLISECOND), (MILLISECOND, MILLISECOND), (MILLISECOND + 1, 2 * MILLISECOND)]
        {
            assert_eq!(whole_milliseconds(ns), rounded);
        }
        assert!(go_duration(whole_milliseconds(u64::MAX)).to_string().is_ascii());
    }
}
