"""Payloads and harmless insertions put into clean documents, drawn anew for each epoch.

Attack and benign rows come from the same wrappers, contexts and depths, so that only what the sentence says can decide.
"""

import re

WRAPPERS = [
    "{}", "{}", "{}", "{}", "{}", "{}", "{}", "{}", "({})", "[{}]", "\n{}\n", "\n\n{}\n\n", "P.S. {}", "PS: {}", "Note: {}", "NB: {}", "> {}",
    "<!-- {} -->", "/* {} */", "// {}", "# {}", "-- {}", "<p style=\"display:none\">{}</p>", "<span hidden>{}</span>", "<div>{}</div>",
    "<li>{}</li>", "* {}", "- {}", "1. {}", "**{}**", "_{}_", "\"{}\"", "'{}'", "\"note\": \"{}\",", "\"comment\": \"{}\",",
    "\"description\": \"{}\"", "note = \"{}\"", "| {} |", "TODO: {}", "FIXME {}", "[INFO] {}", "WARN {}", "System: {}", "SYSTEM: {}",
    "Assistant: {}", "User: {}", "Human: {}", "###\n{}\n###", "---\n{}\n---", "```\n{}\n```", "<system>{}</system>",
    "<important>{}</important>", "IMPORTANT: {}", "Important! {}", "Attention: {}", "Hinweis: {}", "Nota: {}", "Update: {}", "Edit: {}",
    "Re: {}", "Comment by guest: {}", "alt=\"{}\"", "title=\"{}\"", "[//]: # ({})", "<td>{}</td>", "Review: {}", "Summary: {}",
    "End of document.\n\n{}", "Thanks!\n{}", "Reminder: {}", "message: {}", "log: {}", "answer: {}",
]
CUTS = re.compile(r"\n+|(?<=[.!?。！？।])\s+")


def crop(random, text, most=1400):
    """A stretch of a document, cut at a line or sentence end where there is one."""
    if len(text) <= most:
        return text
    start = random.randrange(len(text) - most // 2)
    piece = text[start:start + random.randint(most // 4, most)]
    found = CUTS.search(piece, 0, len(piece) // 3)
    return piece[found.end():] if found and start else piece


def insert(random, context, sentence, wrapper):
    """The context with the wrapped sentence in it, and the sentence's bytes."""
    context = crop(random, context)
    places = [0, len(context)] + [found.end() for found in CUTS.finditer(context)]
    place = random.choice(places)
    before, after = wrapper.split("{}")
    gap = random.choice([" ", "\n", "\n\n"])
    head = context[:place] + (gap if place and not context[:place].endswith("\n") else "") + before
    text = head + sentence + after + (gap if place < len(context) else "") + context[place:]
    start = len(head.encode())
    return text, [start, start + len(sentence.encode())]


def sentence_of(random, text):
    """One sentence cut out of a text, or None."""
    parts = [part.strip() for part in CUTS.split(text)]
    parts = [part for part in parts if 20 <= len(part) <= 220]
    return random.choice(parts) if parts else None


def composed(random, rows, times, cut):
    """Each payload and insertion `times` in a fresh context, and `cut` rows with a sentence cut from another clean text."""
    contexts = [row for row in rows if row["label"] == 0 and row["channel"] == "untrusted" and not row.get("span") and not row.get("role")
                and len(row["text"]) > 150]
    by_lang = {}
    for row in contexts:
        by_lang.setdefault(row["lang"], []).append(row)
    made = []

    def make(sentence, like):
        lang = like["lang"] if like["lang"] in by_lang and random.random() < 0.6 else random.choice(["en", *by_lang])
        context = random.choice(by_lang.get(lang, contexts))
        text, span = insert(random, context["text"], sentence, random.choice(WRAPPERS))
        kind = like["kind"] if like["label"] else "hard_benign"
        made.append({"text": text, "label": like["label"], "kind": kind, "channel": "untrusted", "lang": like["lang"],
                     "source": "fresh-" + ("attack" if like["label"] else "harmless"), "span": span, "hand": False})

    for row in rows:
        if row.get("role"):
            for _ in range(times):
                make(row["text"], row)
    for _ in range(cut):
        donor = random.choice(by_lang[random.choice(list(by_lang))] if random.random() < 0.3 else contexts)
        sentence = sentence_of(random, donor["text"])
        if sentence:
            make(sentence, {"label": 0, "kind": "hard_benign", "lang": donor["lang"]})
    return made
