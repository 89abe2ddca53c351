//! Implementations of the storage ports: the only SQL in the project. Named only where the binary is wired together.

pub mod sqlite;
