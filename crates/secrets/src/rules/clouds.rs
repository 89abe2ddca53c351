//! Credentials of clouds, of what runs on them, and keys of machines.

use super::{DOCUMENTED, GITLEAKS, SEEN, TRUFFLEHOG};
use crate::checks;
use crate::rule::{Rule, Severity};

pub(super) static RULES: &[Rule] = &[
    Rule::new("aws_access_key_id", "AWS access key id", &["AKIA", "ASIA"], r"(?:AKIA|ASIA)[A-Z2-7]{16}")
        .severity(Severity::Medium)
        .mend("deactivate it in IAM, see what it did in CloudTrail, then delete it")
        .source(DOCUMENTED),
    Rule::new(
        "aws_secret_access_key",
        "AWS secret access key",
        &["aws_secret", "AWS_SECRET", "AWSSecret", "awsSecret", "secretAccessKey", "SecretAccessKey", "secret_access_key", "SECRET_ACCESS_KEY", "aws_sec", "secret_key", "SECRET_KEY"],
        r"[A-Za-z0-9/+]{40}",
    )
    .lead(r#"(?:aws_secret|AWS_SECRET|AWSSecret|awsSecret|secretAccessKey|SecretAccessKey|secret_access_key|SECRET_ACCESS_KEY|aws_sec|secret_key|SECRET_KEY)[A-Za-z_]{0,20}["'`]?\]?[ \t]{0,8}(?::=|=>|=|:|,|>)[ \t]{0,8}["'`]?"#)
    .glued_on_the_left()
    .check(checks::mixed)
    .mend("deactivate the access key in IAM, see what it did in CloudTrail, then delete it")
    .source(GITLEAKS),
    Rule::new("gcp_oauth_client_secret", "Google OAuth client secret", &["GOCSPX-"], r"GOCSPX-[A-Za-z0-9_-]{28}").source(TRUFFLEHOG),
    Rule::new("google_oauth_token", "Google OAuth access token", &["ya29."], r"ya29\.[A-Za-z0-9_-]{60,400}").severity(Severity::Medium).source(SEEN),
    Rule::new("google_refresh_token", "Google OAuth refresh token", &["1//0"], r"1//0[A-Za-z0-9_-]{90,110}").source(SEEN),
    Rule::new("private_key", "private key", &["-----BEGIN "], concat!(
        r"-----BEGIN (?:(?:RSA|EC|DSA|OPENSSH|ENCRYPTED|ANY|PGP) )?PRIVATE KEY(?: BLOCK)?-----",
        r#"(?:[A-Za-z0-9+/= \t\r\n\\"',:.]|-[A-Za-z0-9])*"#,
        r"(?:-----END [A-Z ]{0,20}PRIVATE KEY[A-Z ]{0,8}-----)?",
    ))
    .glued_on_either_side()
    .bytes_max(8192)
    .check(checks::pem)
    .mend("replace the key pair everywhere the public half is trusted")
    .source("RFC 7468, RFC 4716, OpenSSH PROTOCOL.key"),
    Rule::new("putty_private_key", "PuTTY private key", &["PuTTY-User-Key-File-"], r"PuTTY-User-Key-File-[23]: [a-z0-9@.-]{5,40}[ \r\n]{1,2}Encryption: none")
        .check(checks::any)
        .source(DOCUMENTED),
    Rule::new("age_secret_key", "age secret key", &["AGE-SECRET-KEY-1"], r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}").source(DOCUMENTED),
    Rule::new("azure_storage_key", "Azure storage account key", &["AccountKey=", "accountkey=", "accountKey="], r"[A-Za-z0-9+/]{86}==")
        .lead("(?:AccountKey|accountkey|accountKey)=")
        .glued_on_the_left()
        .check(checks::mixed)
        .mend("rotate it under Access keys of the storage account")
        .source(DOCUMENTED),
    Rule::new("azure_shared_access_key", "Azure shared access key", &["SharedAccessKey="], r"[A-Za-z0-9+/]{43}=")
        .lead("SharedAccessKey=")
        .check(checks::mixed)
        .source(DOCUMENTED),
    Rule::new("alibaba_access_key_id", "Alibaba Cloud access key id", &["LTAI"], r"LTAI[A-Za-z0-9]{17,21}").severity(Severity::Medium).check(checks::mixed).source(GITLEAKS),
    Rule::new("digitalocean_token", "DigitalOcean token", &["dop_v1_", "doo_v1_", "dor_v1_"], r"do[por]_v1_[a-f0-9]{64}").source(DOCUMENTED),
    Rule::new("heroku_api_key", "Heroku API key", &["HRKU-AA"], r"HRKU-AA[A-Za-z0-9_-]{58}").source(GITLEAKS),
    Rule::new("fly_token", "Fly.io token", &["FlyV1 fm", "fo1_"], r"(?:FlyV1 fm\d_[A-Za-z0-9+/=,_-]{100,400}|fo1_[A-Za-z0-9_-]{43})").source(GITLEAKS),
    Rule::new("scaleway_secret", "Scaleway secret key", &["SCW_SECRET_KEY"], r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
        .lead(r#"SCW_SECRET_KEY["'`]?[ \t]{0,8}(?:=|:)[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("cloudflare_origin_key", "Cloudflare origin CA key", &["v1.0-"], r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}").source(DOCUMENTED),
    Rule::new("cloudflare_api_token", "Cloudflare API token", &["CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"], r"[A-Za-z0-9_-]{40}")
        .lead(r#"(?:CLOUDFLARE|CF)_API_TOKEN["'`]?[ \t]{0,8}(?:=|:)[ \t]{0,8}["'`]?"#)
        .check(checks::mixed)
        .source(DOCUMENTED),
    Rule::new("vault_token", "HashiCorp Vault token", &["hvs.", "hvb."], r"hv[sb]\.[A-Za-z0-9_-]{24,300}").check(checks::mixed).source(DOCUMENTED),
    Rule::new("databricks_token", "Databricks token", &["dapi"], r"dapi[a-f0-9]{32}(?:-\d)?").source(GITLEAKS),
    Rule::new("doppler_token", "Doppler token", &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."], r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}").source(DOCUMENTED),
    Rule::new("pulumi_token", "Pulumi token", &["pul-"], r"pul-[a-f0-9]{40}").source(GITLEAKS),
    Rule::new("planetscale_secret", "PlanetScale secret", &["pscale_"], r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9=._-]{32,64}").source(GITLEAKS),
    Rule::new("neon_api_key", "Neon API key", &["napi_"], r"napi_[a-z0-9]{64}").source(SEEN),
    Rule::new("supabase_secret_key", "Supabase secret key", &["sb_secret_", "sbp_"], r"(?:sb_secret_[A-Za-z0-9_-]{31}|sbp_[a-f0-9]{40})").source(DOCUMENTED),
    Rule::new("supabase_service_role", "Supabase service role key", &["eyJ"], r"eyJ[A-Za-z0-9_-]{10,200}\.eyJ[A-Za-z0-9_-]{10,600}\.[A-Za-z0-9_-]{20,120}")
        .bytes_max(1024)
        .check(checks::service_role)
        .source(DOCUMENTED),
    Rule::new("vercel_token", "Vercel token", &["VERCEL_TOKEN"], r"(?:vc[pikra]_[A-Za-z0-9_-]{24,64}|[A-Za-z0-9]{24})")
        .lead(r#"VERCEL_TOKEN["'`]?[ \t]{0,8}(?:=|:)[ \t]{0,8}["'`]?"#)
        .check(checks::mixed)
        .source(DOCUMENTED),
    Rule::new("netlify_token", "Netlify token", &["nfp_"], r"nfp_[A-Za-z0-9]{36}").source(SEEN),
    Rule::new("render_api_key", "Render API key", &["rnd_"], r"rnd_[A-Za-z0-9]{28,36}").check(checks::mixed).source(SEEN),
    Rule::new("tailscale_key", "Tailscale key", &["tskey-"], r"tskey-(?:api|auth|client|scim|webhook)-[A-Za-z0-9]{8,24}-[A-Za-z0-9]{20,48}").source(DOCUMENTED),
    Rule::new("grafana_token", "Grafana service account token", &["glsa_"], r"glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}").source(GITLEAKS),
    Rule::new("grafana_cloud_token", "Grafana Cloud token", &["glc_eyJ"], r"glc_eyJ[A-Za-z0-9+/]{60,400}={0,2}").source(GITLEAKS),
    Rule::new("onepassword_token", "1Password service account token", &["ops_eyJ"], r"ops_eyJ[A-Za-z0-9+/]{250,}={0,3}").bytes_max(2048).source(GITLEAKS),
    Rule::new("dynatrace_token", "Dynatrace token", &["dt0c01."], r"dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}").source(DOCUMENTED),
    Rule::new(
        "database_url",
        "database address with a password",
        &["postgres://", "postgresql://", "mysql://", "mariadb://", "mongodb://", "mongodb+srv://", "redis://", "rediss://", "amqp://", "amqps://", "mssql://", "sqlserver://", "clickhouse://", "postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql"],
        r#"[a-z0-9+]{5,24}://[^\x00-\x20"'`<>@/:?#]{0,64}:[^\x00-\x20"'`<>@/]{3,128}@[A-Za-z0-9._-]{3,128}"#,
    )
    .guessable()
    .glued_behind()
    .check(checks::database_url)
    .mend("change the password, and read the address from the environment")
    .source("RFC 3986"),
];
