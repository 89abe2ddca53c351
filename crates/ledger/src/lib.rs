//! Accounts, holds, leases: money that is promised before it is spent.
