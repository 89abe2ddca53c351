//! What the ledger has for the keeper and for changes of limits: ends that wait for the store, in their order, and the
//! accounts that were marked.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};

use super::{Entry, Ledger};
use crate::account::Account;
use crate::book::Book;

impl Ledger {
    pub(crate) fn book(&self) -> arc_swap::Guard<Arc<Book>> {
        self.book.load()
    }

    pub(crate) fn store_book(&self, book: Book) {
        self.book.store(Arc::new(book));
    }

    /// Whether a name was refused since the last time.
    pub(crate) fn take_crowded(&self) -> bool {
        self.is_crowded.swap(false, SeqCst)
    }

    /// The accounts that were marked first, at most so many.
    pub(crate) fn take_dirty(&self, at_most: usize) -> Vec<Arc<Account>> {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let count = dirty.len().min(at_most);
        dirty.drain(..count).collect()
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.queue().is_empty() || !self.dirty.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The oldest queued ends, at most so many.
    pub(crate) fn take_queue(&self, at_most: usize) -> Vec<Entry> {
        let mut queue = self.queue();
        if queue.len() <= at_most {
            return std::mem::take(&mut *queue);
        }
        let rest = queue.split_off(at_most);
        std::mem::replace(&mut *queue, rest)
    }

    /// Puts back what could not be written, before what came meanwhile.
    pub(crate) fn put_back(&self, mut entries: Vec<Entry>) {
        let mut queue = self.queue();
        entries.append(&mut queue);
        *queue = entries;
    }

    pub(crate) fn journaled(&self, rows: usize) {
        self.unjournaled.fetch_sub(rows, SeqCst);
    }
}
