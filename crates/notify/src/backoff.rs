//! When a failed delivery is tried again.

use std::time::Duration;

use keys::Random;

/// Waits after the first, the second, … attempt: soon at first, for a receiver that restarts; then seldom, for one that
/// somebody has to mend. Together 35 hours, so that a server that broke in the evening may be mended in the morning
/// after next.
const WAITS_SECONDS: [u64; 8] = [5, 30, 2 * 60, 10 * 60, 60 * 60, 4 * 60 * 60, 12 * 60 * 60, 18 * 60 * 60];

/// The part of a wait that chance takes away or adds at most: a fifth. Receivers that come back are not met by all at
/// the same second.
const JITTER_DIVISOR: u64 = 5;

/// How long to wait after attempt number `attempt`, counted from 1, failed; `None` when it was the last.
pub fn next_wait(attempt: u32, random: &dyn Random) -> Option<Duration> {
    let index = usize::try_from(attempt.saturating_sub(1)).ok()?;
    let wait_ms = WAITS_SECONDS.get(index)? * 1_000;
    let jitter_ms = wait_ms / JITTER_DIVISOR;
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    // A fixed-point product: 32 random bits choose a point in the span of twice the jitter.
    let chosen_ms = (u64::from(u32::from_le_bytes(bytes)) * (2 * jitter_ms + 1)) >> 32;
    Some(Duration::from_millis(wait_ms - jitter_ms + chosen_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn waits(random: &dyn Random) -> Vec<Duration> {
        (1..).map_while(|attempt| next_wait(attempt, random)).collect()
    }

    #[test]
    fn the_schedule_is_about_a_day_and_a_half() {
        let (least, most) = (waits(&Fixed(0)), waits(&Fixed(0xff)));
        assert_eq!((least.len(), most.len()), (8, 8), "nine attempts");
        assert_eq!((least[0], most[0]), (Duration::from_secs(4), Duration::from_secs(6)));
        let hours = |waits: &[Duration]| waits.iter().sum::<Duration>().as_secs() / 3_600;
        assert_eq!((hours(&least), hours(&most)), (28, 42));
        assert!(least.iter().zip(&most[1..]).all(|(earlier, later)| earlier < later), "it slows down");
        let middle = waits(&Fixed(0x80));
        assert!(middle[0] > least[0] && middle[0] < most[0], "chance chooses between them");
    }

    #[test]
    fn after_the_last_attempt_there_is_no_other() {
        assert_eq!(next_wait(9, &Fixed(0)), None);
        assert_eq!(next_wait(u32::MAX, &Fixed(0)), None);
    }
}
