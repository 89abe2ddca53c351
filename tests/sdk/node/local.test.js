// The official Node SDK through the gate to the embedded model.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.SALLYPORT_TEST_BASE_URL, apiKey: process.env.SALLYPORT_TEST_KEY });
const ask = { messages: [{ role: "user", content: "Name a color." }], temperature: 0, max_tokens: 10 };

test("chat, whole and streamed, under an alias", async () => {
  const whole = await client.chat.completions.create({ model: "gpt-4o-mini", ...ask });
  assert.equal(whole.model, "smollm2-135m-instruct");
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model: "gpt-4o-mini", stream: true, ...ask })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  assert.equal(text, whole.choices[0].message.content);
});

test("responses", async () => {
  const made = await client.responses.create({ model: "gpt-5", input: "Say hi.", max_output_tokens: 8 });
  assert.ok(made.output_text.length > 0);
  const kinds = [];
  for await (const event of await client.responses.create({ model: "gpt-5", input: "Say hi.", max_output_tokens: 8, stream: true })) kinds.push(event.type);
  assert.equal(kinds[0], "response.created");
});
