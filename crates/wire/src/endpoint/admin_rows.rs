//! The rows of the control plane: what an admin key opens, and at their end what a signature does.
//!
//! Made from the API document and the official SDK's operations, completed by judgement; `cargo xtask endpoints`
//! compares them with an operation list.

use super::Method::{Delete, Get, Post};
use super::{Endpoint, Opens, admin, plain};

#[rustfmt::skip]
pub(super) static ADMIN_ROWS: &[Endpoint] = &[
    // Ours: the API has no operation that makes a project key
    admin(Post, "/v1/organization/projects/{project_id}/api_keys", "projects"),
    // admin:admin_api_keys
    admin(Get, "/v1/organization/admin_api_keys", "admin:admin_api_keys"),
    admin(Post, "/v1/organization/admin_api_keys", "admin:admin_api_keys"),
    admin(Delete, "/v1/organization/admin_api_keys/{key_id}", "admin:admin_api_keys"),
    admin(Get, "/v1/organization/admin_api_keys/{key_id}", "admin:admin_api_keys"),
    // admin:audit_logs
    admin(Get, "/v1/organization/audit_logs", "admin:audit_logs"),
    // admin:certificates
    admin(Get, "/v1/organization/certificates", "admin:certificates"),
    admin(Post, "/v1/organization/certificates", "admin:certificates"),
    admin(Post, "/v1/organization/certificates/activate", "admin:certificates"),
    admin(Post, "/v1/organization/certificates/deactivate", "admin:certificates"),
    admin(Delete, "/v1/organization/certificates/{certificate_id}", "admin:certificates"),
    admin(Get, "/v1/organization/certificates/{certificate_id}", "admin:certificates"),
    admin(Post, "/v1/organization/certificates/{certificate_id}", "admin:certificates"),
    // admin:costs
    admin(Get, "/v1/organization/costs", "admin:costs"),
    // admin:data_retention
    admin(Get, "/v1/organization/data_retention", "admin:data_retention"),
    admin(Post, "/v1/organization/data_retention", "admin:data_retention"),
    // admin:external_keys
    admin(Get, "/v1/organization/external_keys", "admin:external_keys"),
    admin(Post, "/v1/organization/external_keys", "admin:external_keys"),
    admin(Delete, "/v1/organization/external_keys/{external_key_id}", "admin:external_keys"),
    admin(Get, "/v1/organization/external_keys/{external_key_id}", "admin:external_keys"),
    admin(Post, "/v1/organization/external_keys/{external_key_id}/validate", "admin:external_keys"),
    // admin:external_storage
    admin(Get, "/v1/organization/external_storage", "admin:external_storage"),
    admin(Post, "/v1/organization/external_storage", "admin:external_storage"),
    admin(Delete, "/v1/organization/external_storage/{external_storage_id}", "admin:external_storage"),
    admin(Get, "/v1/organization/external_storage/{external_storage_id}", "admin:external_storage"),
    admin(Post, "/v1/organization/external_storage/{external_storage_id}/validate", "admin:external_storage"),
    // admin:groups
    admin(Get, "/v1/organization/groups", "admin:groups"),
    admin(Post, "/v1/organization/groups", "admin:groups"),
    admin(Delete, "/v1/organization/groups/{group_id}", "admin:groups"),
    admin(Get, "/v1/organization/groups/{group_id}", "admin:groups"),
    admin(Post, "/v1/organization/groups/{group_id}", "admin:groups"),
    admin(Get, "/v1/organization/groups/{group_id}/roles", "admin:groups"),
    admin(Post, "/v1/organization/groups/{group_id}/roles", "admin:groups"),
    admin(Delete, "/v1/organization/groups/{group_id}/roles/{role_id}", "admin:groups"),
    admin(Get, "/v1/organization/groups/{group_id}/roles/{role_id}", "admin:groups"),
    admin(Get, "/v1/organization/groups/{group_id}/users", "admin:groups"),
    admin(Post, "/v1/organization/groups/{group_id}/users", "admin:groups"),
    admin(Delete, "/v1/organization/groups/{group_id}/users/{user_id}", "admin:groups"),
    admin(Get, "/v1/organization/groups/{group_id}/users/{user_id}", "admin:groups"),
    // admin:invites
    admin(Get, "/v1/organization/invites", "admin:invites"),
    admin(Post, "/v1/organization/invites", "admin:invites"),
    admin(Delete, "/v1/organization/invites/{invite_id}", "admin:invites"),
    admin(Get, "/v1/organization/invites/{invite_id}", "admin:invites"),
    // admin:project roles
    admin(Get, "/v1/projects/{project_id}/groups/{group_id}/roles", "admin:project roles"),
    admin(Post, "/v1/projects/{project_id}/groups/{group_id}/roles", "admin:project roles"),
    admin(Delete, "/v1/projects/{project_id}/groups/{group_id}/roles/{role_id}", "admin:project roles"),
    admin(Get, "/v1/projects/{project_id}/groups/{group_id}/roles/{role_id}", "admin:project roles"),
    admin(Get, "/v1/projects/{project_id}/roles", "admin:project roles"),
    admin(Post, "/v1/projects/{project_id}/roles", "admin:project roles"),
    admin(Delete, "/v1/projects/{project_id}/roles/{role_id}", "admin:project roles"),
    admin(Get, "/v1/projects/{project_id}/roles/{role_id}", "admin:project roles"),
    admin(Post, "/v1/projects/{project_id}/roles/{role_id}", "admin:project roles"),
    admin(Get, "/v1/projects/{project_id}/users/{user_id}/roles", "admin:project roles"),
    admin(Post, "/v1/projects/{project_id}/users/{user_id}/roles", "admin:project roles"),
    admin(Delete, "/v1/projects/{project_id}/users/{user_id}/roles/{role_id}", "admin:project roles"),
    admin(Get, "/v1/projects/{project_id}/users/{user_id}/roles/{role_id}", "admin:project roles"),
    // admin:projects
    admin(Get, "/v1/organization/projects", "admin:projects"),
    admin(Post, "/v1/organization/projects", "admin:projects"),
    admin(Get, "/v1/organization/projects/{project_id}", "admin:projects"),
    admin(Post, "/v1/organization/projects/{project_id}", "admin:projects"),
    // admin:projects/api_keys
    admin(Get, "/v1/organization/projects/{project_id}/api_keys", "admin:projects/api_keys"),
    admin(Delete, "/v1/organization/projects/{project_id}/api_keys/{api_key_id}", "admin:projects/api_keys"),
    admin(Get, "/v1/organization/projects/{project_id}/api_keys/{api_key_id}", "admin:projects/api_keys"),
    admin(Post, "/v1/organization/projects/{project_id}/api_keys/{api_key_id}", "admin:projects/api_keys"),
    // admin:projects/archive
    admin(Post, "/v1/organization/projects/{project_id}/archive", "admin:projects/archive"),
    // admin:projects/certificates
    admin(Get, "/v1/organization/projects/{project_id}/certificates", "admin:projects/certificates"),
    admin(Post, "/v1/organization/projects/{project_id}/certificates/activate", "admin:projects/certificates"),
    admin(Post, "/v1/organization/projects/{project_id}/certificates/deactivate", "admin:projects/certificates"),
    // admin:projects/data_retention
    admin(Get, "/v1/organization/projects/{project_id}/data_retention", "admin:projects/data_retention"),
    admin(Post, "/v1/organization/projects/{project_id}/data_retention", "admin:projects/data_retention"),
    // admin:projects/groups
    admin(Get, "/v1/organization/projects/{project_id}/groups", "admin:projects/groups"),
    admin(Post, "/v1/organization/projects/{project_id}/groups", "admin:projects/groups"),
    admin(Delete, "/v1/organization/projects/{project_id}/groups/{group_id}", "admin:projects/groups"),
    admin(Get, "/v1/organization/projects/{project_id}/groups/{group_id}", "admin:projects/groups"),
    // admin:projects/hosted_tool_permissions
    admin(Get, "/v1/organization/projects/{project_id}/hosted_tool_permissions", "admin:projects/hosted_tool_permissions"),
    admin(Post, "/v1/organization/projects/{project_id}/hosted_tool_permissions", "admin:projects/hosted_tool_permissions"),
    // admin:projects/model_permissions
    admin(Delete, "/v1/organization/projects/{project_id}/model_permissions", "admin:projects/model_permissions"),
    admin(Get, "/v1/organization/projects/{project_id}/model_permissions", "admin:projects/model_permissions"),
    admin(Post, "/v1/organization/projects/{project_id}/model_permissions", "admin:projects/model_permissions"),
    // admin:projects/rate_limits
    admin(Get, "/v1/organization/projects/{project_id}/rate_limits", "admin:projects/rate_limits"),
    admin(Post, "/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}", "admin:projects/rate_limits"),
    // admin:projects/service_accounts
    admin(Get, "/v1/organization/projects/{project_id}/service_accounts", "admin:projects/service_accounts"),
    admin(Post, "/v1/organization/projects/{project_id}/service_accounts", "admin:projects/service_accounts"),
    admin(Delete, "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}", "admin:projects/service_accounts"),
    admin(Get, "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}", "admin:projects/service_accounts"),
    admin(Post, "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}", "admin:projects/service_accounts"),
    admin(Post, "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys", "admin:projects/service_accounts"),
    // admin:projects/service_tier_settings
    admin(Get, "/v1/organization/projects/{project_id}/service_tier_settings", "admin:projects/service_tier_settings"),
    admin(Post, "/v1/organization/projects/{project_id}/service_tier_settings", "admin:projects/service_tier_settings"),
    // admin:projects/spend_alerts
    admin(Get, "/v1/organization/projects/{project_id}/spend_alerts", "admin:projects/spend_alerts"),
    admin(Post, "/v1/organization/projects/{project_id}/spend_alerts", "admin:projects/spend_alerts"),
    admin(Delete, "/v1/organization/projects/{project_id}/spend_alerts/{alert_id}", "admin:projects/spend_alerts"),
    admin(Get, "/v1/organization/projects/{project_id}/spend_alerts/{alert_id}", "admin:projects/spend_alerts"),
    admin(Post, "/v1/organization/projects/{project_id}/spend_alerts/{alert_id}", "admin:projects/spend_alerts"),
    // admin:projects/spend_limit
    admin(Delete, "/v1/organization/projects/{project_id}/spend_limit", "admin:projects/spend_limit"),
    admin(Get, "/v1/organization/projects/{project_id}/spend_limit", "admin:projects/spend_limit"),
    admin(Post, "/v1/organization/projects/{project_id}/spend_limit", "admin:projects/spend_limit"),
    // admin:projects/users
    admin(Get, "/v1/organization/projects/{project_id}/users", "admin:projects/users"),
    admin(Post, "/v1/organization/projects/{project_id}/users", "admin:projects/users"),
    admin(Delete, "/v1/organization/projects/{project_id}/users/{user_id}", "admin:projects/users"),
    admin(Get, "/v1/organization/projects/{project_id}/users/{user_id}", "admin:projects/users"),
    admin(Post, "/v1/organization/projects/{project_id}/users/{user_id}", "admin:projects/users"),
    // admin:roles
    admin(Get, "/v1/organization/roles", "admin:roles"),
    admin(Post, "/v1/organization/roles", "admin:roles"),
    admin(Delete, "/v1/organization/roles/{role_id}", "admin:roles"),
    admin(Get, "/v1/organization/roles/{role_id}", "admin:roles"),
    admin(Post, "/v1/organization/roles/{role_id}", "admin:roles"),
    // admin:spend_alerts
    admin(Get, "/v1/organization/spend_alerts", "admin:spend_alerts"),
    admin(Post, "/v1/organization/spend_alerts", "admin:spend_alerts"),
    admin(Delete, "/v1/organization/spend_alerts/{alert_id}", "admin:spend_alerts"),
    admin(Get, "/v1/organization/spend_alerts/{alert_id}", "admin:spend_alerts"),
    admin(Post, "/v1/organization/spend_alerts/{alert_id}", "admin:spend_alerts"),
    // admin:spend_limit
    admin(Delete, "/v1/organization/spend_limit", "admin:spend_limit"),
    admin(Get, "/v1/organization/spend_limit", "admin:spend_limit"),
    admin(Post, "/v1/organization/spend_limit", "admin:spend_limit"),
    // admin:usage
    admin(Get, "/v1/organization/usage/audio_speeches", "admin:usage"),
    admin(Get, "/v1/organization/usage/audio_transcriptions", "admin:usage"),
    admin(Get, "/v1/organization/usage/code_interpreter_sessions", "admin:usage"),
    admin(Get, "/v1/organization/usage/completions", "admin:usage"),
    admin(Get, "/v1/organization/usage/decisions", "admin:usage"),
    admin(Get, "/v1/organization/usage/embeddings", "admin:usage"),
    admin(Get, "/v1/organization/usage/file_search_calls", "admin:usage"),
    admin(Get, "/v1/organization/usage/images", "admin:usage"),
    admin(Get, "/v1/organization/usage/moderations", "admin:usage"),
    admin(Get, "/v1/organization/usage/vector_stores", "admin:usage"),
    admin(Get, "/v1/organization/usage/web_search_calls", "admin:usage"),
    // admin:users
    admin(Get, "/v1/organization/users", "admin:users"),
    admin(Delete, "/v1/organization/users/{user_id}", "admin:users"),
    admin(Get, "/v1/organization/users/{user_id}", "admin:users"),
    admin(Post, "/v1/organization/users/{user_id}", "admin:users"),
    admin(Get, "/v1/organization/users/{user_id}/roles", "admin:users"),
    admin(Post, "/v1/organization/users/{user_id}/roles", "admin:users"),
    admin(Delete, "/v1/organization/users/{user_id}/roles/{role_id}", "admin:users"),
    admin(Get, "/v1/organization/users/{user_id}/roles/{role_id}", "admin:users"),
    // admin:workload_identity_providers
    admin(Get, "/v1/organization/workload_identity_providers", "admin:workload_identity_providers"),
    admin(Post, "/v1/organization/workload_identity_providers", "admin:workload_identity_providers"),
    admin(Delete, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}", "admin:workload_identity_providers"),
    admin(Get, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}", "admin:workload_identity_providers"),
    admin(Post, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}", "admin:workload_identity_providers"),
    admin(Get, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules", "admin:workload_identity_providers"),
    admin(Post, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules", "admin:workload_identity_providers"),
    admin(Delete, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules/{workload_identity_federation_rule_id}", "admin:workload_identity_providers"),
    admin(Get, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules/{workload_identity_federation_rule_id}", "admin:workload_identity_providers"),
    admin(Post, "/v1/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules/{workload_identity_federation_rule_id}", "admin:workload_identity_providers"),
    // Ours: limits, holds, estimates, prices, webhooks, forecasts
    admin(Get, "/v1/sallyport/estimates", "sallyport:estimates"),
    admin(Post, "/v1/sallyport/estimates/{estimate_id}", "sallyport:estimates"),
    admin(Get, "/v1/sallyport/forecast", "sallyport:forecast"),
    admin(Get, "/v1/sallyport/holds", "sallyport:holds"),
    admin(Get, "/v1/sallyport/incidents", "sallyport:incidents"),
    admin(Post, "/v1/sallyport/incidents", "sallyport:incidents"),
    admin(Get, "/v1/sallyport/incidents/{incident_id}", "sallyport:incidents"),
    admin(Post, "/v1/sallyport/incidents/{incident_id}", "sallyport:incidents"),
    admin(Post, "/v1/sallyport/incidents/{incident_id}/limit", "sallyport:incidents"),
    admin(Post, "/v1/sallyport/incidents/{incident_id}/replacement", "sallyport:incidents"),
    admin(Get, "/v1/sallyport/incidents/{incident_id}/report", "sallyport:incidents"),
    admin(Get, "/v1/sallyport/limits", "sallyport:limits"),
    admin(Post, "/v1/sallyport/limits", "sallyport:limits"),
    admin(Delete, "/v1/sallyport/limits/{limit_id}", "sallyport:limits"),
    admin(Get, "/v1/sallyport/limits/{limit_id}", "sallyport:limits"),
    admin(Post, "/v1/sallyport/limits/{limit_id}", "sallyport:limits"),
    admin(Get, "/v1/sallyport/limits/{limit_id}/standings", "sallyport:limits"),
    admin(Get, "/v1/sallyport/notices", "sallyport:notices"),
    admin(Post, "/v1/sallyport/notices/test", "sallyport:notices"),
    admin(Post, "/v1/sallyport/notices/{delivery_id}/retry", "sallyport:notices"),
    admin(Delete, "/v1/sallyport/prices", "sallyport:prices"),
    admin(Get, "/v1/sallyport/prices", "sallyport:prices"),
    admin(Post, "/v1/sallyport/prices", "sallyport:prices"),
    admin(Delete, "/v1/sallyport/prices/{model}", "sallyport:prices"),
    admin(Post, "/v1/sallyport/prices/{model}", "sallyport:prices"),
    admin(Get, "/v1/sallyport/projects/{project_id}/api_keys/{api_key_id}/rate_limit", "sallyport:rate_limits"),
    admin(Post, "/v1/sallyport/projects/{project_id}/api_keys/{api_key_id}/rate_limit", "sallyport:rate_limits"),
    admin(Get, "/v1/sallyport/projects/{project_id}/end_user_rate_limit", "sallyport:rate_limits"),
    admin(Post, "/v1/sallyport/projects/{project_id}/end_user_rate_limit", "sallyport:rate_limits"),
    admin(Get, "/v1/sallyport/projects/{project_id}/money", "sallyport:projects"),
    admin(Post, "/v1/sallyport/projects/{project_id}/money", "sallyport:projects"),
    admin(Post, "/v1/sallyport/runs/{project_id}/{run}/stop", "sallyport:runs"),
    admin(Get, "/v1/sallyport/webhooks", "sallyport:webhooks"),
    admin(Post, "/v1/sallyport/webhooks", "sallyport:webhooks"),
    admin(Delete, "/v1/sallyport/webhooks/{webhook_id}", "sallyport:webhooks"),
    // Signed receivers
    plain(Post, "/v1/sallyport/leaks/github", "sallyport:leaks", Opens::Signature),
];
