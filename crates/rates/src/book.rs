//! The book of buckets.
//!
//! Promises: locks are held for some arithmetic, never while anything waits, and are taken in one order; buckets are
//! found by a keyed hash of 128 bits, so nothing that clients call their users is kept, and nobody can aim at another's
//! bucket.
//!
//! Bounded: a bucket that nobody holds and that is full again goes when its shard has doubled, or at [`Book::sweep`]. Of
//! end users, whose names clients choose, at most [`END_USERS_MAX`] have buckets of their own. Those who come while all
//! are taken share [`OVERFLOW_BUCKETS`] for each project: they are refused sooner, never later; when room comes, one of
//! them begins with a bucket of its own and so may have up to a limit's worth twice in that minute.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::admission::{Admission, Gauges, Hold, lock};
use crate::level::Level;
use crate::limited::Limited;
use crate::limits::{Scope, Subject, Want};

/// Subjects of one request: its model, its project, its key, its end user.
pub const SUBJECTS_MAX: usize = 4;

/// End users with a bucket of their own. A bucket takes some 400 bytes with its place: 40 MB at most.
pub const END_USERS_MAX: usize = 100_000;

/// Buckets that a project's end users share while no more of their own can be had.
pub const OVERFLOW_BUCKETS: u64 = 64;

/// Parts of the book: threads on different subjects rarely meet.
const SHARDS: usize = 64;

/// A part is not looked through below this size.
const SWEEP_BUCKETS_MIN: usize = 64;

/// A part that is full of end users is looked through for room no more often than this.
const SWEEP_INTERVAL_NS: u64 = 1_000_000_000;

type Bucket = Arc<Mutex<Level>>;

/// The levels of all buckets of this process.
#[derive(Debug)]
pub struct Book {
    shards: Box<[RwLock<Shard>]>,
    hashers: [RandomState; 2],
    end_users: AtomicUsize,
    end_users_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<u128, Entry, BuildHasherDefault<Folded>>,
    sweep_at_len: usize,
    swept_at_ns: u64,
}

#[derive(Debug)]
struct Entry {
    bucket: Bucket,
    is_own_end_user: bool,
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let part = |chunk: &[u8]| chunk.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.0 = bytes.chunks(8).map(part).fold(self.0, |sum, part| sum ^ part);
    }
}

/// A subject with its bucket.
struct Place<'s> {
    key: u128,
    subject: &'s Subject<'s>,
    bucket: Bucket,
}

impl Default for Book {
    fn default() -> Book {
        Book::new()
    }
}

impl Book {
    /// An empty book.
    pub fn new() -> Book {
        Book::with_end_users_max(END_USERS_MAX)
    }

    pub(crate) fn with_end_users_max(end_users_max: usize) -> Book {
        let shard = || RwLock::new(Shard { sweep_at_len: SWEEP_BUCKETS_MIN, ..Shard::default() });
        Book {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hashers: [RandomState::new(), RandomState::new()],
            end_users: AtomicUsize::new(0),
            end_users_max,
        }
    }

    /// Admits a request under the limits of all its subjects, or takes nothing. Subjects without limits cost nothing; a
    /// subject that stands twice counts once.
    ///
    /// # Errors
    /// The limit that takes longest to let it through.
    ///
    /// # Panics
    /// When there are more than [`SUBJECTS_MAX`] subjects.
    pub fn admit(&self, now_ns: u64, subjects: &[Subject<'_>], want: &Want) -> Result<Admission, Limited> {
        assert!(subjects.len() <= SUBJECTS_MAX, "a request has a model, a project, a key and an end user");
        let mut places = [const { None }; SUBJECTS_MAX];
        let mut count = 0;
        for subject in subjects.iter().filter(|subject| !subject.limits.is_none()) {
            let place = self.place(now_ns, subject);
            if !places[..count].iter().flatten().any(|other: &Place<'_>| other.key == place.key) {
                places[count] = Some(place);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(Admission::new([const { None }; SUBJECTS_MAX], want.tokens, Gauges::default()));
        }
        // One order for all threads, or two of them could wait for each other.
        places[..count].sort_unstable_by_key(|place| place.as_ref().map(|place| place.key));
        admit_to(now_ns, places, want)
    }

    /// Forgets full buckets that nobody holds. New buckets pay for this by themselves; called every minute or so it
    /// gives memory back after a rush.
    pub fn sweep(&self, now_ns: u64) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            self.sweep_shard(&mut shard, now_ns);
            let len = shard.buckets.len();
            shard.buckets.shrink_to(len * 2);
        }
    }

