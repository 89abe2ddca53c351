// The official Node SDK in a real page of a real browser: with a client secret it works, with a project key it does not.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

const gate = process.env.SALLYPORT_TEST_BASE_URL;
const projectKey = process.env.SALLYPORT_TEST_KEY;
const chromium = process.env.SALLYPORT_TEST_CHROMIUM ?? "chromium";
const sdk = path.resolve("node_modules/openai");

// Ten seconds are ample for a page that makes two calls; a cold start of the browser on a busy machine is not.
const PATIENCE_MS = 240_000;

const page = (apiKey) => `<!doctype html><title>page</title><script type="module">
  const tell = (what) => fetch("/result", { method: "POST", body: JSON.stringify(what) });
  try {
    const { OpenAI } = await import("/openai/index.mjs");
    const client = new OpenAI({ apiKey: ${JSON.stringify(apiKey)}, baseURL: ${JSON.stringify(gate)},
      dangerouslyAllowBrowser: true, maxRetries: 0 });
    const messages = [{ role: "user", content: "Say hello." }];
    const whole = await client.chat.completions.create({ model: "gpt-4o", messages });
    let streamed = "";
    const stream = await client.chat.completions.create({ model: "gpt-4o", messages, stream: true });
    for await (const chunk of stream) streamed += chunk.choices[0]?.delta?.content ?? "";
    await tell({ content: whole.choices[0].message.content, streamed, requestId: whole._request_id });
  } catch (error) {
    await tell({ error: error.constructor.name, status: error.status ?? null, message: error.message });
  }
</script>`;

const types = { ".mjs": "text/javascript", ".js": "text/javascript" };
let server, origin, body, told;

before(async () => {
  server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://page");
    if (url.pathname === "/result") {
      let text = "";
      for await (const piece of request) text += piece;
      response.end();
      told?.(JSON.parse(text));
    } else if (url.pathname.startsWith("/openai/")) {
      const file = path.join(sdk, path.normalize(url.pathname.slice("/openai".length)));
      try {
        const bytes = await readFile(file);
        response.setHeader("Content-Type", types[path.extname(file)] ?? "application/octet-stream");
        response.end(bytes);
      } catch {
        response.writeHead(404).end();
      }
    } else if (url.pathname === "/") {
      response.setHeader("Content-Type", "text/html");
      response.end(body);
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  origin = `http://127.0.0.1:${server.address().port}`;
});

after(() => server.close());

// Opens the page in a browser with an empty profile, and gives what it tells.
async function open(apiKey) {
  body = page(apiKey);
  const profile = await mkdtemp(path.join(tmpdir(), "sallyport-browser-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
  const browser = spawn(chromium, [...flags, `--user-data-dir=${profile}`, origin], { stdio: "ignore" });
  let timer;
  try {
    return await new Promise((resolve, reject) => {
      told = resolve;
      browser.on("error", (error) => reject(new Error(`${chromium} cannot be started: ${error.message}`)));
      timer = setTimeout(() => reject(new Error("the page told nothing")), PATIENCE_MS);
    });
  } finally {
    clearTimeout(timer);
    const gone = new Promise((done) => browser.on("exit", done));
    browser.kill("SIGKILL");
    await gone;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function clientSecret(fields) {
  const response = await fetch(`${gate}/sallyport/client_secrets`, {
    method: "POST",
    headers: { Authorization: `Bearer ${projectKey}`, "Content-Type": "application/json" },
    body: JSON.stringify(fields),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).value;
}

test("a project key is refused in a page, before any origin is known and after", async () => {
  const before = await open(projectKey);
  assert.equal(before.error, "APIConnectionError", JSON.stringify(before));
  await clientSecret({ origin });
  // The preflight is answered now, for the origin's sake; the key is refused, and the page may not even read why.
  const known = await open(projectKey);
  assert.equal(known.error, "APIConnectionError", JSON.stringify(known));
});

test("a client secret works in its page, whole and streamed", async () => {
  const value = await clientSecret({ origin, models: ["gpt-4o"], max_calls: 2, expires_after: { seconds: 120 } });
  const answer = await open(value);
  assert.equal(answer.error, undefined, JSON.stringify(answer));
  assert.ok(answer.content.length > 0);
  assert.ok(answer.streamed.length > 0);
  assert.match(answer.requestId, /^req_/);
  // Its calls are made: the page can read that.
  const spent = await open(value);
  assert.equal(spent.status, 429, JSON.stringify(spent));
});

test("a client secret of another origin does not work in the page", async () => {
  await clientSecret({ origin });
  const answer = await open(await clientSecret({ origin: "https://other.example" }));
  assert.equal(answer.error, "APIConnectionError", JSON.stringify(answer));
});
