"""What the fuzzer starts from: samples, the demo's own answers, and what the tests know of."""

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fetcher.cursors import feed_cursor, page_cursor
from fetcher.demo.ncbi_datasets import synthetic_genome
from tests.hostile.values import ANYWHERE, NAMES, TIMES

__all__ = ["seeds"]

_ROOT: Final = Path(__file__).parents[1]
_SAMPLES: Final = _ROOT / "samples"
_NOW: Final = "2024-01-01T12:00:00Z"

_ASSET: Final[dict[str, Any]] = {
    "id": 3,
    "name": "a.gz",
    "label": None,
    "content_type": "application/gzip",
    "state": "uploaded",
    "size": 7,
    "digest": "sha256:00",
    "browser_download_url": "https://x.example/a.gz",
    "created_at": _NOW,
    "updated_at": _NOW,
}
_RELEASE: Final[dict[str, Any]] = {
    "id": 2,
    "url": "https://x.example/2",
    "html_url": "https://x.example/v1",
    "tag_name": "v1",
    "name": "One",
    "body": "words \u00e9 \U0001f600",
    "draft": False,
    "prerelease": False,
    "immutable": True,
    "author": {"login": "me"},
    "created_at": _NOW,
    "published_at": _NOW,
    "updated_at": "2024-01-01T12:00:00.123+02:00",
    "assets": [_ASSET],
}
_REPOSITORY: Final[dict[str, Any]] = {
    "id": 1,
    "full_name": "a/b",
    "private": False,
    "archived": True,
}
_GRAPH: Final[dict[str, Any]] = {
    "databaseId": 1,
    "nameWithOwner": "a/b",
    "isPrivate": False,
    "isArchived": False,
    "latestRelease": {"databaseId": 2},
    "marks": {"totalCount": 1, "nodes": [{"databaseId": 2, "updatedAt": _NOW}]},
    "releases": {
        "totalCount": 1,
        "pageInfo": {"hasNextPage": True, "endCursor": "x"},
        "nodes": [
            {
                "id": "R",
                "databaseId": 2,
                "tagName": "v1",
                "name": None,
                "description": "words",
                "isDraft": False,
                "isPrerelease": True,
                "author": {"login": "me"},
                "createdAt": _NOW,
                "publishedAt": _NOW,
                "updatedAt": _NOW,
                "url": "https://x.example/v1",
                "releaseAssets": {
                    "pageInfo": {"hasNextPage": False},
                    "nodes": [
                        {
                            "name": "a",
                            "contentType": "t",
                            "size": 1,
                            "downloadUrl": "https://x.example/a",
                            "createdAt": _NOW,
                            "updatedAt": _NOW,
                        }
                    ],
                },
            }
        ],
    },
    "tags": {
        "totalCount": 1,
        "nodes": [{"name": "v1", "target": {"oid": "00", "target": {"oid": "11"}}}],
    },
}
_SUMMARIES: Final = """<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE eSummaryResult PUBLIC "-//NLM//DTD esummary v1 20041029//EN" "x.dtd">
<eSummaryResult><DocSum><Id>1</Id><Item Name="Gi" Type="Integer">1</Item>
<Item Name="Status" Type="String">replaced</Item>
<Item Name="UpdateDate" Type="String">2018/08/13</Item>
<Item Name="ReplacedBy" Type="String">AB000001.2</Item>
<Item Name="AccessionVersion" Type="String">AB000001.1</Item></DocSum></eSummaryResult>"""
_TAXA: Final = """<?xml version="1.0" ?><!DOCTYPE TaxaSet PUBLIC "x" "y">
<TaxaSet><Taxon><TaxId>1169032</TaxId><ScientificName>Wasabi mottle virus</ScientificName>
<OtherNames><GenbankAcronym>WMoV</GenbankAcronym><Name><ClassCDE>authority</ClassCDE>
<DispName>x</DispName></Name></OtherNames><ParentTaxId>12234</ParentTaxId><Rank>species</Rank>
<Division>Viruses</Division><LineageEx><Taxon><TaxId>10239</TaxId>
<ScientificName>Viruses</ScientificName><Rank>no rank</Rank></Taxon></LineageEx>
<AkaTaxIds><TaxId>12242</TaxId></AkaTaxIds></Taxon></TaxaSet>"""
_STAMP: Final[dict[str, Any]] = {"account": "a", "token": 1, "n": 1}
_RECORD: Final[dict[str, Any]] = {
    "_id": "github:1:2",
    "kind": "release",
    "targets": ["github:a/b"],
    "repository": "a/b",
    "repository_id": 1,
    "release_id": 2,
    "tag": "v1",
    "name": None,
    "body": None,
    "draft": False,
    "prerelease": False,
    "private": False,
    "published_at": _NOW,
    "updated_at": _NOW,
    "created_at": _NOW,
    "assets": [{"name": "a", "size": 1, "created_at": _NOW}],
    "withdrawn_at": None,
    "digest": "sha256:0",
    "revision": 2,
    "history": [{"revision": 2, "changed_at": _NOW, "fields": {"body": "x", "assets": []}}],
    "fetched_at": _NOW,
    "changed_at": _NOW,
    "source_url": "https://x.example/",
    "stamp": _STAMP,
    "observed": {"version": 0, "updated": None, "at": _NOW},
}
_SEQUENCE: Final[dict[str, Any]] = {
    **{key: _RECORD[key] for key in ("history", "fetched_at", "changed_at", "withdrawn_at")},
    **{key: _RECORD[key] for key in ("stamp", "observed", "digest", "revision")},
    "_id": "nuccore:A1.1",
    "kind": "sequence",
    "targets": [],
    "organism": "x",
    "flat": base64.b64encode(zlib.compress(b"LOCUS")).decode(),
}
_STATE: Final[dict[str, Any]] = {
    "_id": "github:a/b",
    "key": "github:a/b",
    "names": ["github:a/b"],
    "failure": {
        "message": "x",
        "evidence": {"status": 500, "request_id": None, "url": None, "quote": "x"},
        "retry_at": _NOW,
        "log_id": None,
        "whole_account": False,
    },
    "missing": [],
    "cursor": {"etag": "x"},
    "facts": {"latest": 1},
    "spells": [{"since": _NOW, "outcome": "good"}],
    "account": "a",
    "outcome": "changed",
    "records": 1,
    "failures": 0,
    "last_attempt": _NOW,
    "last_success": _NOW,
    "last_change": None,
    "reconciled_at": None,
    "next_due": _NOW,
    "rhythm": {},
    "token": 1,
    "watch": {"account": "a", "file": 60.0, "hand": "auto"},
}
_ACCOUNT: Final = {"_id": "a", "token": 1, "watermark": 1, "budget": {"left": 1}}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def seeds(name: str) -> Iterator[bytes]:
    """Inputs of a target."""
    yield from _own(name)
    if name not in ("genbank", "headers", "ncbi_xml", "settings", "targets"):
        for text in (*ANYWHERE.values(), *NAMES.values(), *TIMES.values()):
            if len(text) < 6_000:
                yield text.encode()
                yield b'{"data": ' + text.encode() + b"}"