    /// How many buckets there are.
    pub fn bucket_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).buckets.len()).sum()
    }

    fn place<'s>(&self, now_ns: u64, subject: &'s Subject<'s>) -> Place<'s> {
        let key = self.key(&subject.scope);
        if let Some(bucket) = self.known(key) {
            return Place { key, subject, bucket };
        }
        let is_end_user = matches!(subject.scope, Scope::EndUser { .. });
        let bucket = self.open(key, now_ns, is_end_user);
        match (bucket, subject.scope) {
            (Some(bucket), _) => Place { key, subject, bucket },
            (None, Scope::EndUser { project, .. }) => {
                let key = self.hash(&("overflow", project, key as u64 % OVERFLOW_BUCKETS));
                let bucket = self.known(key).or_else(|| self.open(key, now_ns, false));
                Place { key, subject, bucket: bucket.expect("only end users' buckets are counted") }
            }
            (None, _) => unreachable!("only end users' buckets are counted"),
        }
    }

    fn key(&self, scope: &Scope<'_>) -> u128 {
        self.hash(scope)
    }

    fn hash(&self, value: &impl std::hash::Hash) -> u128 {
        let [one, two] = [&self.hashers[0], &self.hashers[1]].map(|hasher| u128::from(hasher.hash_one(value)));
        one << 64 | two
    }

    fn shard(&self, key: u128) -> &RwLock<Shard> {
        // The upper half: the lower one finds the place within the shard.
        &self.shards[(key >> 64) as usize % SHARDS]
    }

    fn known(&self, key: u128) -> Option<Bucket> {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.buckets.get(&key).map(|entry| Arc::clone(&entry.bucket))
    }

    /// The bucket with this key, made where it is not there; `None` when it would be an end user's too many.
    fn open(&self, key: u128, now_ns: u64, is_own_end_user: bool) -> Option<Bucket> {
        let has_room = || self.end_users.load(SeqCst) < self.end_users_max;
        if is_own_end_user && !has_room() {
            let swept_at_ns = self.shard(key).read().unwrap_or_else(PoisonError::into_inner).swept_at_ns;
            if now_ns < swept_at_ns.saturating_add(SWEEP_INTERVAL_NS) {
                return None;
            }
        }
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.buckets.get(&key) {
            return Some(Arc::clone(&entry.bucket));
        }
        if shard.buckets.len() >= shard.sweep_at_len || is_own_end_user && !has_room() {
            self.sweep_shard(&mut shard, now_ns);
        }
        if is_own_end_user {
            let one_more = |count| (count < self.end_users_max).then_some(count + 1);
            self.end_users.fetch_update(SeqCst, SeqCst, one_more).ok()?;
        }
        let bucket = Bucket::default();
        shard.buckets.insert(key, Entry { bucket: Arc::clone(&bucket), is_own_end_user });
        Some(bucket)
    }

    fn sweep_shard(&self, shard: &mut Shard, now_ns: u64) {
        let mut gone = 0;
        shard.buckets.retain(|_, entry| {
            // Whoever holds the bucket took it under this shard's lock: a count of one cannot grow now.
            let stays = Arc::strong_count(&entry.bucket) > 1 || !lock(&entry.bucket).is_full(now_ns);
            gone += usize::from(!stays && entry.is_own_end_user);
            stays
        });
        self.end_users.fetch_sub(gone, SeqCst);
        shard.sweep_at_len = SWEEP_BUCKETS_MIN.max(shard.buckets.len() * 2);
        shard.swept_at_ns = now_ns;
    }
}

/// Admits to the buckets of these places, which are in the order of their keys.
fn admit_to(now_ns: u64, mut places: [Option<Place<'_>>; SUBJECTS_MAX], want: &Want) -> Result<Admission, Limited> {
    let mut levels: [Option<MutexGuard<'_, Level>>; SUBJECTS_MAX] = [const { None }; SUBJECTS_MAX];
    let mut worst: Option<(&Scope<'_>, crate::limited::Shortage)> = None;
    for (place, level) in places.iter().flatten().zip(&mut levels) {
        let level = level.insert(lock(&place.bucket));
        level.advance(now_ns, place.subject.limits);
        if let Some(shortage) = level.shortage(want)
            && worst.as_ref().is_none_or(|(_, worst)| shortage.rank() > worst.rank())
        {
            worst = Some((&place.subject.scope, shortage));
        }
    }
    let mut takings = [None; SUBJECTS_MAX];
    let mut gauges = Gauges::default();
    for (level, taking) in levels.iter_mut().flatten().zip(&mut takings) {
        if worst.is_none() {
            *taking = level.take(want);
        }
        gauges.tighten(&level.gauges());
    }
    drop(levels);
    if let Some((scope, shortage)) = worst {
        return Err(Limited::new(scope, &shortage, gauges));
    }
    let mut holds = [const { None }; SUBJECTS_MAX];
    for ((hold, place), taking) in holds.iter_mut().zip(&mut places).zip(takings) {
        *hold = place.take().map(|place| Hold { bucket: place.bucket, taking });
    }
    Ok(Admission::new(holds, want.tokens, gauges))
}
