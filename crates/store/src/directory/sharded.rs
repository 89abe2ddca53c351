//! A map in parts that snapshots share: a change copies one part, however many entries there are.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Parts of a map; a change copies one. With 100,000 keys a part has about 400.
pub(super) const SHARDS: usize = 256;

/// A map whose copy shares all parts but the changed one.
#[derive(Debug, Clone)]
pub struct Sharded<K, V> {
    pub(super) shards: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
    pub(super) count: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Sharded<K, V> {
    fn default() -> Sharded<K, V> {
        Sharded::new()
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    /// An empty map.
    pub fn new() -> Sharded<K, V> {
        let shards = std::iter::repeat_with(|| Arc::new(HashMap::new())).take(SHARDS).collect();
        Sharded { shards, hasher: RandomState::new(), count: 0 }
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard(key)].get(key)
    }

    /// Puts a value in.
    pub fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        if Arc::make_mut(&mut self.shards[shard]).insert(key, value).is_none() {
            self.count += 1;
        }
    }

    /// Takes a value out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let shard = self.shard(key);
        let removed = Arc::make_mut(&mut self.shards[shard]).remove(key);
        self.count -= usize::from(removed.is_some());
        removed
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}
