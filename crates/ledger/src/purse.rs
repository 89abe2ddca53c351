//! The money of one account that this process may promise: one atomic word.
//!
//! Promises: what was put in is taken at most once, whatever runs at the same time; a debt (a settlement above its
//! hold) makes the word negative, and nothing is taken until it is paid. No lock, no wait.
//!
//! Generic over the word, so that tests can put one in its place whose every interleaving is tried.

use std::sync::atomic::{AtomicI64, Ordering};

use pricing::Nano;

/// The atomic word.
pub(crate) trait Word: Default + Send + Sync {
    /// Reads it.
    fn load(&self) -> i64;
    /// Replaces `current` by `new`, or says what is there instead.
    ///
    /// # Errors
    /// With what is there.
    fn replace(&self, current: i64, new: i64) -> Result<(), i64>;
    /// Adds, and gives what was there before.
    fn add(&self, value: i64) -> i64;
}

impl Word for AtomicI64 {
    fn load(&self) -> i64 {
        AtomicI64::load(self, Ordering::SeqCst)
    }

    fn replace(&self, current: i64, new: i64) -> Result<(), i64> {
        self.compare_exchange_weak(current, new, Ordering::SeqCst, Ordering::SeqCst).map(drop)
    }

    fn add(&self, value: i64) -> i64 {
        self.fetch_add(value, Ordering::SeqCst)
    }
}

/// Amounts beyond this are cut: half of what the word holds, so that no sum of two overflows. Four billion dollars.
pub(crate) const AMOUNT_MAX: i64 = i64::MAX / 2;

/// An amount as the word counts it.
pub(crate) fn signed(amount: Nano) -> i64 {
    i64::try_from(amount.0).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX)
}

/// A number of the word as an amount; debts are nothing.
pub(crate) fn amount(signed: i64) -> Nano {
    Nano(u64::try_from(signed).unwrap_or(0))
}

/// What can be promised.
#[derive(Debug, Default)]
pub(crate) struct Purse<W: Word = AtomicI64> {
    available: W,
}

impl<W: Word> Purse<W> {
    /// What can be taken now; negative when in debt.
    pub(crate) fn available(&self) -> i64 {
        self.available.load()
    }

    /// Takes all of an amount, or nothing.
    ///
    /// # Errors
    /// With what is there instead.
    pub(crate) fn take(&self, amount: i64) -> Result<i64, i64> {
        let mut there = self.available.load();
        loop {
            if there < amount {
                return Err(there);
            }
            match self.available.replace(there, there - amount) {
                Ok(()) => return Ok(there - amount),
                Err(now) => there = now,
            }
        }
    }

    /// Takes at most an amount, and gives how much it was.
    pub(crate) fn take_up_to(&self, amount: i64) -> i64 {
        let mut there = self.available.load();
        loop {
            let taken = there.min(amount).max(0);
            match self.available.replace(there, there - taken) {
                Ok(()) => return taken,
                Err(now) => there = now,
            }
        }
    }

    /// Puts in; a negative amount makes a debt.
    pub(crate) fn put(&self, amount: i64) {
        self.available.add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Shuttled(shuttle::sync::atomic::AtomicI64);

    impl Word for Shuttled {
        fn load(&self) -> i64 {
            self.0.load(Ordering::SeqCst)
        }

        fn replace(&self, current: i64, new: i64) -> Result<(), i64> {
            self.0.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).map(drop)
        }

        fn add(&self, value: i64) -> i64 {
            self.0.fetch_add(value, Ordering::SeqCst)
        }
    }

    /// Two that hold and settle, and a keeper that grants and takes back: at no moment is more promised than granted.
    fn scenario() {
        use shuttle::sync::Arc;
        use shuttle::thread::spawn;
        let purse = Arc::new(Purse::<Shuttled>::default());
        purse.put(10);
        let holder = |purse: Arc<Purse<Shuttled>>| {
            move || {
                let mut spent = 0;
                for _ in 0..2 {
                    if purse.take(6).is_ok() {
                        // Really 2 of the 6.
                        purse.put(4);
                        spent += 2;
                    }
                }
                spent
            }
        };
        let (first, second) = (spawn(holder(Arc::clone(&purse))), spawn(holder(Arc::clone(&purse))));
        let keeper = spawn({
            let purse = Arc::clone(&purse);
            move || {
                let back = purse.take_up_to(5);
                assert!((0..=5).contains(&back));
                purse.put(3);
                3 - back
            }
        });
        let spent = first.join().expect("no panic") + second.join().expect("no panic");
        let granted = 10 + keeper.join().expect("no panic");
        assert_eq!(purse.available(), granted - spent);
        assert!(purse.available() >= 0, "more was promised than granted");
    }

    #[test]
    fn no_interleaving_promises_more_than_was_granted() {
        shuttle::check_dfs(scenario, Some(20_000));
        shuttle::check_random(scenario, 2_000);
    }

    #[test]
    fn a_debt_stops_everything_until_it_is_paid() {
        let purse = Purse::<AtomicI64>::default();
        purse.put(5);
        assert_eq!(purse.take(3), Ok(2));
        purse.put(-4);
        assert_eq!((purse.take(1), purse.take_up_to(9)), (Err(-2), 0));
        assert_eq!(purse.take(0), Err(-2));
        purse.put(3);
        assert_eq!(purse.take(1), Ok(0));
    }
}
