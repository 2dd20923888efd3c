"""Records what Python's jinja2, called as transformers calls it, makes of templates.

  record_chat_templates.py snippets                  the project's own snippets -> snippets.json
  record_chat_templates.py corpus DIR OUT.json       renderings of DIR/*.jinja -> OUT.json and, as
                                                     lengths and hashes, -> corpus_hashes.json

Needs jinja2, and xxhash for the corpus. The clock stands at 2025-03-09 14:05:06.
"""

import copy
import datetime
import itertools
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTDATA = ROOT / "src/text/chat/testdata"
NOW = datetime.datetime(2025, 3, 9, 14, 5, 6)


class Generation(jinja2.ext.Extension):
    """{% generation %}: transformers marks the assistant's text with it; the text is unchanged."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_render")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(env, source, context):
    """The text, or None where jinja2 raises an error."""
    try:
        # A copy, since some filters (indent, of a list) change their input.
        text = env.from_string(source).render(**copy.deepcopy(context))
        text.encode()
        return text
    except Exception:  # whatever Python raises is an error to the caller of a template
        return None


def record_snippets():
    cases = json.loads((TESTDATA / "snippets_input.json").read_text())
    context = cases["context"]
    env = environment()
    recorded = [[source, render(env, source, context)] for source in cases["snippets"]]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in recorded)
    out = '{"context": %s,\n"snippets": [\n%s\n]}\n' % (json.dumps(context, ensure_ascii=False), lines)
    (TESTDATA / "snippets.json").write_text(out)
    errors = sum(text is None for _, text in recorded)
    print(f"{len(recorded)} snippets, {errors} of them errors")


def contexts():
    data = json.loads((TESTDATA / "conversations.json").read_text())
    for (name, messages), (option, values) in itertools.product(
        data["messages"].items(), data["options"].items()
    ):
        context = {"messages": messages, "add_generation_prompt": False, **data["common"]}
        context.update({k: v for k, v in values.items() if k != "use_tools"})
        if values.get("use_tools"):
            context["tools"] = data["tools"]
        yield f"{name}/{option}", context


def record_corpus(directory, out):
    import xxhash

    env = environment()
    renderings, hashes = {}, {}
    for path in sorted(pathlib.Path(directory).glob("*.jinja")):
        source = path.read_text()
        results = {name: render(env, source, context) for name, context in contexts()}
        renderings[path.name] = results
        hashes[path.name] = {
            name: "error"
            if text is None
            else f"{len(text.encode())} {xxhash.xxh3_128_hexdigest(text.encode())}"
            for name, text in results.items()
        }
    pathlib.Path(out).write_text(json.dumps(renderings, ensure_ascii=False, indent=1))
    (TESTDATA / "corpus_hashes.json").write_text(json.dumps(hashes, indent=0) + "\n")
    total = [text for results in renderings.values() for text in results.values()]
    errors = sum(text is None for text in total)
    print(f"{len(renderings)} templates, {len(total)} renderings, {errors} of them errors")


if __name__ == "__main__":
    if sys.argv[1:] == ["snippets"]:
        record_snippets()
    elif len(sys.argv) == 4 and sys.argv[1] == "corpus":
        record_corpus(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
