//! Delivery of alerts: e-mail and signed webhooks.
