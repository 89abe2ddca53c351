//! Owners of objects stored upstream.

use async_trait::async_trait;
use store::{ObjectOwner, Owners, ProjectId, StoreError};

use super::{Sqlite, refused};

#[async_trait]
impl Owners for Sqlite {
    async fn record(&self, owners: &[ObjectOwner]) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let mut conflicts = 0;
        for owner in owners {
            // The database's own clock will do: the time is kept for retention by the day, and nothing is decided by it.
            // An upsert that changes nothing but matches only rows of the same owner: zero rows is a conflict.
            let query = sqlx::query(
                "INSERT INTO object_owner (object_id, project_id, family, sent, recorded_at) VALUES (?, ?, ?, ?, unixepoch()) \
                 ON CONFLICT (object_id) DO UPDATE SET family = family WHERE project_id = excluded.project_id",
            );
            let query = query.bind(&owner.object_id).bind(owner.project.as_str()).bind(&owner.family).bind(&owner.sent);
            let result = query.execute(&mut *transaction).await.map_err(refused)?;
            conflicts += u64::from(result.rows_affected() == 0);
        }
        transaction.commit().await.map_err(refused)?;
        Ok(conflicts)
    }

    async fn owner_of(&self, object_id: &str) -> Result<Option<ProjectId>, StoreError> {
        let query = sqlx::query_scalar::<_, String>("SELECT project_id FROM object_owner WHERE object_id = ?");
        let owner = query.bind(object_id).fetch_optional(&self.readers).await.map_err(refused)?;
        Ok(owner.map(ProjectId::new))
    }

    async fn sent(&self, object_id: &str) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar::<_, Option<String>>("SELECT sent FROM object_owner WHERE object_id = ?");
        Ok(query.bind(object_id).fetch_optional(&self.readers).await.map_err(refused)?.flatten())
    }
}
