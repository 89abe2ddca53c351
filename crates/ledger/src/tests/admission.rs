//! Waiting, refusing, racing: the ledger with its keeper at work.
