//! The rows of the data plane: what a project key opens.
//!
//! Made from the API document and the official SDK's operations, completed by judgement; `cargo xtask endpoints`
//! compares them with an operation list.

use super::Keeps::{Always, IfStoreTrue, UnlessStoreFalse};
use super::Method::{Delete, Get, Post};
use super::RequestBody::{JsonOrMultipart, Multipart, SdpOrMultipart};
use super::{Endpoint, Meter, data};

// Billing units that several rows share, in the words of the operation list.
const CHAT_TOKENS: &str = "tokens in/cached/cache-write/out (+audio, image tokens; hosted tools per call)";
const AGENT: &str = "tokens + environment time";
const AUDIO: &str = "audio minutes (whisper-1, gpt-transcribe) or audio-in + text-out tokens";
const IMAGES: &str = "image tokens (GPT image) or per image by size+quality (DALL-E)";
const LIVE: &str = "text/audio/image tokens or audio minutes, counted on the session";
const STORAGE: &str = "GB-days stored";
const VIDEO: &str = "seconds of video";

/// Ids in a batch: its files appear when it ends.
const BATCH_FILES: &[&str] = &["output_file_id", "error_file_id"];

/// Ids in a fine-tuning job: its files and its model appear when it ends.
const TUNED: &[&str] = &["result_files[]", "fine_tuned_model"];

/// Ids in a response: its own, those of its items (`item_reference` takes them), and of containers made for tools. A
/// background response has its items only when it is fetched.
const RESPONSE: &[&str] = &["id", "output[].id", "output[].container_id"];

