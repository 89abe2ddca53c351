//! Credentials of payment, messaging, mail and office services.

use super::{DOCUMENTED, GITLEAKS, SEEN, TRUFFLEHOG};
use crate::checks;
use crate::rule::{Rule, Severity};

pub(super) static RULES: &[Rule] = &[
    Rule::new("stripe_secret_key", "Stripe secret key", &["sk_live_", "rk_live_"], r"[sr]k_live_[A-Za-z0-9]{24,247}")
        .mend("roll it at https://dashboard.stripe.com/apikeys")
        .source(DOCUMENTED),
    Rule::new("square_secret", "Square secret", &["sq0csp-", "sq0atp-"], r"sq0(?:csp-[A-Za-z0-9_-]{43}|atp-[A-Za-z0-9_-]{22})").source(GITLEAKS),
    Rule::new("braintree_token", "Braintree access token", &["access_token$production$"], r"access_token\$production\$[0-9a-z]{16}\$[0-9a-f]{32}").source(TRUFFLEHOG),
    Rule::new("shopify_token", "Shopify token", &["shpat_", "shpca_", "shppa_", "shpss_"], r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}").source(DOCUMENTED),
    Rule::new("slack_token", "Slack token", &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-"], r"xox[bparso]-(?:\d-)?[0-9]{8,14}-[A-Za-z0-9-]{18,250}")
        .mend("revoke it with auth.revoke, or reinstall the application")
        .source(GITLEAKS),
    Rule::new("slack_app_token", "Slack app token", &["xapp-", "xoxe-", "xoxe."], r"(?:xapp-\d-[A-Z0-9]{8,14}-\d{10,16}-[a-f0-9]{40,72}|xoxe(?:\.xox[bp])?-\d-[A-Za-z0-9]{100,200})").source(GITLEAKS),
    Rule::new("slack_webhook", "Slack webhook", &["hooks.slack.com/"], r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]{8,13}/[A-Z0-9]{8,20}/[A-Za-z0-9]{20,40}")
        .check(mixed_tail)
        .source(DOCUMENTED),
    Rule::new("discord_webhook", "Discord webhook", &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"], r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,80}")
        .check(mixed_tail)
        .source(DOCUMENTED),
    Rule::new("discord_bot_token", "Discord bot token", &["DISCORD_TOKEN", "DISCORD_BOT_TOKEN", "discord_token", "BOT_TOKEN", "Authorization: Bot", "client.login("], r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}")
        .lead(r#"(?:DISCORD_TOKEN|DISCORD_BOT_TOKEN|discord_token|BOT_TOKEN|Authorization: Bot|client\.login\()["'`]?[ \t]{0,8}(?:=|:)?[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("teams_webhook", "Microsoft Teams webhook", &["webhook.office.com/webhookb2/"], r"webhook\.office\.com/webhookb2/[0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/[0-9a-f]{32}/[0-9a-f-]{36}")
        .glued_on_the_left()
        .source(DOCUMENTED),
    Rule::new("telegram_bot_token", "Telegram bot token", &[":AA"], r":AA[A-Za-z0-9_-]{33}")
        .glued_on_the_left()
        .check(checks::telegram)
        .mend("send /revoke to @BotFather")
        .source(DOCUMENTED),
    Rule::new("sendgrid_key", "SendGrid API key", &["SG."], r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}").source(GITLEAKS),
    Rule::new("mailgun_key", "Mailgun API key", &["key-"], r"key-[a-f0-9]{32}").source(TRUFFLEHOG),
    Rule::new("brevo_key", "Brevo API key", &["xkeysib-", "xsmtpsib-"], r"x(?:key|smtp)sib-[a-f0-9]{64}-[A-Za-z0-9]{16}").source(GITLEAKS),
    Rule::new("resend_key", "Resend API key", &["re_"], r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}").check(checks::mixed).source(DOCUMENTED),
    Rule::new("postmark_token", "Postmark server token", &["POSTMARK_", "X-Postmark-Server-Token"], r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
        .lead(r#"(?:POSTMARK_[A-Z_]{0,24}|X-Postmark-Server-Token)["'`]?[ \t]{0,8}(?:=|:)[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("twilio_key_sid", "Twilio API key", &["SK"], r"SK[a-f0-9]{32}").severity(Severity::Medium).source(GITLEAKS),
    Rule::new("twilio_auth_token", "Twilio auth token", &["TWILIO_AUTH_TOKEN", "twilio_auth_token", "twilioAuthToken"], r"[a-f0-9]{32}")
        .lead(r#"(?:TWILIO_AUTH_TOKEN|twilio_auth_token|twilioAuthToken)["'`]?[ \t]{0,8}(?:=|:|,)[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("airtable_token", "Airtable token", &["pat"], r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}").source(GITLEAKS),
    Rule::new("asana_token", "Asana token", &["0/", "1/", "2/"], r"[012]/\d{16}(?:/\d{16})?:[a-f0-9]{32}").source(SEEN),
    Rule::new("notion_token", "Notion token", &["ntn_", "secret_"], r"(?:ntn_[0-9]{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43})").check(checks::mixed).source(GITLEAKS),
    Rule::new("figma_token", "Figma token", &["figd_", "figo_"], r"fig[do]_[A-Za-z0-9_-]{38,44}").check(checks::mixed).source(SEEN),
    Rule::new("hubspot_token", "HubSpot token", &["pat-na", "pat-eu"], r"pat-(?:na|eu)\d-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").source(DOCUMENTED),
    Rule::new("contentful_token", "Contentful token", &["CFPAT-"], r"CFPAT-[A-Za-z0-9_-]{43}").source(GITLEAKS),
    Rule::new("dropbox_token", "Dropbox token", &["sl."], r"sl\.(?:u\.|B)[A-Za-z0-9_-]{130,1300}").bytes_max(1400).source(GITLEAKS),
    Rule::new("facebook_token", "Facebook access token", &["EAA"], r"EAA[MC][A-Za-z0-9]{100,300}").source(GITLEAKS),
    Rule::new("mapbox_secret_token", "Mapbox secret token", &["sk.eyJ"], r"sk\.eyJ[A-Za-z0-9_-]{40,120}\.[A-Za-z0-9_-]{22}").source(DOCUMENTED),
    Rule::new("datadog_key", "Datadog key", &["DD_API_KEY", "DD_APP_KEY", "DATADOG_API_KEY", "DATADOG_APP_KEY"], r"[a-f0-9]{32,40}")
        .lead(r#"(?:DD|DATADOG)_AP[IP]_KEY["'`]?[ \t]{0,8}(?:=|:)[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("algolia_admin_key", "Algolia admin key", &["ALGOLIA_ADMIN", "algoliaAdmin"], r"[a-f0-9]{32}")
        .lead(r#"(?:ALGOLIA_ADMIN|algoliaAdmin)[A-Za-z_]{0,16}["'`]?[ \t]{0,8}(?:=|:)[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("easypost_token", "EasyPost token", &["EZAK", "EZTK"], r"EZ[AT]K[A-Za-z0-9]{54}").source(GITLEAKS),
    Rule::new("duffel_token", "Duffel token", &["duffel_live_"], r"duffel_live_[A-Za-z0-9_=-]{43}").source(GITLEAKS),
    Rule::new("shippo_token", "Shippo token", &["shippo_live_"], r"shippo_live_[a-f0-9]{40}").source(GITLEAKS),
];

/// The last part of an address is random.
fn mixed_tail(matched: &crate::rule::Matched<'_>) -> Option<crate::rule::Passed> {
    let from = memchr::memrchr(b'/', matched.text)? + 1;
    let tail = crate::rule::Matched { text: &matched.text[from..], before: b"", shape: matched.shape };
    checks::mixed(&tail).map(|passed| crate::rule::Passed { bytes: from + passed.bytes, ..passed })
}
