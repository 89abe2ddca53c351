//! Credentials of places where code lives and is built: forges, package registries, continuous integration.

use super::{DOCUMENTED, GITLEAKS, SEEN, TRUFFLEHOG};
use crate::checks;
use crate::rule::{Rule, Severity};

const GITHUB_MEND: &str = "revoke it at https://github.com/settings/tokens, or through the application it belongs to";

pub(super) static RULES: &[Rule] = &[
    Rule::new("github_token", "GitHub token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"gh[pousr]_[A-Za-z0-9]{36}")
        .certain()
        .check(checks::github)
        .mend(GITHUB_MEND)
        .source("GitHub: 30 random characters and their CRC-32, documented"),
    Rule::new(
        "github_fine_grained_token",
        "GitHub fine-grained token",
        &["github_pat_"],
        r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    )
    .mend(GITHUB_MEND)
    .source(DOCUMENTED),
    Rule::new(
        "gitlab_token",
        "GitLab token",
        &["glpat-", "gldt-", "glrt-", "glptt-", "glsoat-", "glcbt-", "glimt-", "glagent-", "glft-", "gloas-"],
        r"gl(?:pat|dt|rt|ptt|soat|cbt|imt|agent|ft|oas)-[A-Za-z0-9_-]{20,300}(?:\.[0-9a-z]{2}\.[0-9a-z]{9})?",
    )
    .mend("revoke it under Access tokens of the user, project or group")
    .source(DOCUMENTED),
    Rule::new("bitbucket_app_password", "Bitbucket app password", &["ATBB"], r"ATBB[A-Za-z0-9]{24}[A-F0-9]{8}")
        .check(checks::mixed)
        .source(SEEN),
    Rule::new(
        "atlassian_token",
        "Atlassian API token",
        &["ATATT3xFfGF0", "ATCTT3xFfGN0"],
        r"(?:ATATT3xFfGF0|ATCTT3xFfGN0)[A-Za-z0-9_=-]{160,220}",
    )
    .source(GITLEAKS),
    Rule::new("npm_token", "npm access token", &["npm_"], r"npm_[A-Za-z0-9]{36}")
        .check(checks::github)
        .mend("npm token revoke, or https://www.npmjs.com/settings/~/tokens")
        .source("npm: the scheme of GitHub, documented"),
    Rule::new(
        "pypi_token",
        "PyPI token",
        &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"],
        r"pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{50,300}",
    )
    .mend("remove it at https://pypi.org/manage/account/")
    .source(DOCUMENTED),
    Rule::new("rubygems_key", "RubyGems API key", &["rubygems_"], r"rubygems_[a-f0-9]{48}").source(DOCUMENTED),
    Rule::new("crates_io_token", "crates.io token", &["cio"], r"cio[A-Za-z0-9]{32}")
        .check(checks::mixed)
        .source(DOCUMENTED),
    Rule::new("nuget_key", "NuGet API key", &["oy2"], r"oy2[a-z0-9]{43}").check(checks::with_digits).source(TRUFFLEHOG),
    Rule::new("docker_token", "Docker Hub token", &["dckr_pat_", "dckr_oat_"], r"dckr_[po]at_[A-Za-z0-9_-]{27,32}")
        .source(DOCUMENTED),
    Rule::new("artifactory_key", "Artifactory API key", &["AKCp"], r"AKCp[A-Za-z0-9]{69}").source(GITLEAKS),
    Rule::new(
        "circleci_token",
        "CircleCI token",
        &["CCIPAT_", "CCIPRJ_"],
        r"CCIP(?:AT|RJ)_[A-Za-z0-9]{22}_[a-f0-9]{40}",
    )
    .source(DOCUMENTED),
    Rule::new("buildkite_token", "Buildkite token", &["bkua_"], r"bkua_[a-z0-9]{40}").source(GITLEAKS),
    Rule::new("sonar_token", "Sonar token", &["sqp_", "squ_", "sqa_"], r"sq[pua]_[a-f0-9]{40}").source(GITLEAKS),
    Rule::new("sentry_user_token", "Sentry user token", &["sntryu_"], r"sntryu_[a-f0-9]{64}").source(GITLEAKS),
    Rule::new("sentry_org_token", "Sentry organisation token", &["sntrys_eyJ"], r"sntrys_eyJ[A-Za-z0-9+/=_]{80,400}")
        .source(GITLEAKS),
    Rule::new("postman_key", "Postman API key", &["PMAK-"], r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}").source(GITLEAKS),
    Rule::new(
        "linear_key",
        "Linear API key",
        &["lin_api_", "lin_oauth_"],
        r"lin_(?:api_[A-Za-z0-9]{40}|oauth_[a-f0-9]{64})",
    )
    .source(GITLEAKS),
    Rule::new("new_relic_key", "New Relic user key", &["NRAK-"], r"NRAK-[A-Z0-9]{27}").source(GITLEAKS),
    Rule::new(
        "launchdarkly_key",
        "LaunchDarkly SDK key",
        &["sdk-", "api-"],
        r"(?:sdk|api)-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    )
    .severity(Severity::Medium)
    .source(DOCUMENTED),
    Rule::new("readme_key", "ReadMe API key", &["rdme_"], r"rdme_[a-z0-9]{70}").source(GITLEAKS),
    Rule::new("prefect_key", "Prefect API key", &["pnu_"], r"pnu_[A-Za-z0-9]{36}").source(GITLEAKS),
    Rule::new("typeform_token", "Typeform token", &["tfp_"], r"tfp_[A-Za-z0-9]{40,48}_[A-Za-z0-9]{10,18}")
        .source(GITLEAKS),
];
