//! Keys of this gate and of services that generate text, pictures and speech.

use super::{DOCUMENTED, GITLEAKS, OPENAI, SEEN, TRUFFLEHOG};
use crate::checks;
use crate::rule::{Rule, Severity};

const OPENAI_MEND: &str = "revoke it at https://platform.openai.com/api-keys, and put a key of the gate in its place";

pub(super) static RULES: &[Rule] = &[
    Rule::new(OPENAI, "OpenAI API key", &["sk-"], r"sk-[A-Za-z0-9_-]{16,}T3BlbkFJ[A-Za-z0-9_-]{16,}")
        .glued_on_either_side()
        .certain()
        .bytes_max(420)
        .check(checks::openai)
        .mend(OPENAI_MEND)
        .source("base64 of `OpenAI` between random halves of 20, 58 or 74 characters; gitleaks, trufflehog and secretlint agree"),
    Rule::new("sallyport_key", "key of this gate", &[], r"[A-Za-z0-9_-]{1,16}(?:proj|svc|admin|cs)_[A-Za-z0-9]{49}")
        .glued_on_either_side()
        .certain()
        .check(checks::own)
        .mend("revoke it: sallyport key revoke PROJECT_ID KEY_ID; then make another: sallyport key create PROJECT_ID NAME")
        .source("crate keys: shape and CRC-32"),
    Rule::new("openai_client_secret", "OpenAI client secret", &["ek_"], r"ek_[A-Za-z0-9_-]{24,200}")
        .severity(Severity::Medium)
        .check(checks::with_digits)
        .mend("it ends within minutes; find out who writes it down, and have clients ask for their own")
        .source(SEEN),
    Rule::new("webhook_secret", "signing secret of webhooks", &["whsec_"], r"whsec_[A-Za-z0-9+/]{24,100}={0,2}")
        .mend("roll the endpoint's signing secret where the webhooks come from")
        .source("Standard Webhooks, OpenAI, Stripe, Svix: documented"),
    Rule::new("anthropic_api_key", "Anthropic API key", &["sk-ant-"], r"sk-ant-[a-z]{3,8}[0-9]{2}-[A-Za-z0-9_-]{60,120}")
        .glued_on_either_side()
        .mend("delete it at https://console.anthropic.com/settings/keys")
        .source(GITLEAKS),
    Rule::new("azure_openai_key", "Azure OpenAI key", &["AZURE_OPENAI", "azure_openai", "AzureOpenAI"], r"[A-Za-z0-9]{32,84}")
        .lead(r#"(?:AZURE_OPENAI|azure_openai|AzureOpenAI)[A-Za-z_]{0,24}["'`]?[ \t]{0,8}(?::=|=>|=|:|,)[ \t]{0,8}["'`]?"#)
        .check(checks::azure_ai)
        .mend("regenerate it under Keys and Endpoint of the resource in the Azure portal")
        .source(TRUFFLEHOG),
    Rule::new("cerebras_api_key", "Cerebras API key", &["csk-"], r"csk-[a-z0-9]{48}").check(checks::with_digits).source(SEEN),
    Rule::new("deepseek_api_key", "DeepSeek API key", &["DEEPSEEK", "deepseek", "DeepSeek"], r"sk-[a-f0-9]{32}")
        .lead(r#"(?:DEEPSEEK|deepseek|DeepSeek)[A-Za-z_]{0,24}["'`]?[ \t]{0,8}(?::=|=>|=|:|,)[ \t]{0,8}["'`]?"#)
        .source(TRUFFLEHOG),
    Rule::new("elevenlabs_api_key", "ElevenLabs API key", &["sk_"], r"sk_[a-f0-9]{48}").source(SEEN),
    Rule::new("google_api_key", "Google API key", &["AIza"], r"AIza[A-Za-z0-9_-]{35}")
        .check(checks::mixed)
        .mend("delete it at https://console.cloud.google.com/apis/credentials, or restrict it to what it is for")
        .source(GITLEAKS),
    Rule::new("groq_api_key", "Groq API key", &["gsk_"], r"gsk_[A-Za-z0-9]{52}").source(TRUFFLEHOG),
    Rule::new("huggingface_token", "Hugging Face token", &["hf_"], r"hf_[A-Za-z0-9]{34,37}")
        .check(mixed_letters)
        .mend("invalidate it at https://huggingface.co/settings/tokens")
        .source(GITLEAKS),
    Rule::new("huggingface_org_token", "Hugging Face organisation token", &["api_org_"], r"api_org_[A-Za-z]{34}").source(GITLEAKS),
    Rule::new("langfuse_secret_key", "Langfuse secret key", &["sk-lf-"], r"sk-lf-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
        .source(DOCUMENTED),
    Rule::new("langsmith_api_key", "LangSmith API key", &["lsv2_pt_", "lsv2_sk_"], r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}").source(TRUFFLEHOG),
    Rule::new("mistral_api_key", "Mistral API key", &["MISTRAL_API", "mistral_api", "MISTRAL_KEY"], r"[A-Za-z0-9]{32}")
        .lead(r#"(?:MISTRAL_API|mistral_api|MISTRAL_KEY)[A-Za-z_]{0,24}["'`]?[ \t]{0,8}(?::=|=>|=|:|,)[ \t]{0,8}["'`]?"#)
        .check(checks::mixed)
        .source(SEEN),
    Rule::new("nvidia_api_key", "NVIDIA API key", &["nvapi-"], r"nvapi-[A-Za-z0-9_-]{60,70}").source(TRUFFLEHOG),
    Rule::new("openrouter_api_key", "OpenRouter API key", &["sk-or-v1-"], r"sk-or-v1-[0-9a-f]{64}").glued_on_either_side().source(SEEN),
    Rule::new("perplexity_api_key", "Perplexity API key", &["pplx-"], r"pplx-[A-Za-z0-9]{48}").source(GITLEAKS),
    Rule::new("pinecone_api_key", "Pinecone API key", &["pcsk_"], r"pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{63}").source(DOCUMENTED),
    Rule::new("replicate_api_token", "Replicate API token", &["r8_"], r"r8_[A-Za-z0-9]{37}").check(checks::mixed).source(DOCUMENTED),
    Rule::new("together_api_key", "Together API key", &["tgp_v1_"], r"tgp_v1_[A-Za-z0-9_-]{43}").source(SEEN),
    Rule::new("tavily_api_key", "Tavily API key", &["tvly-"], r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{32}").check(checks::mixed).source(SEEN),
    Rule::new("weights_and_biases_key", "Weights & Biases key", &["WANDB_API_KEY", "wandb_api_key"], r"[0-9a-f]{40}")
        .lead(r#"(?:WANDB_API_KEY|wandb_api_key)["'`]?[ \t]{0,8}(?::=|=>|=|:|,)[ \t]{0,8}["'`]?"#)
        .source(DOCUMENTED),
    Rule::new("xai_api_key", "xAI API key", &["xai-"], r"xai-[A-Za-z0-9]{80}").source(TRUFFLEHOG),
    Rule::new("aws_bedrock_key", "Amazon Bedrock API key", &["ABSK"], r"ABSK[A-Za-z0-9+/]{109,260}={0,2}").source(GITLEAKS),
    Rule::new("firecrawl_api_key", "Firecrawl API key", &["fc-"], r"fc-[0-9a-f]{32}").source(SEEN),
    Rule::new("voyage_api_key", "Voyage API key", &["pa-"], r"pa-[A-Za-z0-9_-]{43}").check(checks::mixed).source(SEEN),
];

/// Letters of both cases: the tokens have no digits of old.
fn mixed_letters(matched: &crate::rule::Matched<'_>) -> Option<crate::rule::Passed> {
    let body = &matched.text[3..];
    let is_mixed = body.iter().any(u8::is_ascii_uppercase) && body.iter().any(u8::is_ascii_lowercase);
    is_mixed.then(|| crate::lookalike::is_random(matched)).flatten()
}