def _own(name: str) -> Iterator[bytes]:
    match name:
        case "genbank":
            for file in sorted((_SAMPLES / "genbank").iterdir()):
                if (data := file.read_bytes()) and len(data) < 8_000:
                    yield data
        case "github_rest":
            for number, shape in enumerate((_REPOSITORY, [_RELEASE], [], [_ASSET])):
                yield b"%d" % number + _json(shape)
            yield b"2" + _json([{"name": "v1", "commit": {"sha": "00"}}])
            limit = {"limit": 60, "remaining": 1, "reset": 1_700_000_000}
            yield b"4" + _json({"resources": {"core": limit}})
            yield _json(_RELEASE)
        case "github_graphql":
            error = {"type": "NOT_FOUND", "path": ["r1"], "message": "none"}
            yield _json({"data": {"r0": _GRAPH, "r1": None}, "errors": [error]})
            yield _json({"errors": [{"message": "x", "extensions": {"code": "undefinedField"}}]})
        case "ncbi_json":
            result = {"count": "1", "idlist": ["A1.1"], "webenv": "M_1", "querykey": "1"}
            yield _json({"esearchresult": result})
            yield _json({"result": {"uids": ["1"], "1": {"project_acc": "PRJNA1", "taxid": 1}}})
            genome = synthetic_genome("GCF_000000001.1")
            yield _json({"reports": [genome], "total_count": 1, "next_page_token": "x"})
        case "ncbi_xml":
            yield _SUMMARIES.encode()
            yield _TAXA.encode()
            yield b"<eFetchResult><ERROR>ID list is empty</ERROR></eFetchResult>"
        case "headers":
            yield b"60\nWed, 21 Oct 2015 07:28:00 GMT\n1700000000\n0\ntext/html\n{}"
            yield b'<https://x.example/?page=2>; rel="next", <https://x.example/>; rel="last"'
            yield b'//user:pw@x.example/?token=s3cret#x\n\n\n\n\n{"message":"s3cret rate limit"}'
            yield b"http://2130706433/\n/x\n..\n[::1]\n\n" + zlib.compress(b"x" * 99)
        case "targets":
            for text in ("github:a/b", "a/b", "NC_003355.1", "ncbi:nuccore?txid1[Organism:exp]"):
                yield text.encode()
            for text in (
                "ncbi:taxonomy/1",
                "ncbi:genome/GCF_000000001.1",
                "ncbi:bioproject/PRJNA1",
            ):
                yield text.encode()
            yield b"ncbi:protein/A1,B2.3"
        case "settings":
            example = (_ROOT.parent / "config.example.toml").read_bytes()
            sections = example.split(b"\n\n")
            yield from (part for part in sections if part.strip())
            yield b'[[watch]]\ntargets = ["a/b"]\nevery = "15m"\n\0FETCHER_GITHUB__TOKEN=x'
            yield b'[[github.accounts]]\nname = "x"\ntoken = "y"\n\0FETCHER_HTTP={"max_body": "1M"}'
            yield b'store.url = "mongodb://u:p@h/d"\napi.listen = "[::1]:80"\n'
        case "cursors":
            yield page_cursor(("published_at", "_id"), ("2024-01-01T00:00:00Z", "x")).encode()
            yield feed_cursor("s", {"a": (1, 2)}).encode()
            yield _json([["published_at", "_id"], ["2024-01-01T00:00:00+02:00", "x"]])
            yield _json(["s", {"a": [1, 2]}])
        case "webhooks":
            yield from (f.read_bytes() for f in sorted((_SAMPLES / "github").glob("webhook*")))
            changes = {
                "repository": {"name": {"from": "c"}},
                "owner": {"from": {"user": {"login": "d"}}},
            }
            repository = {"id": 1, "full_name": "a/b"}
            yield _json({"action": "renamed", "repository": repository, "changes": changes})
            yield _json({"ref_type": "tag", "repository": repository, "action": "edited"})
        case "exports":
            yield _json({"record": _RECORD}) + b"\n" + _json({"target": _STATE})
            yield _json({"record": _SEQUENCE}) + b"\n" + _json({"account": _ACCOUNT})
