"""A package index over HTTP on this machine, with tiny wheels that the tests make."""

import base64
import hashlib
import json
import os
import socket
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

JSON_PAGE = "application/vnd.pypi.simple.v1+json"


def wheel(folder: Path, file: str, *, requires=(), python=None, module=None, content="", time=(2020, 1, 1, 0, 0, 0)):
    """Write a wheel of one module, without scripts, and return its path; its file name says the rest."""
    name, version, *_ = file.split("-")
    tags = file.removesuffix(".whl").split("-")[-3:]
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {item}" for item in requires] + ([f"Requires-Python: {python}"] if python else [])
    tag_lines = [
        f"Tag: {a}-{b}-{c}" for a in tags[0].split(".") for b in tags[1].split(".") for c in tags[2].split(".")
    ]
    members = {
        f"{module or name}.py": content or f"version = {version!r}\n",
        f"{info}/METADATA": "\n".join([*metadata, "", ""]),
        f"{info}/WHEEL": "\n".join(
            ["Wheel-Version: 1.0", "Generator: tests", "Root-Is-Purelib: true", *tag_lines, "", ""]
        ),
    }
    record = [f"{member},sha256={encoded(text)},{len(text.encode())}\n" for member, text in members.items()]
    members[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / file, "w") as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, time), text)
    return folder / file


def encoded(text: str) -> str:
    """Return the sha256 of a file's text as RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Return the environment variables of someone with no configuration of pip and uv, but ``variables``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "GIT_"))}
    kept |= {"PIP_CONFIG_FILE": os.devnull, "UV_CACHE_DIR": f"{home}/uv", "PIP_CACHE_DIR": f"{home}/pip"}
    return {**kept, **variables}


def closed_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@dataclass
class Index:
    """The files of ``folder``, by project, as PEP 503 (HTML) or PEP 691 (JSON) pages; what was asked for, in order.

    ``hidden`` are files for which no hash is stated; ``yanked`` has reasons, by file name.
    """

    folder: Path
    as_json: bool = True
    hidden: frozenset[str] = frozenset()
    yanked: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, path: str) -> tuple[str, bytes] | None:
        parts = path.strip("/").split("/")
        if parts[0] == "files" and (self.folder / parts[-1]).is_file():
            return "application/octet-stream", (self.folder / parts[-1]).read_bytes()
        if parts[0] != "simple" or len(parts) != 2:
            return None
        files = sorted(file for file in self.folder.iterdir() if file.name.split("-")[0].replace("_", "-") == parts[1])
        if not files:
            return None
        page = self.json_page(parts[1], files) if self.as_json else self.html_page(files)
        return (JSON_PAGE if self.as_json else "text/html"), page.encode()

    def json_page(self, project, files):
        items = [
            {
                "filename": file.name,
                "url": f"/files/{file.name}",
                "hashes": {} if file.name in self.hidden else {"sha256": sha256(file)},
                "size": file.stat().st_size,
                "yanked": self.yanked.get(file.name, False),
            }
            for file in files
        ]
        return json.dumps({"meta": {"api-version": "1.1"}, "name": project, "versions": ["1.0"], "files": items})

    def html_page(self, files):
        lines = []
        for file in files:
            hashed = "" if file.name in self.hidden else f"#sha256={sha256(file)}"
            yanked = f' data-yanked="{self.yanked[file.name]}"' if file.name in self.yanked else ""
            lines.append(f'<a href="/files/{file.name}{hashed}"{yanked}>{file.name}</a><br>')
        return f"<!DOCTYPE html><html><body>{''.join(lines)}</body></html>"


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """Serve ``index`` at ``index.address`` while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            index.asked.append(self.path)
            found = index.answer(self.path)
            self.send_response(200 if found else 404)
            kind, content = found or ("text/plain", b"")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        index.address = f"http://127.0.0.1:{server.server_port}/simple"
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
