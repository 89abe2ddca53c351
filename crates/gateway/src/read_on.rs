//! Answers whose client left, read to their end so that their usage is known.
//!
//! Promises: within a cap of time, of money and of number, each with a name in the settings; beyond it the upstream call
//! is cut, and its full hold stays charged as an estimate. Revocation cuts these, too.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use store::Abandoned;

use crate::answer::Step;
use crate::gate::Gate;
use crate::idempotency::Keeping;
use crate::settle::Settling;

/// A place among the answers that are read on; given back on drop.
pub(crate) struct Permit(Arc<Gate>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.reading_on.fetch_sub(1, Relaxed);
    }
}

/// Whether an abandoned answer is to be read on.
pub(crate) fn permit(settling: Option<&Settling>) -> Option<Permit> {
    let settling = settling?;
    let gate = &settling.gate;
    let limits = &gate.settings.limits;
    let hold = settling.hold.as_ref()?;
    if settling.abandoned == Abandoned::Cancel || hold.amount() > limits.read_on_amount_max {
        return None;
    }
    let permit = Permit(Arc::clone(gate));
    let before = gate.reading_on.fetch_add(1, Relaxed);
    hold.set_doing(ledger::Doing::ReadingOn);
    (before < limits.read_on_max).then_some(permit)
}

/// Reads on, a step at each poll. What is cut charges its full hold.
pub(crate) fn to_the_end(
    permit: Permit,
    keeping: Option<Box<Keeping>>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Step> + Send + 'static,
) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let limit = permit.0.settings.timeouts.read_on;
    runtime.spawn(async move {
        let read = async {
            let mut keeping = keeping;
            loop {
                match poll_fn(&mut poll).await {
                    Step::Data(bytes) => keeping.iter_mut().for_each(|keeping| keeping.take(&bytes)),
                    Step::End => break keeping.into_iter().for_each(|keeping| keeping.done()),
                    Step::LastWords(..) | Step::Break(..) => break,
                }
            }
        };
        let _ = tokio::time::timeout(limit, read).await;
        drop(permit);
    });
}
