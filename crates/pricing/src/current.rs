//! The table in force, for everybody who prices something while it may change.
//!
//! Promises: readers never wait; what the operator gives by file stays under what is given by the API, whatever comes
//! and goes there; a set of overrides that makes no sense changes nothing.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::{Override, OverrideError, Table};

/// The table in force.
#[derive(Debug)]
pub struct Prices {
    /// The shipped table with the file's overrides: what the API's are laid over.
    base: Table,
    current: ArcSwap<Table>,
}

impl Prices {
    /// The shipped table with these overrides (the configuration file's, the embedded model's) under those of the API.
    ///
    /// # Errors
    /// When an override makes no sense.
    pub fn new(fixed: &[Override]) -> Result<Prices, OverrideError> {
        let base = Table::shipped().with(fixed)?;
        Ok(Prices { current: ArcSwap::from_pointee(base.clone()), base })
    }

    /// The table in force.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.current.load()
    }

    /// The table as it would be with these overrides of the API in force.
    ///
    /// # Errors
    /// When one makes no sense.
    pub fn with(&self, given: &[Override]) -> Result<Table, OverrideError> {
        self.base.with(given)
    }

    /// Puts a table in force that [`Prices::with`] made.
    pub fn set(&self, table: Table) {
        self.current.store(Arc::new(table));
    }
}
