"""What secrets look like: one table of rules, each with the page that publishes the form it looks for.

A rule is quick to dismiss a text: it says which words are in every text that it can find anything in. Its pattern
starts with such a word and is bounded in length, so that no text takes more than linear time.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a text that is examined.

    :ivar folded: the text in lower case, character by character.
    """

    text: str
    folded: str

    @classmethod
    def of(cls, text: str) -> Page:
        """Return the page of a text. ``İ`` is the one character that lower case would make longer."""
        return cls(text, text.replace("İ", "I").lower())

    def places(self, words: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Yield where each of ``words`` starts and ends. Patterns that start with several words are much slower."""
        for word in words:
            start = self.folded.find(word)
            while start >= 0:
                yield start, start + len(word)
                start = self.folded.find(word, start + len(word))


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that a rule found: from where to where, and what a person may be shown of it."""

    start: int
    end: int
    shown: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Something that should not leave the author's machine unnoticed.

    :ivar name: part of the id of what is found; never changes.
    :ivar what: the same for people.
    :ivar source: where the form is published.
    :ivar words: in lower case; what is found has one of them.
    :ivar find: yields what a page has of it.
    """

    name: str
    what: str
    source: str
    words: tuple[str, ...]
    find: Callable[[Page], Iterator[Hit]]

    def hits(self, page: Page) -> Iterator[Hit]:
        """Yield what ``page`` has of it."""
        if any(word in page.folded for word in self.words):
            yield from self.find(page)


def masked(secret: str, *, start: int = 4) -> str:
    """Return a secret without its middle, which is most of it.

    :param start: characters to keep of a long one; its kind is written there.

    >>> masked("hf_abcdefghijklmnop"), masked("hunter22")
    ('hf_a…op', 'h…')
    """
    return f"{secret[:start]}…{secret[-2:]}" if len(secret) >= start + 12 else f"{secret[:1]}…"


# --- Is it random? ----------------------------------------------------------------------------------------------------

_FREQUENT = """
    ab ac ad ag ai al am an ap ar as at au ba be bi bl bo bu ca ce ch ci ck cl co cr ct cu da dd de di do ds du ea ec
    ed ee ef eg el em en ep er es et ev ex ey fa fe ff fi fl fo fu ge gh gi gn go gr ha he hi ho ht ia ib ic id ie if ig
    il im in io ip ir is it iv iz ke la ld le li ll lo ls lt lu ly ma me mi mo mp ms na nc nd ne nf ng ni no ns nt nu ob
    oc od og ok ol om on oo op or os ot ou ov ow pa pe pi pl po pp pr pt pu qu ra rc rd re ri rl rm rn ro rr rs rt ru ry
    sa sc se sh si sl so sp ss st su ta tc te th ti tl to tr ts tt tu ty ua ub uc ue ui ul um un up ur us ut va ve vi wa
    wi xe xp xt yp ze
"""
"""The 200 pairs of letters that are most frequent in the words of Python's and this project's documentation and code:
88 % of all pairs there, 30 % of random ones."""
_PAIRS = frozenset(_FREQUENT.split())

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_PLACEHOLDER = re.compile(
    r"""
      \$\w+ | \$\{\w*\} | \$?\{\{.* | \$?\(.* | \{.*\} | %\w+% | %\(\w+\)s | <.*>? | \[.*\]
    | (.)\1* | .*(?:x{4}|\*{3}|\.{3}|…).*
    | (?:your|my|the|insert|replace|change|enter|example|dummy|fake)(?:[-_.].*)?
    | (?:placeholder|redacted|masked|removed|hidden|todo)(?:[-_.].*)?
    | (?:your|my|change|replace)(?:me|it|this|token|password|secret|key|apikey)
    | .*example
    | (?:user|username|login|pass|passw|password|passwd|pwd|passphrase|secret|token|none|null|true|false|undefined)
    """,
    re.VERBOSE,
)
"""What stands for a secret that is elsewhere: variables, templates, ``xxxx``, ``changeme``."""


def placeholder(value: str) -> bool:
    """Say whether ``value`` only marks the place of a secret.

    >>> placeholder("${API_TOKEN}"), placeholder("changeme"), placeholder("hunter22")
    (True, True, False)
    """
    return bool(_PLACEHOLDER.fullmatch(value.lower()))


def entropy(text: str) -> float:
    """Return the Shannon entropy of the characters of ``text``, in bits per character.

    C. E. Shannon, A mathematical theory of communication, Bell System Technical Journal 27 (1948) 379, section 6.
    """
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def random_looking(value: str, least: int) -> bool:
    """Say whether ``value`` is long, varied, and not made of words.

    Measured on random tokens in base64: one in 1000 of 20 characters is missed, one in 3000 of 24, one in 25 000 of 32,
    one in 200 000 of 40.

    :param least: characters that it must have.
    """
    return len(value) >= least and entropy(value) >= (2.75 if least >= 16 else 2.5) and not _wordy(value)


def _wordy(value: str) -> bool:
    """Say whether ``value`` seems to be made of words, with at most some numbers between."""
    pairs = common = changes = 0
    lower = value.lower()
    for left, right in pairwise(lower):
        if left.isalpha() and right.isalpha():
            pairs += 1
            common += left + right in _PAIRS or not (left + right).isascii()
        elif left.isalnum() and right.isalnum() and left.isalpha() != right.isalpha():
            pairs += 1
            changes += 1
    if not pairs:
        return True  # a number, or signs
    pieces = _PIECE.findall(value)
    mixed = value != lower and value != value.upper() and sum(map(len, pieces)) < 2.6 * len(pieces)
    least = 0.6 if changes or mixed or value.isalpha() is False else 0.45
    return common >= least * pairs and changes < 4 and not mixed


# --- Secrets with a form of their own ---------------------------------------------------------------------------------


def _shape(name: str, what: str, prefix: str, rest: str, source: str, *, varied: bool = True) -> Rule:
    """Return a rule for what starts with ``prefix``, not inside a word, and goes on with the pattern ``rest``.

    :param varied: whether the rest must not be made of words.
    """
    # The prefix comes first, the condition on what stands before it second: this way re skips to the prefix.
    start = re.escape(prefix)
    pattern = re.compile(rf"{start}(?:(?<![A-Za-z0-9_]{start})|(?<=\\[nrt]{start}))(?:{rest})")

    def find(page: Page) -> Iterator[Hit]:
        for match in pattern.finditer(page.text):
            found = match[0]
            random = found.removeprefix(prefix)
            if placeholder(random) or (varied and not random_looking(random, 16)):
                continue
            yield Hit(match.start(), match.end(), masked(found, start=len(prefix)))

    return Rule(name=name, what=what, source=source, words=(prefix.lower(),), find=find)


_GITHUB = (
    "https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github"
)
_GITLAB = "https://docs.gitlab.com/security/tokens/#token-prefixes"
_SLACK = "https://docs.slack.dev/authentication/tokens/"
_AWS = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids"

_JWT = r"[A-Za-z0-9_-]{10,4096}\.[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{10,4096}"

_SHAPES: tuple[tuple[str, str, str, str, str], ...] = (
    *(
        ("github-token", "a GitHub token", prefix, r"[A-Za-z0-9]{36,255}", _GITHUB)
        for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
    ),
    ("github-token", "a GitHub token", "github_pat_", r"[A-Za-z0-9_]{22,255}", _GITHUB),
    *(
        ("gitlab-token", "a GitLab token", prefix, r"[A-Za-z0-9_.-]{20,300}", _GITLAB)
        for prefix in ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glimt-", "glagent-", "gloas-")
    ),
    (
        "huggingface-token",
        "a Hugging Face token",
        "hf_",
        r"[A-Za-z0-9]{30,255}",
        "https://huggingface.co/docs/hub/security-tokens",
    ),
    ("pypi-token", "a PyPI token", "pypi-", r"Ag[A-Za-z0-9_-]{50,1000}", "https://github.com/pypi/warehouse"),
    ("npm-token", "an npm token", "npm_", r"[A-Za-z0-9]{36}", "https://docs.npmjs.com/about-access-tokens"),
    (
        "docker-token",
        "a Docker token",
        "dckr_pat_",
        r"[A-Za-z0-9_-]{20,255}",
        "https://docs.docker.com/security/access-tokens/",
    ),
    ("slack-token", "a Slack token", "xox", r"[a-z]-[A-Za-z0-9-]{16,255}", _SLACK),
    ("slack-token", "a Slack token", "xapp-", r"[A-Za-z0-9-]{16,255}", _SLACK),
    ("aws-key", "an AWS access key", "AKIA", r"[A-Z2-7]{16}(?![A-Za-z0-9])", _AWS),
    ("aws-key", "an AWS access key", "ASIA", r"[A-Z2-7]{16}(?![A-Za-z0-9])", _AWS),
    (
        "google-key",
        "a Google API key",
        "AIza",
        r"[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
        "https://cloud.google.com/docs/authentication/api-keys",
    ),
    (
        "google-key",
        "a Google client secret",
        "GOCSPX-",
        r"[A-Za-z0-9_-]{20,64}",
        "https://developers.google.com/identity/protocols/oauth2",
    ),
    (
        "sk-key",
        "an API key (OpenAI, Anthropic and others)",
        "sk-",
        r"[A-Za-z0-9_-]{20,300}",
        "https://platform.openai.com/docs/api-reference/authentication",
    ),
    ("stripe-key", "a Stripe key", "sk_live_", r"[A-Za-z0-9]{16,255}", "https://docs.stripe.com/keys"),
    ("web-token", "a JSON Web Token", "eyJ", _JWT, "RFC 7519, section 3.1"),
    (
        "eos-token",
        "an EOS token",
        "zteos64:",
        r"[A-Za-z0-9_+/=%-]{20,4096}",
        "https://eos-docs.web.cern.ch/diopside/manual/using.html#tokens",
    ),
    ("age-key", "an age private key", "AGE-SECRET-KEY-1", r"[A-Z0-9]{50,64}", "https://age-encryption.org/v1"),
)
"""Name, what it is, prefix, pattern of what follows, source."""


def _private_keys(page: Page) -> Iterator[Hit]:
    """Find PEM: the header, the key, and nothing of what follows its end."""
    for match in re.compile(r"-----BEGIN ([A-Z0-9]{1,16} ){0,4}PRIVATE KEY( BLOCK)?-----").finditer(page.text):
        end = page.text.find("-----", match.end(), match.end() + 20_000)
        body = page.text[match.end() : end if end >= 0 else match.end() + 20_000]
        if re.search(r"[A-Za-z0-9+/=]{32}", body):
            yield Hit(match.start(), match.end() + len(body), match[0])


_USER_INFO = re.compile(r"""://([^\s/?#:@"'`<>\\]{0,128}):([^\s/?#@"'`<>\\]{1,256})@(?=[\w\[$%{<-])""")


def _passwords_in_addresses(page: Page) -> Iterator[Hit]:
    for match in _USER_INFO.finditer(page.text):
        if not placeholder(match[2]):
            yield Hit(match.start(1), match.end(), f"{match[1]}:{match[2][:1]}…@")


_PARAMETERS = ("token=", "key=", "signature=", "authz=", "sig=", "password=", "secret=")
_QUERY = re.compile(r"[?&;](?:[\w.-]{0,32}[_.-])?(?:access|auth|private|id|refresh|preview|api)?[_-]?\Z")
_GIVEN = re.compile(r"[\w.~%+/=:-]{16,4096}")


def _parameters_of_addresses(page: Page) -> Iterator[Hit]:
    for start, end in page.places(_PARAMETERS):
        match = _GIVEN.match(page.text, end)
        name = page.folded[max(0, start - 48) : start]
        if match and _QUERY.search(name) and not placeholder(match[0]) and random_looking(_bare(match[0]), 16):
            yield Hit(end, match.end(), f"{page.text[start:end]}{masked(match[0])}")


def _bare(value: str) -> str:
    return value.removeprefix("Bearer%20").removeprefix("Bearer+")


_HEADER = re.compile(
    r"""authorization["'\]]{0,3}\s{0,4}[:=,]\s{0,4}f?["']?(?:bearer|basic|token)\s{1,4}([\w.~+/=-]{12,8192})"""
)


def _headers(page: Page) -> Iterator[Hit]:
    for match in _HEADER.finditer(page.folded):
        value = page.text[match.start(1) : match.end(1)]
        if not placeholder(value) and random_looking(value, 12):
            yield Hit(match.start(1), match.end(1), masked(value))


_NETRC = re.compile(r"\s{1,8}\S{1,128}\s{1,8}password\s{1,8}(\S{3,255})")
_MACHINE = re.compile(r"(?:machine\s{1,8}\S{1,255}|default)\s{1,8}\Z")


def _netrc(page: Page) -> Iterator[Hit]:
    for start, end in page.places(("login",)):
        match = _NETRC.match(page.folded, end)
        if match and _MACHINE.search(page.folded[max(0, start - 280) : start]):
            value = page.text[match.start(1) : match.end(1)]
            if not placeholder(value):
                yield Hit(match.start(1), match.end(1), masked(value))


_HOOK = re.compile(
    r"/(?:services/t[a-z0-9]{6,16}/b[a-z0-9]{6,16}/[a-z0-9]{16,64}|hooks/[a-z0-9]{26}(?![a-z0-9])"
    r"|api/webhooks/[0-9]{15,22}/[\w-]{40,128})"
)


def _hooks(page: Page) -> Iterator[Hit]:
    for match in _HOOK.finditer(page.folded):
        found = page.text[match.start() : match.end()]
        if random_looking(found.rpartition("/")[2], 16):
            yield Hit(match.start(), match.end(), masked(found, start=found.rfind("/") + 1))


# --- Secrets by the name that they are given --------------------------------------------------------------------------

_WEAK = ("passw", "pwd", "passphrase", "secret")
"""In names of secrets that people choose, which may be short."""
_NAMES = ("token", "credential", "key", "auth", *_WEAK)
_KEY = re.compile(r"(?:api|access|private|encryption|signing|client|account|master|license)[-_.]?\Z")
"""What must stand before ``key``: there are keys that are none of locks."""

_ASSIGNMENT = re.compile(
    r"""
    [\w-]{0,40}
    (?P<closing> \\?["'\])]{0,3} )
    [ \t]{0,8}
    (?P<sign> :[ \t]{0,4}[\w.|\[\] ]{1,40}[ \t]= | [:=]{1,2} | => | <- | > | [ \t] )
    [ \t]{0,8}
    (?: [|>][+-]?[ \t]{0,8}\r?\n[ \t]{1,40} | \r?\n[ \t]{0,40}-[ \t]{1,8} | [\[(]\s{0,40} )?
    (?: [bru]{0,2}\\?["'`]{1,3}(?P<quoted>[^\s"'`\\]{6,1024})\\?["'`]
      | (?P<plain>[^\s"'`\\,;(){}\[\]<>&|=:]{6,1024}={0,3})(?![(\[]|:\s) )
    """,
    re.VERBOSE,
)
_NAME_START = re.compile(r"[\w.-]*\Z")
_VARIABLE = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
_HASHED = re.compile(r"sha\d|md5|adler|crc|digest|hash|checksum|fingerprint|public|identity")
_HEX = re.compile(r"(?:[a-z0-9]{3,8}[:-])?[0-9a-f]{8,128}")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,16}://")


def _assignments(page: Page) -> Iterator[Hit]:
    """Find values of names such as ``api_token``, in YAML, JSON, INI, TOML, Python, shell and XML."""
    for at, after in page.places(_NAMES):
        match = _ASSIGNMENT.match(page.folded, after)
        if match is None:
            continue
        before = page.folded[max(0, at - 40) : at]
        word = page.folded[at:after]
        if (word == "key" and not _KEY.search(before)) or (word == "auth" and page.folded[after : after + 1].isalpha()):
            continue
        name = _NAME_START.search(before)[0] + page.folded[at : match.start("closing")]  # type: ignore[index] # finds ""
        if match["sign"].isspace() and not name.startswith("-"):
            continue  # a blank is an assignment only for options of commands
        quoted = match["quoted"] is not None
        start, end = match.span("quoted" if quoted else "plain")
        value = page.text[start:end]
        if _is_secret(name, value, literal=quoted or match["sign"] in (":", ">", " ")):
            yield Hit(start, end, f"{name}: {masked(value)}")


def _is_secret(name: str, value: str, *, literal: bool) -> bool:
    """Say whether ``value`` is worth hiding.

    :param literal: whether it is surely a text; ``password=password2`` may name a variable.
    """
    folded = value.lower()
    if placeholder(value) or _ADDRESS.match(folded):
        return False
    if (_HASHED.search(name) and _HEX.fullmatch(folded)) or (not literal and _VARIABLE.fullmatch(value)):
        return False
    weak = any(word in name for word in _WEAK)
    return random_looking(value, 8 if weak else 16) or (weak and literal and _chosen(value))


def _chosen(value: str) -> bool:
    """Say whether ``value`` looks like a password that somebody chose: letters with digits or signs, no path."""
    plain = not re.search(r"[/_.:\\-]", value)
    return len(value) >= 7 and plain and not value.isalpha() and not value.isnumeric() and entropy(value) >= 2.5


RULES: tuple[Rule, ...] = (
    Rule(
        name="private-key",
        what="a private key",
        source="RFC 7468, section 10; X.509 proxies of RFC 3820 end in one; OpenSSH's and PGP's are written alike",
        words=("private key",),
        find=_private_keys,
    ),
    *(_shape(*row) for row in _SHAPES),
    Rule(
        name="webhook",
        what="a chat webhook",
        source="https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/ and its like elsewhere",
        words=("/services/t", "/hooks/", "/api/webhooks/"),
        find=_hooks,
    ),
    Rule(
        name="address-password",
        what="a password in an address",
        source="RFC 3986, section 3.2.1",
        words=("://",),
        find=_passwords_in_addresses,
    ),
    Rule(
        name="address-token",
        what="a token in an address",
        source="RFC 6750, section 2.3; https://developers.zenodo.org/#authentication",
        words=_PARAMETERS,
        find=_parameters_of_addresses,
    ),
    Rule(
        name="header",
        what="credentials of an HTTP request",
        source="RFC 6750, section 2.1; RFC 7617, section 2",
        words=("authorization",),
        find=_headers,
    ),
    Rule(
        name="netrc",
        what="a password for .netrc",
        source="https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html",
        words=("login",),
        find=_netrc,
    ),
    Rule(
        name="assignment",
        what="what looks like a secret",
        source="the name that it is given, and Shannon's entropy of its characters",
        words=_NAMES,
        find=_assignments,
    ),
)
"""What is looked for; where two find the same, the first in this table is reported."""
