"""README.md, CITATION.cff, LICENSE and advice: what they say, and that no text of a user is taken for markup."""

import dataclasses
import re
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from descriptions import EVERY, HOSTILE, MINIMAL, RICH, data, product
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fasthep_archive.bundle.description import Description
from fasthep_archive.publish import citation, readme
from fasthep_archive.publish import license as licence
from fasthep_archive.publish.markdown import escape, link, paragraphs, table
from fasthep_archive.publish.readiness import readiness
from fasthep_archive.workflow.model import Author, Metadata, Related
from fasthep_archive.workflow.resource import resource

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.fixture(scope="module", params=EVERY)
def description(request: pytest.FixtureRequest) -> Description:
    return EVERY[request.param]


class Tags(HTMLParser):
    """Collects the elements of a page and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(text: str) -> Tags:
    return Tags(MARKDOWN.render(text))


def shown(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


# ---------------------------------------------------------------------------------------------- Markdown


MARKED = st.text(alphabet=st.sampled_from("\\`*_[](){}#+-=.!|<>&~$:;/\"' \n\t019aé"))


@given(st.one_of(st.text(), MARKED))
def test_escaped_text_is_shown_as_it_is_by_a_commonmark_reader(text: str) -> None:
    page = rendered(escape(text))
    assert shown(page.text) == shown(text)
    assert set(page.elements) <= {"p"}


@given(st.one_of(st.text(), MARKED))
def test_escaped_text_is_shown_as_it_is_in_a_heading_and_in_a_table(text: str) -> None:
    assert shown(rendered(f"# {escape(text)}").text) == shown(text)
    page = rendered(table(["a", "b:"], [[escape(text), "end"]]))
    assert set(page.elements) == {"table", "thead", "tr", "th", "tbody", "td"}
    assert shown(page.text) == shown(f"a b {text} end")


@given(text=MARKED, address=MARKED)
def test_a_link_is_one_link_whatever_it_holds(text: str, address: str) -> None:
    page = rendered(f"See {link(text, f'https://example.org/{address}')}.")
    assert page.elements == ["p", "a"]
    assert shown(page.text) == shown(f"See {shown(text)}.")


def test_blank_lines_part_paragraphs() -> None:
    assert rendered(paragraphs("One\ntwo.\n \t\nThree *four*.")).elements == ["p", "p"]


# ---------------------------------------------------------------------------------------------- README.md


def test_the_readme_holds_no_html_and_no_address_but_those_it_means(description: Description) -> None:
    page = rendered(readme.render(description).decode())
    assert not {"script", "img", "b"} & set(page.elements)
    assert all(re.match(r"https?://|data/", address) for address in page.addresses)


def test_the_readme_shows_title_and_description(description: Description) -> None:
    text = shown(rendered(readme.render(description).decode()).text)
    assert text.startswith(shown(f"{description.title} {description.description}"))


def test_the_readme_says_how_to_verify_with_python_or_a_shell_alone() -> None:
    text = readme.render(RICH).decode()
    assert "\npython3 BUNDLE.crate.zip\n" in text
    assert "\nsha256sum -c manifest-sha256.txt\nsha256sum -c tagmanifest-sha256.txt\n" in text


def test_the_readme_of_a_bundle_without_its_inputs_says_so() -> None:
    text = readme.render(dataclasses.replace(RICH, inputs=(data("data/inputs/a.root", embedded=False),))).decode()
    assert "sha256sum --ignore-missing -c manifest-sha256.txt" in text
    assert "references 1 of its inputs" in text


def test_the_readme_says_how_to_replay_with_and_without_the_engine() -> None:
    text = readme.render(RICH).decode()
    assert "```sh\npython3 BUNDLE.crate.zip replay\n```" in text
    assert "on Python 3.11 " in text
    assert "fasthep-archive 0.1.0 is installed, `fasthep-archive replay BUNDLE.crate.zip`" in text


def test_the_readme_links_every_output_with_both_digests() -> None:
    text = readme.render(RICH).decode()
    for file in RICH.outputs:
        assert file.content_digest
        row = next(line for line in text.splitlines() if f"]({file.path})" in line)
        assert f"`{file.sha256[:12]}`" in row
        assert f"`{file.content_digest[:12]}`" in row


def test_the_readme_cuts_long_tables_and_says_how_much_is_missing() -> None:
    outputs = tuple(product(f"data/outputs/{number}.json", "Mass") for number in range(250))
    text = readme.render(dataclasses.replace(MINIMAL, outputs=outputs)).decode()
    assert text.count("](data/outputs/") == 100
    assert "and 150 more" in text


def test_the_readme_leaves_no_placeholder_and_no_run_of_blank_lines(description: Description) -> None:
    text = readme.render(description).decode()
    assert not re.search(r"\$[a-z{]", text)
    assert "\n\n\n" not in text
    assert text.endswith(".\n")


def test_a_dollar_sign_in_a_text_is_no_placeholder() -> None:
    text = readme.render(dataclasses.replace(MINIMAL, title="$authors ${identity}")).decode()
    assert shown(rendered(text).text).startswith("$authors ${identity}")


def test_the_readme_names_an_author_in_reading_order_with_orcid() -> None:
    assert "[Josephine Carberry](https://orcid.org/0000-0001-5109-3700), CERN" in readme.render(RICH).decode()


# ---------------------------------------------------------------------------------------------- CITATION.cff


def cited(description: Description) -> dict[str, Any]:
    value = yaml.safe_load(citation.render(description))
    assert isinstance(value, dict)
    return value


def test_the_citation_has_what_the_schema_requires(description: Description) -> None:
    fields = cited(description)
    assert {"cff-version", "message", "title", "authors"} <= set(fields)
    assert fields["cff-version"] == "1.2.0"
    assert fields["type"] in ("software", "dataset")
    assert fields["authors"]
    assert date.fromisoformat(fields["date-released"]) == description.created.date()


def test_the_citation_gives_every_text_back(description: Description) -> None:
    fields = cited(description)
    assert fields["title"] == description.title
    assert fields.get("abstract", "") == description.description
    assert tuple(fields.get("keywords", ())) == description.keywords


@given(
    st.one_of(
        st.text(min_size=1),
        st.sampled_from(["on", "1e3", "0o17", "2026-11-22", "~", "- a", "a: b #c", "\u2028", "\x85", "\U0001f980"]),
    )
)
def test_any_title_survives_the_citation(title: str) -> None:
    assert cited(dataclasses.replace(MINIMAL, title=title, keywords=(title,)))["title"] == title


@pytest.mark.parametrize("title", ["on", "1e3", "~", HOSTILE])
def test_every_scalar_is_quoted(title: str) -> None:
    text = citation.render(dataclasses.replace(RICH, title=title)).decode()
    assert all(re.fullmatch(r' *(- )?([a-z-]+:|([a-z-]+: )?".*")', line) for line in text.splitlines())


def test_people_are_cited_by_family_and_given_names_and_groups_by_name() -> None:
    authors = [{key: value for key, value in author.items() if "name" in key} for author in cited(RICH)["authors"]]
    assert authors == [
        {"family-names": "Carberry", "given-names": "Josiah"},
        {"family-names": "Carberry", "given-names": "Josephine"},
        {"family-names": "Else", "given-names": "Someone"},
        {"family-names": "Person", "given-names": "Unaffiliated"},
        {"name": "FAST-HEP collaboration"},
    ]


def test_orcids_are_cited_as_addresses_and_emails_only_when_declared() -> None:
    first, second, *_ = cited(RICH)["authors"]
    assert (first["orcid"], first.get("email")) == ("https://orcid.org/0000-0002-1825-0097", None)
    assert second["email"] == "jo@example.org"


def test_an_author_named_twice_is_cited_once() -> None:
    someone = Author(name="Some One")
    assert len(cited(dataclasses.replace(MINIMAL, authors=(someone, someone)))["authors"]) == 1


def test_nobody_is_cited_as_not_stated() -> None:
    assert cited(MINIMAL)["authors"] == [{"name": "Author not stated"}]


@pytest.mark.parametrize(
    ("spdx", "fields"),
    [
        ("MIT", {"license": "MIT"}),
        ("NIST-PD", {"license": "NIST-PD"}),
        ("LicenseRef-own", {}),
    ],
)
def test_the_citation_names_a_licence_of_the_spdx_list_only(spdx: str, fields: dict[str, Any]) -> None:
    found = cited(dataclasses.replace(MINIMAL, license=spdx))
    assert {name: value for name, value in found.items() if name.startswith("license")} == fields


def test_what_is_identical_to_the_bundle_is_among_its_identifiers() -> None:
    works = (
        Related(identifier="doi:10.1000/182", relation="isIdenticalTo"),
        Related(identifier="https://example.org/x", relation="IsIdenticalTo"),
        Related(identifier="ins123", relation="isIdenticalTo"),
        Related(identifier="10.1000/183", relation="cites"),
    )
    identity, *same = cited(dataclasses.replace(MINIMAL, related=works))["identifiers"]
    assert identity["value"] == f"sha256:{MINIMAL.identity}"
    assert same == [{"type": "doi", "value": "10.1000/182"}, {"type": "url", "value": "https://example.org/x"}]


def test_the_reference_for_people_names_authors_year_title_and_identity() -> None:
    authors = "Carberry, Josiah; Carberry, Josephine; Else, Someone; Person, Unaffiliated; FAST-HEP collaboration"
    assert citation.citation(RICH) == (
        f"{authors} (2026): Dimuon mass in 2015 open data, version 2.0. Archived analysis, sha256:{RICH.identity}."
    )


# ---------------------------------------------------------------------------------------------- LICENSE


@pytest.mark.parametrize("spdx", licence._TEXTS)
def test_a_licence_we_carry_is_given_in_full_after_its_identifier(spdx: str) -> None:
    text = licence.render(dataclasses.replace(RICH, license=spdx)).decode()
    assert text.startswith(f"SPDX-License-Identifier: {spdx}\n\n")
    assert len(text) > 1000
    assert "$" not in text


@pytest.mark.parametrize("spdx", ["MIT", "BSD-3-Clause"])
def test_the_holders_of_the_copyright_are_the_authors(spdx: str) -> None:
    text = licence.render(dataclasses.replace(RICH, license=spdx, authors=RICH.authors[:2])).decode()
    assert "Copyright (c) 2026 Josiah Carberry, Josephine Carberry\n" in text


def test_a_licence_we_do_not_carry_is_given_by_name_and_address() -> None:
    text = licence.render(dataclasses.replace(RICH, license="MPL-2.0")).decode()
    assert "licensed under Mozilla Public License 2.0.\nIts text is at https://www.mozilla.org/MPL/2.0/\n" in text


def test_a_licence_of_ones_own_is_the_authors_to_give() -> None:
    text = licence.render(dataclasses.replace(RICH, license="LicenseRef-own")).decode()
    assert (
        "This bundle is licensed under LicenseRef-own.\nIts text is not part of this bundle: ask the authors.\n" in text
    )


def test_a_name_cannot_add_lines_to_the_licence() -> None:
    author = Author(name="Some One\n\nYou may not use this")
    text = licence.render(dataclasses.replace(MINIMAL, license="MIT", authors=(author,))).decode()
    assert "\nCopyright (c) 2026 Some One You may not use this\n" in text


def test_every_text_of_a_licence_is_used() -> None:
    assert {path.name for path in resource("templates", "licenses").iterdir()} == set(licence._TEXTS.values())


# ---------------------------------------------------------------------------------------------- advice


def test_advice_comes_with_a_hint_each_and_most_wanted_first() -> None:
    faults = readiness(Metadata(title="t"))
    assert [fault.message.split(" is ")[0] for fault in faults] == [
        "archive.metadata.authors",
        "archive.metadata.description",
        "archive.metadata.keywords",
    ]
    assert all(fault.hint for fault in faults)


@pytest.mark.parametrize(
    ("author", "lacks"),
    [
        (Author(name="A B"), ["orcid", "affiliation"]),
        (Author(name="A B", orcid="https://orcid.org/0000-0002-1825-0097", affiliation="CERN"), ["ror"]),
        (
            Author(
                name="A B",
                orcid="https://orcid.org/0000-0002-1825-0097",
                affiliation="CERN",
                ror="https://ror.org/01ggx4157",
            ),
            [],
        ),
    ],
)
def test_advice_names_the_author_and_what_is_missing(author: Author, lacks: list[str]) -> None:
    metadata = Metadata(title="t", description="d", keywords=("k",), authors=(author,))
    messages = [fault.message for fault in readiness(metadata)]
    assert [message.rsplit(" ", 1)[1] for message in messages] == lacks
    assert all("'A B'" in message for message in messages)
