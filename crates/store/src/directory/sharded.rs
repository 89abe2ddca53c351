//! A map in parts that snapshots share: a change copies one part, however many entries there are.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Parts of a map; a change copies one. With 100,000 keys a part has about 400.
pub(super) const SHARDS: usize = 256;

/// A map whose copy shares all parts but the changed one.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    pub(super) shards: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
    pub(super) count: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(super) fn new() -> Sharded<K, V> {
        let shards = std::iter::repeat_with(|| Arc::new(HashMap::new())).take(SHARDS).collect();
        Sharded { shards, hasher: RandomState::new(), count: 0 }
    }

    fn shard(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.shard(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        if Arc::make_mut(&mut self.shards[shard]).insert(key, value).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let shard = self.shard(key);
        let removed = Arc::make_mut(&mut self.shards[shard]).remove(key);
        self.count -= usize::from(removed.is_some());
        removed
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}
