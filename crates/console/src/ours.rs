//! The operations that the API does not have, under `/v1/sallyport`, in its style.

use wire::endpoint::Method;
use wire::refusal::{Reason, Refusal};

use crate::{Answer, Call, Console};

impl Console {
    /// Serves a call by its path below `/v1/sallyport`.
    pub(crate) async fn perform_ours(&self, call: &Call<'_>, path: &str) -> Answer {
        use Method::{Delete, Get, Post};
        match (call.endpoint.method, path) {
            (Get, "/incidents") => self.list_incidents(call).await,
            (Post, "/incidents") => self.open_incident(call).await,
            (Get, "/incidents/{incident_id}") => self.retrieve_incident(call).await,
            (Post, "/incidents/{incident_id}") => self.update_incident(call).await,
            (Post, "/incidents/{incident_id}/limit") => self.limit_by_incident(call).await,
            (Post, "/incidents/{incident_id}/replacement") => self.replace_by_incident(call).await,
            (Get, "/incidents/{incident_id}/report") => self.report_incident(call).await,
            (Post, "/projects/{project_id}/api_keys/{api_key_id}/suspend" | "/admin_api_keys/{key_id}/suspend") => {
                self.suspend_key(call).await
            }
            (Post, "/projects/{project_id}/api_keys/{api_key_id}/resume" | "/admin_api_keys/{key_id}/resume") => {
                self.resume_key(call).await
            }
            (Post, "/projects/{project_id}/api_keys/{api_key_id}/rotate" | "/admin_api_keys/{key_id}/rotate") => {
                self.rotate_key(call).await
            }
            (Get, "/key_policy" | "/projects/{project_id}/key_policy") => self.retrieve_key_policy(call),
            (Post, "/key_policy" | "/projects/{project_id}/key_policy") => self.update_key_policy(call).await,
            (Get, "/projects/{project_id}/guards") => self.retrieve_guards(call),
            (Post, "/projects/{project_id}/guards") => self.update_guards(call).await,
            (Get, "/key_deliveries") => Ok(self.list_key_deliveries()),
            (Get, "/stale_keys") => self.list_stale_keys(call),
            (Get, "/findings") => self.list_findings(call).await,
            (Get, "/findings/{finding_id}") => self.retrieve_finding(call).await,
            (Post, "/findings/{finding_id}") => self.triage_finding(call).await,
            (Get, "/limits") => self.list_limits(call),
            (Post, "/limits") => self.create_limit(call).await,
            (Get, "/limits/{limit_id}") => self.retrieve_limit(call),
            (Post, "/limits/{limit_id}") => self.update_limit(call).await,
            (Delete, "/limits/{limit_id}") => self.delete_limit(call).await,
            (Get, "/limits/{limit_id}/standings") => self.list_standings(call).await,
            (Post, "/runs/{project_id}/{run}/stop") => self.stop_run(call).await,
            (Get, "/holds") => self.list_holds(call),
            (Get, "/estimates") => self.list_estimates(call).await,
            (Post, "/estimates/{estimate_id}") => self.lower_estimate(call).await,
            (Get, "/projects/{project_id}/money") => self.retrieve_money(call),
            (Post, "/projects/{project_id}/money") => self.update_money(call).await,
            (Get, "/projects/{project_id}/end_user_rate_limit") => self.retrieve_end_user_rate_limit(call),
            (Post, "/projects/{project_id}/end_user_rate_limit") => self.update_end_user_rate_limit(call).await,
            (Get, "/projects/{project_id}/api_keys/{api_key_id}/rate_limit") => self.retrieve_key_rate_limit(call),
            (Post, "/projects/{project_id}/api_keys/{api_key_id}/rate_limit") => self.update_key_rate_limit(call).await,
            (Get, "/prices") => self.list_prices(call),
            (Post, "/prices" | "/prices/{model}") => self.put_prices(call).await,
            (Delete, "/prices" | "/prices/{model}") => self.delete_prices(call).await,
            (Get, "/webhooks") => self.list_webhooks(call),
            (Post, "/webhooks") => self.create_webhook(call).await,
            (Delete, "/webhooks/{webhook_id}") => self.delete_webhook(call).await,
            (Get, "/notices") => self.list_notices(call).await,
            (Post, "/notices/test") => self.test_notice(call).await,
            (Post, "/notices/{delivery_id}/retry") => self.retry_notice(call).await,
            (Get, "/forecast") => self.forecast(call).await,
            (Get, "/upstreams") => self.list_upstreams(call),
            (Post, "/upstreams") => self.create_upstream(call).await,
            (Get, "/upstreams/{upstream_id}") => self.retrieve_upstream(call),
            (Post, "/upstreams/{upstream_id}") => self.update_upstream(call).await,
            (Delete, "/upstreams/{upstream_id}") => self.delete_upstream(call).await,
            (Get, "/upstreams/{upstream_id}/keys") => self.list_upstream_keys(call),
            (Post, "/upstreams/{upstream_id}/keys") => self.create_upstream_key(call).await,
            (Get, "/upstreams/{upstream_id}/keys/{upstream_key_id}") => self.retrieve_upstream_key(call),
            (Post, "/upstreams/{upstream_id}/keys/{upstream_key_id}") => self.update_upstream_key(call).await,
            (Delete, "/upstreams/{upstream_id}/keys/{upstream_key_id}") => self.delete_upstream_key(call).await,
            (Post, "/upstreams/{upstream_id}/rotate") => self.rotate_upstream_key(call).await,
            (Get, "/upstreams/{upstream_id}/rotations") => self.list_rotations(call),
            (Get, "/projects/{project_id}/upstreams") => self.retrieve_upstream_policy(call),
            (Post, "/projects/{project_id}/upstreams") => self.put_upstream_policy(call).await,
            (Delete, "/projects/{project_id}/upstreams") => self.delete_upstream_policy(call).await,
            _ => Err(Refusal::new(Reason::NotServed, "This operation is not served by this version of Sallyport.")),
        }
    }
}
