"""The page in a real browser, without a network."""

from __future__ import annotations

import time

import pytest

from trajlab.report import report

SHOT = "() => document.querySelector('.stage canvas').toDataURL()"
CHANGED = """(urls) => {  // the share of pixels that differ between two pictures
    const pixels = (url) => new Promise((done) => {
        const image = new Image(), canvas = document.createElement('canvas'), context = canvas.getContext('2d');
        image.onload = () => {
            canvas.width = image.width; canvas.height = image.height; context.drawImage(image, 0, 0);
            done(context.getImageData(0, 0, canvas.width, canvas.height).data);
        };
        image.src = url;
    });
    return Promise.all(urls.map(pixels)).then(([p, q]) => {
        let n = 0;
        for (let k = 0; k < p.length; k += 4) if (Math.abs(p[k] - q[k]) > 40) n++;
        return 4 * n / p.length;
    });
}"""


@pytest.fixture(scope="module")
def path(evaluation, tmp_path_factory):
    return report(evaluation).save(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def page(chromium, path):  # one page for all: drawing without a GPU is slow to start
    page = chromium.new_page(viewport={"width": 1000, "height": 800}, color_scheme="light")
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".pane[data-frame]")
    yield page
    page.close()


def colours(page) -> int:
    """How many different colours the first stage shows."""
    return page.evaluate("""() => { const c = document.querySelector('.stage canvas'), d = document.createElement('canvas');
        d.width = c.width; d.height = c.height; const g = d.getContext('2d'); g.drawImage(c, 0, 0);
        return new Set(new Uint32Array(g.getImageData(0, 0, d.width, d.height).data.buffer)).size; }""")


def frame(page) -> int:
    return int(page.get_attribute(".pane", "data-frame"))


def seek(page, value: int) -> None:
    page.eval_on_selector("#slider", f"e => {{ e.value = {value}; e.dispatchEvent(new Event('input')); }}")


def test_loads_quietly_and_draws(page):
    assert page.complaints == []
    assert len(page.requests) == 1
    assert page.locator(".pane").count() == 2
    assert colours(page) > 100
    assert "1.834" in page.inner_text("table")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1000


def test_play_advances_and_pause_stops(page):
    seek(page, 0)
    page.click("#play")
    deadline = time.monotonic() + 20  # the page forbids eval, so wait here and not in the page
    while frame(page) <= 2 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.click("#play")
    assert frame(page) > 2
    stopped = frame(page)
    page.wait_for_timeout(150)
    assert frame(page) == stopped
    assert page.inner_text("#clock").endswith("/ 273 fs")



def test_slider_seeks_and_orientation_is_held(page):
    seek(page, 0)
    start = page.evaluate(SHOT)
    seek(page, 15)
    assert frame(page) == 15
    held = page.evaluate(CHANGED, [start, page.evaluate(SHOT)])
    page.uncheck("#hold")
    turned = page.evaluate(CHANGED, [start, page.evaluate(SHOT)])
    assert held < 0.002  # the molecule is rigid: held, it stands still
    assert turned > 0.02


def test_theme_button_turns_the_page_dark(page):
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_phone_has_no_sideways_scroll(chromium, path):
    page = chromium.new_page(viewport={"width": 375, "height": 700})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.close()


def test_without_webgl_the_page_says_so(chromium, path):
    page = chromium.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = new Proxy(HTMLCanvasElement.prototype.getContext, "
                         "{ apply: (f, self, args) => String(args[0]).startsWith('webgl') ? null : Reflect.apply(f, self, args) })")
    page.goto(path.as_uri())
    assert "no WebGL" in page.inner_text(".stage")
    assert not page.is_visible("#play")
    page.close()
