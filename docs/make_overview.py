"""Makes the picture of the README, ``docs/images/overview.png``: ``python docs/make_overview.py``.

Packs, verifies and replays the example, puts what the commands print beside the preview page of the bundle, and takes a
picture of it with Chromium. Needs the command ``chromium`` (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from string import Template

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "overview.png"
BUNDLE = "dimuon.crate.zip"
EPOCH = "1767225600"
WIDTH, HEIGHT, SCALE = 920, 462, 2
"""Of the picture in CSS pixels, and pixels per each of these."""
BROWSER = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=5000",
)

PAGE = Template("""<!doctype html><meta charset="utf-8"><title>overview</title>
<style>
  body { margin: 0; width: ${width}px; height: ${height}px; display: flex; gap: 18px; background: #fff; }
  .window { margin: 6px; border-radius: 8px; overflow: hidden; box-shadow: 0 1px 5px #0005; }
  .window { display: flex; flex-direction: column; }
  .bar { font: 11px sans-serif; color: #57606a; background: #e7eaee; padding: 6px 10px; }
  .bar::before { content: "●●●"; letter-spacing: 3px; color: #b3bac2; margin-right: 10px; }
  .terminal { width: 414px; background: #16202b; }
  pre { font: 9.8px/1.77 "DejaVu Sans Mono", monospace; color: #d7dee6; margin: 0; padding: 12px 14px; }
  pre div { white-space: pre; overflow: hidden; text-overflow: ellipsis; min-height: 1.5em; }
  .command { color: #fff; font-weight: bold; }
  .good { color: #5fd38d; }
  .end { color: #5fd38d; font-weight: bold; }
  .page { flex: 1; background: #fff; }
  iframe { border: 0; width: 100%; display: block; flex: none; zoom: 0.76; }
  #top { height: 146px; }
  #plot { flex: 1; border-top: 3px dashed #c3c9d0; }
</style>
<div class="window terminal"><div class="bar">a reader's machine</div><pre>$lines</pre></div>
<div class="window page"><div class="bar">ro-crate-preview.html, in the bundle</div>
<iframe id="top" srcdoc="$preview"></iframe><iframe id="plot" srcdoc="$preview"></iframe></div>
<script>
  addEventListener("load", () => {
    const plot = document.getElementById("plot"), page = plot.contentDocument;
    const title = [...page.querySelectorAll("h3")].find(heading => heading.textContent.trim() === "DiMuonMass");
    plot.contentWindow.scrollTo(0, title.getBoundingClientRect().top - 22);
  });
</script>
""")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        transcript = replayed(here)
        (here / "overview.html").write_text(page(here, transcript), encoding="utf-8")
        photographed(here / "overview.html", here / "profile")
    print(PICTURE, PICTURE.stat().st_size, "bytes")


def replayed(here: Path) -> list[tuple[str, str]]:
    """Return the commands that are shown, and what each prints on stdout."""
    printed(here, "fasthep-archive init example", shown=False)
    printed(here / "example", f"fasthep-archive pack workflow.yaml -o ../{BUNDLE}", shown=False)
    shown = [f"python3 {BUNDLE}", f"fasthep-archive replay {BUNDLE} -o again --yes"]
    return [(command, printed(here, command)) for command in shown]


def printed(here: Path, command: str, *, shown: bool = True) -> str:
    program, *arguments = command.split()
    words = [sys.executable, *(["-m", "fasthep_archive"] if program == "fasthep-archive" else []), *arguments]
    errors = None if shown else subprocess.DEVNULL
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    done = subprocess.run(
        words, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, check=True
    )
    return done.stdout.replace(f"{here.resolve()}/", "").rstrip()


def page(here: Path, transcript: list[tuple[str, str]]) -> str:
    """Return the page that is photographed."""
    lines = []
    for command, output in transcript:
        lines += [("command", f"$ {command}"), *((kind(line), line) for line in output.splitlines()), ("", "")]
    with zipfile.ZipFile(here / BUNDLE) as bundle:
        preview = bundle.read("ro-crate-preview.html").decode()
    drawn = "".join(f'<div class="{style}">{html.escape(line)}</div>' for style, line in lines[:-1])
    return PAGE.substitute(width=WIDTH, height=HEIGHT, lines=drawn, preview=html.escape(preview))


def kind(line: str) -> str:
    """Return how a line of output is shown."""
    if line.endswith("outputs identical"):
        return "end"
    return "good" if line.startswith("✓") or ": sound" in line else ""


def photographed(source: Path, profile: Path) -> None:
    """Write the picture of the page ``source``."""
    PICTURE.parent.mkdir(exist_ok=True)
    options = [f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}", f"--screenshot={PICTURE}"]
    subprocess.run(
        [*BROWSER, *options, f"--user-data-dir={profile}", source.as_uri()], stderr=subprocess.DEVNULL, check=True
    )


if __name__ == "__main__":
    main()
