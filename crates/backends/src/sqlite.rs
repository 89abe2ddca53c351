//! The embedded database: one file in the data folder.
//!
//! Promises: a commit that returned survives the loss of power (`synchronous=FULL`); one writer at a time, readers do
//! not wait for it; one process at a time on a data folder (a lock file that lives as long as the process); the file
//! is readable by its owner alone; a database of a newer version is refused, not guessed at.

mod accounts;
mod alerts;
mod audit;
mod check;
mod figures;
mod findings;
mod ids;
mod incidents;
mod journal;
mod key_uses;
mod keys;
mod limits;
mod names;
mod outbox;
mod owners;
mod pieces;
mod registry;
mod reports;
mod rows;
mod seals;
mod series;
mod settings;
mod settling;
mod spent;
mod sums;
mod tally;
mod upstreams;
mod usage;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlitePool};
use store::StoreError;

/// Name of the database in the data folder.
const DATABASE_FILE: &str = "sallyport.db";
/// Name of the lock in the data folder.
const LOCK_FILE: &str = "sallyport.lock";
/// How often the lock is tried, and how long after each other: a gate that is just ending gives it up, and so does a
/// program that another thread of this process was starting when the lock was let go of (until it runs, it holds what
/// this process held).
const LOCK_TRIES: u32 = 20;
const LOCK_TRIED_AFTER: Duration = Duration::from_millis(50);
/// How long a statement waits for another process's lock (a backup, the command line's tools).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for reading. Lists come from memory; what is read here are audit events and owners.
const READERS: u32 = 4;
/// The writer's page cache, in SQLite's words (KiB, negative): the part of the sums that is written now fits.
const CACHE: &str = "-32768";
/// Statements that a connection keeps prepared. The writer has some fifty, and those over many rows in six lengths.
const STATEMENTS: usize = 200;
/// Pages in the WAL before they are folded in: sums are written again and again, and cost one page each time they are
/// folded in. 64 MB.
const CHECKPOINT_PAGES: &str = "16384";

/// What was changed since the first version, in order. `PRAGMA user_version` counts what was applied.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_projects_and_keys.sql"),
    include_str!("../../../migrations/sqlite/0002_audit_lookup.sql"),
    include_str!("../../../migrations/sqlite/0003_money.sql"),
    include_str!("../../../migrations/sqlite/0004_sent.sql"),
    include_str!("../../../migrations/sqlite/0005_key_life.sql"),
    include_str!("../../../migrations/sqlite/0006_upstreams.sql"),
    include_str!("../../../migrations/sqlite/0007_incidents.sql"),
    include_str!("../../../migrations/sqlite/0008_guards.sql"),
];

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made or used.
    #[error("cannot use the data folder {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("another sallyport process uses the data folder {}: stop it first, or name another folder with --data", .0.display())]
    InUse(PathBuf),
    /// Made by a later version.
    #[error(
        "the database was made by a newer sallyport (schema {found}, this version knows {known}): use that version"
    )]
    Newer {
        /// Its schema.
        found: i64,
        /// Ours.
        known: usize,
    },
    /// The database cannot be opened or brought up to date.
    #[error("cannot open the database")]
    Database(#[from] sqlx::Error),
}

/// An open database.
#[derive(Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Numbers in usage rows and sums; with the writer while it writes.
    known: Mutex<series::Known>,
    /// Rows that were written lately.
    ids: Mutex<ids::Ids>,
    /// Sums by name that wait; `None` while they are with the writer, and where they must be read from the journal.
    tail: Mutex<Option<names::Tail>>,
    /// Whether this process made the database.
    is_new: bool,
    _lock: File,
}

impl Sqlite {
    /// Opens the database in a data folder; makes both where they are not there.
    ///
    /// # Errors
    /// What [`OpenError`] lists.
    pub async fn open(folder: &Path) -> Result<Sqlite, OpenError> {
        let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = lock(folder).await?;
        let path = folder.join(DATABASE_FILE);
        let is_new = !path.try_exists().map_err(failed)?;
        // Made before SQLite does, so that it is never readable by others; its WAL takes the same mode.
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        // Closed before SQLite opens it: closing any handle of a file gives up every POSIX lock that the process has on
        // it, SQLite's as well. Another program that then reads the database and closes it would find nobody else there,
        // and delete the WAL from under this one.
        drop(file);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let options = options.statement_cache_capacity(STATEMENTS);
        // Statements over many rows keep what they change until they are done: in memory, not in a file.
        let writing = options
            .clone()
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let writer = pool(1).connect_with(writing).await?;
        migrate(&writer).await?;
        let readers = pool(READERS).connect_with(options.read_only(true)).await?;
        Ok(Sqlite {
            writer,
            readers,
            known: Mutex::default(),
            ids: Mutex::default(),
            tail: Mutex::default(),
            is_new,
            _lock: lock,
        })
    }

    /// Whether the database was made by this opening.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Closes the database, so that its WAL is folded in.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Connections, of which none comes back with a transaction open. When the disk is full SQLite rolls back by itself,
/// the driver then fails to roll back once more and believes for ever that a transaction runs: such a connection is
/// replaced, or nothing could be written until a restart.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).after_release(|connection, _| {
        Box::pin(async move {
            // A rollback that was queued by a dropped transaction is done once this is answered.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}

async fn lock(folder: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_TRIED_AFTER).await,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    Err(OpenError::InUse(folder.to_owned()))
}

async fn migrate(writer: &SqlitePool) -> Result<(), OpenError> {
    let mut connection = writer.acquire().await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let applied = usize::try_from(found).unwrap_or(usize::MAX);
    if applied > MIGRATIONS.len() {
        return Err(OpenError::Newer { found, known: MIGRATIONS.len() });
    }
    for (number, script) in MIGRATIONS.iter().enumerate().skip(applied) {
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(*script).execute(&mut *transaction).await?;
        // A pragma takes no parameters; the number is ours.
        let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", number + 1));
        sqlx::raw_sql(version).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// A driver's error in the port's words.
fn refused(error: sqlx::Error) -> StoreError {
    match &error {
        // A project or service account that is not there any more is a conflict like an id that is there already.
        sqlx::Error::Database(database) if database.is_unique_violation() || database.is_foreign_key_violation() => {
            StoreError::Conflict(database.to_string())
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
