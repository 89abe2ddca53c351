//! What is limited, for whom, and what a request wants.

/// Nanoseconds of a minute.
const MINUTE_NS: u64 = 60_000_000_000;
/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400_000_000_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Requests a minute.
    RequestsPerMinute,
    /// Requests a day.
    RequestsPerDay,
    /// Tokens a minute.
    TokensPerMinute,
    /// Images a minute.
    ImagesPerMinute,
    /// Audio a minute, in bytes.
    AudioBytesPerMinute,
    /// Input tokens of batches a day.
    BatchTokensPerDay,
    /// Requests that run at the same time.
    Concurrency,
}

impl Meter {
    /// Those that flow back with time; their number is their place in a bucket.
    pub(crate) const FLOWING: [Meter; 6] = [
        Meter::RequestsPerMinute,
        Meter::RequestsPerDay,
        Meter::TokensPerMinute,
        Meter::ImagesPerMinute,
        Meter::AudioBytesPerMinute,
        Meter::BatchTokensPerDay,
    ];

    /// The name in refusals, in the API's words where it has them.
    pub const fn words(self) -> &'static str {
        match self {
            Meter::RequestsPerMinute => "requests per min (RPM)",
            Meter::RequestsPerDay => "requests per day (RPD)",
            Meter::TokensPerMinute => "tokens per min (TPM)",
            Meter::ImagesPerMinute => "images per min (IPM)",
            Meter::AudioBytesPerMinute => "audio bytes per min",
            Meter::BatchTokensPerDay => "batch input tokens per day (TPD)",
            Meter::Concurrency => "concurrent requests",
        }
    }

    /// `error.type` of a refusal: the API knows `tokens` and `requests`.
    pub const fn error_type(self) -> &'static str {
        match self {
            Meter::TokensPerMinute | Meter::BatchTokensPerDay => "tokens",
            _ => "requests",
        }
    }

    /// How long an empty bucket takes to fill; 1 for what does not flow.
    pub(crate) const fn period_ns(self) -> u64 {
        match self {
            Meter::RequestsPerDay | Meter::BatchTokensPerDay => DAY_NS,
            Meter::Concurrency => 1,
            _ => MINUTE_NS,
        }
    }

    pub(crate) const fn counts_requests(self) -> bool {
        matches!(self, Meter::RequestsPerMinute | Meter::RequestsPerDay)
    }
}

/// Limits of one subject; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Requests a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute, input and output together.
    pub tokens_per_minute: Option<u64>,
    /// Requests a day.
    pub requests_per_day: Option<u64>,
    /// Images made in a minute.
    pub images_per_minute: Option<u64>,
    /// Megabytes of audio a minute; bytes are counted.
    pub audio_megabytes_per_minute: Option<u64>,
    /// Input tokens of batches a day.
    pub batch_tokens_per_day: Option<u64>,
    /// Requests that run at the same time, each until the end of its stream.
    pub concurrency: Option<u32>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Limits = Limits {
        requests_per_minute: None,
        tokens_per_minute: None,
        requests_per_day: None,
        images_per_minute: None,
        audio_megabytes_per_minute: None,
        batch_tokens_per_day: None,
        concurrency: None,
    };

    /// Bytes of a megabyte of audio. OpenAI's 25 MB for an upload are 26,214,400 bytes.
    pub const MEGABYTE_BYTES: u64 = 1 << 20;

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Limits::NONE
    }

    /// The limit of a meter, in what the meter counts.
    pub fn of(&self, meter: Meter) -> Option<u64> {
        match meter {
            Meter::RequestsPerMinute => self.requests_per_minute,
            Meter::RequestsPerDay => self.requests_per_day,
            Meter::TokensPerMinute => self.tokens_per_minute,
            Meter::ImagesPerMinute => self.images_per_minute,
            Meter::AudioBytesPerMinute => {
                self.audio_megabytes_per_minute.map(|megabytes| megabytes.saturating_mul(Self::MEGABYTE_BYTES))
            }
            Meter::BatchTokensPerDay => self.batch_tokens_per_day,
            Meter::Concurrency => self.concurrency.map(u64::from),
        }
    }
}

/// Whose bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope<'a> {
    /// A model within a project. Names that share a limit share its bucket: the limit's own name stands here.
    Model {
        /// The project's id.
        project: &'a str,
        /// The model that the limit is written for.
        model: &'a str,
    },
    /// All models of a project together.
    Project {
        /// The project's id.
        project: &'a str,
    },
    /// A key.
    Key {
        /// The key's id.
        key: &'a str,
    },
    /// An end user of a project.
    EndUser {
        /// The project's id.
        project: &'a str,
        /// What the request calls the user, or a hash of it; empty for all who name none. Only a keyed hash is kept.
        user: &'a str,
    },
}

/// A bucket, and the limits in force for it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Whose.
    pub scope: Scope<'a>,
    /// The limits that hold now.
    pub limits: &'a Limits,
}

/// What a request wants, beside being one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// Tokens, estimated.
    pub tokens: u64,
    /// Images.
    pub images: u64,
    /// Bytes of audio.
    pub audio_bytes: u64,
    /// Input tokens of a batch.
    pub batch_tokens: u64,
}

impl Want {
    pub(crate) fn of(&self, meter: Meter) -> u64 {
        match meter {
            Meter::RequestsPerMinute | Meter::RequestsPerDay | Meter::Concurrency => 1,
            Meter::TokensPerMinute => self.tokens,
            Meter::ImagesPerMinute => self.images,
            Meter::AudioBytesPerMinute => self.audio_bytes,
            Meter::BatchTokensPerDay => self.batch_tokens,
        }
    }
}
