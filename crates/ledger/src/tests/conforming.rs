//! The store in memory keeps the port's promises.

use async_trait::async_trait;
use pricing::Nano;
use store::SpendLimit;

use crate::conformance::{self, Behind};
use crate::{AccountKey, MemoryStore};

#[async_trait]
impl Behind for MemoryStore {
    async fn put_limit(&self, limit: &SpendLimit) {
        MemoryStore::put_limit(self, limit.clone());
    }

    async fn remove_limit(&self, id: &str) {
        MemoryStore::remove_limit(self, id);
    }

    async fn balance(&self, account: &AccountKey) -> (Nano, Nano) {
        MemoryStore::balance(self, account)
    }
}

macro_rules! conforms {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let store = MemoryStore::default();
            conformance::$name(&store, &store).await;
        }
    )*};
}

conforms!(
    lives_are_numbered,
    leases_share_what_is_there,
    a_target_said_twice_changes_nothing,
    concurrent_writers_stay_within_the_limit,
    a_row_settles_once,
    a_settlement_above_the_limit_is_recorded,
    a_row_belongs_to_the_window_it_began_in,
    a_lowered_limit_calls_leases_back,
    a_raise_ends,
    without_a_limit_nothing_is_leased,
    a_fenced_writer_writes_nothing,
    fencing_frees_above_the_watermark,
    an_estimate_is_lowered_by_a_fact,
    rows_of_a_former_life_lower_its_estimate,
    a_new_account_knows_what_was_spent_before,
    a_row_charges_every_account_that_it_concerns,
);
