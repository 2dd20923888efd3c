"""The server's page in a headless browser, with the embedded model:

    scripts/web_test.sh                                    installs what it needs, and runs this
    python3 tests/web_page_test.py --program build/release/tessera [--screenshots DIR] [TEST ...]

Chats and completions must stream, the map of blocks must change, a switch of the backend in the midst of an answer must not
change it, and errors must be told. Every test ends with a look at what the browser complained about: there must be nothing.
"""

import argparse
import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

from playwright.sync_api import expect, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = "".join(
    f"Question: {name} has {a} {what} and buys {b} more. How many {what} does {name} have?\n"
    f"Answer: {name} now has {a}+{b} = <<{a}+{b}={a + b}>>{a + b} {what}.\n#### {a + b}\n\n"
    for name, a, b, what in [("Anna", 14, 25, "stamps"), ("Hugo", 31, 8, "marbles"), ("Zoe", 45, 12, "shells"),
                             ("Carl", 7, 19, "coins"), ("Maya", 22, 36, "beads")]
)
QUESTION = "Ada has 12 pears and buys 30 more. How many pears does Ada have?"
TIMEOUT = 60_000  # milliseconds: the machine may be busy with other tests

options = None
browser = None


class Server:
    """`tessera serve` on a free port."""

    def __init__(self, *arguments):
        command = [options.program, "serve", str(ROOT / "models/tiny-math"), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        first = self.process.stderr.readline()
        found = re.match(r"listening on (http://\S+)", first)
        if not found:
            raise RuntimeError(first + self.process.stderr.read())
        self.url = found[1]
        # A page that is opened while the model loads is told 503, which the browser reports.
        while not (line := self.process.stderr.readline()).startswith("  ready"):
            if not line:
                raise RuntimeError("the server ended while it loaded")

    def stop(self):
        """The second signal asks to stop at once."""
        for _ in range(2):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=5)
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


class WebPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--kv-cache-size", "64MiB", "--batch-invariant", "--dtype", "float32")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.complaints = []
        self.expected = None  # a pattern of complaints that the test provokes

    def tearDown(self):
        for complaint in self.complaints:
            if not (self.expected and re.search(self.expected, complaint)):
                self.fail(f"the browser complains: {complaint}")

    def open(self, url=None, width=1360, height=900, scheme="light", live=True):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        base = url or self.server.url

        def on_console(message):
            if message.type in ("error", "warning"):
                self.complaints.append(message.text)

        def on_request(request):
            if not request.url.startswith(base + "/"):
                self.complaints.append("a request to another place: " + request.url)

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", on_request)
        page.goto(base + "/")
        if live:
            expect(page.locator("#status")).to_have_attribute("data-state", "live", timeout=TIMEOUT)
        return page

    def screenshot(self, page, name, **arguments):
        if options.screenshots:
            folder = pathlib.Path(options.screenshots)
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png", **arguments)

    def set_sampling(self, page, **fields):
        page.evaluate("document.getElementById('settings').open = true")
        for name, value in fields.items():
            page.fill(f"#fields [name={name}]", str(value))
        page.evaluate("document.getElementById('settings').open = false")

    def sees_requests(self, page, least):
        """Waits until so many requests are listed at once; others may have ended before."""
        expect(page.locator("#requests li").nth(least - 1)).to_be_visible(timeout=TIMEOUT)

    def answers(self, page, number):
        """Waits for the end of the `number`-th answer; all of them."""
        footers = page.locator("#log .message.assistant footer")
        expect(footers).to_have_count(number, timeout=TIMEOUT)
        return page.locator("#log .message.assistant .text").all_inner_texts()

    def test_chat_streams(self):
        page = self.open()
        expect(page.locator("#model")).to_have_text("tiny-math")
        self.set_sampling(page, max_tokens=120)
        page.evaluate(
            """() => {
              window.grown = [];
              new MutationObserver(() => {
                const text = document.querySelector('#log .message.assistant .text');
                if (text) window.grown.push([performance.now(), text.textContent.length]);
              }).observe(document.getElementById('log'), {subtree: true, characterData: true});
            }"""
        )
        page.fill("#message", QUESTION)
        page.press("#message", "Enter")
        self.assertIn("#### 42", self.answers(page, 1)[0])
        grown = page.evaluate("window.grown")
        self.assertGreater(len({length for _, length in grown}), 3, "the text came at once")
        self.assertGreater(grown[-1][0] - grown[0][0], 1, "the text came within a millisecond")
        footer = page.locator("#log footer").inner_text()
        self.assertRegex(footer, r"first token .*tokens? · .*tok/s")
        # The conversation goes on, and is forgotten when a new one begins.
        page.fill("#message", "Sam has 5 apples and eats 2. How many apples are left?")
        page.click("#chat-form .send")
        self.answers(page, 2)
        page.click("#reset")
        expect(page.locator(".message")).to_have_count(0)
        expect(page.locator("#empty")).to_be_visible()

    def test_completions_fill_the_map(self):
        page = self.open()
        page.click("#tab-completion")
        self.set_sampling(page, temperature=1, max_tokens=200)
        page.click("#completion-form .send")  # its prompt is then known to the cache
        expect(page.locator(".completion footer")).to_have_count(1, timeout=TIMEOUT)
        page.fill("#answers", "10")
        canvas = page.locator("#blocks")
        before = canvas.evaluate("canvas => canvas.toDataURL()")
        page.click("#completion-form .send")
        expect(page.locator("#blocks-text")).to_contain_text("of them shared", timeout=TIMEOUT)
        self.sees_requests(page, 5)
        during = canvas.evaluate("canvas => canvas.toDataURL()")
        self.assertNotEqual(before, during)
        self.screenshot(page, "completions")
        expect(page.locator(".completion footer")).to_have_count(2, timeout=TIMEOUT)
        texts = page.locator(".answers .generated").all_inner_texts()
        self.assertEqual(len(texts), 10)
        self.assertTrue(all(texts))
        expect(page.locator("#blocks-text")).to_contain_text("0 in use", timeout=TIMEOUT)
        self.assertNotEqual(during, canvas.evaluate("canvas => canvas.toDataURL()"))
        expect(page.locator("#blocks-hint")).to_contain_text("blocks of 16 tokens")
        page.hover("#blocks", position={"x": 5, "y": 5})
        expect(page.locator("#blocks-hint")).to_contain_text("Block 0: ")
        self.assertNotEqual(page.locator("#steps-text").inner_text(), "none yet")
        page.hover("#steps", position={"x": 600, "y": 40})
        expect(page.locator("#steps-hint")).to_contain_text("decode row")

    def test_an_answer_is_stopped(self):
        page = self.open()
        page.click("#tab-completion")
        page.fill("#prompt", "Question:")
        self.set_sampling(page, temperature=1, seed=7, max_tokens=1900)
        page.fill("#answers", "8")
        page.click("#completion-form .send")
        self.sees_requests(page, 4)
        page.click("#completion-form .stop")
        expect(page.locator(".completion footer")).to_have_text("stopped")
        expect(page.locator("#blocks-text")).to_contain_text("0 in use", timeout=TIMEOUT)
        expect(page.locator("#completion-form .send")).to_be_visible()

    def test_backends_are_switched_in_the_midst(self):
        page = self.open()
        self.set_sampling(page, max_tokens=200)
        page.fill("#message", QUESTION)
        page.press("#message", "Enter")
        expected = self.answers(page, 1)[0]
        radios = page.locator("#attention input[type=radio]:enabled")
        names = radios.evaluate_all("all => all.map(radio => radio.value)")
        self.assertEqual(names[0], "auto")
        self.assertGreaterEqual(len(names), 3)
        for name in names[1:] + names[:1]:
            page.click("#reset")
            page.fill("#message", QUESTION)
            page.press("#message", "Enter")
            expect(page.locator("#log .message.assistant .text")).not_to_have_text("", timeout=TIMEOUT)
            page.check(f"#attention input[value={name}]")
            self.assertEqual(self.answers(page, 1)[0], expected)
            if name != "auto":
                expect(page.locator("#attention strong")).to_have_text(name)
        expect(page.locator("#attention input[value=auto]")).to_be_checked()
        # Reasons of those that cannot serve, costs of the others.
        rows = page.locator("#attention tbody tr").all_inner_texts()
        self.assertTrue(all(len(row.strip()) > len("portable") for row in rows), rows)

    def test_errors_are_sentences(self):
        page = self.open()
        self.expected = "status of 400"
        self.set_sampling(page, temperature=-1)
        page.fill("#message", "Hello")
        page.press("#message", "Enter")
        expect(page.locator("#error")).to_contain_text("temperature")
        expect(page.locator("#message")).to_have_value("Hello")  # to be sent again
        expect(page.locator(".message")).to_have_count(0)
        self.screenshot(page, "error")
        self.set_sampling(page, temperature=0)
        page.press("#message", "Enter")
        self.answers(page, 1)
        expect(page.locator("#error")).to_be_hidden()
        # The switch of another client, or of a stale page, to what this build lacks.
        page.locator("#attention input[value=reference]").evaluate("radio => radio.value = 'nonsense'")
        page.locator("#attention input[value=nonsense]").click()
        expect(page.locator("#attention-error")).to_contain_text("'nonsense' is unknown")
        expect(page.locator("#attention input[value=reference]")).to_be_visible()

    def test_text_is_never_markup(self):
        page = self.open()
        hostile = "<img src=x onerror=alert(1)><script>alert(2)</script> <b>bold</b>"
        self.set_sampling(page, max_tokens=8)
        page.fill("#message", hostile)
        page.press("#message", "Enter")
        self.answers(page, 1)
        expect(page.locator(".message.user .text")).to_have_text(hostile)
        self.assertEqual(page.locator(".message img, .message script, .message b").count(), 0)

    def test_keyboard_alone(self):
        page = self.open()
        page.keyboard.press("Tab")
        focused = "document.activeElement.id || document.activeElement.className"
        self.assertEqual(page.evaluate(focused), "skip")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate(focused), "tab-chat")
        self.set_sampling(page, max_tokens=8)
        page.focus("#tab-chat")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#panel-completion")).to_be_visible()
        expect(page.locator("#tab-completion")).to_be_focused()
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#panel-chat")).to_be_visible()
        for _ in range(20):
            if page.evaluate(focused) == "message":
                break
            page.keyboard.press("Tab")
        page.keyboard.type("How many")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("pears?")
        page.keyboard.press("Enter")
        self.answers(page, 1)
        expect(page.locator(".message.user .text")).to_have_text("How many\npears?")
        # The choice of a backend, which keeps the focus while the table is drawn again.
        page.focus("#attention input[value=auto]")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#attention input[value=portable]")).to_be_checked()
        expect(page.locator("#attention strong")).to_have_text("portable")
        expect(page.locator("#attention input[value=portable]")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.locator("#attention input[value=auto]")).to_be_checked()

    def test_phone_and_dark(self):
        for name, width, height, scheme in [("phone", 390, 844, "light"), ("phone-dark", 360, 740, "dark"),
                                            ("light", 1360, 1150, "light"), ("dark", 1360, 1150, "dark")]:
            with self.subTest(name):
                page = self.open(width=width, height=height, scheme=scheme)
                page.click(".example >> nth=0")
                self.answers(page, 1)
                page.click("#tab-completion")
                page.fill("#prompt", EXAMPLES + "Question: Quinn has 27 ribbons.")
                self.set_sampling(page, temperature=1, max_tokens=40)
                page.click("#completion-form .send")
                expect(page.locator(".completion footer")).to_have_count(1, timeout=TIMEOUT)
                self.set_sampling(page, max_tokens=150)
                page.fill("#answers", "16")
                page.click("#completion-form .send")
                self.sees_requests(page, 8)
                page.check(f"#attention input[value={'portable' if name == 'light' else 'auto'}]")
                page.wait_for_timeout(700)
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)
                self.screenshot(page, name, full_page=True)
                colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
                brightness = sum(int(part) for part in re.findall(r"\d+", colour)[:3])
                self.assertEqual(brightness < 300, scheme == "dark", colour)
                page.context.close()

    def test_key_many_blocks_and_a_server_that_ends(self):
        # Blocks of one token: tens of thousands of them.
        server = Server("--api-key", "secret", "--kv-cache-size", "160MiB", "--block-size", "1")
        self.addCleanup(server.stop)
        self.expected = "status of 401|status of 503|ERR_"
        page = self.open(url=server.url, live=False)
        expect(page.locator("#status")).to_have_text("API key needed", timeout=TIMEOUT)
        expect(page.locator("#error")).to_contain_text("API key")
        self.screenshot(page, "key")
        page.fill("#key", "secret")
        page.press("#key", "Enter")
        expect(page.locator("#status")).to_have_text("live")
        expect(page.locator("#error")).to_be_hidden()
        page.click(".example >> nth=1")
        self.answers(page, 1)
        page.click("#blocks-all")
        blocks = int(re.search(r"Map of ([\d,]+)", page.locator("#blocks").get_attribute("aria-label"))[1].replace(",", ""))
        self.assertGreater(blocks, 20_000)
        height = page.locator("#blocks").evaluate("canvas => canvas.clientHeight")
        self.assertTrue(100 < height < 600, height)
        page.click("#tab-completion")
        self.set_sampling(page, temperature=1, max_tokens=300)
        page.fill("#answers", "24")
        page.click("#completion-form .send")
        self.sees_requests(page, 12)
        page.wait_for_timeout(1500)
        self.screenshot(page, "many-blocks")
        server.stop()
        expect(page.locator("#status")).to_have_text("not connected", timeout=TIMEOUT)
        page.click("#completion-form .send")
        expect(page.locator("#error")).to_contain_text("does not answer")


def main():
    global options, browser
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/release/tessera"))
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--screenshots", help="a folder to put pictures of the page into")
    options, rest = parser.parse_known_args()
    started = time.monotonic()
    with sync_playwright() as playwright:
        # Without its sandbox, which containers forbid: it sees nothing but this server.
        browser = playwright.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        program = unittest.main(argv=[sys.argv[0], *rest], exit=False, verbosity=2)
        browser.close()
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(not program.result.wasSuccessful())


if __name__ == "__main__":
    main()