#[rustfmt::skip]
pub(super) static DATA_ROWS: &[Endpoint] = &[
    // WebSocket surfaces, which the API document does not list
    data(Get, "/v1/realtime", "realtime").websocket(),
    data(Get, "/v1/responses", "responses").websocket(),
    data(Get, "/v1/live", "live").websocket(),
    // agents
    data(Get, "/v1/agents", "agents").lists(),
    data(Post, "/v1/agents", "agents").keeps(Always, &["id"]),
    data(Get, "/v1/agents/automations", "agents").lists(),
    data(Post, "/v1/agents/automations", "agents").counted(Meter::Unbounded).keeps(Always, &["id"]),
    data(Delete, "/v1/agents/automations/{automation_id}", "agents").owned("automation_id"),
    data(Get, "/v1/agents/automations/{automation_id}", "agents").owned("automation_id"),
    data(Post, "/v1/agents/automations/{automation_id}", "agents").owned("automation_id"),
    data(Get, "/v1/agents/automations/{automation_id}/invocations", "agents").owned("automation_id").keeps(Always, &["data[].id", "data[].session_id"]),
    data(Post, "/v1/agents/automations/{automation_id}/invocations", "agents").counted(Meter::Unbounded).owned("automation_id").keeps(Always, &["id", "session_id"]),
    data(Get, "/v1/agents/automations/{automation_id}/invocations/{invocation_id}", "agents").owned("automation_id").keeps(Always, &["session_id"]),
    data(Post, "/v1/agents/automations/{automation_id}/pause", "agents").owned("automation_id"),
    data(Post, "/v1/agents/automations/{automation_id}/resume", "agents").counted(Meter::Unbounded).owned("automation_id"),
    data(Get, "/v1/agents/environments", "agents").lists(),
    data(Post, "/v1/agents/environments", "agents").counted(Meter::Unbounded).keeps(Always, &["id"]),
    data(Get, "/v1/agents/environments/templates", "agents").lists(),
    data(Post, "/v1/agents/environments/templates", "agents").keeps(Always, &["id"]),
    data(Delete, "/v1/agents/environments/templates/{environment_template_id}", "agents").owned("environment_template_id"),
    data(Get, "/v1/agents/environments/templates/{environment_template_id}", "agents").owned("environment_template_id"),
    data(Post, "/v1/agents/environments/templates/{environment_template_id}", "agents").owned("environment_template_id"),
    data(Get, "/v1/agents/environments/{environment_id}", "agents").owned("environment_id"),
    data(Get, "/v1/agents/environments/{environment_id}/files", "agents").owned("environment_id"),
    data(Post, "/v1/agents/environments/{environment_id}/files", "agents").owned("environment_id"),
    data(Get, "/v1/agents/sessions", "agents").lists(),
    data(Post, "/v1/agents/sessions", "agents").events().billed(AGENT).keeps(Always, &["id", "environment.id"]),
    data(Delete, "/v1/agents/sessions/{session_id}", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}", "agents").owned("session_id"),
    data(Post, "/v1/agents/sessions/{session_id}", "agents").billed(AGENT).owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/artifacts", "agents").owned("session_id"),
    data(Delete, "/v1/agents/sessions/{session_id}/artifacts/{artifact_id}", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/artifacts/{artifact_id}", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/artifacts/{artifact_id}/content", "agents").bytes().owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/events", "agents").events().owned("session_id"),
    data(Post, "/v1/agents/sessions/{session_id}/events", "agents").billed(AGENT).owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/items", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/subagents", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/subagents/{subagent_id}", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/subagents/{subagent_id}/items", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/subagents/{subagent_id}/turns", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/subagents/{subagent_id}/turns/{turn_id}", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/subagents/{subagent_id}/turns/{turn_id}/items", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/traces", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/turns", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/turns/{turn_id}", "agents").owned("session_id"),
    data(Get, "/v1/agents/sessions/{session_id}/turns/{turn_id}/items", "agents").owned("session_id"),
    data(Delete, "/v1/agents/{agent_id}", "agents").owned("agent_id"),
    data(Get, "/v1/agents/{agent_id}", "agents").owned("agent_id"),
    data(Post, "/v1/agents/{agent_id}", "agents").billed(AGENT).owned("agent_id"),
    // assistants
    data(Get, "/v1/assistants", "assistants").lists().deprecated(),
    data(Post, "/v1/assistants", "assistants").keeps(Always, &["id"]).deprecated(),
    data(Delete, "/v1/assistants/{assistant_id}", "assistants").owned("assistant_id").deprecated(),
    data(Get, "/v1/assistants/{assistant_id}", "assistants").owned("assistant_id").deprecated(),
    data(Post, "/v1/assistants/{assistant_id}", "assistants").owned("assistant_id").deprecated(),
    // audio
    data(Post, "/v1/audio/speech", "audio").bytes_or_events().metered("characters (tts-1*) or text-in + audio-out tokens", Meter::Speech),
    data(Post, "/v1/audio/transcriptions", "audio").takes(Multipart).events().metered(AUDIO, Meter::Transcriptions),
    data(Post, "/v1/audio/translations", "audio").takes(Multipart).metered(AUDIO, Meter::Transcriptions),
    data(Get, "/v1/audio/voice_consents", "audio").lists(),
    data(Post, "/v1/audio/voice_consents", "audio").takes(Multipart).keeps(Always, &["id"]),
    data(Delete, "/v1/audio/voice_consents/{consent_id}", "audio").owned("consent_id"),
    data(Get, "/v1/audio/voice_consents/{consent_id}", "audio").owned("consent_id"),
    data(Post, "/v1/audio/voice_consents/{consent_id}", "audio").owned("consent_id"),
    data(Post, "/v1/audio/voices", "audio").takes(Multipart).keeps(Always, &["id"]),
    data(Delete, "/v1/audio/voices/{voice_id}", "audio").owned("voice_id"),
    // batches
    data(Get, "/v1/batches", "batches").lists(),
    data(Post, "/v1/batches", "batches").billed("tokens at the batch tier, when it completes").keeps(Always, &["id"]),
    data(Get, "/v1/batches/{batch_id}", "batches").owned("batch_id").keeps(Always, BATCH_FILES),
    data(Post, "/v1/batches/{batch_id}/cancel", "batches").owned("batch_id").keeps(Always, BATCH_FILES),
    // chat
    data(Get, "/v1/chat/completions", "chat").lists(),
    data(Post, "/v1/chat/completions", "chat").events().metered(CHAT_TOKENS, Meter::Chat).keeps(IfStoreTrue, &["id"]),
    data(Delete, "/v1/chat/completions/{completion_id}", "chat").owned("completion_id"),
    data(Get, "/v1/chat/completions/{completion_id}", "chat").owned("completion_id"),
    data(Post, "/v1/chat/completions/{completion_id}", "chat").owned("completion_id"),
    data(Get, "/v1/chat/completions/{completion_id}/messages", "chat").owned("completion_id"),
    // chatkit
    data(Post, "/v1/chatkit/sessions", "chatkit").counted(Meter::Unbounded).keeps(Always, &["id"]).past_the_gate(),
    data(Post, "/v1/chatkit/sessions/{session_id}/cancel", "chatkit").owned("session_id"),
    data(Get, "/v1/chatkit/threads", "chatkit").lists(),
    data(Delete, "/v1/chatkit/threads/{thread_id}", "chatkit").owned("thread_id"),
    data(Get, "/v1/chatkit/threads/{thread_id}", "chatkit").owned("thread_id"),
    data(Get, "/v1/chatkit/threads/{thread_id}/items", "chatkit").owned("thread_id"),
    // completions
    data(Post, "/v1/completions", "completions").metered(CHAT_TOKENS, Meter::Completions).events(),
    // containers
    data(Get, "/v1/containers", "containers").lists(),
    data(Post, "/v1/containers", "containers").billed("container session").keeps(Always, &["id"]),
    data(Delete, "/v1/containers/{container_id}", "containers").owned("container_id"),
    data(Get, "/v1/containers/{container_id}", "containers").owned("container_id"),
    data(Get, "/v1/containers/{container_id}/files", "containers").owned("container_id"),
    data(Post, "/v1/containers/{container_id}/files", "containers").takes(JsonOrMultipart).owned("container_id").keeps(Always, &["id"]),
    data(Delete, "/v1/containers/{container_id}/files/{file_id}", "containers").owned("container_id"),
    data(Get, "/v1/containers/{container_id}/files/{file_id}", "containers").owned("container_id"),
    data(Get, "/v1/containers/{container_id}/files/{file_id}/content", "containers").bytes().owned("container_id"),
    // content_provenance_checks
    data(Post, "/v1/content_provenance_checks", "content_provenance_checks").takes(Multipart),
    // conversations
    data(Post, "/v1/conversations", "conversations").keeps(Always, &["id"]),
    data(Delete, "/v1/conversations/{conversation_id}", "conversations").owned("conversation_id"),
    data(Get, "/v1/conversations/{conversation_id}", "conversations").owned("conversation_id"),
    data(Post, "/v1/conversations/{conversation_id}", "conversations").owned("conversation_id"),
    data(Get, "/v1/conversations/{conversation_id}/items", "conversations").owned("conversation_id").keeps(Always, &["data[].id", "data[].container_id"]),
    data(Post, "/v1/conversations/{conversation_id}/items", "conversations").owned("conversation_id").keeps(Always, &["data[].id"]),
    data(Delete, "/v1/conversations/{conversation_id}/items/{item_id}", "conversations").owned("conversation_id"),
    data(Get, "/v1/conversations/{conversation_id}/items/{item_id}", "conversations").owned("conversation_id"),
    // decisions
    data(Post, "/v1/decisions", "decisions").metered("tokens in", Meter::Decisions),
    // embeddings
    data(Post, "/v1/embeddings", "embeddings").metered("tokens in", Meter::Embeddings),
    // evals
    data(Get, "/v1/evals", "evals").lists(),
    data(Post, "/v1/evals", "evals").keeps(Always, &["id"]).lists(),
    data(Delete, "/v1/evals/{eval_id}", "evals").owned("eval_id"),
    data(Get, "/v1/evals/{eval_id}", "evals").owned("eval_id"),
    data(Post, "/v1/evals/{eval_id}", "evals").owned("eval_id"),
    data(Get, "/v1/evals/{eval_id}/runs", "evals").owned("eval_id"),
    data(Post, "/v1/evals/{eval_id}/runs", "evals").billed("tokens of the sampled and grading models").owned("eval_id").lists().keeps(Always, &["id"]),
    data(Delete, "/v1/evals/{eval_id}/runs/{run_id}", "evals").owned("eval_id"),
    data(Get, "/v1/evals/{eval_id}/runs/{run_id}", "evals").owned("eval_id"),
    data(Post, "/v1/evals/{eval_id}/runs/{run_id}", "evals").owned("eval_id"),
    data(Post, "/v1/evals/{eval_id}/runs/{run_id}/cancel", "evals").owned("eval_id"),
    data(Get, "/v1/evals/{eval_id}/runs/{run_id}/output_items", "evals").owned("eval_id"),
    data(Get, "/v1/evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}", "evals").owned("eval_id"),
    // files
    data(Get, "/v1/files", "files").lists(),
    data(Post, "/v1/files", "files").takes(Multipart).keeps(Always, &["id"]),
    data(Delete, "/v1/files/{file_id}", "files").owned("file_id"),
    data(Get, "/v1/files/{file_id}", "files").owned("file_id"),
    data(Get, "/v1/files/{file_id}/content", "files").bytes().owned("file_id"),
    // fine_tuning
    data(Post, "/v1/fine_tuning/alpha/graders/run", "fine_tuning").counted(Meter::Unbounded),
    data(Post, "/v1/fine_tuning/alpha/graders/validate", "fine_tuning"),
    data(Get, "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions", "fine_tuning").owned("fine_tuned_model_checkpoint"),
    data(Post, "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions", "fine_tuning").owned("fine_tuned_model_checkpoint").keeps(Always, &["data[].id"]),
    data(Delete, "/v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}", "fine_tuning").owned("fine_tuned_model_checkpoint"),
    data(Get, "/v1/fine_tuning/jobs", "fine_tuning").lists(),
    data(Post, "/v1/fine_tuning/jobs", "fine_tuning").billed("training tokens").keeps(Always, &["id"]),
    data(Get, "/v1/fine_tuning/jobs/{fine_tuning_job_id}", "fine_tuning").owned("fine_tuning_job_id").keeps(Always, TUNED),
    data(Post, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel", "fine_tuning").owned("fine_tuning_job_id").keeps(Always, TUNED),
    data(Get, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints", "fine_tuning").owned("fine_tuning_job_id").keeps(Always, &["data[].fine_tuned_model_checkpoint"]),
    data(Get, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/events", "fine_tuning").owned("fine_tuning_job_id"),
    data(Post, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/pause", "fine_tuning").owned("fine_tuning_job_id").keeps(Always, TUNED),
    data(Post, "/v1/fine_tuning/jobs/{fine_tuning_job_id}/resume", "fine_tuning").counted(Meter::Unbounded).owned("fine_tuning_job_id").keeps(Always, TUNED),
    // images
    data(Post, "/v1/images/edits", "images").takes(JsonOrMultipart).events().metered(IMAGES, Meter::Images),
    data(Post, "/v1/images/generations", "images").events().metered(IMAGES, Meter::Images),
    data(Post, "/v1/images/variations", "images").takes(Multipart).metered(IMAGES, Meter::Images),
    // live
    data(Post, "/v1/live/sessions", "live").billed(LIVE).keeps(Always, &["id"]).past_the_gate(),
    data(Post, "/v1/live/sessions/{session_id}/accept", "live").billed(LIVE).owned("session_id").past_the_gate(),
    data(Get, "/v1/live/sessions/{session_id}/content", "live").bytes().owned("session_id"),
    data(Post, "/v1/live/sessions/{session_id}/fork", "live").billed(LIVE).owned("session_id").keeps(Always, &["id"]).past_the_gate(),
    data(Post, "/v1/live/sessions/{session_id}/hangup", "live").billed(LIVE).owned("session_id"),
    data(Post, "/v1/live/sessions/{session_id}/refer", "live").billed(LIVE).owned("session_id"),
    data(Post, "/v1/live/sessions/{session_id}/reject", "live").billed(LIVE).owned("session_id"),
    // models
    data(Get, "/v1/models", "models"),
    data(Delete, "/v1/models/{model}", "models").owned("model"),
    data(Get, "/v1/models/{model}", "models").owned("model"),
    // moderations
    data(Post, "/v1/moderations", "moderations").counted(Meter::Moderations),
    // realtime
    data(Post, "/v1/realtime/calls", "realtime").takes(SdpOrMultipart).bytes().billed(LIVE).past_the_gate(),
    data(Post, "/v1/realtime/calls/{call_id}/accept", "realtime").billed(LIVE).owned("call_id").past_the_gate(),
    data(Post, "/v1/realtime/calls/{call_id}/hangup", "realtime").billed(LIVE).owned("call_id"),
    data(Post, "/v1/realtime/calls/{call_id}/refer", "realtime").billed(LIVE).owned("call_id"),
    data(Post, "/v1/realtime/calls/{call_id}/reject", "realtime").billed(LIVE).owned("call_id"),
    data(Post, "/v1/realtime/client_secrets", "realtime").billed(LIVE).client_secret(),
    data(Post, "/v1/realtime/sessions", "realtime").billed(LIVE).past_the_gate(),
    data(Post, "/v1/realtime/transcription_sessions", "realtime").billed(LIVE).past_the_gate(),
    data(Post, "/v1/realtime/translations/client_secrets", "realtime").billed(LIVE).past_the_gate(),
    // responses
    data(Post, "/v1/responses", "responses").events().metered(CHAT_TOKENS, Meter::Responses).typed_errors().keeps(UnlessStoreFalse, RESPONSE),
    data(Post, "/v1/responses/compact", "responses").metered("tokens", Meter::Compactions),
    data(Post, "/v1/responses/input_tokens", "responses"),
    data(Delete, "/v1/responses/{response_id}", "responses").owned("response_id"),
    data(Get, "/v1/responses/{response_id}", "responses").events().typed_errors().owned("response_id").keeps(Always, RESPONSE),
    data(Post, "/v1/responses/{response_id}/cancel", "responses").owned("response_id").keeps(Always, RESPONSE),
    data(Get, "/v1/responses/{response_id}/input_items", "responses").owned("response_id"),
    // safety
    data(Get, "/v1/safety/alerts/{id}", "safety").owned("id"),
    data(Get, "/v1/safety/cases/{id}", "safety").owned("id"),
    // skills
    data(Get, "/v1/skills", "skills").lists(),
    data(Post, "/v1/skills", "skills").takes(JsonOrMultipart).keeps(Always, &["id"]),
    data(Delete, "/v1/skills/{skill_id}", "skills").owned("skill_id"),
    data(Get, "/v1/skills/{skill_id}", "skills").owned("skill_id"),
    data(Post, "/v1/skills/{skill_id}", "skills").owned("skill_id"),
    data(Get, "/v1/skills/{skill_id}/content", "skills").bytes().owned("skill_id"),
    data(Get, "/v1/skills/{skill_id}/versions", "skills").owned("skill_id"),
    data(Post, "/v1/skills/{skill_id}/versions", "skills").takes(JsonOrMultipart).owned("skill_id").keeps(Always, &["id"]),
    data(Delete, "/v1/skills/{skill_id}/versions/{version}", "skills").owned("skill_id"),
    data(Get, "/v1/skills/{skill_id}/versions/{version}", "skills").owned("skill_id"),
    data(Get, "/v1/skills/{skill_id}/versions/{version}/content", "skills").bytes().owned("skill_id"),
    // threads
    data(Post, "/v1/threads", "threads").keeps(Always, &["id"]),
    data(Post, "/v1/threads/runs", "threads").events().billed("tokens").keeps(Always, &["id", "thread_id"]),
    data(Delete, "/v1/threads/{thread_id}", "threads").owned("thread_id"),
    data(Get, "/v1/threads/{thread_id}", "threads").owned("thread_id"),
    data(Post, "/v1/threads/{thread_id}", "threads").owned("thread_id"),
    data(Get, "/v1/threads/{thread_id}/messages", "threads").owned("thread_id").keeps(Always, &["data[].content[].image_file.file_id", "data[].content[].text.annotations[].file_path.file_id"]),
    data(Post, "/v1/threads/{thread_id}/messages", "threads").owned("thread_id").keeps(Always, &["id"]),
    data(Delete, "/v1/threads/{thread_id}/messages/{message_id}", "threads").owned("thread_id"),
    data(Get, "/v1/threads/{thread_id}/messages/{message_id}", "threads").owned("thread_id").keeps(Always, &["content[].image_file.file_id", "content[].text.annotations[].file_path.file_id"]),
    data(Post, "/v1/threads/{thread_id}/messages/{message_id}", "threads").owned("thread_id"),
    data(Get, "/v1/threads/{thread_id}/runs", "threads").owned("thread_id"),
    data(Post, "/v1/threads/{thread_id}/runs", "threads").events().billed("tokens").owned("thread_id").keeps(Always, &["id"]),
    data(Get, "/v1/threads/{thread_id}/runs/{run_id}", "threads").owned("thread_id"),
    data(Post, "/v1/threads/{thread_id}/runs/{run_id}", "threads").owned("thread_id"),
    data(Post, "/v1/threads/{thread_id}/runs/{run_id}/cancel", "threads").owned("thread_id"),
    data(Get, "/v1/threads/{thread_id}/runs/{run_id}/steps", "threads").owned("thread_id").keeps(Always, &["data[].step_details.tool_calls[].code_interpreter.outputs[].image.file_id"]),
    data(Get, "/v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}", "threads").owned("thread_id").keeps(Always, &["step_details.tool_calls[].code_interpreter.outputs[].image.file_id"]),
    data(Post, "/v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", "threads").counted(Meter::Unbounded).events().owned("thread_id"),
    // uploads
    data(Post, "/v1/uploads", "uploads").keeps(Always, &["id"]),
    data(Post, "/v1/uploads/{upload_id}/cancel", "uploads").owned("upload_id"),
    data(Post, "/v1/uploads/{upload_id}/complete", "uploads").owned("upload_id").keeps(Always, &["file.id"]),
    data(Post, "/v1/uploads/{upload_id}/parts", "uploads").takes(Multipart).owned("upload_id").keeps(Always, &["id"]),
    // vaults
    data(Get, "/v1/vaults", "vaults").lists(),
    data(Post, "/v1/vaults", "vaults").keeps(Always, &["id"]),
    data(Delete, "/v1/vaults/{vault_id}", "vaults").owned("vault_id"),
    data(Get, "/v1/vaults/{vault_id}", "vaults").owned("vault_id"),
    data(Post, "/v1/vaults/{vault_id}", "vaults").owned("vault_id"),
    data(Get, "/v1/vaults/{vault_id}/credentials", "vaults").owned("vault_id"),
    data(Post, "/v1/vaults/{vault_id}/credentials", "vaults").owned("vault_id").keeps(Always, &["id"]),
    data(Delete, "/v1/vaults/{vault_id}/credentials/{credential_id}", "vaults").owned("vault_id"),
    data(Get, "/v1/vaults/{vault_id}/credentials/{credential_id}", "vaults").owned("vault_id"),
    data(Post, "/v1/vaults/{vault_id}/credentials/{credential_id}", "vaults").owned("vault_id"),
    // vector_stores
    data(Get, "/v1/vector_stores", "vector_stores").lists(),
    data(Post, "/v1/vector_stores", "vector_stores").billed(STORAGE).keeps(Always, &["id"]),
    data(Delete, "/v1/vector_stores/{vector_store_id}", "vector_stores").owned("vector_store_id"),
    data(Get, "/v1/vector_stores/{vector_store_id}", "vector_stores").owned("vector_store_id"),
    data(Post, "/v1/vector_stores/{vector_store_id}", "vector_stores").billed(STORAGE).owned("vector_store_id"),
    data(Post, "/v1/vector_stores/{vector_store_id}/file_batches", "vector_stores").billed(STORAGE).owned("vector_store_id").keeps(Always, &["id"]),
    data(Get, "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}", "vector_stores").owned("vector_store_id"),
    data(Post, "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel", "vector_stores").billed(STORAGE).owned("vector_store_id"),
    data(Get, "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", "vector_stores").owned("vector_store_id"),
    data(Get, "/v1/vector_stores/{vector_store_id}/files", "vector_stores").owned("vector_store_id"),
    data(Post, "/v1/vector_stores/{vector_store_id}/files", "vector_stores").billed(STORAGE).owned("vector_store_id"),
    data(Delete, "/v1/vector_stores/{vector_store_id}/files/{file_id}", "vector_stores").owned("vector_store_id"),
    data(Get, "/v1/vector_stores/{vector_store_id}/files/{file_id}", "vector_stores").owned("vector_store_id"),
    data(Post, "/v1/vector_stores/{vector_store_id}/files/{file_id}", "vector_stores").billed(STORAGE).owned("vector_store_id"),
    data(Get, "/v1/vector_stores/{vector_store_id}/files/{file_id}/content", "vector_stores").bytes().owned("vector_store_id"),
    data(Post, "/v1/vector_stores/{vector_store_id}/search", "vector_stores").billed("per call").owned("vector_store_id"),
    // videos
    data(Get, "/v1/videos", "videos").lists().deprecated(),
    data(Post, "/v1/videos", "videos").takes(JsonOrMultipart).billed(VIDEO).keeps(Always, &["id"]).deprecated(),
    data(Post, "/v1/videos/characters", "videos").takes(Multipart).billed(VIDEO).keeps(Always, &["id"]).deprecated(),
    data(Get, "/v1/videos/characters/{character_id}", "videos").owned("character_id").deprecated(),
    data(Post, "/v1/videos/edits", "videos").takes(JsonOrMultipart).billed(VIDEO).keeps(Always, &["id"]).deprecated(),
    data(Post, "/v1/videos/extensions", "videos").takes(JsonOrMultipart).billed(VIDEO).keeps(Always, &["id"]).deprecated(),
    data(Delete, "/v1/videos/{video_id}", "videos").owned("video_id").deprecated(),
    data(Get, "/v1/videos/{video_id}", "videos").owned("video_id").deprecated(),
    data(Get, "/v1/videos/{video_id}/content", "videos").bytes().owned("video_id").deprecated(),
    data(Post, "/v1/videos/{video_id}/remix", "videos").takes(JsonOrMultipart).billed(VIDEO).owned("video_id").keeps(Always, &["id"]).deprecated(),
    // webhook_endpoints
    data(Get, "/v1/webhook_endpoints", "webhook_endpoints").lists(),
    data(Post, "/v1/webhook_endpoints", "webhook_endpoints").keeps(Always, &["id"]),
    data(Delete, "/v1/webhook_endpoints/{webhook_endpoint_id}", "webhook_endpoints").owned("webhook_endpoint_id"),
    data(Get, "/v1/webhook_endpoints/{webhook_endpoint_id}", "webhook_endpoints").owned("webhook_endpoint_id"),
    data(Post, "/v1/webhook_endpoints/{webhook_endpoint_id}", "webhook_endpoints").owned("webhook_endpoint_id"),
    data(Post, "/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret", "webhook_endpoints").owned("webhook_endpoint_id"),
    data(Post, "/v1/webhook_endpoints/{webhook_endpoint_id}/test", "webhook_endpoints").owned("webhook_endpoint_id"),
    // webhook_event_types
    data(Get, "/v1/webhook_event_types", "webhook_event_types"),
    // Ours
    data(Post, "/v1/sallyport/client_secrets", "sallyport:client_secrets").client_secret(),
    data(Post, "/v1/sallyport/inspect", "sallyport:inspect").any_key(),
];
